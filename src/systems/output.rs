//! Output that goes where the user says: standard output, a stream that exists already, or a regular file.
//!
//! A regular file is replaced whole, and only where nothing is lost: where there is none, where it is empty, or where it
//! is this user's and holds an earlier output of the same format. A pipe or a character device is written to and stays.
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

/// How often the pipe is tried meanwhile.
const EVERY: Duration = Duration::from_millis(20);

/// A kind of file that llamero writes, by which its own files are told from others.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Its name, with an article.
    pub name: &'static str,
    /// Whether a text is of this format.
    pub recognizes: fn(&str) -> bool,
    /// The largest file of it, in bytes.
    pub limit: Bytes,
    /// The mode of a new file.
    pub mode: u32,
}

/// An output that cannot be written where the user says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A thing is there that can neither be written to nor replaced.
    #[error("cannot write to {}: it is {what}; nothing was changed", path.display())]
    Unsuitable {
        /// The path.
        path: PathBuf,
        /// What is there, with an article.
        what: &'static str,
    },
    /// A file is there that is not an earlier output.
    #[error("{} is not replaced: {why}; nothing was changed", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why it is not.
        why: String,
    },
    /// A named pipe has no reader.
    #[error("cannot write to {}: nobody read from the pipe for {} s", path.display(), READER.as_secs())]
    NoReader {
        /// The pipe.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error(transparent)]
    Files(#[from] files::Error),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unsuitable { .. } | Self::Foreign { .. } => {
                Some("name another file, or `-` for standard output, or move away what is there".to_owned())
            }
            Self::NoReader { .. } => Some("start what reads from it first".to_owned()),
            Self::Files(error) => error.hint(),
        }
    }

    fn retry(&self) -> Retry {
        if matches!(self, Self::NoReader { .. }) { Retry::Soon } else { Retry::Never }
    }

    fn kind(&self) -> FailureKind {
        if matches!(self, Self::Foreign { .. }) { FailureKind::NotManaged } else { FailureKind::Error }
    }
}

/// An output that may be written.
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
    /// A regular file, there already or not.
    File {
        exists: bool,
    },
}

impl Output {
    /// Opens the output at `path`, where `-` is standard output. Nothing is written and nothing is made yet.
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

    /// Returns whether it goes to standard output, by whichever name.
    #[must_use]
    pub fn is_stdout(&self) -> bool {
        matches!(self.target, Target::Stdout)
    }

    /// Returns whether it becomes a file that can be read later.
    #[must_use]
    pub fn is_file(&self) -> bool {
        matches!(self.target, Target::File { .. })
    }

    /// Writes the whole output. What is at a file's path is looked at once more: time has passed since it was opened.
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
                    // A reader of standard output that has had enough is no failure.
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

/// Finds out what is at `path`, and whether it may become an output.
fn inspect(path: &Path, format: &Format) -> Result<Target, Error> {
    if path == Path::new("-") {
        return Ok(Target::Stdout);
    }
    let unsuitable = |what| Error::Unsuitable { path: path.to_owned(), what };
    let looked = |error| files::Error::io("look at", path, error);
    let live = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Whoever made a link to nothing did not say that something should come into being there.
            let dangles = fs::symlink_metadata(path).is_ok();
            return if dangles { Err(unsuitable("a link to nothing")) } else { Ok(Target::File { exists: false }) };
        }
        live => live.map_err(looked)?,
    };
    // /dev/stdout and its like lead to whatever this process was given, which may be a regular file that a shell has
    // opened: replacing that would lose what else is written to it.
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
        // A plan on a disk is the end of what was on the disk.
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
        return Err(foreign(format!("it is not {} of llamero's", format.name)));
    }
    Ok(())
}

fn stream(path: &Path) -> Result<File, Error> {
    // Without O_NONBLOCK the opening of a named pipe waits for its reader for ever: fifo(7). With it ENXIO says that
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
