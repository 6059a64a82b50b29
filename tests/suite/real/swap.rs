//! Socket hand-offs of the gateway under constant load: no request fails, in contrast to a plain restart.

use super::instances::{Instances, LONG, server};
use super::load::{Clients, Load, Tally, Target, ask_on, request};
use crate::fakes::upstream::FakeUpstream;
use llamero::resource::{Resource, RunFile, Spec};
use llamero::systems::files;
use llamero::systems::systemd::{JobResult, Weight};
use llamero::targets::unit;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PORTS: [u16; 2] = [18410, 18411];
const KEY: &str = "sk-only-for-this-test";
const CLIENTS: Clients = Clients { fresh: 8, kept: 4, streaming: 4, thinks: Duration::from_millis(400) };

fn config(upstream: &FakeUpstream, models: &[&str]) -> String {
    let deployment = |name: &&str| {
        let parameters = json!({ "model": "openai/fake", "api_base": upstream.endpoint, "api_key": "none" });
        json!({ "model_name": name, "litellm_params": parameters })
    };
    let general = json!({ "master_key": "os.environ/LITELLM_MASTER_KEY" });
    let models: Vec<Value> = models.iter().map(deployment).collect();
    let router = json!({ "num_retries": 0, "disable_cooldowns": true });
    json!({ "model_list": models, "general_settings": general, "router_settings": router }).to_string()
}

fn environment(run: &mut llamero::resource::Run, secret: RunFile) {
    for (name, value) in [("LITELLM_MODE", "PRODUCTION"), ("LITELLM_LOCAL_MODEL_COST_MAP", "True")] {
        run.environment.insert(name.to_owned(), value.to_owned());
    }
    run.environment_file = Some(secret);
}

fn target(port: u16) -> Target {
    Target { port, key: KEY.to_owned(), model: "chat".to_owned() }
}

/// Swaps three times under load; returns what the clients saw.
async fn swap_under_load(instances: &mut Instances, upstream: &FakeUpstream) -> Tally {
    let load = Load::start(&target(instances.port), CLIENTS);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for number in 2..=4_u64 {
        bring_up(instances, upstream, number, Weight::Normal).await;
        instances.retire(number - 1).await;
        for _ in 0..5 {
            let answer = instances.ask(&request("GET /health/liveliness", "", "")).await.expect("an answer");
            assert_eq!(answer.header("x-llamero-generation"), number.to_string());
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.end().await
}

/// Starts an instance with a configuration of its own, proves it, and lets clients reach it.
async fn bring_up(instances: &mut Instances, upstream: &FakeUpstream, number: u64, weight: Weight) {
    let own = format!("only-in-{number}");
    let path = instances.home.write(&format!("{number}.yaml"), &config(upstream, &["chat", &own]));
    instances.run().environment.insert("CONFIG_FILE_PATH".to_owned(), path.display().to_string());
    assert_eq!(instances.start_with(number, weight).await, JobResult::Done);
    let answer = instances.ask_private(number, &request("GET /v1/models", KEY, "")).await;
    let models: Value = serde_json::from_str(&answer.body).expect("models");
    assert_eq!((&models["data"][0]["id"], &models["data"][1]["id"]), (&json!("chat"), &json!(own)));
    assert_eq!(answer.header("x-llamero-generation"), number.to_string());
    instances.systemd.weigh(&instances.instance(number), Weight::Normal).await.expect("weighed");
    instances.release(number).await;
}

/// Restarts a gateway of the usual kind once, under the same load; returns what the clients saw.
async fn restart_under_load(instances: &Instances, plain: &Resource) -> Tally {
    let name = unit::unit_name(&plain.id);
    let load = Load::start(&target(PORTS[1]), CLIENTS);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(instances.systemd.restart(&name, LONG).await.expect("a job").result, JobResult::Done);
    answers(PORTS[1]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.end().await
}

async fn answers(port: u16) {
    let begin = Instant::now();
    let alive = request("GET /health/liveliness", "", "");
    while !ask_on(&mut None, port, &alive, false).await.is_ok_and(|answer| answer.status == 200) {
        assert!(begin.elapsed() < LONG, "port {port} does not answer");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a systemd user manager and the test environment"]
#[expect(clippy::print_stderr, reason = "what was measured is worth seeing")]
async fn three_swaps_lose_no_request() {
    let began = Instant::now();
    let upstream = FakeUpstream::start().await;
    let mut instances = Instances::new("swap-gateway", PORTS[0], &[]).await;
    let secret = instances.home.write("secret.env", &format!("LITELLM_MASTER_KEY=\"{KEY}\"\n"));
    environment(instances.run(), RunFile(secret.clone()));

    let path = instances.home.write("plain.yaml", &config(&upstream, &["chat"])).display().to_string();
    let litellm = instances.home.part("litellm/bin/litellm");
    let argv = [&litellm, "--config", &path, "--host", "127.0.0.1", "--port", &PORTS[1].to_string()];
    let mut plain = server("swap-plain", argv.map(str::to_owned).to_vec(), PORTS[1]);
    let Spec::Run(run) = &mut plain.spec else { unreachable!("a server") };
    environment(run, RunFile(secret));
    let file = instances.home.under_home(".config/systemd/user").join(unit::unit_name(&plain.id));
    let text = unit::unit("swap", &plain).expect("expressible");
    files::write(&file, text.as_bytes(), files::PRIVATE).expect("written");

    let name = unit::unit_name(&plain.id);
    let systemd = instances.systemd.clone();
    let both = tokio::join!(systemd.start(&name, LONG), bring_up(&mut instances, &upstream, 1, Weight::Normal));
    assert_eq!(both.0.expect("a job").result, JobResult::Done);
    let swaps = swap_under_load(&mut instances, &upstream).await;
    answers(PORTS[1]).await;
    let restart = restart_under_load(&instances, &plain).await;
    for number in 1..=3 {
        instances.ended(number).await;
    }
    let memory = instances.unit(4).await.memory_current.unwrap_or_default() >> 20;
    instances.down(&[1, 2, 3, 4]).await;
    systemd.stop(&name, LONG).await.expect("a job");
    files::remove(&file).expect("removed");
    systemd.reload().await.expect("a reload");

    eprintln!("| what | requests | failed | cut | slowest first byte | longest pause |");
    eprintln!("|---|---|---|---|---|---|");
    eprintln!("| 3 swaps {swaps}");
    eprintln!("| 1 plain restart {restart}");
    eprintln!("generations {:?}, {memory} MiB each, {:.0?} in all", swaps.generations, began.elapsed());
    assert_eq!((&swaps.failures, &swaps.cut), (&vec![], &vec![]), "a swap loses nothing");
    assert_eq!(swaps.generations.len(), 4, "every generation served: {:?}", swaps.generations);
    assert!(swaps.requests > 300, "too few for a result: {}", swaps.requests);
    assert!(!restart.failures.is_empty(), "the load sees an outage where there is one");
}

/// Swaps once under load; returns what the clients saw until the successor was ready, and from then on.
async fn swap_once(instances: &mut Instances, upstream: &FakeUpstream, number: u64, weight: Weight) -> [Tally; 2] {
    let own = format!("only-in-{number}");
    let path = instances.home.write(&format!("{number}.yaml"), &config(upstream, &["chat", &own]));
    instances.run().environment.insert("CONFIG_FILE_PATH".to_owned(), path.display().to_string());
    let load = Load::start(&target(instances.port), CLIENTS);
    assert_eq!(instances.start_with(number, weight).await, JobResult::Done);
    let starting = load.end().await;
    let load = Load::start(&target(instances.port), CLIENTS);
    instances.systemd.weigh(&instances.instance(number), Weight::Normal).await.expect("weighed");
    instances.release(number).await;
    instances.retire(number - 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    [starting, load.end().await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a systemd user manager and the test environment"]
#[expect(clippy::print_stderr, reason = "what was measured is worth seeing")]
async fn a_successor_of_little_weight_takes_less_from_clients() {
    let upstream = FakeUpstream::start().await;
    let mut instances = Instances::new("weight-gateway", PORTS[0] + 2, &[]).await;
    let secret = instances.home.write("secret.env", &format!("LITELLM_MASTER_KEY=\"{KEY}\"\n"));
    environment(instances.run(), RunFile(secret));
    bring_up(&mut instances, &upstream, 1, Weight::Normal).await;
    eprintln!("| weight | while | requests | failed | cut | slowest first byte | longest pause |");
    eprintln!("|---|---|---|---|---|---|---|");
    let mut pauses: [Duration; 2] = [Duration::ZERO; 2];
    let rounds: u64 = std::env::var("LLAMERO_SWAPS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    for number in 2..2 + 2 * rounds {
        let index = usize::from(number % 2 == 1);
        let weight = [Weight::Normal, Weight::Low][index];
        let began = Instant::now();
        let tallies = swap_once(&mut instances, &upstream, number, weight).await;
        for (tally, phase) in tallies.iter().zip(["it starts", "it takes over"]) {
            eprintln!("| {weight:?} | {phase} {tally}");
            pauses[index] = pauses[index].max(tally.slowest_first_byte);
            assert_eq!((&tally.failures, &tally.cut), (&vec![], &vec![]), "a swap loses nothing");
        }
        eprintln!("{weight:?}: {:.1?} in all", began.elapsed());
        instances.ended(number - 1).await;
    }
    let ratio = pauses[1].as_secs_f64() / pauses[0].as_secs_f64();
    eprintln!("slowest first byte with little weight: {ratio:.2} of that with the usual weight");
    instances.down(&(1..2 + 2 * rounds).collect::<Vec<_>>()).await;
}
