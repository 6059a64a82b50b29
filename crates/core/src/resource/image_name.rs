//! Names of container images: `registry/repository:tag@sha256:…`, with Docker's defaults filled in.
//!
//! The rules are those of the `distribution/reference` package. The existence of an image is not checked here.

use super::fingerprint::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const REGISTRY: &str = "docker.io";
const OLD_REGISTRY: &str = "index.docker.io";
const NAMESPACE: &str = "library";
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// A full image name, with a tag, a digest or both: without either Docker would pull every tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageName {
    /// Parses a name as users write it, such as `redis:7` or `ghcr.io/user/image@sha256:…`; the error explains why it
    /// is invalid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let hexadecimal = digest.strip_prefix("sha256:").and_then(Digest::parse);
                let bad = || format!("`{digest}` in `{text}` is not a digest, such as `sha256:` and 64 digits");
                (rest, Some(hexadecimal.ok_or_else(bad)?))
            }
        };
        // A colon before the last slash belongs to the registry's port.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => (REGISTRY, path),
        };
        let registry = if registry == OLD_REGISTRY { REGISTRY } else { registry };
        let is_official = registry == REGISTRY && !repository.contains('/');
        let repository = if is_official { format!("{NAMESPACE}/{repository}") } else { repository.to_owned() };
        if !allows_registry(registry) {
            return Err(format!("`{registry}` cannot be the registry in `{text}`"));
        }
        let whole = registry.len() + 1 + repository.len();
        if whole > LONGEST_NAME || !repository.split('/').all(allows_part) {
            let hint = if repository.chars().any(char::is_uppercase) { ": it must be in lower case" } else { "" };
            return Err(format!("`{path}` is not an image's name, such as `redis` or `ghcr.io/user/image`{hint}"));
        }
        if let Some(tag) = tag.filter(|tag| !allows_tag(tag)) {
            return Err(format!("`{tag}` cannot be the tag in `{text}`"));
        }
        if tag.is_none() && digest.is_none() {
            return Err(format!("`{text}` names no version: add a tag, such as `{text}:1.2`, or a digest"));
        }
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }

    /// Returns the registry's host, with its port where it has one.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository within the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest it is pinned to.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the same repository at a digest, without a tag.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@sha256:{digest}")).unwrap_or_default();
        f.pad(&format!("{}/{}{tag}{digest}", self.registry, self.repository))
    }
}

impl FromStr for ImageName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for ImageName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> Self {
        name.to_string()
    }
}

/// Returns whether the first part of a path is a registry; otherwise the image is on Docker Hub.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.chars().any(char::is_uppercase)
}

fn allows_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_label = |label: &str| {
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        edge(label.bytes().next())
            && edge(label.bytes().last())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_address =
        |address: &str| !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => is_address(address),
        None => host.split('.').all(is_label),
    };
    is_host && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns whether a part of a repository is words of lower-case letters and digits, separated by `.`, `_`, `__` or
/// dashes.
fn allows_part(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_well = part.bytes().next().is_some_and(is_word) && part.bytes().last().is_some_and(is_word);
    let mut separators = part.split(|c: char| u8::try_from(c).is_ok_and(is_word));
    ends_well
        && separators
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

fn allows_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::ImageName;
    use crate::resource::Digest;
    use proptest::prelude::*;

    const HEX: &str = "e141ee916ef4b470a7f7f064061369357c3b9d0cbf2912b8ed7e6501f8321016";

    #[test]
    fn defaults_are_filled_in_as_docker_does() {
        for (text, whole) in [
            ("redis:7", "docker.io/library/redis:7"),
            ("docker.io/redis:7", "docker.io/library/redis:7"),
            ("index.docker.io/redis:7", "docker.io/library/redis:7"),
            ("vllm/vllm-openai:v0.33.0", "docker.io/vllm/vllm-openai:v0.33.0"),
            ("localhost/x:1", "localhost/x:1"),
            ("localhost:5000/a/b__c:x_Y.z-1", "localhost:5000/a/b__c:x_Y.z-1"),
            ("[::1]:5000/x:1", "[::1]:5000/x:1"),
            ("UPPER/x:1", "UPPER/x:1"),
            ("ghcr.io/open-webui/open-webui:main", "ghcr.io/open-webui/open-webui:main"),
        ] {
            let name = ImageName::parse(text).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(name.to_string(), whole, "{text}");
        }
        let pinned = ImageName::parse(&format!("redis:7@sha256:{HEX}")).expect("a name");
        assert_eq!((pinned.tag(), pinned.digest().map(Digest::as_str)), (Some("7"), Some(HEX)));
        let moved = pinned.at(Digest::of("x"));
        assert_eq!(moved.to_string(), format!("docker.io/library/redis@sha256:{}", Digest::of("x")));
        assert_eq!((moved.registry(), moved.repository()), ("docker.io", "library/redis"));
    }

    #[test]
    fn names_that_docker_rejects_are_errors_with_a_reason() {
        for (text, why) in [
            ("redis", "add a tag, such as `redis:1.2`"),
            ("localhost:5000/redis", "names no version"),
            ("", "not an image's name"),
            ("Redis:7", "lower case"),
            ("redis:", "cannot be the tag"),
            ("redis:-1", "cannot be the tag"),
            ("redis:a?b", "cannot be the tag"),
            ("redis@sha256:12", "is not a digest"),
            ("redis@md5:12", "is not a digest"),
            ("a/../b:1", "not an image's name"),
            ("a//b:1", "not an image's name"),
            ("a/b-:1", "not an image's name"),
            ("a/b..c:1", "not an image's name"),
            ("a b:1", "not an image's name"),
            ("-x.y/a:1", "cannot be the registry"),
            ("x.y:z/a:1", "cannot be the registry"),
            ("https://x.y/a:1", "cannot be the registry"),
        ] {
            let error = ImageName::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_parsed_name_reads_back(
            registry in "([a-z][a-z0-9]{0,5}(\\.[a-z]{2,3})?(:[0-9]{1,5})?/)?",
            path in "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,4})?(/[a-z0-9]{1,6}){0,2}",
            tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,8})?",
            digest in "(@sha256:[0-9a-f]{64})?",
        ) {
            let text = format!("{registry}{path}{tag}{digest}");
            let read = ImageName::parse(&text);
            prop_assert_eq!(read.is_ok(), !(tag.is_empty() && digest.is_empty()), "{}: {:?}", text, read);
            if let Ok(name) = read {
                prop_assert_eq!(ImageName::parse(&name.to_string()), Ok(name));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-zA-Z0-9_.:/@\\[\\] é-]{0,40}") {
            if let Ok(name) = ImageName::parse(&text) {
                prop_assert_eq!(ImageName::parse(&name.to_string()), Ok(name));
            }
        }
    }
}
