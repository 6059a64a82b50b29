//! One file per outside thing. Each translates between plain values and one system's language, and never decides
//! anything: no plan, no order, no policy.
//!
//! Every call that leaves this process has its deadline written next to it.

/// When it makes sense to try again what has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It was bad luck: a lost connection, a busy peer.
    Soon,
    /// It will not mend by itself while the manifest and the machine stay as they are.
    Never,
}

/// What a person can do about an error.
pub trait Hint: std::error::Error {
    /// Returns one sentence without a full stop, if there is advice to give.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Returns when it makes sense to try again.
    fn retry(&self) -> Retry {
        Retry::Never
    }
}
