//! Notices to a caller that stop nothing.

use super::{Coverage, Guard};
use crate::resource::Note;
use std::path::Path;

/// A remark by the way.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// Notes on a manifest, errors among them.
    Notes {
        /// The manifest's file.
        path: &'a Path,
        /// Its text.
        text: &'a str,
        /// The notes, each with its location.
        notes: &'a [Note],
    },
    /// The lock file pins less than the manifest has.
    NotPinned(&'a Coverage),
    /// A guard that does not stop a user's request.
    Guard(&'a Guard),
}

/// Takes notices.
pub type Notify<'a> = dyn Fn(Notice<'_>) + Send + Sync + 'a;
