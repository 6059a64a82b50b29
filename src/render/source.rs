//! Where models are found on a hub.

/// Returns the address of a file of a repository on a hub that speaks Hugging Face's protocol.
#[must_use]
pub fn hub_url(endpoint: &str, repository: &str, file: &str, revision: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    format!("{endpoint}/{}/resolve/{}/{}", path(repository), segment(revision), path(file))
}

fn path(text: &str) -> String {
    text.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Encodes one segment of a path (RFC 3986, section 2.3).
fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::hub_url;

    #[test]
    fn hub_addresses_are_encoded() {
        assert_eq!(
            hub_url("https://hub.example/", "org/repo", "sub dir/a+b.gguf", "refs/pr/1"),
            "https://hub.example/org/repo/resolve/refs%2Fpr%2F1/sub%20dir/a%2Bb.gguf"
        );
    }
}
