//! One writer for each file, of all stacks and processes.

use super::error::Error;
use super::part::beside;
use crate::systems::{exclusive, files};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Waits until no other process writes the same file, which may belong to another stack.
pub(super) async fn alone(path: &Path, cancel: &CancellationToken) -> Result<std::fs::File, Error> {
    files::create_folder(path.parent().unwrap_or(Path::new("/")))?;
    exclusive::hold(&beside(path, ".part"), &|| {}, cancel).await.map_err(|error| match error {
        exclusive::Error::Cancelled => Error::Cancelled,
        error => Error::Held(error),
    })
}
