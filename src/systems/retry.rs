//! The point in time at which a retry makes sense.

use std::error::Error;
use std::io::{self, ErrorKind};

/// The point in time at which retrying a failed operation makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The failure is transient: a lost connection, a busy peer, a full disk.
    Soon,
    /// The failure is permanent while the manifest and the machine stay as they are.
    Never,
}

impl Retry {
    /// Returns what the operating system's own error among the causes of an error says; `Never` without one.
    #[must_use]
    pub fn of_causes<E: Error + ?Sized>(error: &E) -> Self {
        let mut cause = error.source();
        while let Some(this) = cause {
            if this.downcast_ref().is_some_and(passes) {
                return Self::Soon;
            }
            cause = this.source();
        }
        Self::Never
    }
}

/// Returns whether what the operating system lacks now may be there later, whatever the manifest says.
fn passes(error: &io::Error) -> bool {
    let descriptors = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    let kind = matches!(
        error.kind(),
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::OutOfMemory
            | ErrorKind::ResourceBusy
            | ErrorKind::ExecutableFileBusy
            | ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
    );
    kind || descriptors.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::{ErrorKind, Retry, io};
    use crate::history;
    use crate::systems::{Hint, detached, files, sealed};
    use std::path::Path;

    #[test]
    fn a_full_disk_is_no_fault_of_the_manifest_wherever_it_is_met() {
        let met = |kind: ErrorKind| files::Error::io("write", Path::new("/state/record"), io::Error::from(kind));
        let everywhere = |kind| {
            let errors: [Box<dyn Hint>; 4] = [
                Box::new(met(kind)),
                Box::new(sealed::Error::Files(met(kind))),
                Box::new(history::Error::Record(sealed::Error::Files(met(kind)))),
                Box::new(detached::Error::Log(met(kind))),
            ];
            errors.map(|error| error.retry())
        };
        assert_eq!(everywhere(ErrorKind::StorageFull), [Retry::Soon; 4]);
        assert_eq!(everywhere(ErrorKind::ReadOnlyFilesystem), [Retry::Never; 4]);
    }
}
