//! The launcher on a small app, by its whole life: held, accepting, draining, ended, and every way out.

use super::instances::{Instances, LONG};
use super::load::{Clients, Load, Recovered, Target, ask_on, request};
use super::systemd::file_state;
use crate::clock;
use llamero::resource::{RunFile, Seconds};
use llamero::systems::systemd::{ActiveState, JobResult};
use std::process::Command;
use std::time::Duration;

/// How many instances follow each other under load.
const INSTANCES: u64 = 9;

/// An app that answers a path `/SECONDS` in two pieces, so many seconds apart, and every chat with the same two words.
const APP: &str = r#"
import asyncio, os
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if os.environ.get("BROKEN"):
            raise RuntimeError("broken on purpose")
        scope["state"]["key"] = os.environ["KEY"]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"].startswith("/v1"):
        body = b'{"choices": [{"message": {"content": "word0 word1 "}}]}'
        await send({"type": "http.response.body", "body": body})
        return
    await send({"type": "http.response.body", "body": scope["state"]["key"].encode(), "more_body": True})
    await asyncio.sleep(float(scope["path"][1:]))
    await send({"type": "http.response.body", "body": b" whole"})
"#;

async fn instances(name: &str, port: u16) -> Instances {
    let mut instances = Instances::new(name, port, &["--app", "stub:app"]).await;
    instances.home.write("stub.py", APP);
    let secret = instances.home.write("secret.env", "KEY=\"a key\"\n");
    let folder = instances.home.path("");
    let run = instances.run();
    run.environment.insert("PYTHONPATH".to_owned(), folder.display().to_string());
    run.environment_file = Some(RunFile(secret));
    instances
}

fn wait(seconds: &str) -> String {
    request(&format!("GET /{seconds}"), "", "")
}

#[tokio::test]
#[ignore = "needs a systemd user manager and the test environment"]
async fn an_instance_takes_over_from_another() {
    let instances = instances("stub-swap", 18420).await;
    // Held: it answers its private socket only; a client waits, and is not refused.
    assert_eq!(instances.start(1).await, JobResult::Done);
    let socket = instances.systemd.unit(&instances.socket()).await.expect("a unit");
    assert_eq!((&socket.active_state, socket.sub_state.as_str()), (&ActiveState::Active, "running"));
    assert_eq!(socket.listens, ["127.0.0.1:18420"]);
    assert_eq!(file_state(&instances.socket()), "enabled");
    let file = instances.file(1);
    let check = Command::new("systemd-analyze").args(["--user", "verify"]).arg(&file).output().expect("it runs");
    let problems = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success() && problems.is_empty(), "{problems}");
    assert_eq!(instances.unit(1).await.status_text, "held");
    let answer = instances.ask_private(1, &wait("0")).await;
    assert_eq!((answer.header("x-llamero-generation"), answer.body.as_str()), ("1", "a key whole"));
    let (immediate, mut kept) = (wait("0"), None);
    let answer = {
        let early = ask_on(&mut kept, instances.port, &immediate, true);
        tokio::pin!(early);
        assert!(tokio::time::timeout(Duration::from_millis(500), &mut early).await.is_err(), "it is held back");
        instances.release(1).await;
        early.await.expect("an answer")
    };
    assert_eq!((answer.header("connection"), answer.body.as_str()), ("", "a key whole"));

    // The next one is held beside it, then both accept, then the previous one closes its connections.
    assert_eq!(instances.start(2).await, JobResult::Done);
    for _ in 0..10 {
        let answer = instances.ask(&wait("0")).await.expect("an answer");
        assert_eq!(answer.header("x-llamero-generation"), "1");
    }
    instances.release(2).await;
    let slow = wait("3");
    let streams = futures_util::future::join_all((0..8).map(|_| instances.ask(&slow)));
    let (answers, ()) = tokio::join!(streams, async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        instances.retire(1).await;
        for _ in 0..10 {
            let answer = instances.ask(&wait("0")).await.expect("an answer");
            assert_eq!((answer.header("x-llamero-generation"), answer.header("connection")), ("2", ""));
        }
        assert!(kept.is_some(), "the old one still has a connection");
        let answer = ask_on(&mut kept, instances.port, &wait("0"), true).await.expect("an answer");
        assert_eq!((answer.header("x-llamero-generation"), answer.header("connection")), ("1", "close"));
        assert!(kept.is_none());
    });
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.body == "a key whole")));
    instances.ended(1).await;

    // No instance runs: a request starts the current one, and its client only waits.
    instances.systemd.stop(&instances.instance(2), LONG).await.expect("a job");
    let answer = instances.ask(&wait("0")).await.expect("an answer");
    assert_eq!(answer.header("x-llamero-generation"), "2");
    instances.down(&[1, 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a systemd user manager and the test environment"]
#[expect(clippy::print_stderr, reason = "what was measured is worth seeing")]
async fn busy_clients_do_not_notice_a_handoff() {
    let instances = instances("stub-busy", 18422).await;
    assert_eq!(instances.start(1).await, JobResult::Done);
    instances.release(1).await;
    let target = Target { port: instances.port, key: String::new(), model: String::new() };
    let clients = Clients { fresh: 16, kept: 8, streaming: 0, thinks: Duration::from_millis(1) };
    let load = Load::start(&target, clients);
    for number in 2..=INSTANCES {
        assert_eq!(instances.start(number).await, JobResult::Done);
        instances.release(number).await;
        instances.retire(number - 1).await;
        instances.ended(number - 1).await;
    }
    let tally = load.end().await;
    eprintln!("| {} swaps, 24 busy clients {tally}", INSTANCES - 1);
    assert_eq!((&tally.failures, &tally.cut), (&vec![], &vec![]));
    assert!(tally.requests > 1000, "too few for a result: {}", tally.requests);
    instances.down(&(1..=INSTANCES).collect::<Vec<_>>()).await;
}

#[tokio::test]
#[ignore = "needs a systemd user manager and the test environment"]
async fn an_instance_ends_in_time_under_any_load() {
    let mut instances = instances("stub-ends", 18421).await;

    // Stopped while it is held.
    assert_eq!(instances.start(1).await, JobResult::Done);
    instances.systemd.stop(&instances.instance(1), LONG).await.expect("a job");
    instances.ended(1).await;

    // An answer that takes longer than the end may take is cut, and nothing waits for it.
    instances.run().stop_timeout = Seconds::new(2);
    assert_eq!(instances.start(2).await, JobResult::Done);
    instances.release(2).await;
    let slow = wait("50");
    let (answer, ()) = tokio::join!(instances.ask(&slow), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let name = instances.instance(2);
        clock::at_least(Duration::from_secs(2), instances.systemd.stop(&name, LONG)).await.expect("a job");
    });
    assert!(matches!(answer, Err(Recovered::Cut(_))), "{answer:?}");
    instances.ended(2).await;

    // A start that fails says so, again and again, and leaves the socket as it is.
    instances.run().environment.insert("BROKEN".to_owned(), "1".to_owned());
    assert_eq!(instances.start(3).await, JobResult::Failed);
    clock::until_async("it is started again", async || instances.unit(3).await.restarts >= 3).await;
    let live = instances.systemd.until_it_reports(&instances.instance(3), "accepting", LONG).await.expect("an answer");
    assert_eq!((live.result.as_str(), live.exec_main_status), ("exit-code", 3));
    let socket = instances.systemd.unit(&instances.socket()).await.expect("a unit");
    assert_eq!((&socket.active_state, socket.result.as_str()), (&ActiveState::Active, "success"));
    instances.down(&[1, 2, 3]).await;
}
