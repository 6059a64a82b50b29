//! The ownership marker in the first line of every file that llamero writes: the stack, the resource, its
//! fingerprint, and a digest of the rest of the file.
//!
//! `# Written by llamero: stack=home resource=file/gateway fingerprint=1:… body=…`

use crate::resource::{Digest, Fingerprint, ResourceId};

/// The variable in which a live process carries the fingerprint that it was started with.
pub const FINGERPRINT_VARIABLE: &str = "LLAMERO_FINGERPRINT";

/// The variable in which a live process carries whose it is, as `stack/kind/name`.
pub const RESOURCE_VARIABLE: &str = "LLAMERO_RESOURCE";

const OPENING: &str = "# Written by llamero:";

/// The content of a marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The stack that the file belongs to.
    pub stack: String,
    /// The resource that the file is.
    pub resource: ResourceId,
    /// The fingerprint of the resource.
    pub fingerprint: Fingerprint,
    /// True if the rest of the file is unmodified.
    pub intact: bool,
}

/// Returns the whole text of a file: the marker, then `body`.
#[must_use]
pub fn mark(stack: &str, resource: &ResourceId, fingerprint: &Fingerprint, body: &str) -> String {
    let digest = Digest::of(body);
    let digest = digest.short();
    format!("{OPENING} stack={stack} resource={resource} fingerprint={fingerprint} body={digest}\n{body}")
}

/// Reads the marker of a file; a file without one is unmanaged.
#[must_use]
pub fn read(text: &str) -> Option<Marker> {
    let (line, body) = text.split_once('\n')?;
    let mut words = line.strip_prefix(OPENING)?.split_whitespace();
    let mut word = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
    let stack = word("stack")?.to_owned();
    let resource = word("resource")?.parse().ok()?;
    let fingerprint = Fingerprint::parse(word("fingerprint")?)?;
    let intact = word("body")? == Digest::of(body).short();
    Some(Marker { stack, resource, fingerprint, intact })
}

#[cfg(test)]
mod tests {
    use super::{mark, read};
    use crate::resource::{Fields, Fingerprint, Kind, ResourceId};

    #[test]
    fn a_marker_reads_back_and_detects_an_edit() {
        let id = ResourceId::new(Kind::File, "gateway");
        let text = mark("home", &id, &Fingerprint::of(&Fields::new()), "a: 1\n");
        let marker = read(&text).expect("a marker");
        assert_eq!((marker.stack.as_str(), &marker.resource, marker.intact), ("home", &id, true));
        assert!(!read(&text.replace("a: 1", "a: 2")).expect("a marker").intact);
        assert_eq!(read("a: 1\n"), None);
    }
}
