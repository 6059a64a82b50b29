//! Sealed files: one line with the layout's version and the digest of what follows, then readable JSON.
//!
//! A file that was cut off, edited or bit-flipped does not match its seal.

use super::{Error, SCHEMA};
use crate::resource::{Bytes, Digest};
use crate::systems::files;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

const OPENING: &str = "llamero state";

/// The largest state file that is read, in bytes.
const LIMIT: Bytes = Bytes(64 << 20);

pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let damaged = |error: serde_json::Error| Error::Damaged { path: path.to_owned(), why: error.to_string() };
    let mut body = serde_json::to_string_pretty(value).map_err(damaged)?;
    body.push('\n');
    let text = format!("{OPENING} {SCHEMA} {}\n{body}", Digest::of(&body));
    Ok(files::write(path, text.as_bytes(), files::PRIVATE)?)
}

/// Reads a sealed file; `None` when there is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let damaged = |why: String| Error::Damaged { path: path.to_owned(), why };
    let text = match files::read_text(path, LIMIT) {
        Err(files::Error::NotText { .. }) => return Err(damaged("it is not text".to_owned())),
        text => text?,
    };
    let Some(text) = text else { return Ok(None) };
    let (schema, seal, body) = open(&text).ok_or_else(|| damaged("its first line is not a seal".to_owned()))?;
    if schema > SCHEMA {
        return Err(Error::Future { path: path.to_owned(), found: schema });
    }
    if schema != SCHEMA || Digest::of(body).as_str() != seal {
        return Err(damaged("its content does not match its seal".to_owned()));
    }
    serde_json::from_str(body).map(Some).map_err(|error| damaged(error.to_string()))
}

fn open(text: &str) -> Option<(u32, &str, &str)> {
    let (line, body) = text.split_once('\n')?;
    let (schema, seal) = line.strip_prefix(OPENING)?.strip_prefix(' ')?.split_once(' ')?;
    Some((schema.parse().ok()?, seal, body))
}
