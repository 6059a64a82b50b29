//! The stacks of this user, found by name, by manifest, or because there is only one.

use super::{Error, LoadedManifest, Notify, Stack, load};
use crate::manifest;
use crate::observe::directories;
use crate::resolve::Directories;
use crate::systems::files;
use std::path::{Path, PathBuf};

/// Which stack a request is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct StackSelector<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// Its manifest.
    pub manifest: Option<&'a Path>,
}

impl StackSelector<'_> {
    /// Opens the stack: by its name, by the manifest, by the default manifest, or the only one there is.
    pub fn open(&self, program: PathBuf, notify: &Notify<'_>) -> Result<Stack, Error> {
        let directories = directories(&std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")));
        if let Some(name) = self.name {
            // An invalid stack name would lead out of the folder of all stacks.
            if !manifest::is_stack_name(name) || !was_applied(name, &directories) {
                return Err(Error::NoStack(name.to_owned()));
            }
            return Ok(Stack::open(name, &directories, program)?);
        }
        if self.manifest.is_some() || load::default_path().is_ok() {
            return LoadedManifest::open(self.manifest, notify)?.stack(program);
        }
        let mut known = files::names(&directories.state.join("llamero"))?;
        known.retain(|name| was_applied(name, &directories));
        match known.as_slice() {
            [only] => Ok(Stack::open(only, &directories, program)?),
            _ => Err(Error::WhichStack(known)),
        }
    }
}

impl LoadedManifest {
    /// Opens the stack that it declares.
    pub fn stack(&self, program: PathBuf) -> Result<Stack, Error> {
        Ok(Stack::open(&self.manifest.stack.value, &self.directories, program)?)
    }
}

fn was_applied(name: &str, directories: &Directories) -> bool {
    directories.records(name).join("generations").is_dir()
}
