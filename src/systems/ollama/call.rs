//! A call of Ollama's API, as data.

use crate::resource::OllamaName;
use crate::systems::http::Method;
use serde_json::Value;

/// A call of the API.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) body: Option<&'a Value>,
    /// The model that does not exist if the answer is 404.
    pub(super) name: Option<&'a OllamaName>,
}

impl<'a> Call<'a> {
    /// Returns a query.
    pub(super) const fn get(path: &'a str) -> Self {
        Self { method: Method::Get, path, body: None, name: None }
    }

    /// Returns a call about a model.
    pub(super) const fn post(path: &'a str, body: &'a Value, name: &'a OllamaName) -> Self {
        Self { method: Method::Post, path, body: Some(body), name: Some(name) }
    }

    /// Returns a call that removes a model.
    pub(super) const fn delete(path: &'a str, body: &'a Value, name: &'a OllamaName) -> Self {
        Self { method: Method::Delete, path, body: Some(body), name: Some(name) }
    }
}
