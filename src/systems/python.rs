//! Isolated Python environments: made whole or not at all, never changed afterwards.
//!
//! Programs in an environment hold its path, so it is built where it stays; a stamp, written last, says that it is
//! complete. A folder without one is what an interrupted build left.

use super::command;
use super::{Hint, files};
use crate::resource::Environment;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest that an installation may take.
const INSTALL: Duration = Duration::from_secs(2 * 3600);

/// The longest that an interpreter may take to say who it is.
const ASK: Duration = Duration::from_secs(10);

const STAMP: &str = ".llamero-complete";

/// Why an environment was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program failed.
    #[error("cannot install {requirements}")]
    Install {
        /// What was to be installed.
        requirements: String,
        /// What the installer said.
        #[source]
        source: command::Error,
    },
    /// The environment itself could not be made.
    #[error("cannot make a Python environment")]
    Make(#[source] command::Error),
    /// A file could not be written.
    #[error(transparent)]
    Files(#[from] files::Error),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Make(_) => {
                Some("install Python's venv module (Debian: `apt install python3-venv`), or uv".to_owned())
            }
            Self::Install { source: command::Error::Failed { last, .. }, .. } => {
                let text = last.join(" ");
                if text.contains("No matching distribution") || text.contains("No solution found") {
                    return Some("check the names and versions under `install.python` in the manifest".to_owned());
                }
                let offline = ["Connection", "resolve", "network", "NewConnectionError"];
                offline.iter().any(|word| text.contains(word)).then(|| "check the network and run it again".to_owned())
            }
            Self::Install { .. } => None,
            Self::Files(error) => error.hint(),
        }
    }
}

/// What is in an environment's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// What an interrupted build left.
    Partial,
    /// A whole environment.
    Complete,
}

/// Looks at an environment's place.
#[must_use]
pub fn state(path: &Path) -> State {
    match (path.join(STAMP).exists(), path.exists()) {
        (true, _) => State::Complete,
        (false, true) => State::Partial,
        (false, false) => State::Absent,
    }
}

/// Makes an environment with uv where it is on the path, else with Python's own tools.
pub async fn create(
    environment: &Environment,
    note: &(dyn Fn(&str) + Sync),
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let Environment { path, requirements, python } = environment;
    files::remove_folder(path)?;
    files::create_folder(path.parent().unwrap_or(Path::new("/")))?;
    let place = path.to_string_lossy().into_owned();
    let interpreter = python.to_string_lossy().into_owned();
    let inside = path.join("bin/python").to_string_lossy().into_owned();
    let uv = find("uv").map(|uv| uv.to_string_lossy().into_owned());
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let (make, mut install) = match &uv {
        Some(uv) => (
            words(&[uv, "venv", "--python", &interpreter, &place]),
            words(&[uv, "pip", "install", "--python", &inside]),
        ),
        None => (
            words(&[&interpreter, "-m", "venv", &place]),
            words(&[&inside, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]),
        ),
    };
    install.extend(requirements.iter().cloned());
    command::run(&make, &[], INSTALL, note, cancel).await.map_err(Error::Make)?;
    let quiet = [("PYTHONUNBUFFERED", "1".to_owned()), ("NO_COLOR", "1".to_owned())];
    command::run(&install, &quiet, INSTALL, note, cancel)
        .await
        .map_err(|source| Error::Install { requirements: requirements.join(" "), source })?;
    Ok(files::write(&path.join(STAMP), requirements.join("\n").as_bytes(), files::PRIVATE)?)
}

/// Returns the Python interpreter that makes environments, and its version, such as `3.11.7`. A launcher script that
/// chooses an interpreter is seen through.
pub async fn interpreter() -> Option<(PathBuf, String)> {
    let python = find("python3")?.to_string_lossy().into_owned();
    let script = "import sys, platform; print(getattr(sys, '_base_executable', sys.executable)); print(platform.python_version())";
    let argv = [python, "-c".to_owned(), script.to_owned()];
    let lines = command::run(&argv, &[], ASK, &|_| {}, &CancellationToken::new()).await.ok()?;
    Some((PathBuf::from(lines.first()?), lines.get(1)?.clone()))
}

/// Returns the program `name` that the user's path leads to.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let runs = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(name)).find(runs)
}
