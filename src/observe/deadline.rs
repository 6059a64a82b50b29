//! The deadline of one system for an observation, whatever it is asked.

use std::time::Duration;

/// The longest time that one system has for all its answers.
pub(super) const ANSWER: Duration = Duration::from_secs(30);
