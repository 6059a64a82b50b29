//! Sealed files: one line with the schema version and the digest of the rest, then readable JSON.
//!
//! A truncated, edited or bit-flipped file does not match its seal: reading it is an error that names it, never
//! treated as absence. The content of a file is defined elsewhere.

use super::store::{Disk, Store};
use super::{Hint, files};
use crate::resource::{Bytes, Digest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const OPENING: &str = "llamero state";

/// The schema version. A file of another version is refused. Version 1 was never released.
const SCHEMA: u32 = 2;

/// The largest state file that is read, in bytes.
const LIMIT: Bytes = Bytes(64 << 20);

/// A defect of a state file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// Its content does not match its seal.
    #[error("the state file {} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The defect.
        why: String,
    },
    /// It was written by a llamero that was never released.
    #[error("the state file {} was written by an unreleased llamero (layout {live})", path.display())]
    Unreleased {
        /// The file.
        path: PathBuf,
        /// Its version.
        live: u32,
    },
    /// It was written by a later llamero.
    #[error("the state file {} has schema version {live}; this llamero supports version {SCHEMA}", path.display())]
    Future {
        /// The file.
        path: PathBuf,
        /// Its version.
        live: u32,
    },
}

impl Error {
    /// Returns the file concerned.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Files(error) => error.path(),
            Self::Damaged { path, .. } | Self::Unreleased { path, .. } | Self::Future { path, .. } => path,
        }
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Files(error) => error.hint(),
            Self::Damaged { .. } | Self::Unreleased { .. } => Some(
                "nothing was changed; `llamero doctor --repair` renames it and rediscovers the running servers by their ownership markers"
                    .to_owned(),
            ),
            Self::Future { .. } => Some("use the llamero version that wrote it, or a later one".to_owned()),
        }
    }
}

/// Writes a sealed file, atomically and durably.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    write_to(&Disk, path, value)
}

/// Writes a sealed file into a store, atomically and durably.
pub fn write_to<T: Serialize>(store: &impl Store, path: &Path, value: &T) -> Result<(), Error> {
    let damaged = |error: serde_json::Error| Error::Damaged { path: path.to_owned(), why: error.to_string() };
    let mut body = serde_json::to_string_pretty(value).map_err(damaged)?;
    body.push('\n');
    let text = format!("{OPENING} {SCHEMA} {}\n{body}", seal_of(SCHEMA, &body));
    Ok(store.write(path, text.as_bytes())?)
}

/// Reads a sealed file; `None` when there is none.
pub fn read<T: DeserializeOwned + Clone + Send + Sync + 'static>(path: &Path) -> Result<Option<T>, Error> {
    read_from(&Disk, path)
}

/// Reads a sealed file from a store; `None` when there is none.
pub fn read_from<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    store: &impl Store,
    path: &Path,
) -> Result<Option<T>, Error> {
    Ok(shared_from(store, path)?.map(Arc::unwrap_or_clone))
}

/// Reads a sealed file from a store, which may share the value; `None` when there is none.
pub fn shared_from<T: DeserializeOwned + Send + Sync + 'static>(
    store: &impl Store,
    path: &Path,
) -> Result<Option<Arc<T>>, Error> {
    match store.decoded(path, LIMIT, |bytes| decode(path, bytes)) {
        Err(Error::Files(files::Error::TooLarge { .. })) => {
            Err(Error::Damaged { path: path.to_owned(), why: format!("it is larger than {LIMIT}") })
        }
        value => value,
    }
}

fn decode<T: DeserializeOwned>(path: &Path, bytes: Vec<u8>) -> Result<T, Error> {
    let damaged = |why: String| Error::Damaged { path: path.to_owned(), why };
    let text = String::from_utf8(bytes).map_err(|_| damaged("it is not text".to_owned()))?;
    let (schema, seal, body) = open(&text).ok_or_else(|| damaged("its first line is not a seal".to_owned()))?;
    if seal_of(schema, body).as_str() != seal {
        return Err(damaged("its content does not match its seal".to_owned()));
    }
    if schema > SCHEMA {
        return Err(Error::Future { path: path.to_owned(), live: schema });
    }
    if schema < SCHEMA {
        return Err(Error::Unreleased { path: path.to_owned(), live: schema });
    }
    serde_json::from_str(body).map_err(|error| damaged(error.to_string()))
}

/// Returns the seal of a file. From the second version on it covers the version too: a changed version is damage, not
/// a file of a later llamero.
fn seal_of(schema: u32, body: &str) -> Digest {
    if schema <= 1 { Digest::of(body) } else { Digest::of(format!("{schema}\n{body}")) }
}

fn open(text: &str) -> Option<(u32, &str, &str)> {
    let (line, body) = text.split_once('\n')?;
    let (schema, seal) = line.strip_prefix(OPENING)?.strip_prefix(' ')?.split_once(' ')?;
    let schema = schema.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == schema)?;
    Some((schema, seal, body))
}

#[cfg(test)]
mod tests {
    use super::{Error, read, seal_of, write};
    use std::fs;

    #[test]
    fn every_truncation_and_every_flipped_bit_is_damage() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let value = vec!["one".to_owned(), "zwei \u{e9}".to_owned()];
        write(&path, &value).expect("written");
        let whole = fs::read(&path).expect("read");
        assert_eq!(read(&path).expect("whole"), Some(value));
        let damaged = |bytes: &[u8], what: &str| {
            fs::write(&path, bytes).expect("written");
            let live = read::<Vec<String>>(&path);
            assert!(matches!(live, Err(Error::Damaged { .. })), "{what}: {live:?}");
        };
        for offset in 0..whole.len() {
            damaged(&whole[..offset], &format!("cut off at {offset}"));
            for bit in 0..8 {
                let mut bent = whole.clone();
                bent[offset] ^= 1 << bit;
                damaged(&bent, &format!("bit {bit} of byte {offset}"));
            }
        }
    }

    #[test]
    fn another_version_is_distinguished_from_a_damaged_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let sealed = |schema, seal_of_schema| {
            let seal = seal_of(seal_of_schema, "{}\n");
            fs::write(&path, format!("llamero state {schema} {seal}\n{{}}\n")).expect("written");
        };
        sealed(3, 3);
        assert!(matches!(read::<Vec<String>>(&path), Err(Error::Future { live: 3, .. })));
        sealed(1, 1);
        let error = read::<Vec<String>>(&path).expect_err("version 1");
        assert!(error.to_string().ends_with("was written by an unreleased llamero (layout 1)"), "{error}");
        sealed(3, 1);
        assert!(matches!(read::<Vec<String>>(&path), Err(Error::Damaged { .. })));
    }
}
