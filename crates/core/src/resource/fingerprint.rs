//! Digests, and the fingerprint that rides on every live thing.
//!
//! A fingerprint is the digest of the named fields that a thing was asked for with. The fields themselves are kept in
//! the generation, so that a changed fingerprint can always be reported as the fields that changed.

use super::origin::Origin;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// The version of the rule that turns fields into a fingerprint. A fingerprint of another scheme is compared by its
/// fields and never by its digest, so that a new scheme recreates nothing.
pub const SCHEME: u32 = 1;

/// A SHA-256 digest, in 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not a sha256 in 64 hexadecimal digits"))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl Digest {
    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(hexadecimal(&Sha256::digest(bytes.as_ref())))
    }

    /// Returns the digest of a byte stream that was fed to `hasher`.
    #[must_use]
    pub fn finish(hasher: Hasher) -> Self {
        Self(hexadecimal(&hasher.0.finalize()))
    }

    /// Reads 64 hexadecimal digits in either case; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let whole = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        whole.then(|| Self(text.to_ascii_lowercase()))
    }

    /// Returns all 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first twelve digits: enough for a person or a file name.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A digest in the making, for what is too large to hold in memory.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Feeds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}

/// The value of one field. Two fields are equal when their values are: an origin says where a value comes from, and is
/// no part of what is rendered.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Field {
    /// The rendered value.
    pub value: String,
    /// The settings of the manifest that it comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Origin>,
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for Field {}

impl<T: Into<String>> From<T> for Field {
    fn from(value: T) -> Self {
        Self { value: value.into(), origins: Vec::new() }
    }
}

/// The desired state of a resource by the names of its fields, such as `--ctx-size` with `8192`. Never holds a secret:
/// a secret's field holds its keyed digest.
pub type Fields = BTreeMap<String, Field>;

/// The digest of a thing's fields, with the version of the scheme that made it; written `1:0123abcd…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint {
    /// The scheme's version.
    pub scheme: u32,
    /// The first 32 digits of the digest.
    pub digest: String,
}

impl Fingerprint {
    /// Returns the fingerprint of `fields` under the current scheme.
    #[must_use]
    pub fn of(fields: &Fields) -> Self {
        let mut hasher = Hasher::default();
        for (name, field) in fields {
            for part in [name, &field.value] {
                hasher.update(part.len().to_string().as_bytes());
                hasher.update(b":");
                hasher.update(part.as_bytes());
            }
        }
        let mut digest = Digest::finish(hasher).0;
        digest.truncate(32);
        Self { scheme: SCHEME, digest }
    }

    /// Reads `scheme:digest`; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, digest) = text.split_once(':')?;
        let whole = digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        whole.then_some(())?;
        Some(Self { scheme: scheme.parse().ok()?, digest: digest.to_owned() })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.digest)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a fingerprint")))
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, Fields, Fingerprint};
    use crate::resource::Origin;

    #[test]
    fn fields_cannot_be_confused() {
        let fields = |pairs: &[(&str, &str)]| -> Fields {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
        };
        let one = Fingerprint::of(&fields(&[("a", "b1:c")]));
        let two = Fingerprint::of(&fields(&[("a", "b"), ("c", "")]));
        assert_ne!(one, two);
        assert_eq!(Fingerprint::parse(&one.to_string()), Some(one));
    }

    #[test]
    fn origins_are_no_part_of_a_fingerprint() {
        let plain = Fields::from([("a".to_owned(), "b".into())]);
        let mut with_origin = plain.clone();
        let field = with_origin.get_mut("a").expect("a field");
        field.origins.push(Origin::new("models.a.context", 1));
        assert_eq!(plain, with_origin);
        assert_eq!(Fingerprint::of(&plain), Fingerprint::of(&with_origin));
    }

    #[test]
    fn digests_read_in_either_case() {
        let digest = Digest::of("abc");
        assert_eq!(digest.as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Digest::parse(&digest.as_str().to_uppercase()), Some(digest));
        assert_eq!(Digest::parse("ba78"), None);
    }
}
