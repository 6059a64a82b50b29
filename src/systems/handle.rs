//! A handle of an outside system: it connects when it is first used, and again once its connection is gone.
//!
//! A process that runs for weeks outlives its bus and its container engine. A call that was in flight when they went
//! fails; the next one has a connection that works.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// A connection that knows whether it can still be used.
pub trait Connection: Clone + Send + Sync {
    /// The reason why it cannot be made.
    type Error: Send;

    /// Returns whether it can still be used, as far as that shows without a call.
    fn is_usable(&self) -> bool;
}

type Connect<T> = Box<dyn Fn() -> BoxFuture<'static, Result<T, <T as Connection>::Error>> + Send + Sync>;

/// A connection that is made when it is needed.
pub struct Handle<T: Connection> {
    connect: Connect<T>,
    current: Mutex<Arc<OnceCell<T>>>,
}

impl<T: Connection> Handle<T> {
    /// Returns a handle that connects by `connect`; nothing is connected yet.
    pub fn new<F: Future<Output = Result<T, T::Error>> + Send + 'static>(
        connect: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        Self { connect: Box::new(move || connect().boxed()), current: Mutex::default() }
    }

    /// Returns a usable connection. Callers at the same time share one attempt to connect; one that fails is not kept.
    pub async fn get(&self) -> Result<T, T::Error> {
        let current = {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.get().is_some_and(|connection| !connection.is_usable()) {
                *current = Arc::default();
            }
            Arc::clone(&current)
        };
        current.get_or_try_init(|| (self.connect)()).await.cloned()
    }
}

impl<T: Connection> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connected = self.current.lock().is_ok_and(|current| current.initialized());
        f.debug_struct("Handle").field("connected", &connected).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Connection, Handle};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    #[derive(Debug, Clone)]
    struct Numbered(usize, Arc<AtomicBool>);

    impl Connection for Numbered {
        type Error = usize;

        fn is_usable(&self) -> bool {
            !self.1.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_connection_is_shared_until_it_is_gone_and_a_failed_attempt_is_not_kept() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let handle = Handle::new(move || {
            let number = count.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                if number == 1 { Err(number) } else { Ok(Numbered(number, Arc::default())) }
            }
        });
        let (one, other) = tokio::join!(handle.get(), handle.get());
        let first = one.expect("a connection");
        assert_eq!((first.0, other.expect("the same").0, made.load(Ordering::SeqCst)), (0, 0, 1));
        first.1.store(true, Ordering::SeqCst);
        assert_eq!(handle.get().await.expect_err("the second attempt fails"), 1);
        assert_eq!(handle.get().await.expect("the third does not").0, 2);
    }
}
