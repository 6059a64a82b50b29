//! The lock file beside a manifest: the content that each source is pinned to.
//!
//! A tag, a branch and an address can resolve to other content tomorrow. The lock file pins the content, so that
//! every machine gets the same, and it changes only on request. Values only: registries are queried elsewhere.

mod file;
mod sources;

pub use file::{LIMIT, LockFile, Pin};
pub use sources::{Origin, Source, sources};
