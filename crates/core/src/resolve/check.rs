//! Problems of a manifest that exist on every machine.

use super::facts::{Directories, Facts, SecretFact, questions};
use crate::lockfile::LockFile;
use crate::manifest::Manifest;
use crate::resource::{Bytes, Digest, Gpu, GpuDevice, Note, SecretReference, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Returns what is wrong with a manifest on a machine that has everything it asks for. A note carries the path and the
/// bytes of the manifest that it is about.
#[must_use]
pub fn check(manifest: &Manifest, lock: &LockFile, directories: Directories) -> Vec<(Note, String, Range<usize>)> {
    let (_, mut notes) = super::resolve(manifest, lock, &Facts::assumed(manifest, directories));
    // A manifest may be ahead of this version, and is valid all the same.
    for (note, ..) in notes.iter_mut().filter(|(note, ..)| note.code == "not-yet-supported") {
        note.severity = Severity::Warning;
    }
    notes
}

impl Facts {
    /// Returns the facts of a machine that has all that a manifest needs: what is wrong even there is wrong in the
    /// manifest.
    #[must_use]
    pub fn assumed(manifest: &Manifest, directories: Directories) -> Self {
        let questions = questions(manifest, &directories);
        let secret = |reference: SecretReference| {
            let digest = Digest::of(reference.to_string());
            (reference, SecretFact::Known(digest))
        };
        let program = |name: String| {
            let path = Path::new("/usr/bin").join(&name);
            (name, path)
        };
        let named = manifest.providers.iter().flat_map(|provider| &provider.value.gpus).map(|gpu| gpu.value.clone());
        let named: BTreeSet<GpuDevice> = named.chain([GpuDevice::Index(0)]).collect();
        let gpu = |(place, device): (u32, GpuDevice)| Gpu {
            index: if let GpuDevice::Index(index) = device { index } else { u32::MAX - place },
            uuid: if let GpuDevice::Index(index) = device {
                format!("GPU-of-index-{index}")
            } else {
                device.to_string()
            },
            name: "any GPU".to_owned(),
            memory: Bytes(u64::MAX),
        };
        Self {
            secrets: questions.secrets.into_iter().map(secret).collect(),
            programs: questions.programs.into_iter().map(program).collect(),
            python: Some((PathBuf::from("/usr/bin/python3"), "3".to_owned())),
            hub: "https://huggingface.co".to_owned(),
            hub_token: false,
            memory: None,
            pythons: BTreeMap::new(),
            gpus: Some(Ok((0..).zip(named).map(gpu).collect())),
            fetched: BTreeMap::new(),
            directories,
        }
    }
}
