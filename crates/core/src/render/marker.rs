//! The first line of every file that llamero writes: whose it is, what it was asked for with, and whether it is still
//! as it was written.
//!
//! `# Written by llamero: stack=home resource=file/gateway fingerprint=1:… body=…`

use crate::resource::{Digest, Fingerprint, ResourceId};

const OPENING: &str = "# Written by llamero:";

/// What the first line of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The stack that the file belongs to.
    pub stack: String,
    /// The resource that the file is.
    pub resource: ResourceId,
    /// The fingerprint of what it was asked for with.
    pub fingerprint: Fingerprint,
    /// Whether the rest of the file is as llamero wrote it.
    pub intact: bool,
}

/// Returns the whole text of a file: the marker, then `body`.
#[must_use]
pub fn mark(stack: &str, resource: &ResourceId, fingerprint: &Fingerprint, body: &str) -> String {
    let digest = Digest::of(body);
    let digest = digest.short();
    format!("{OPENING} stack={stack} resource={resource} fingerprint={fingerprint} body={digest}\n{body}")
}

/// Reads the marker of a file; a file without one is not ours.
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
    fn a_marker_is_read_back_and_notices_an_edit() {
        let id = ResourceId::new(Kind::File, "gateway");
        let text = mark("home", &id, &Fingerprint::of(&Fields::new()), "a: 1\n");
        let marker = read(&text).expect("a marker");
        assert_eq!((marker.stack.as_str(), &marker.resource, marker.intact), ("home", &id, true));
        assert!(!read(&text.replace("a: 1", "a: 2")).expect("a marker").intact);
        assert_eq!(read("a: 1\n"), None);
    }
}
