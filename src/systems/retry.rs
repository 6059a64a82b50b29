//! The point in time at which a retry makes sense.

/// The point in time at which retrying a failed operation makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The failure is transient: a lost connection, a busy peer.
    Soon,
    /// The failure is permanent while the manifest and the machine stay as they are.
    Never,
}
