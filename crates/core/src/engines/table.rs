//! The tables of the engines. Each engine has one line here.

use super::engine::{Cache, Engine, Gateway, Provider};
use super::server::Reading;
use super::{litellm, llama_cpp, llama_cpp_python, memory, ollama, openai, redis, vllm};

/// The engines that offer models.
pub static PROVIDERS: &[&dyn Provider] =
    &[&ollama::Ollama, &llama_cpp::LlamaCpp, &llama_cpp_python::LlamaCppPython, &vllm::Vllm, &openai::Openai];

/// The engines that keep answers.
pub static CACHES: &[&dyn Cache] = &[&redis::Redis, &memory::Memory];

/// The engines that clients talk to.
pub static GATEWAYS: &[&dyn Gateway] = &[&litellm::Litellm];

/// Returns the engine of a name, whatever its role.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Engine> {
    all().find(|engine| engine.name() == name)
}

/// Returns the values that servers of an engine report of themselves.
#[must_use]
pub fn readings(name: &str) -> &'static [Reading] {
    PROVIDERS.iter().find(|engine| engine.name() == name).map(|engine| engine.readings()).unwrap_or_default()
}

/// Returns the gateway of a name.
#[must_use]
pub fn gateway(name: &str) -> Option<&'static dyn Gateway> {
    GATEWAYS.iter().copied().find(|engine| engine.name() == name)
}

/// Returns every engine.
pub fn all() -> impl Iterator<Item = &'static dyn Engine> {
    let providers = PROVIDERS.iter().map(|engine| *engine as &dyn Engine);
    let caches = CACHES.iter().map(|engine| *engine as &dyn Engine);
    let gateways = GATEWAYS.iter().map(|engine| *engine as &dyn Engine);
    providers.chain(caches).chain(gateways)
}

#[cfg(test)]
mod tests {
    use super::{Engine, all, find};
    use std::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_lead_to_their_engines() {
        let names: BTreeSet<&str> = all().map(Engine::name).collect();
        assert_eq!(names.len(), all().count());
        for engine in all() {
            assert_eq!(find(engine.name()).map(Engine::title), Some(engine.title()));
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(engine.name().chars().all(plain), "{}", engine.name());
        }
        assert!(find("triton").is_none());
    }
}
