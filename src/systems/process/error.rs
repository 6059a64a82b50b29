//! Why a server of the process runtime cannot be started, stopped or inspected.

use crate::systems::{Hint, Retry, files, sealed};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// The time for a supervisor to report the result of a start.
pub(super) const START: Duration = Duration::from_secs(10);

/// A failure to start, stop or inspect a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name cannot be that of a folder.
    #[error("`{0}` cannot be the name of a process")]
    Name(String),
    /// There is no such server.
    #[error("there is no process `{0}`")]
    Missing(String),
    /// A file in the server's folder cannot be used.
    #[error(transparent)]
    File(#[from] files::Error),
    /// A record in the server's folder is damaged, or of a later llamero.
    #[error(transparent)]
    Record(#[from] sealed::Error),
    /// It must not run for this, and does.
    #[error("process `{name}` is running with pid {pid}")]
    Running {
        /// The server.
        name: String,
        /// Its process, or its supervisor's.
        pid: u32,
    },
    /// The program to run is not an absolute path to an executable file, or could not be executed.
    #[error("process `{name}` could not be started: {problem}")]
    Unstartable {
        /// The server.
        name: String,
        /// The message of the operating system, with the file.
        problem: String,
    },
    /// It runs, and there is no record of what it was started with.
    #[error("process `{name}` is running with pid {pid}, and the record of what it was started with is gone")]
    Recovered {
        /// The server.
        name: String,
        /// Its process, or its supervisor's.
        pid: u32,
    },
    /// The supervisor itself could not be run.
    #[error("cannot run the supervisor {}", program.display())]
    Supervisor {
        /// The program.
        program: PathBuf,
        /// The message of the operating system.
        source: std::io::Error,
    },
    /// The supervisor ended without a report.
    #[error("the supervisor of process `{name}` ended with {status}; its last line: {line}")]
    SupervisorEnded {
        /// The server.
        name: String,
        /// Its end.
        status: ExitStatus,
        /// The last line of its log.
        line: String,
    },
    /// The supervisor reported nothing in time, and was stopped.
    #[error("the supervisor of process `{0}` did not answer within {START:?}")]
    Silent(String),
    /// Processes were still there after SIGKILL.
    #[error("process `{name}` could not be killed; left: {}", pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))]
    Left {
        /// The server.
        name: String,
        /// The processes that are left.
        pids: Vec<u32>,
    },
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Record(error) => error.hint(),
            Self::Running { .. } | Self::Recovered { .. } => Some("stop it first".to_owned()),
            Self::Unstartable { .. } => Some("check that the program is installed and may be executed".to_owned()),
            Self::Left { .. } => {
                Some("a process in the kernel's hands (state `D` in `ps`) ends when its device answers".to_owned())
            }
            _ => None,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Silent(_) | Self::SupervisorEnded { .. } | Self::Left { .. } => Retry::Soon,
            _ => Retry::of_causes(self),
        }
    }
}
