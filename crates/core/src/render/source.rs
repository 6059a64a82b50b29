//! Download addresses of model files: the short forms of a manifest as full addresses.
//!
//! Only the address is formed here. Downloads decide which host receives a token.

use crate::resource::Digest;
use std::fmt::Write as _;

/// The default model hub.
pub const HUB: &str = "https://huggingface.co";

/// Returns the address of `file` in the repository `organization/repository` of a model hub, at `revision` or `main`.
#[must_use]
pub fn hub_url(endpoint: &str, organization: &str, repository: &str, file: &str, revision: Option<&str>) -> String {
    let segments: Vec<String> = file.split('/').map(encode).collect();
    format!(
        "{}/{}/{}/resolve/{}/{}",
        endpoint.trim_end_matches('/'),
        encode(organization),
        encode(repository),
        encode(revision.unwrap_or("main")),
        segments.join("/")
    )
}

/// Returns the name of a source's content: of its current content, or of the content with this digest.
#[must_use]
pub fn content_name(source: &str, sha256: Option<&Digest>) -> Digest {
    let pin = sha256.map(ToString::to_string).unwrap_or_default();
    Digest::of(format!("{source}\n{pin}"))
}

/// Returns the hub's API address for a repository at `revision` or `main`, which lists each file with its size and
/// digest.
#[must_use]
pub fn hub_api_url(endpoint: &str, repository: &str, revision: Option<&str>) -> String {
    let repository: Vec<String> = repository.split('/').map(encode).collect();
    let (endpoint, revision) = (endpoint.trim_end_matches('/'), encode(revision.unwrap_or("main")));
    format!("{endpoint}/api/models/{}/revision/{revision}?blobs=true", repository.join("/"))
}

/// Encodes one path segment; everything but RFC 3986's unreserved characters is percent-encoded, including `/`,
/// because a revision such as `refs/pr/1` is one segment.
fn encode(segment: &str) -> String {
    segment.bytes().fold(String::with_capacity(segment.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{HUB, hub_url};

    #[test]
    fn hub_addresses_are_encoded_by_segment() {
        assert_eq!(
            hub_url(HUB, "Qwen", "Qwen3-8B-GGUF", "Qwen3-8B-Q4_K_M.gguf", None),
            "https://huggingface.co/Qwen/Qwen3-8B-GGUF/resolve/main/Qwen3-8B-Q4_K_M.gguf"
        );
        assert_eq!(
            hub_url("http://mirror.example:8080/", "a", "b", "Q4 K/ü#1?.gguf", Some("refs/pr/1")),
            "http://mirror.example:8080/a/b/resolve/refs%2Fpr%2F1/Q4%20K/%C3%BC%231%3F.gguf"
        );
    }
}
