//! What each engine is, in a file of its own: its command, its files, its questions, and how the gateway reaches it.

pub(super) mod litellm;
pub(super) mod llama_cpp;
pub(super) mod ollama;
pub(super) mod redis;
pub(super) mod service;

/// How the gateway reaches a model.
pub(super) struct Route {
    /// The name by which clients ask for it.
    pub(super) name: String,
    /// `LiteLLM`'s name for it: a prefix that says how to talk, and the server's own name.
    pub(super) model: String,
    /// The server's address.
    pub(super) api_base: String,
    /// The environment variable with its key, and where the key is found.
    pub(super) api_key: Option<(String, crate::manifest::SecretSource)>,
    /// What it is for.
    pub(super) mode: crate::manifest::Mode,
    /// The models that answer in its place when it cannot.
    pub(super) fallbacks: Vec<String>,
}
