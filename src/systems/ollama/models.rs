//! Models as Ollama speaks of them: those that it has, those in memory, and those to be made.

use crate::resource::{Bytes, Digest, OllamaName};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A model that Ollama has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub name: OllamaName,
    /// The digest of its manifest: the registry's, where it was pulled and not made here.
    pub digest: Digest,
    /// All of its layers; on disk it may be less, because names share layers.
    pub size: Bytes,
}

/// A model that Ollama holds in memory, or is loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name under which it was loaded. Another name of the same weights does not appear.
    pub name: OllamaName,
    /// The digest of its manifest when it was loaded.
    pub digest: Digest,
    /// What it takes, all told.
    pub size: Bytes,
    /// What of that is on GPUs.
    pub size_vram: Bytes,
    /// The context that it was loaded with, where Ollama tells.
    pub context_length: Option<u64>,
    /// Whether it stays until memory runs short.
    pub pinned: bool,
    /// When it is unloaded if nobody asks for it before, in Ollama's own notation.
    pub expires_at: Option<String>,
}

/// What Ollama says about one model.
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
    /// What it can do, such as `completion` or `embedding`; empty where Ollama is too old to tell.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub capabilities: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    model_info: Map<String, Value>,
}

impl Description {
    /// Returns whether it makes embeddings, and no text.
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

/// A model made from one that is there: the same weights, other settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// Its name.
    pub name: OllamaName,
    /// The model that it is made from.
    pub from: OllamaName,
    /// What is set, such as `num_ctx` to 8192.
    pub parameters: Map<String, Value>,
    /// The prompt template, where it is another.
    pub template: Option<String>,
    /// The system prompt, where it is another.
    pub system: Option<String>,
}

/// How long a model stays in memory after its last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// Until memory runs short.
    Forever,
    /// As long as the server's settings say.
    Default,
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
    /// Returns it as a model that Ollama has, unless its name is one that no model of this machine can have.
    pub(super) fn tag(self) -> Option<Tag> {
        let (name, digest) = self.known()?;
        Some(Tag { name, digest, size: self.size })
    }

    /// Returns it as a model in memory, under the same condition.
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

/// Returns whether a time is so far away that it means never: Ollama adds 292 years for a model that stays.
fn is_never(time: &str) -> bool {
    time.get(..4).and_then(|year| year.parse::<u16>().ok()).is_some_and(|year| year >= 2200)
}

pub(super) fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
