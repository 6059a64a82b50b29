//! Isolated Python environments: complete, or rebuilt.
//!
//! The scripts of an environment contain its absolute path, so it is built in place, and a stamp written last marks
//! it as complete. A sibling marker identifies a folder without a stamp as llamero's incomplete environment; a folder
//! with neither is unmanaged and never touched. Nothing is ever installed into a complete environment.

use super::program::{self, Ended};
use super::{Hint, Retry, exclusive};
use crate::resource::Environment;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs;
use tokio_util::sync::CancellationToken;

/// The deadline: large packages take long on a slow line.
const DEADLINE: Duration = Duration::from_secs(2 * 60 * 60);
const QUESTION_DEADLINE: Duration = Duration::from_secs(10);
const STAMP: &str = ".llamero-complete.json";

/// Variables of an active Python environment that would leak into another one.
const ISOLATED: [(&str, Option<&str>); 6] = [
    ("PYTHONHOME", None),
    ("PYTHONPATH", None),
    ("VIRTUAL_ENV", None),
    ("__PYVENV_LAUNCHER__", None),
    ("PIP_USER", None),
    ("PYTHONNOUSERSITE", Some("1")),
];

/// A failure to create an environment.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no Python on this machine.
    #[error("there is no `python3` on the PATH")]
    NoPython,
    /// The interpreter does not report its version.
    #[error("`{}` does not report its version: {output}", python.display())]
    NotPython {
        /// The interpreter.
        python: PathBuf,
        /// Its output.
        output: String,
    },
    /// An unmanaged folder is in the way.
    #[error("{} exists and was not created by llamero", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// A tool failed.
    #[error("`{tool}` could not make {} ({}):\n{}", path.display(), ended.status, ended.lines.join("\n"))]
    Failed {
        /// The tool and its verb.
        tool: String,
        /// The folder.
        path: PathBuf,
        /// Its exit status and last output.
        ended: Ended,
    },
    /// A tool could not be run to completion.
    #[error("cannot make {}", path.display())]
    Program {
        /// The folder, or the interpreter.
        path: PathBuf,
        /// The cause.
        #[source]
        source: program::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// The operation that failed.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another process is creating the same environment.
    #[error(transparent)]
    Held(exclusive::Error),
    /// The operation was cancelled; the next attempt removes the remains.
    #[error("interrupted")]
    Cancelled,
}

impl Error {
    fn mentions(&self, any: &[&str]) -> bool {
        let Self::Failed { ended, .. } = self else { return false };
        ended.lines.iter().any(|line| any.iter().any(|text| line.contains(text)))
    }

    /// Without a network, pip's last line reports a missing package: the earlier lines have the real cause.
    fn is_offline(&self) -> bool {
        self.mentions(&[
            "Failed to establish a new connection",
            "Temporary failure in name resolution",
            "Name or service not known",
            "Network is unreachable",
            "NewConnectionError",
            "dns error",
            "tcp connect error",
            "client error (Connect)",
        ])
    }

    /// Returns the line in which pip or uv reports an unsatisfiable requirement.
    fn unknown_requirement(&self) -> Option<&str> {
        const WORDS: [&str; 4] = [
            "No matching distribution found for ",
            "was not found in the package registry",
            "there is no version of ",
            "requirements are unsatisfiable",
        ];
        let Self::Failed { ended, .. } = self else { return None };
        let live = ended.lines.iter().rev().find(|line| WORDS.iter().any(|text| line.contains(text)))?;
        Some(live.trim_start_matches("ERROR:").trim_matches(|c: char| c.is_whitespace() || "╰─▶│×".contains(c)))
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoPython => Some("install Python, for example `apt install python3 python3-venv`".to_owned()),
            Self::Foreign { path } => Some(format!("move {} away", path.display())),
            _ if self.mentions(&["ensurepip is not available", "No module named ensurepip", "No module named venv"]) => {
                Some("install Python's venv module, for example `apt install python3-venv`, or uv".to_owned())
            }
            _ if self.is_offline() => {
                Some("the package index cannot be reached: check the network, or set a mirror in pip's or uv's configuration".to_owned())
            }
            _ => self.unknown_requirement().map(|line| format!("check `install.python`: {line}")),
        }
    }

    fn interrupted(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    fn retry(&self) -> Retry {
        let passes =
            matches!(self, Self::Cancelled) || self.is_offline() || self.mentions(&["No space left on device"]);
        if passes { Retry::Soon } else { Retry::of_causes(self) }
    }
}

/// The completeness of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvironmentState {
    /// Nothing, or an empty folder.
    Absent,
    /// A folder without a stamp: unusable, and rebuilt.
    Partial,
    /// A complete environment.
    Complete,
}

/// Returns the completeness of the environment at `path`.
pub fn state(path: &Path) -> Result<EnvironmentState, Error> {
    let stamped = path.join(STAMP).try_exists().map_err(file_error("read", path))?;
    if stamped {
        return Ok(EnvironmentState::Complete);
    }
    match std::fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(EnvironmentState::Absent),
        Ok(false) => Ok(EnvironmentState::Partial),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(EnvironmentState::Absent),
        Err(error) => Err(file_error("read", path)(error)),
    }
}

/// Returns the path of a program that is installed in the environment at `path`.
#[must_use]
pub fn program(path: &Path, name: &str) -> PathBuf {
    path.join("bin").join(name)
}

/// Returns the path of uv, if it is on the PATH.
#[must_use]
pub fn uv() -> Option<PathBuf> {
    program::find("uv")
}

/// Returns the interpreter behind `python3` and its version, such as `3.11.7`. The one on the PATH may be a shim, or
/// belong to an active environment; the result is the underlying base interpreter.
pub async fn interpreter(cancel: &CancellationToken) -> Result<(PathBuf, String), Error> {
    const QUESTION: &str = "import sys, platform\n\
        print(getattr(sys, '_base_executable', None) or sys.executable)\n\
        print(platform.python_version())";
    let python = program::find("python3").ok_or(Error::NoPython)?;
    let argv = [python.as_os_str(), "-I".as_ref(), "-c".as_ref(), QUESTION.as_ref()];
    let ended = program::run(&argv, &ISOLATED, &|_| {}, QUESTION_DEADLINE, cancel).await;
    let ended = ended.map_err(program_error(&python))?;
    match ended.lines.as_slice() {
        [.., path, version] if ended.status.success() && path.starts_with('/') => Ok((path.into(), version.clone())),
        lines => Err(Error::NotPython { python, output: lines.join("; ") }),
    }
}

/// Creates an environment with `uv` if it is available, and otherwise with the interpreter's own venv and pip. Every
/// line of their output goes to `progress`. A complete environment is left as it is.
pub async fn create(
    environment: &Environment,
    uv: Option<&Path>,
    progress: &(dyn Fn(&str) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let path = &environment.path;
    let state = state(path)?;
    if state == EnvironmentState::Complete {
        return Ok(());
    }
    let mark = mark(path);
    if state == EnvironmentState::Partial && !mark.exists() && !path.join("pyvenv.cfg").exists() {
        return Err(Error::Foreign { path: path.clone() });
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).await;
    made.map_err(file_error("make the folder", folder))?;
    // Another stack may need the same environment.
    let waiting = || progress("another llamero process is creating it");
    let _held = exclusive::hold(&mark, &waiting, cancel).await.map_err(|error| match error {
        exclusive::Error::Cancelled => Error::Cancelled,
        error => Error::Held(error),
    })?;
    if self::state(path)? == EnvironmentState::Complete {
        return Ok(());
    }
    match fs::remove_dir_all(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file_error("remove", path)(error)),
        _ => {}
    }
    for argv in commands(environment, uv) {
        let ended = program::run(&argv, &ISOLATED, progress, DEADLINE, cancel).await.map_err(program_error(path))?;
        if !ended.status.success() {
            return Err(Error::Failed { tool: tool(&argv), path: path.clone(), ended });
        }
    }
    let tool = if uv.is_some() { "uv" } else { "pip" };
    // For readers only: what counts is its existence.
    let stamp = serde_json::json!({
        "requirements": environment.requirements,
        "python": environment.python.display().to_string(),
        "tool": tool,
    });
    stamp_with(path, format!("{stamp:#}\n").into_bytes()).await?;
    fs::remove_file(&mark).await.map_err(file_error("remove", &mark))
}

fn commands(environment: &Environment, uv: Option<&Path>) -> Vec<Vec<String>> {
    let (path, python) = (environment.path.display().to_string(), environment.python.display().to_string());
    let own = program(&environment.path, "python").display().to_string();
    let (make, install) = if let Some(uv) = uv {
        let uv = uv.display().to_string();
        (
            vec![uv.clone(), "venv".into(), "--no-project".into(), "--python".into(), python, path],
            vec![uv, "pip".into(), "install".into(), "--python".into(), own],
        )
    } else {
        let quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar=off"].map(str::to_owned);
        let pip = [own, "-m".into(), "pip".into(), "install".into()];
        (vec![python, "-m".into(), "venv".into(), path], pip.into_iter().chain(quiet).collect())
    };
    if environment.requirements.is_empty() {
        return vec![make];
    }
    // After `--` a requirement cannot be parsed as an option.
    let install = install.into_iter().chain(["--".to_owned()]).chain(environment.requirements.iter().cloned());
    vec![make, install.collect()]
}

/// Returns the tool and its subcommand.
fn tool(argv: &[String]) -> String {
    let name = Path::new(&argv[0]).file_name().unwrap_or_default().display().to_string();
    let verbs = argv[1..].iter().filter(|word| *word != "-m").take_while(|word| !word.starts_with(['-', '/']));
    verbs.fold(name, |tool, verb| format!("{tool} {verb}"))
}

/// Writes the stamp atomically, after everything it vouches for has been synced to disk.
async fn stamp_with(path: &Path, text: Vec<u8>) -> Result<(), Error> {
    use tokio::io::AsyncWriteExt as _;
    let (partial, stamp) = (path.join(".llamero-complete.part"), path.join(STAMP));
    let written = async {
        let folder = fs::File::open(path).await?.into_std().await;
        tokio::task::spawn_blocking(move || rustix::fs::syncfs(folder)).await.map_err(io::Error::other)??;
        let mut file = fs::File::create(&partial).await?;
        file.write_all(&text).await?;
        file.sync_all().await?;
        fs::rename(&partial, &stamp).await?;
        fs::File::open(path).await?.sync_all().await
    };
    written.await.map_err(file_error("write", &stamp))
}

/// Removes an environment with all that belongs to it.
pub fn remove(path: &Path) -> Result<(), super::files::Error> {
    super::files::remove_folder(path)?;
    super::files::remove(&mark(path)).map(drop)
}

fn mark(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".making");
    PathBuf::from(name)
}

fn program_error(path: &Path) -> impl FnOnce(program::Error) -> Error {
    let path = path.to_owned();
    move |source| match source {
        program::Error::Cancelled => Error::Cancelled,
        source => Error::Program { path, source },
    }
}

fn file_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { doing, path, source }
}
