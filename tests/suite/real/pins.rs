//! Models pinned by the lock file, on a real Ollama, beside a real registry and a gateway.

use super::home::{Home, files_below, post, property};
use super::ollama::{Private, free_port, program, registry, weights};
use super::parts::part;
use crate::fakes::registry::Registry;
use llamero::resource::OllamaName;
use llamero::systems::http::Client;
use llamero::systems::ollama::Ollama;
use std::fs;
use std::process::{Command, Stdio};

fn name(text: &str) -> OllamaName {
    OllamaName::parse(text).expect("a name")
}

/// Asks the gateway for a model, and returns the whole answer.
fn ask(port: u16, key: &str, model: &str) -> String {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Once"}}],"max_tokens":4}}"#);
    post(port, "/v1/chat/completions", key, &body)
}

#[tokio::test]
#[ignore = "needs a systemd user manager, ollama, docker-registry and the test environment"]
async fn a_model_is_pinned_to_its_locked_content() {
    let Some(program) = program() else { return };
    let maker = Private::start(program.clone()).await;
    let (host, registry) = registry(maker.folder.path());
    let source = format!("{host}/library/held:1");
    let publish = |limit: u32| {
        let text = format!(
            "FROM {}\nTEMPLATE {{{{ .Prompt }}}}\nPARAMETER num_predict {limit}\n",
            part("gemma3/gemma3.gguf").display()
        );
        fs::write(maker.folder.path().join("Modelfile"), text).expect("written");
        maker.run(&["create", &source, "-f", "Modelfile"]);
        maker.run(&["push", "--insecure", &source]);
    };
    publish(8);

    let home = Home::new();
    let (port, gateway, other) = (free_port(), free_port(), free_port());
    home.write(
        "llamero.yaml",
        &format!(
            "version: 1\nstack: held\npolicy: {{health: {{stable_for: 1s}}}}\nproviders:\n  ollama: {{engine: ollama, \
             runtime: systemd, port: {port}, command: [{program}, serve]}}\n  llama-cpp: {{engine: llama-cpp, runtime: \
             systemd, port: {other}, command: [{python}, {root}/manifests/quickstart/llama_server.py]}}\nmodels:\n  held: {{provider: ollama, source: \
             \"{source}\", insecure: true}}\n  own: {{provider: ollama, source: \"{source}\", insecure: true, context: \
             1024, load: pinned}}\n  other: {{provider: llama-cpp, source: \"file:{model}\", context: 512, fallbacks: \
             [held]}}\ngateway: {{engine: litellm, runtime: systemd, port: {gateway}, command: [{litellm}], master_key: \
             {{file: ~/.config/llamero/held-key, generate: true}}, retries: 0, allowed_fails: 0, cooldown: 60s}}\n",
            program = program.display(),
            python = home.part("llama/bin/python"),
            root = env!("CARGO_MANIFEST_DIR"),
            litellm = home.part("litellm/bin/litellm"),
            model = home.part("gemma3/gemma3.gguf"),
        ),
    );
    let client = Client::new().expect("a client");
    let endpoint = format!("http://127.0.0.1:{port}");
    let ollama = Ollama::new(&client, &endpoint);
    let content = async |text: &str| {
        let tags = ollama.tags().await.expect("a list");
        tags.into_iter().find(|tag| tag.name == name(text)).map(|tag| tag.digest.to_string())
    };

    // What is not locked may not be applied where that is asked for; the lock says what there is.
    assert!(home.expect(1, &["plan", "--locked"]).contains("out of date"));
    assert!(home.expect(0, &["lock"]).contains("pins 1 source"));
    assert!(home.expect(0, &["lock"]).contains("up to date"));
    home.expect(0, &["apply", "--locked", "--yes"]);
    let first = content(&source).await.expect("it was pulled");
    let locked = fs::read_to_string(home.path("llamero.lock")).expect("a lock file");
    assert!(locked.contains(&first), "{locked}");

    // Models of several engines answer behind one gateway, and one takes over for another.
    let key = fs::read_to_string(home.under_home(".config/llamero/held-key")).expect("a key").trim().to_owned();
    for model in ["held", "own", "other"] {
        let answer = ask(gateway, &key, model);
        assert!(answer.starts_with("HTTP/1.1 200"), "{model}: {answer}");
    }
    let unit = "held-llama-cpp-other.service";
    assert!(Command::new("systemctl").args(["--user", "stop", unit]).status().expect("it runs").success());
    let answer = ask(gateway, &key, "other");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("x-litellm-attempted-fallbacks: 1"), "{answer}");
    home.expect(0, &["apply", "--yes"]);

    // The tag moves. That is shown, and nothing follows by itself.
    assert!(home.expect(0, &["outdated"]).contains("1 as locked"));
    publish(9);
    let said = home.expect(2, &["outdated"]);
    assert!(said.contains("1 moved") && said.contains("llamero update held"), "{said}");
    assert!(home.expect(0, &["apply", "--yes"]).contains("Nothing to do"));
    assert_eq!(content(&source).await.as_ref(), Some(&first));

    // It is followed when that is asked for; the server runs on.
    let before = property("held-ollama.service", "InvocationID");
    assert!(home.expect(0, &["update", "own"]).contains("(was"));
    let said = home.expect(0, &["plan"]);
    assert!(said.contains("sha256") && said.contains("2 to change"), "{said}");
    home.expect(0, &["apply", "--yes"]);
    assert!(home.expect(0, &["plan"]).contains("Nothing to do"));
    let second = content(&source).await.expect("it is there");
    assert_ne!(second, first);
    assert_eq!(property("held-ollama.service", "InvocationID"), before);

    // What the tag led to before is brought back from what was kept of it, though the tag leads elsewhere now.
    let moved_on = fs::read_to_string(home.path("llamero.lock")).expect("a lock file");
    home.write("llamero.lock", &locked);
    home.expect(0, &["apply", "--yes"]);
    ollama.delete(&name(&source)).await.expect("deleted");
    assert!(home.expect(0, &["plan"]).contains("it is missing"));
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(content(&source).await.as_ref(), Some(&first));
    home.write("llamero.lock", &moved_on);
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(content(&source).await.as_ref(), Some(&second));

    // Back without the registry, to the very same content; forward too.
    drop(registry);
    home.expect(0, &["rollback", "--yes"]);
    assert_eq!(content(&source).await.as_ref(), Some(&first));
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(content(&source).await.as_ref(), Some(&second));
    let said = home.expect(1, &["outdated"]);
    assert!(said.contains("1 unknown"), "{said}");

    // What was pulled or removed by hand is drift, and is put right without the registry too.
    let kept = format!("llamero-held/held:kept-{}", &first[..12]);
    ollama.copy(&name(&kept), &name(&source)).await.expect("copied");
    assert!(home.expect(0, &["plan"]).contains("its content is"));
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(content(&source).await.as_ref(), Some(&second));
    ollama.delete(&name(&source)).await.expect("deleted");
    assert!(home.expect(0, &["plan"]).contains("it is missing"));
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(content(&source).await.as_ref(), Some(&second));

    let down = home.expect(0, &["down", "--purge", "--yes"]);
    assert!(down.contains("model/kept-held-"), "{down}");
    let left = files_below(&home.under_home(".ollama/models/manifests"));
    assert!(left.iter().all(|path| !path.display().to_string().contains("held")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ollama"]
async fn a_killed_pull_resumes() {
    let Some(program) = program() else { return };
    let server = Private::start(program).await;
    let registry = Registry::start().await;
    let weights = weights(9);
    let digest = registry.publish("team/killed", "one", &weights);
    registry.slow_down(20);
    let home = Home::new();
    let source = format!("{}/team/killed:one", registry.host);
    home.write(
        "llamero.yaml",
        &format!(
            "version: 1\nstack: killed\nproviders:\n  ollama: {{engine: ollama, runtime: external, endpoint: \
             \"{}\", manage: models}}\nmodels:\n  killed: {{provider: ollama, source: \"{source}\", insecure: true}}\n",
            server.endpoint
        ),
    );
    home.expect(0, &["lock"]);
    let mut apply = Command::new(env!("CARGO_BIN_EXE_llamero"))
        .args(["apply", "--yes", "--json"])
        .current_dir(home.path(""))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(apply.stdout.take().expect("piped")));
    let under_way = lines.by_ref().map_while(Result::ok).any(|line| {
        let event: serde_json::Value = serde_json::from_str(&line).expect("one object a line");
        event["done"].as_u64().is_some_and(|done| done > 1_000_000)
    });
    assert!(under_way);
    apply.kill().expect("killed");
    apply.wait().expect("gone");

    // What was begun is known, what is there is used, and it comes to its end.
    registry.slow_down(0);
    home.expect(0, &["plan"]);
    home.expect(0, &["apply", "--yes"]);
    let client = Client::new().expect("a client");
    let tags = server.ollama(&client).tags().await.expect("a list");
    assert_eq!(tags.iter().map(|tag| &tag.digest).collect::<Vec<_>>(), [&digest]);
    assert!(registry.ranges().iter().any(|range| !range.starts_with("bytes=0-")), "{:?}", registry.ranges());
    home.expect(0, &["down", "--purge", "--yes"]);
    assert_eq!(server.ollama(&client).tags().await.expect("a list"), []);
}
