//! The ownership marker of a live resource.

use crate::resource::Fingerprint;
use serde::{Deserialize, Serialize};

/// The ownership marker of a live resource: its stack and fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The stack that it belongs to.
    pub stack: String,
    /// The fingerprint of the resource.
    pub fingerprint: Fingerprint,
    /// True if it is unmodified.
    pub intact: bool,
}
