//! Texts that refer to other parts of the stack, such as `${gateway.url}`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A text with references. `$${` stands for `${`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template(Vec<TemplatePiece>);

/// A piece of a text with references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePiece {
    /// Literal text.
    Text(String),
    /// The address of a part of the stack: `${PART.url}`.
    Address(Part),
}

/// A part of the stack that has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The gateway.
    Gateway,
    /// The cache.
    Cache,
    /// A provider.
    Provider(String),
    /// The server of a model.
    Model(String),
    /// A service.
    Service(String),
}

impl Template {
    /// Returns the pieces in their order.
    #[must_use]
    pub fn pieces(&self) -> &[TemplatePiece] {
        &self.0
    }

    /// Returns whether the text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(TemplatePiece::Text(last)) => last.push_str(text),
            _ => self.0.push(TemplatePiece::Text(text.to_owned())),
        }
    }
}

impl FromStr for Part {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let named = |name: &str| if name.is_empty() { Err(()) } else { Ok(name.to_owned()) };
        match text.split_once('.') {
            None if text == "gateway" => Ok(Self::Gateway),
            None if text == "cache" => Ok(Self::Cache),
            Some(("providers", name)) => named(name).map(Self::Provider),
            Some(("models", name)) => named(name).map(Self::Model),
            Some(("services", name)) => named(name).map(Self::Service),
            _ => Err(()),
        }
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut template = Self::default();
        let mut rest = text;
        while let Some(start) = rest.find('$') {
            let (before, after) = rest.split_at(start);
            template.push(before);
            if let Some(escaped) = after.strip_prefix("$${") {
                template.push("${");
                rest = escaped;
            } else if let Some((name, more)) = after.strip_prefix("${").and_then(|inner| inner.split_once('}')) {
                let part = name.strip_suffix(".url").and_then(|part| part.parse().ok()).ok_or_else(|| {
                    format!(
                        "`${{{name}}}` is not a reference\nwrite `${{gateway.url}}`, `${{cache.url}}`, or the same with \
                         `providers.NAME`, `models.NAME` or `services.NAME`; `$${{` stands for `${{`"
                    )
                })?;
                template.0.push(TemplatePiece::Address(part));
                rest = more;
            } else {
                template.push("$");
                rest = &after[1..];
            }
        }
        template.push(rest);
        Ok(template)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway => f.write_str("gateway"),
            Self::Cache => f.write_str("cache"),
            Self::Provider(name) => write!(f, "providers.{name}"),
            Self::Model(name) => write!(f, "models.{name}"),
            Self::Service(name) => write!(f, "services.{name}"),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            TemplatePiece::Text(text) => f.write_str(&text.replace("${", "$${")),
            TemplatePiece::Address(part) => write!(f, "${{{part}.url}}"),
        })
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}
