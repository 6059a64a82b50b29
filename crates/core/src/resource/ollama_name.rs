//! Ollama's model names: `host/namespace/model:tag`, with Ollama's defaults filled in.
//!
//! The rules are those of Ollama's `types/model/name.go`. The existence of a model is not checked here.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

const HOST: &str = "registry.ollama.ai";
const NAMESPACE: &str = "library";
const TAG: &str = "latest";
const LONGEST_HOST: usize = 350;
const LONGEST_PART: usize = 80;

/// A full model name. Names that differ only in case denote the same model in Ollama, and so are equal here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OllamaName {
    host: String,
    namespace: String,
    model: String,
    tag: String,
}

impl OllamaName {
    /// Parses a name as users write it, such as `llama3.1:8b` or `hf.co/user/repository:Q4_K_M`; the error explains
    /// why it is invalid.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            return Err(format!("`{text}` names a digest, but Ollama pulls by tag only; pin it in the lock file"));
        }
        // A colon before the last slash belongs to the host's port.
        let (path, tag) = match text.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (text, TAG),
        };
        let (path, host) = match path.split_once("://") {
            Some(("https", path)) => (path, true),
            Some(("http", path)) => {
                return Err(format!("write `{path}:{tag}` without `http://`, and set `insecure: true`"));
            }
            Some((scheme, _)) => return Err(format!("`{scheme}://` is not the address of an Ollama registry")),
            None => (path, false),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let (host, namespace, model) = match *parts.as_slice() {
            [model] if !host => (HOST, NAMESPACE, model),
            [namespace, model] if !host => (HOST, namespace, model),
            [host, namespace, model] => (host, namespace, model),
            _ => {
                return Err(format!(
                    "`{text}` is not a model's name, such as `llama3.1:8b` or `host/namespace/model:tag`"
                ));
            }
        };
        let parts = [(Part::Host, host), (Part::Namespace, namespace), (Part::Model, model), (Part::Tag, tag)];
        if let Some((part, live)) = parts.into_iter().find(|(part, live)| !part.allows(live)) {
            return Err(format!("`{live}` cannot be the {part} in `{text}`"));
        }
        let selector = tag.to_ascii_lowercase();
        if selector == "cloud" || selector.ends_with("-cloud") {
            return Err(format!("`{text}` runs on Ollama's cloud, not on this machine"));
        }
        if selector == "local" {
            return Err(format!("Ollama treats `:local` in `{text}` as a choice of source, not as a tag"));
        }
        let [host, namespace, model, tag] = [host, namespace, model, tag].map(str::to_owned);
        Ok(Self { host, namespace, model, tag })
    }

    /// Returns the registry's host, with its port where it has one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the model's own name.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Returns the tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Returns the same model under another tag; the error explains why the tag is invalid.
    pub fn with_tag(&self, tag: &str) -> Result<Self, String> {
        Self::parse(&format!("{}/{}/{}:{tag}", self.host, self.namespace, self.model))
    }

    /// Returns the command by which a user removes the model from its server.
    #[must_use]
    pub fn removal(name: impl std::fmt::Display) -> String {
        format!("ollama rm {name}")
    }

    /// Returns the key of its pin in a lock file.
    #[must_use]
    pub fn pin_key(&self) -> String {
        format!("ollama:{}", self.shortest())
    }

    /// Returns the name as Ollama shows it: without default parts, and always with the tag.
    #[must_use]
    pub fn shortest(&self) -> String {
        let Self { host, namespace, model, tag } = self;
        if !host.eq_ignore_ascii_case(HOST) {
            format!("{host}/{namespace}/{model}:{tag}")
        } else if !namespace.eq_ignore_ascii_case(NAMESPACE) {
            format!("{namespace}/{model}:{tag}")
        } else {
            format!("{model}:{tag}")
        }
    }

    /// Returns the name with all of its parts.
    #[must_use]
    pub fn full(&self) -> String {
        let Self { host, namespace, model, tag } = self;
        format!("{host}/{namespace}/{model}:{tag}")
    }

    /// Returns the address of its manifest at its registry; over plain HTTP if `insecure`.
    #[must_use]
    pub fn registry_url(&self, insecure: bool) -> String {
        let Self { host, namespace, model, tag } = self;
        let scheme = if insecure { "http" } else { "https" };
        format!("{scheme}://{host}/v2/{namespace}/{model}/manifests/{tag}")
    }

    fn parts(&self) -> [&str; 4] {
        [&self.host, &self.namespace, &self.model, &self.tag]
    }

    fn folded(&self) -> [String; 4] {
        self.parts().map(str::to_ascii_lowercase)
    }
}

impl PartialEq for OllamaName {
    fn eq(&self, other: &Self) -> bool {
        self.parts().iter().zip(other.parts()).all(|(one, other)| one.eq_ignore_ascii_case(other))
    }
}

impl Eq for OllamaName {}

impl PartialOrd for OllamaName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OllamaName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(&other.folded())
    }
}

impl Hash for OllamaName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl fmt::Display for OllamaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.shortest())
    }
}

impl FromStr for OllamaName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for OllamaName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<OllamaName> for String {
    fn from(name: OllamaName) -> Self {
        name.shortest()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Host,
    Namespace,
    Model,
    Tag,
}

impl Part {
    fn allows(self, text: &str) -> bool {
        let longest = if self == Self::Host { LONGEST_HOST } else { LONGEST_PART };
        let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        text.len() <= longest
            && text.bytes().next().is_some_and(first)
            && text.bytes().all(|byte| match byte {
                b'-' => true,
                b'.' => self != Self::Namespace,
                b':' => self == Self::Host,
                byte => first(byte),
            })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Namespace => "namespace",
            Self::Model => "model",
            Self::Tag => "tag",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::OllamaName;
    use proptest::prelude::*;

    fn name(text: &str) -> OllamaName {
        OllamaName::parse(text).unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn defaults_are_filled_in_and_left_out_again() {
        for (text, full, shortest) in [
            ("llama3.1:8b", "registry.ollama.ai/library/llama3.1:8b", "llama3.1:8b"),
            ("qwen3", "registry.ollama.ai/library/qwen3:latest", "qwen3:latest"),
            ("Library/qwen3", "registry.ollama.ai/Library/qwen3:latest", "qwen3:latest"),
            ("me/qwen3:x", "registry.ollama.ai/me/qwen3:x", "me/qwen3:x"),
            ("localhost:5000/ns/m:t", "localhost:5000/ns/m:t", "localhost:5000/ns/m:t"),
            ("https://localhost:5000/ns/m", "localhost:5000/ns/m:latest", "localhost:5000/ns/m:latest"),
            ("hf.co/user/Repo-GGUF:Q4_K_M", "hf.co/user/Repo-GGUF:Q4_K_M", "hf.co/user/Repo-GGUF:Q4_K_M"),
        ] {
            assert_eq!((name(text).full().as_str(), name(text).shortest().as_str()), (full, shortest), "{text}");
        }
        assert_eq!(name("m:t").registry_url(false), "https://registry.ollama.ai/v2/library/m/manifests/t");
        assert_eq!(name("h:5/n/m:t").registry_url(true), "http://h:5/v2/n/m/manifests/t");
        assert_eq!(name("n/m:t").with_tag("backup"), Ok(name("n/m:backup")));
    }

    #[test]
    fn names_that_ollama_rejects_are_errors_with_a_reason() {
        for (text, why) in [
            ("m@sha256:0123", "pulls by tag only"),
            ("gpt-oss:120b-cloud", "cloud"),
            ("kimi:Cloud", "cloud"),
            ("m:local", "choice of source"),
            ("http://localhost:5000/n/m:t", "insecure: true"),
            ("ftp://h/n/m", "`ftp://` is not the address"),
            ("a/b/c/d", "not a model's name"),
            ("localhost:5000/m", "cannot be the namespace"),
            ("", "cannot be the model"),
            ("m:", "cannot be the tag"),
            ("-m", "cannot be the model"),
            ("n.s/m", "cannot be the namespace"),
            ("m x", "cannot be the model"),
            ("n/é", "cannot be the model"),
            ("../../etc", "cannot be the host"),
            ("https://m", "not a model's name"),
        ] {
            let error = OllamaName::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(OllamaName::parse(&"m".repeat(81)).is_err() && OllamaName::parse(&"m".repeat(80)).is_ok());
    }

    proptest! {
        #[test]
        fn a_name_reads_back_in_every_spelling(
            host in "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}(:[0-9]{1,5})?",
            namespace in "[a-zA-Z0-9_][a-zA-Z0-9_-]{0,20}",
            model in "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}",
            tag in "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}",
            depth in 0_usize..3,
        ) {
            let parts = [host, namespace, model];
            let written = format!("{}:{tag}", parts[depth..].join("/"));
            let Ok(name) = OllamaName::parse(&written) else {
                let tag = tag.to_ascii_lowercase();
                prop_assert!(tag == "local" || tag == "cloud" || tag.ends_with("-cloud"), "{}", written);
                return Ok(());
            };
            for spelling in [name.full(), name.shortest(), written.to_ascii_uppercase()] {
                let again = OllamaName::parse(&spelling).expect("a name");
                prop_assert_eq!(&again, &name);
                prop_assert_eq!(again.cmp(&name), std::cmp::Ordering::Equal);
            }
            let json = serde_json::to_string(&name).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<OllamaName>(&json).expect("a name"), name);
        }

        #[test]
        fn no_text_makes_the_parser_panic_or_escape_its_address(text in "\\PC{0,40}") {
            if let Ok(name) = OllamaName::parse(&text) {
                let url = name.registry_url(false);
                prop_assert_eq!(url.matches('/').count(), 7);
                prop_assert!(!url.contains(['?', '#', '%', '@']) && !url.contains("/../"));
            }
        }
    }
}
