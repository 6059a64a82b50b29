//! Models as Ollama reports them: present, loaded, and to be created.

use crate::resource::{Bytes, Digest, OllamaName};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A model that is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub name: OllamaName,
    /// The digest of its manifest; the registry's digest if it was pulled rather than created here.
    pub digest: Digest,
    /// The size of all its layers; it may take less on disk, because names share layers.
    pub size: Bytes,
}

/// A model that is loaded or loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name under which it was loaded. Another name of the same weights does not appear.
    pub name: OllamaName,
    /// The digest of its manifest when it was loaded.
    pub digest: Digest,
    /// Its total memory.
    pub size: Bytes,
    /// The share of it on GPUs.
    pub size_vram: Bytes,
    /// The context length it was loaded with, where Ollama reports it.
    pub context_length: Option<u64>,
    /// True if it stays loaded until memory runs short.
    pub pinned: bool,
    /// The time at which it is unloaded unless it gets a request before, in Ollama's own notation.
    pub expires_at: Option<String>,
}

/// Ollama's description of one model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Description {
    /// Its parameters, as lines of a Modelfile.
    #[serde(default)]
    pub parameters: String,
    /// Its prompt template.
    #[serde(default)]
    pub template: String,
    /// Its system prompt.
    #[serde(default)]
    pub system: String,
    /// Its capabilities, such as `completion` or `embedding`; empty where Ollama is too old to report them.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub capabilities: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    model_info: Map<String, Value>,
}

impl Description {
    /// Returns whether it makes embeddings and no text.
    #[must_use]
    pub fn is_embedding(&self) -> bool {
        let can = |what: &str| self.capabilities.iter().any(|capability| capability == what);
        can("embedding") && !can("completion")
    }

    /// Returns the longest context that it was trained for.
    #[must_use]
    pub fn context_length(&self) -> Option<u64> {
        self.model_info.iter().find_map(|(key, value)| value.as_u64().filter(|_| key.ends_with(".context_length")))
    }
}

/// A model derived from an existing one: the same weights, other settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// Its name.
    pub name: OllamaName,
    /// The model it is derived from.
    pub from: OllamaName,
    /// The parameters set, such as `num_ctx` to 8192.
    pub parameters: Map<String, Value>,
    /// The prompt template, where it differs.
    pub template: Option<String>,
    /// The system prompt, where it differs.
    pub system: Option<String>,
}

/// The time a model stays loaded after its last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// Until memory runs short.
    Forever,
    /// As set in the server's configuration.
    Default,
}

/// A model to be loaded.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// Its name.
    pub name: &'a OllamaName,
    /// The time that it stays.
    pub keep_alive: KeepAlive,
    /// True if it embeds: such a model has another endpoint than one that writes.
    pub embedding: bool,
}

/// A model as `/api/tags` and `/api/ps` list it.
#[derive(Deserialize)]
pub(super) struct Listed {
    name: String,
    digest: String,
    size: Bytes,
    #[serde(default)]
    size_vram: Bytes,
    context_length: Option<u64>,
    expires_at: Option<String>,
}

impl Listed {
    /// Returns it as a model that is present, unless its name is impossible for a local model.
    pub(super) fn tag(self) -> Option<Tag> {
        let (name, digest) = self.known()?;
        Some(Tag { name, digest, size: self.size })
    }

    /// Returns it as a loaded model, under the same condition.
    pub(super) fn loaded(self) -> Option<Loaded> {
        let (name, digest) = self.known()?;
        let pinned = self.expires_at.as_deref().is_some_and(is_never);
        Some(Loaded {
            name,
            digest,
            size: self.size,
            size_vram: self.size_vram,
            context_length: self.context_length.filter(|length| *length > 0),
            pinned,
            expires_at: self.expires_at.filter(|_| !pinned),
        })
    }

    fn known(&self) -> Option<(OllamaName, Digest)> {
        Some((OllamaName::parse(&self.name).ok()?, Digest::parse(&self.digest)?))
    }
}

/// Returns whether a time stands for never: Ollama adds 292 years for a model that stays.
fn is_never(time: &str) -> bool {
    time.get(..4).and_then(|year| year.parse::<u16>().ok()).is_some_and(|year| year >= 2200)
}

pub(super) fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
