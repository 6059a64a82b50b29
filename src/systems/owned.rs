//! The last look before a rendered file is written or removed.

use super::{Failure, files};
use crate::render::marker;
use crate::resource::{Bytes, ResourceId};
use std::path::Path;

/// The largest rendered file that is read, in bytes.
const LIMIT: Bytes = Bytes(4 << 20);

/// Makes sure that no other program has replaced a managed file since it was observed for the plan.
pub fn check(stack: &str, id: &ResourceId, path: &Path) -> Result<(), Failure> {
    let text = files::read_text(path, LIMIT).map_err(|error| Failure::of(Some(id), &error))?;
    let Some(text) = text else { return Ok(()) };
    let managed = marker::read(&text).is_some_and(|marker| marker.stack == stack && marker.resource == *id);
    if managed {
        return Ok(());
    }
    let why = format!("{} was replaced by another program since planning; not touched", path.display());
    Err(Failure { hint: Some("move it away, then run it again".to_owned()), ..Failure::new(id, why) })
}
