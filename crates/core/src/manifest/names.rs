//! Names and words of a manifest that a program, a file system or a protocol must be able to take.

use crate::resource::{Digest, GpuDevice, ImageName, Volume};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

/// Declares how a type that is written as one text is decoded and described.
macro_rules! written {
    ($name:ty, $schema:literal, $inline:literal, $json:tt) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $schema.into()
            }

            fn inline_schema() -> bool {
                $inline
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($json)
            }
        }
    };
}

/// Declares a type of texts that fulfil a condition.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $parse:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $parse(text).map(|text| Self(text.to_owned()))
            }
        }

        written!($name, "Text", true, { "type": "string" });
    };
}

text! {
    /// The name of a unit without its ending `.service`.
    UnitName, unit
}

text! {
    /// The name of a container.
    ContainerName, container
}

text! {
    /// A path as it is written: `~` is the home, and what is relative is relative to the manifest.
    PathText, path
}

text! {
    /// One word of a command that is no option.
    Word, word
}

text! {
    /// The path of a request.
    HttpPath, http_path
}

/// A container image as it is written, with its full name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    written: String,
    /// The full name.
    pub name: ImageName,
}

/// A SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sha256(pub Digest);

written!(Image, "Image", true, { "type": "string" });
written!(Sha256, "Sha256", true, { "type": "string", "pattern": "^[0-9a-fA-F]{64}$" });
written!(GpuDevice, "GpuChoice", false, { "type": ["integer", "string"], "examples": [0, "GPU-1b2c"] });
written!(Volume, "Volume", true, { "type": "string" });

impl FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ImageName::parse(text).map(|name| Self { written: text.to_owned(), name })
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl FromStr for Sha256 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = "a SHA-256 digest has 64 hexadecimal digits\n`sha256sum FILE` prints it";
        Digest::parse(text).map(Self).ok_or(invalid)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn unit(text: &str) -> Result<&str, String> {
    let name = text.strip_suffix(".service").unwrap_or(text);
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.@".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(letters) {
        return Err(format!("`{text}` is not a valid unit name\nuse letters, digits and `-`, `_`, `.`, `:`, `@`"));
    }
    if name.starts_with('@') || name.ends_with('@') {
        return Err(format!("`{text}` is a template, which cannot be started\nwrite `NAME@INSTANCE`, or remove `@`"));
    }
    Ok(name)
}

fn container(text: &str) -> Result<&str, String> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let valid = text.len() > 1 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(letters);
    let hint = "use letters, digits and `-`, `_`, `.`, two at least, a letter or digit first";
    if valid { Ok(text) } else { Err(format!("`{text}` is not a valid container name\n{hint}")) }
}

fn path(text: &str) -> Result<&str, String> {
    match text.chars().find(|c| c.is_control()) {
        _ if text.is_empty() => Err("the path is empty".to_owned()),
        Some(c) => Err(format!("a path cannot hold the character U+{:04X}", u32::from(c))),
        None => Ok(text),
    }
}

fn word(text: &str) -> Result<&str, String> {
    let valid =
        !text.is_empty() && !text.starts_with('-') && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if valid { Ok(text) } else { Err(format!("`{}` is not one word", text.escape_debug())) }
}

fn http_path(text: &str) -> Result<&str, String> {
    let valid = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let hint = "write it as a request has it, such as `/health`";
    if valid { Ok(text) } else { Err(format!("`{}` is not the path of a request\n{hint}", text.escape_debug())) }
}

/// Returns whether a text is a valid stack name, which is also a folder name and a prefix of unit names.
#[must_use]
pub fn is_stack_name(text: &str) -> bool {
    let letters = text.len() <= 32 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    letters && text.starts_with(|c: char| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::{ContainerName, HttpPath, UnitName, Word};

    #[test]
    fn names_are_those_that_their_programs_take() {
        let unit = |text: &str| text.parse::<UnitName>().ok().map(|name| name.to_string());
        assert_eq!(unit("a.service"), Some("a".to_owned()));
        assert_eq!(unit("a@b"), Some("a@b".to_owned()));
        for text in ["", ".service", "a@", "a@.service", "@a", "a b", "a/b", ".a"] {
            assert_eq!(unit(text), None, "{text}");
        }
        for text in ["", "a", "-a", "a b", "a/b"] {
            assert!(text.parse::<ContainerName>().is_err(), "{text}");
        }
        assert!("ab_c.d-e".parse::<ContainerName>().is_ok());
        for text in ["", "-x", "a b", "a\0"] {
            assert!(text.parse::<Word>().is_err(), "{text}");
        }
        for text in ["", "health", "/a b", "/a#b", "/é"] {
            assert!(text.parse::<HttpPath>().is_err(), "{text}");
        }
        assert!("/health?deep=1".parse::<HttpPath>().is_ok());
    }
}
