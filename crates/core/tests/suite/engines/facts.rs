//! What each engine says of itself besides its servers, in one text: a fact that changes is a line that changes.

use crate::golden;
use llamero_core::engines::{
    CACHES, Cache, Engine, GATEWAYS, Gateway, ModelPlace, ModelServer, Models, PROVIDERS, Provider, PulledServer,
};
use llamero_core::resource::{Authorization, ManifestPath, Mode, Origin, SecretReference};
use std::fmt::Debug;

/// Lines of logs, some of which name a cause in some engine's words.
const LINES: &[&str] = &[
    "ValueError: unsupported model",
    "torch.OutOfMemoryError: CUDA out of memory",
    "INFO KeyError: 'x'",
    "RuntimeError: engine core failed. See root cause above.",
    "OSError:",
    "Error: x",
    "1.Error: x",
    "error: x",
    "Value error, the context is too large",
    "llama_model_load: error loading model: x",
    "main: error: unable to load model",
    "Error: listen tcp 127.0.0.1:11434: bind: address already in use",
    "# Warning: Could not create server TCP listening socket",
    "*** FATAL CONFIG FILE ERROR ***",
    "INFO: ready",
];

fn engine(it: &dyn Engine) -> String {
    let causes: Vec<&&str> = LINES.iter().filter(|line| it.names_cause(line)).collect();
    let about = [it.name(), it.title(), it.about()].join(" | ");
    let taken = ["ollama", "llama-server", "other"].map(|holder| it.on_port_taken(holder, 11434));
    format!(
        "# {about}\nprogram: {:?}\nport taken: {taken:?}\nnames causes: {causes:?}\nrenders: {:?}\n",
        it.program(),
        it.renders(),
    )
}

fn provider(it: &dyn Provider) -> String {
    let upstream = [Mode::Chat, Mode::Completion, Mode::Embedding].map(|mode| it.upstream(mode));
    let fields: [(&str, &dyn Debug); 9] = [
        ("models", &it.models()),
        ("external path", &it.external_path()),
        ("readings", &it.readings()),
        ("upstream", &upstream),
        ("share of a GPU", &it.share_of_gpu()),
        ("sleep", &it.sleep("http://127.0.0.1:1")),
        ("probe of all", &it.probe("http://127.0.0.1:1", None)),
        ("probe of one", &it.probe("http://127.0.0.1:1", Some("m"))),
        ("model fields", &it.model_fields()),
    ];
    engine(it) + &lines(&fields)
}

fn cache(it: &dyn Cache) -> String {
    engine(it) + &lines(&[("port", &it.port()), ("protocol", &it.protocol())])
}

fn gateway(it: &dyn Gateway) -> String {
    let fields: [(&str, &dyn Debug); 8] = [
        ("port", &it.port()),
        (
            "probe",
            &it.probe(
                "http://127.0.0.1:1",
                vec!["m".to_owned()],
                Authorization(SecretReference::Env("KEY".to_owned())),
            ),
        ),
        ("api", &it.api()),
        ("configuration", &(it.config_name(), it.master_key(), it.reference())),
        ("rendered settings", &it.rendered_settings()),
        ("raw settings", &it.raw_settings()),
        ("relations", &it.relations()),
        ("cache settings", &it.cache_settings()),
    ];
    engine(it) + &lines(&fields)
}

fn lines(fields: &[(&str, &dyn Debug)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {value:?}\n")).collect()
}

#[test]
fn every_engine_says_what_it_is() {
    let providers = PROVIDERS.iter().map(|it| provider(*it));
    let caches = CACHES.iter().map(|it| cache(*it));
    let gateways = GATEWAYS.iter().map(|it| gateway(*it));
    let all: Vec<String> = providers.chain(caches).chain(gateways).collect();
    let path = golden::repository("crates/core/tests/suite/engines/facts.txt");
    golden::all_well(&golden::compare(&path, &all.join("\n")).into_iter().collect::<Vec<_>>());
}

#[test]
fn an_engine_has_the_server_that_its_models_need_and_no_other() {
    let path = |name: &str| ManifestPath::from(name);
    for it in PROVIDERS {
        let model = ModelServer {
            name: "m",
            model_path: path("models"),
            provider_path: path("providers"),
            place: ModelPlace::Path("/m".into()),
            source: Origin::declared(path("models")),
            listen: "127.0.0.1",
            port: 1,
            port_origin: None,
            context: None,
            parallel: None,
            gpu_layers: None,
            kv_cache_type: None,
            flash_attention: None,
            mode: Mode::Chat,
            settings: Vec::new(),
            share: None,
            sleep: false,
            caches: "/caches".into(),
            in_container: false,
            own_command: false,
        };
        let pulled = PulledServer {
            provider_path: path("providers"),
            listen: "127.0.0.1",
            port: 1,
            home: "/home/ai".into(),
            volume: None,
            settings: Vec::new(),
            own_command: false,
        };
        let each = it.models().has_a_server_each();
        assert_eq!(it.model_server(&model).is_some(), each, "{}", it.name());
        assert_eq!(it.pulled_server(&pulled).is_some(), it.models() == Models::Pulled, "{}", it.name());
    }
}
