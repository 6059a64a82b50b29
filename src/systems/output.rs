//! Output to a destination that the user chooses: standard output, an existing stream, or a regular file.
//!
//! A regular file is replaced as a whole, and only where nothing is lost: where it is missing or empty, or where it
//! belongs to this user and holds an earlier output of the same format. A pipe or a character device is written to
//! and stays. Everything else is refused before anything is computed. The meaning of an output is defined elsewhere.
//! Everything else is refused, and refused before anything is computed. What an output means is not known here.

use super::{FailureKind, Hint, Retry, files};
use crate::resource::Bytes;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// The longest wait for a reader of a named pipe.
const READER: Duration = Duration::from_secs(10);

/// The interval at which opening the pipe is retried.
const EVERY: Duration = Duration::from_millis(20);

/// A kind of file that llamero writes; it distinguishes llamero's own files from others.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Its name, with an article.
    pub name: &'static str,
    /// True if a text is of this format.
    pub recognizes: fn(&str) -> bool,
    /// The size limit of such a file, in bytes.
    pub limit: Bytes,
    /// The mode of a new file.
    pub mode: u32,
}

/// A failure to write output to its destination.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path can neither be written to nor replaced.
    #[error("cannot write to {}: it is {what}; nothing was changed", path.display())]
    Unsuitable {
        /// The path.
        path: PathBuf,
        /// The kind of file there, with an article.
        what: &'static str,
    },
    /// The file is not an earlier output.
    #[error("{} is not replaced: {why}; nothing was changed", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// A named pipe has no reader.
    #[error("cannot write to {}: no reader opened the pipe within {} s", path.display(), READER.as_secs())]
    NoReader {
        /// The pipe.
        path: PathBuf,
    },
    /// The operating system refused access.
    #[error(transparent)]
    Files(#[from] files::Error),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unsuitable { .. } | Self::Foreign { .. } => {
                Some("pass another file, or `-` for standard output, or move the existing file away".to_owned())
            }
            Self::NoReader { .. } => Some("start its reader first".to_owned()),
            Self::Files(error) => error.hint(),
        }
    }

    fn retry(&self) -> Retry {
        if matches!(self, Self::NoReader { .. }) { Retry::Soon } else { Retry::of_causes(self) }
    }

    fn kind(&self) -> FailureKind {
        if matches!(self, Self::Foreign { .. }) { FailureKind::NotManaged } else { FailureKind::Error }
    }
}

/// An open output.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    format: Format,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Stdout,
    Stream(File),
    /// A regular file, existing or not.
    File {
        exists: bool,
    },
}

impl Output {
    /// Opens the output at `path`, where `-` is standard output. Nothing is written or created yet.
    pub async fn open(path: &Path, format: Format) -> Result<Self, Error> {
        let begun = Instant::now();
        let target = loop {
            match inspect(path, &format) {
                Err(Error::NoReader { .. }) if begun.elapsed() < READER => tokio::time::sleep(EVERY).await,
                target => break target?,
            }
        };
        Ok(Self { path: path.to_owned(), format, target })
    }

    /// Returns whether it goes to standard output, under any name.
    #[must_use]
    pub fn is_stdout(&self) -> bool {
        matches!(self.target, Target::Stdout)
    }

    /// Returns whether it becomes a file that can be read later.
    #[must_use]
    pub fn is_file(&self) -> bool {
        matches!(self.target, Target::File { .. })
    }

    /// Writes the whole output. A file's path is checked once more, because time has passed since it was opened.
    pub fn write(mut self, text: &str) -> Result<(), Error> {
        if self.is_file() {
            self.target = inspect(&self.path, &self.format)?;
        }
        let bytes = text.as_bytes();
        let refused = |error| files::Error::io("write to", &self.path, error);
        match &mut self.target {
            Target::Stdout => {
                let mut stdout = io::stdout().lock();
                match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
                    // A reader of standard output that closes the pipe early is no failure.
                    Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(refused(error))?,
                    _ => {}
                }
            }
            Target::Stream(stream) => stream.write_all(bytes).map_err(refused)?,
            Target::File { exists: true } => files::write(&self.path, bytes, self.format.mode)?,
            Target::File { exists: false } => files::create(&self.path, bytes, self.format.mode)?,
        }
        Ok(())
    }
}

/// Checks that `path` is a suitable destination.
fn inspect(path: &Path, format: &Format) -> Result<Target, Error> {
    if path == Path::new("-") {
        return Ok(Target::Stdout);
    }
    let unsuitable = |what| Error::Unsuitable { path: path.to_owned(), what };
    let looked = |error| files::Error::io("inspect", path, error);
    let live = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // A dangling link does not ask for its target to be created.
            let dangles = fs::symlink_metadata(path).is_ok();
            return if dangles { Err(unsuitable("a dangling link")) } else { Ok(Target::File { exists: false }) };
        }
        live => live.map_err(looked)?,
    };
    // /dev/stdout and the like resolve to this process's own descriptor, which may be a regular file opened by a
    // shell: replacing that would lose the shell's other output.
    if is_same(&live, io::stdout()) {
        return Ok(Target::Stdout);
    }
    if is_same(&live, io::stderr()) {
        let stream = io::stderr().as_fd().try_clone_to_owned().map_err(looked)?;
        return Ok(Target::Stream(stream.into()));
    }
    match FileType::from_raw_mode(live.mode()) {
        FileType::RegularFile => replaceable(path, &live, format).map(|()| Target::File { exists: true }),
        FileType::Fifo | FileType::CharacterDevice => stream(path).map(Target::Stream),
        FileType::Directory => Err(unsuitable("a folder")),
        FileType::Socket => Err(unsuitable("a socket")),
        // Writing a plan to a block device would destroy its content.
        FileType::BlockDevice => Err(unsuitable("a block device")),
        _ => Err(unsuitable("not a file")),
    }
}

fn is_same(live: &fs::Metadata, descriptor: impl AsFd) -> bool {
    let same = |other: Stat| (other.st_dev, other.st_ino) == (live.dev(), live.ino());
    rustix::fs::fstat(descriptor).is_ok_and(same)
}

fn replaceable(path: &Path, live: &fs::Metadata, format: &Format) -> Result<(), Error> {
    let foreign = |why| Error::Foreign { path: path.to_owned(), why };
    if live.uid() != rustix::process::geteuid().as_raw() {
        return Err(foreign(format!("it belongs to the user {}", live.uid())));
    }
    let text = match files::read_text(path, format.limit) {
        Err(files::Error::NotText { .. } | files::Error::TooLarge { .. }) => None,
        text => Some(text?.unwrap_or_default()),
    };
    let is_lost = |text: String| !text.is_empty() && !(format.recognizes)(&text);
    if text.is_none_or(is_lost) {
        return Err(foreign(format!("it is not {} written by llamero", format.name)));
    }
    Ok(())
}

fn stream(path: &Path) -> Result<File, Error> {
    // Without O_NONBLOCK, opening a named pipe waits for its reader for ever: fifo(7). With it, ENXIO means that
    // there is none.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = match OpenOptions::new().write(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            return Err(Error::NoReader { path: path.to_owned() });
        }
        file => file.map_err(|error| files::Error::io("open", path, error))?,
    };
    let blocking =
        rustix::fs::fcntl_getfl(&file).and_then(|flags| rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK));
    blocking.map_err(|error| files::Error::io("open", path, error.into()))?;
    Ok(file)
}
