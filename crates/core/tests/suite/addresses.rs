//! Addresses of a manifest, as the gateway and the parts that refer to them get them.

use crate::given::facts;
use crate::since::Since;
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::resolve::{Desired, resolve};
use llamero_core::resource::{Content, Piece, Spec};
use serde_json::{Value, json};

fn resolved(cache: &str, provider: &str) -> Desired {
    let text = format!(
        "version: 1\nstack: home\nproviders:\n  one: {provider}\nmodels:\n  gpt: {{provider: one}}\ngateway:\n  engine: \
         litellm\n  runtime: systemd\n  master_key: {{file: ~/key, generate: true}}\nservices:\n  page: {{runtime: systemd, \
         command: [page], env: {{CACHE: '${{cache.url}}', MODELS: '${{providers.one.url}}'}}}}\ncache: {cache}\n"
    );
    let (manifest, notes) = manifest::read(&text);
    let manifest = manifest.unwrap_or_else(|| panic!("{text}\n{notes:?}"));
    let (desired, notes) = resolve(&manifest, &LockFile::default(), &facts(&manifest, &Since::default()));
    assert!(notes.is_empty(), "{notes:?}");
    desired
}

fn file<'a>(desired: &'a Desired, name: &str) -> &'a Content {
    let named = desired.resources.values().find(|resource| resource.id.name == name);
    match &named.expect("the file").spec {
        Spec::File(file) => &file.content,
        other => panic!("{other:?}"),
    }
}

fn config(desired: &Desired) -> Value {
    match file(desired, "gateway").0.as_slice() {
        [Piece::Text(text)] => serde_saphyr::from_str(text).expect("YAML"),
        other => panic!("{other:?}"),
    }
}

fn variable(desired: &Desired, name: &str) -> String {
    let page = desired.runs().find(|(resource, _)| resource.role == "services.page").expect("the service");
    page.1.environment[name].clone()
}

#[test]
fn every_form_of_a_redis_address_is_resolved() {
    for (form, host, port, more, url) in [
        ("redis.lan", "redis.lan", 6379, json!({}), "redis://redis.lan:6379"),
        ("redis.lan:6380", "redis.lan", 6380, json!({}), "redis://redis.lan:6380"),
        ("redis://Redis.lan", "redis.lan", 6379, json!({}), "redis://redis.lan:6379"),
        ("redis://10.0.0.2:1/", "10.0.0.2", 1, json!({}), "redis://10.0.0.2:1"),
        ("redis://h/3", "h", 6379, json!({ "db": 3 }), "redis://h:6379/3"),
        ("rediss://h:6380", "h", 6380, json!({ "ssl": true }), "rediss://h:6380"),
        ("rediss://[fd00::1]/0", "fd00::1", 6379, json!({ "ssl": true, "db": 0 }), "rediss://[fd00::1]:6379/0"),
    ] {
        let desired = resolved(
            &format!("{{engine: redis, runtime: external, endpoint: '{form}'}}"),
            "{engine: openai, endpoint: 'https://example.org'}",
        );
        let mut expected =
            json!({ "type": "redis", "host": host, "port": port, "namespace": "home", "max_messages": 1000 });
        expected.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        assert_eq!(config(&desired)["litellm_settings"]["cache_params"], expected, "{form}");
        assert_eq!(variable(&desired, "CACHE"), url, "{form}");
    }
}

#[test]
fn the_password_of_a_redis_goes_into_the_secret_file_alone() {
    let cache = "{engine: redis, runtime: external, endpoint: redis.lan, password: {env: REDIS_PASSWORD}}";
    let desired = resolved(cache, "{engine: openai, endpoint: 'https://example.org'}");
    let name = "LLAMERO_CACHE_PASSWORD";
    assert_eq!(config(&desired)["litellm_settings"]["cache_params"]["password"], format!("os.environ/{name}"));
    let secrets = file(&desired, "gateway-secrets");
    let begin = Piece::Text(format!("{name}=\""));
    let at = secrets.0.iter().position(|piece| *piece == begin).expect("the variable");
    assert!(matches!(secrets.0[at + 1], Piece::Secret { .. }), "{secrets:?}");
}

#[test]
fn every_form_of_an_endpoint_is_routed_to() {
    for (engine, form, base, url) in [
        ("openai", "https://API.example.org/v1/", "https://api.example.org/v1", "https://api.example.org/v1"),
        ("openai", "https://example.org/proxy", "https://example.org/proxy", "https://example.org/proxy"),
        ("vllm, runtime: external", "http://[::1]:8000/", "http://[::1]:8000/v1", "http://[::1]:8000"),
        ("vllm, runtime: external", "http://gpu_1:8000/v1", "http://gpu_1:8000/v1", "http://gpu_1:8000/v1"),
        ("ollama, runtime: external", "http://10.0.0.2:11434/", "http://10.0.0.2:11434", "http://10.0.0.2:11434"),
    ] {
        let provider = format!("{{engine: {engine}, endpoint: '{form}'}}");
        let desired = resolved("{engine: redis, runtime: external, endpoint: h}", &provider);
        let route = &config(&desired)["model_list"][0]["litellm_params"];
        assert_eq!(route["api_base"], base, "{form}");
        assert_eq!(variable(&desired, "MODELS"), url, "{form}");
    }
}
