//! Simulated processes and their time: futures that are polled in one thread, and a clock that jumps to the next event.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// The number of a simulated process.
pub(crate) type Pid = usize;

/// Everybody who waits for a moment, in its order.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    waiting: BTreeMap<(Duration, u64), Waker>,
    sequence: u64,
}

impl Timers {
    pub(crate) fn wait(&mut self, until: Duration, waker: Waker) {
        self.sequence += 1;
        self.waiting.insert((until, self.sequence), waker);
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.waiting.keys().next().map(|(moment, _)| *moment)
    }

    /// Wakes everybody whose moment has come.
    pub(crate) fn wake(&mut self, now: Duration) {
        while let Some(first) = self.waiting.first_entry().filter(|entry| entry.key().0 <= now) {
            first.remove().wake();
        }
    }
}

#[derive(Debug)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    pid: Pid,
    flag: Arc<Flag>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

/// The processes that run.
#[derive(Default)]
pub(crate) struct Executor {
    tasks: Vec<Task>,
}

impl Executor {
    pub(crate) fn spawn(&mut self, pid: Pid, future: impl Future<Output = ()> + 'static) {
        self.tasks.push(Task { pid, flag: Arc::new(Flag(AtomicBool::new(true))), future: Box::pin(future) });
    }

    pub(crate) fn runs(&self, pid: Pid) -> bool {
        self.tasks.iter().any(|task| task.pid == pid)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Ends a process at once, wherever it is.
    pub(crate) fn kill(&mut self, gone: impl Fn(Pid) -> bool) {
        self.tasks.retain(|task| !gone(task.pid));
    }

    /// Polls every task that was woken and is not stopped; returns whether there was one.
    pub(crate) fn poll(&mut self, gone: impl Fn(Pid) -> bool, stopped: impl Fn(Pid) -> bool) -> bool {
        let mut polled = false;
        let mut index = 0;
        while index < self.tasks.len() {
            let task = &mut self.tasks[index];
            if stopped(task.pid) || !task.flag.0.swap(false, Ordering::Relaxed) {
                index += 1;
                continue;
            }
            polled = true;
            let waker = Waker::from(Arc::clone(&task.flag));
            let ended = task.future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(());
            if ended || gone(task.pid) {
                drop(self.tasks.remove(index));
            } else {
                index += 1;
            }
        }
        polled
    }
}
