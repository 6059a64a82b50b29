//! The `LiteLLM` proxy: a rendered configuration, a server that reads it when it starts, and the questions that it is
//! asked.
//!
//! Nothing is left to its own defaults: every route has an address (without one, a name with `ollama` in it makes the
//! proxy start an Ollama), every deployment has a stable id, it listens on loopback, reads no `.env` file and fetches
//! no price list.

use super::{
    Engine, Gateway, GatewayCache, GatewayServer, GatewaySettings, Handoff, Launch, Relations, Rendered, Route,
    Routing, SettingsAs,
};
use crate::render::launcher::GATEWAY_LAUNCHER;
use crate::render::yaml::yaml;
use crate::resource::{
    AnswerKind, Authorization, Command, GatewayApi, HttpCheck, HttpProbe, Meaning, OfferedModels, Probe, Seconds,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The variable with the key that clients must send.
const MASTER_KEY: &str = "LITELLM_MASTER_KEY";

/// The variable with the path of the configuration, which the proxy reads where no flag gives it.
const CONFIG: &str = "CONFIG_FILE_PATH";

/// The prefix of a variable's name in a setting.
const REFERENCE: &str = "os.environ/";

/// The sections of the configuration, in the order in which they are written.
const SECTIONS: [&str; 3] = ["litellm_settings", "router_settings", "general_settings"];

/// The proxy looks up no request with more messages than this; its own limit of 4 misses every longer conversation.
const MAX_MESSAGES: u32 = 1000;

/// The time that its last streams may take after a successor has taken its place.
const DRAIN: Seconds = Seconds::new(300);

/// The `LiteLLM` proxy.
#[derive(Debug)]
pub struct Litellm;

impl Engine for Litellm {
    fn name(&self) -> &'static str {
        "litellm"
    }
    fn title(&self) -> &'static str {
        "LiteLLM"
    }
    fn about(&self) -> &'static str {
        "The `LiteLLM` proxy."
    }
    fn program(&self) -> Option<&'static str> {
        Some("litellm")
    }
    fn names_cause(&self, line: &str) -> bool {
        super::python::names_exception(line)
    }
    fn renders(&self) -> &'static Rendered {
        &Rendered {
            flags: &[
                (&["--config", "-c"], "`config`"),
                (&["--host"], "`network`, which decides the address"),
                (&["--port"], "`port`"),
            ],
            variables: &[(CONFIG, "`config`"), (MASTER_KEY, "`master_key`")],
            defaults: &["LITELLM_MODE", "LITELLM_LOCAL_MODEL_COST_MAP", "PYTHONUNBUFFERED"],
            settings: SettingsAs::None,
        }
    }
    fn on_port_taken(&self, _: &str, _: u16) -> Option<String> {
        None
    }
}

impl Gateway for Litellm {
    fn port(&self) -> u16 {
        4000
    }
    fn probe(&self, endpoint: &str, models: Vec<String>, authorization: Authorization) -> Probe {
        // A deployment that it could not make is missing from its list and from nothing else, so the list is the proof.
        // `/health` is never asked: it runs a completion on every deployment, and so loads every model. Without a
        // database it answers a key that it does not know with 400.
        let refused = Meaning::unhealthy(AnswerKind::Status(400), "the key is not accepted (400 from /v1/models)");
        let meanings = vec![refused.where_body_contains("No connected db")];
        Probe::Http(HttpProbe {
            endpoint: endpoint.to_owned(),
            checks: vec![HttpCheck::of("/health/readiness")],
            models: Some(OfferedModels { names: models, exactly: true, meanings }),
            authorization: Some(authorization),
        })
    }
    fn api(&self) -> GatewayApi {
        // Neither its cache nor a fallback may answer, and the model group that won must be the one asked for.
        let mut fields = Map::new();
        fields.insert("cache".to_owned(), json!({ "no-cache": true, "no-store": true }));
        fields.insert("disable_fallbacks".to_owned(), true.into());
        GatewayApi { fields, answered_by: "x-litellm-model-group".to_owned() }
    }
    fn config_name(&self) -> &'static str {
        "litellm.yaml"
    }
    fn master_key(&self) -> &'static str {
        MASTER_KEY
    }
    fn reference(&self) -> &'static str {
        REFERENCE
    }
    fn server(&self, server: &GatewayServer) -> Launch {
        let ((config, of_config), (port, of_port)) = (server.config.clone(), server.port.clone());
        let mut arguments = Command::default();
        arguments.option("--config", config.display(), of_config);
        arguments.option("--host", server.listen, None);
        arguments.option("--port", port, of_port);
        let fixed =
            [("LITELLM_MODE", "PRODUCTION"), ("LITELLM_LOCAL_MODEL_COST_MAP", "True"), ("PYTHONUNBUFFERED", "1")];
        let environment = fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Launch { arguments, environment, ..Launch::default() }
    }
    fn handoff(&self, server: &GatewayServer) -> Option<Handoff> {
        let (config, origin) = server.config.clone();
        let environment = BTreeMap::from([(CONFIG.to_owned(), (config.to_string_lossy().into_owned(), origin))]);
        Some(Handoff { launcher: GATEWAY_LAUNCHER, environment, drain: DRAIN })
    }
    fn settings(&self, given: &GatewaySettings<'_>) -> Map<String, Value> {
        let mut settings = json!({
            "litellm_settings": {},
            "router_settings": {},
            "general_settings": { "master_key": variable(MASTER_KEY) },
        });
        if let Some(cache) = &given.cache {
            settings["litellm_settings"]["cache"] = true.into();
            settings["litellm_settings"]["cache_params"] = cache_parameters(given.stack, cache);
        }
        let router = [
            ("num_retries", given.retries),
            ("allowed_fails", given.allowed_fails),
            ("cooldown_time", given.cooldown.map(Seconds::whole)),
        ];
        for (key, value) in router {
            if let Some(value) = value {
                settings["router_settings"][key] = value.into();
            }
        }
        merge(&mut settings, given.raw);
        let Value::Object(mut settings) = settings else { return Map::new() };
        // Routes are the manifest's models, and no settings.
        settings.shift_remove("model_list");
        settings.retain(|_, section| !section.as_object().is_some_and(Map::is_empty));
        settings
    }
    fn rendered_settings(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("/model_list", "models"),
            ("/litellm_settings/cache", "cache"),
            ("/litellm_settings/cache_params", "cache"),
            ("/router_settings/fallbacks", "models"),
            ("/litellm_settings/fallbacks", "models"),
            ("/general_settings/master_key", "gateway.master_key"),
            ("/router_settings/num_retries", "gateway.retries"),
            ("/router_settings/allowed_fails", "gateway.allowed_fails"),
            ("/router_settings/cooldown_time", "gateway.cooldown"),
        ]
    }
    fn raw_settings(&self) -> &'static str {
        "settings: {litellm_settings: {...}}"
    }
    fn relations(&self) -> Relations {
        &[
            ("router_settings", "fallbacks"),
            ("router_settings", "context_window_fallbacks"),
            ("router_settings", "content_policy_fallbacks"),
            ("litellm_settings", "fallbacks"),
            ("litellm_settings", "context_window_fallbacks"),
            ("litellm_settings", "content_policy_fallbacks"),
        ]
    }
    fn cache_settings(&self) -> &'static [(&'static str, &'static str)] {
        &[("litellm_settings", "cache"), ("litellm_settings", "cache_params")]
    }
    fn render(&self, stack: &str, routing: &Routing) -> String {
        let models: Vec<Value> = routing.routes.iter().map(|route| deployment(stack, route)).collect();
        let mut config = Map::from_iter([("model_list".to_owned(), Value::from(models))]);
        let related = routing.routes.iter().filter(|route| !route.fallbacks.is_empty());
        let fallbacks: Vec<Value> = related.map(|route| json!({ route.model.as_str(): route.fallbacks })).collect();
        let mut settings = routing.settings.clone();
        if !fallbacks.is_empty() {
            let mut router = Map::from_iter([("fallbacks".to_owned(), Value::from(fallbacks))]);
            if let Some(own) = settings.get("router_settings").and_then(Value::as_object) {
                let own = own.iter().filter(|(key, _)| *key != "fallbacks");
                router.extend(own.map(|(key, value)| (key.clone(), value.clone())));
            }
            settings.insert("router_settings".to_owned(), router.into());
        }
        for section in SECTIONS {
            config.extend(settings.shift_remove(section).map(|settings| (section.to_owned(), settings)));
        }
        config.extend(settings);
        yaml(&config.into())
    }
}

/// Returns a setting whose value is read from a variable.
fn variable(name: &str) -> String {
    format!("{REFERENCE}{name}")
}

fn cache_parameters(stack: &str, cache: &GatewayCache) -> Value {
    let mut parameters = match &cache.server {
        None => json!({ "type": cache.protocol }),
        Some(server) => {
            let (host, port) = (server.host.bare(), server.port.get());
            let mut parameters = json!({ "type": cache.protocol, "host": host, "port": port, "namespace": stack });
            if server.tls {
                parameters["ssl"] = true.into();
            }
            if let Some(database) = server.database {
                parameters["db"] = database.into();
            }
            if let Some(password) = cache.password {
                parameters["password"] = variable(password).into();
            }
            parameters
        }
    };
    if let Some(ttl) = cache.ttl {
        parameters["ttl"] = ttl.whole().into();
    }
    parameters["max_messages"] = MAX_MESSAGES.into();
    parameters
}

fn deployment(stack: &str, route: &Route) -> Value {
    // A key is required even where the server requires none.
    let key = route.key.as_ref().map_or_else(|| "none".to_owned(), |name| variable(name));
    let facts = json!({ "id": format!("{stack}/{}", route.model), "mode": route.mode.to_string() });
    json!({
        "model_name": route.model,
        "litellm_params": { "model": route.upstream, "api_base": route.address, "api_key": key },
        "model_info": facts,
    })
}

/// Adds raw settings; where both have a value, the rendered one stays.
fn merge(config: &mut Value, settings: &Value) {
    let (Value::Object(config), Value::Object(settings)) = (config, settings) else { return };
    for (key, value) in settings {
        match config.get_mut(key) {
            Some(known) => merge(known, value),
            None => {
                config.insert(key.clone(), value.clone());
            }
        }
    }
}
