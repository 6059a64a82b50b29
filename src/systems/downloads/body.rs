//! The body of a response, read at no less than the slowest rate.

use super::error::Error;
use crate::systems::http::Incoming;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The slowest rate, in bytes per second, that counts as progress. A modem of 1991 is faster.
const SLOWEST: u64 = 1024;

/// Returns the fewest bytes that count as progress within a time.
pub(super) fn least(within: Duration) -> u64 {
    let milliseconds = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    (milliseconds.saturating_mul(SLOWEST) / 1000).max(1)
}

/// A body on its way.
pub(super) struct Body {
    incoming: Incoming,
    url: String,
    /// The longest time for the fewest bytes that count as progress.
    window: Duration,
    begun: Instant,
    received: u64,
}

impl Body {
    pub(super) fn new(incoming: Incoming, url: String, window: Duration) -> Self {
        Self { incoming, url, window, begun: Instant::now(), received: 0 }
    }

    /// Reads the next bytes; `None` at the end. A server that sends a byte now and then has stalled as much as one
    /// that sends none.
    pub(super) async fn next(&mut self) -> Result<Option<impl std::ops::Deref<Target = [u8]> + use<>>, Error> {
        let Self { incoming, url, window, begun, received } = self;
        let next = timeout_at(*begun + *window, incoming.chunk()).await;
        let next = next.map_err(|_| Error::Stalled { url: url.clone(), received: *received, waited: *window })?;
        let bytes = next.map_err(|source| Error::Network { url: url.clone(), source })?;
        *received += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if *received >= least(*window) {
            (*begun, *received) = (Instant::now(), 0);
        }
        Ok(bytes)
    }
}
