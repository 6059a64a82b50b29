//! What an error means for what could not be inspected because of it.

use super::{Hint, with_causes};
use crate::live::{Presence, Unseen};

/// Returns why something could not be inspected, and the remedy.
pub fn unseen(error: &dyn Hint) -> Unseen {
    Unseen { why: with_causes(error), hint: error.hint() }
}

/// Returns the presence of what could not be inspected because of an error.
pub fn unknown(error: &dyn Hint) -> Presence {
    Presence::Unknown(unseen(error))
}
