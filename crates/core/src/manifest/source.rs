//! The source of a model: one parser and one text form for every engine. Which of the forms an engine can serve is
//! checked elsewhere.

use super::values::SECRET_IN_CLEAR;
use crate::resource::{Endpoint, NotAnAddress, OllamaName};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The forms of a source, for hints.
const FORMS: &str = "write `hf:org/repository/file@revision`, `https:…`, `file:PATH`, `{command: [...]}` or a name";

/// The placeholder in a command for the path that it writes.
pub const COMMAND_PATH: &str = "{path}";

/// The source of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A name that the model's server knows.
    Name(String),
    /// A path without a scheme, which begins with `/`, `.`, `~` or `$`.
    Path(String),
    /// The path behind `file:`.
    File(String),
    /// A download.
    Url(DownloadUrl),
    /// A repository of the model hub, or a file in one.
    Hub(HubSource),
    /// A command that makes the file; `{path}` in it is replaced by the path.
    Command(Vec<String>),
}

/// The address of a download, whose path ends in the name of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadUrl(String);

/// `org/repository[/file][@revision]` on the model hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSource {
    /// The user or organization.
    pub organization: String,
    /// The repository's own name.
    pub repository: String,
    /// The path of a file in it; without one the whole repository.
    pub file: Option<String>,
    /// The branch, tag or commit.
    pub revision: Option<String>,
}

impl HubSource {
    /// Returns `organization/repository`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.organization, self.repository)
    }
}

impl DownloadUrl {
    /// Returns the address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the file that the path ends in.
    #[must_use]
    pub fn file_name(&self) -> &str {
        file_name(&self.0)
    }
}

/// Returns the last part of an address's path.
#[must_use]
pub fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

impl Source {
    /// Returns the name by which Ollama pulls it; the error explains why it cannot.
    pub fn ollama_name(&self) -> Result<OllamaName, String> {
        let cannot = |why: String| format!("Ollama cannot pull `{self}`: {why}");
        match self {
            Self::Name(_) | Self::Path(_) | Self::Url(_) => OllamaName::parse(&self.to_string()).map_err(cannot),
            Self::Hub(hub) => Err(cannot(format!("write `hf.co/{}:QUANTIZATION`", hub.name()))),
            Self::File(_) => Err(cannot("it pulls from a registry".to_owned())),
            Self::Command(_) => Err("Ollama cannot pull what a command makes".to_owned()),
        }
    }
}

impl fmt::Display for DownloadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HubSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}/{}", self.organization, self.repository)?;
        self.file.iter().try_for_each(|file| write!(f, "/{file}"))?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Path(text) => f.write_str(text),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Url(url) => url.fmt(f),
            Self::Hub(hub) => hub.fmt(f),
            Self::Command(words) => f.write_str(&words.join(" ")),
        }
    }
}

impl FromStr for HubSource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix("hf:").ok_or("it does not begin with `hf:`")?;
        let (path, revision) = text.split_once('@').map_or((text, None), |(path, revision)| (path, Some(revision)));
        let parts: Vec<&str> = path.split('/').collect();
        let [organization, repository, file @ ..] = parts.as_slice() else { return Err("it names no repository") };
        if organization.is_empty() || repository.is_empty() {
            return Err("it names no repository");
        }
        if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Err("a path in a repository has no empty part, no `.` and no `..`");
        }
        if revision.is_some_and(str::is_empty) {
            return Err("no revision follows `@`");
        }
        Ok(Self {
            organization: (*organization).to_owned(),
            repository: (*repository).to_owned(),
            file: (!file.is_empty()).then(|| file.join("/")),
            revision: revision.map(str::to_owned),
        })
    }
}

impl FromStr for DownloadUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (_, rest) = Endpoint::split(text).map_err(|why| match why {
            NotAnAddress::HasSecret => SECRET_IN_CLEAR.to_owned(),
            why @ NotAnAddress::Malformed(_) => why.to_string(),
        })?;
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        if path.split('/').any(|part| matches!(part, "." | "..")) {
            return Err("its path has a part `.` or `..`".to_owned());
        }
        if path.rsplit('/').next().is_none_or(str::is_empty) {
            return Err("its path ends in no file's name".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |why: &str| {
            if why == SECRET_IN_CLEAR {
                return format!("{why}\na download takes no user and no password");
            }
            format!("`{}` is not a source: {why}\n{FORMS}", text.escape_debug())
        };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(invalid("it has a control character"));
        }
        if let Some(path) = text.strip_prefix("file:") {
            // `file:///path` is the same as `file:/path`.
            let path = path.strip_prefix("//").unwrap_or(path);
            let root = if path.starts_with('/') { "/" } else { "" };
            let path = format!("{root}{}", path.trim_start_matches('/'));
            return if path == root { Err(invalid("it names no file")) } else { Ok(Self::File(path)) };
        }
        if text.starts_with("hf:") {
            return text.parse().map(Self::Hub).map_err(invalid);
        }
        if text.starts_with("http:") || text.starts_with("https:") {
            return text.parse().map(Self::Url).map_err(|why: String| invalid(&why));
        }
        let is_path = text.starts_with(['/', '.', '~', '$']);
        Ok(if is_path { Self::Path(text.to_owned()) } else { Self::Name(text.to_owned()) })
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SourceVisitor;
        impl<'de> Visitor<'de> for SourceVisitor {
            type Value = Source;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a source such as `hf:org/repository/file`, or `{command: [...]}`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Source, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Source, A::Error> {
                let mut command: Option<Vec<String>> = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != "command" {
                        let message = format!("`{key}` does not fit here\nthe one key here is `command`");
                        return Err(de::Error::custom(message));
                    }
                    command = Some(map.next_value()?);
                }
                let words = command.ok_or_else(|| de::Error::custom("`command` is missing"))?;
                if words.is_empty() {
                    return Err(de::Error::custom("the command is empty"));
                }
                if !words.iter().any(|word| word.contains(COMMAND_PATH)) {
                    let hint = "`{path}` is replaced by the path of the file that it must write";
                    return Err(de::Error::custom(format!("the command does not contain `{{path}}`\n{hint}")));
                }
                Ok(Source::Command(words))
            }
        }
        deserializer.deserialize_any(SourceVisitor)
    }
}

impl JsonSchema for Source {
    fn schema_name() -> Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The source of a model.",
            "oneOf": [
                { "type": "string", "examples": ["hf:Qwen/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf", "file:~/models/a.gguf"] },
                {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["command"],
                    "properties": { "command": { "type": "array", "items": { "type": "string" }, "minItems": 1 } }
                }
            ]
        })
    }
}
