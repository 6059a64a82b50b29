//! The facts of the machine that a manifest's meaning depends on.

use crate::resolve::{Directories, Facts, Questions, SecretFact};
use crate::resource::{Bytes, Gpu, SecretReference};
use crate::systems::{Hint, artifacts, files, gpu, program, python, secrets};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// The hub of `hf:` sources unless `HF_ENDPOINT` is set.
const HUB: &str = "https://huggingface.co";

/// Returns the user's directories, by the XDG base directory specification.
#[must_use]
pub fn directories(manifest: &Path) -> Directories {
    let folder = |name: &str, default: PathBuf| {
        std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute()).unwrap_or(default)
    };
    let home = folder("HOME", PathBuf::from("/"));
    Directories {
        config: folder("XDG_CONFIG_HOME", home.join(".config")),
        state: folder("XDG_STATE_HOME", home.join(".local/state")),
        data: folder("XDG_DATA_HOME", home.join(".local/share")),
        manifest: manifest.to_owned(),
        home,
    }
}

/// Answers a manifest's questions.
pub async fn facts(questions: &Questions, directories: Directories) -> Facts {
    let python = if questions.python { python::interpreter(&CancellationToken::new()).await.ok() } else { None };
    let programs = questions.programs.iter().filter_map(|name| Some((name.clone(), program::find(name)?)));
    let programs: BTreeMap<String, PathBuf> = programs.collect();
    let beside = |path: &PathBuf| {
        let python = std::fs::canonicalize(path).ok()?.parent()?.join("python");
        program::find(&python.to_string_lossy()).map(|python| (path.clone(), python))
    };
    Facts {
        secrets: questions.secrets.iter().map(|reference| (reference.clone(), secret(reference))).collect(),
        pythons: programs.values().filter_map(beside).collect(),
        programs,
        python,
        hub: std::env::var("HF_ENDPOINT").ok().filter(|text| !text.is_empty()).unwrap_or_else(|| HUB.to_owned()),
        hub_token: std::env::var("HF_TOKEN").is_ok_and(|token| !token.is_empty()),
        memory: memory(),
        gpus: if questions.gpus { Some(gpus().await) } else { None },
        fetched: artifacts::all(&directories.known_artifacts()).unwrap_or_default(),
        directories,
    }
}

fn secret(reference: &SecretReference) -> SecretFact {
    match secrets::resolve(reference) {
        Ok(secret) => SecretFact::Known(secrets::digest(&secret)),
        Err(error) => SecretFact::Unreadable {
            why: error.to_string(),
            hint: error.hint(),
            absent: matches!(error, secrets::Error::Missing(_)),
        },
    }
}

/// Returns the machine's GPUs, or the reason why they are unknown.
async fn gpus() -> Result<Vec<Gpu>, String> {
    gpu::all().await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    })
}

/// Returns all host memory, from `/proc/meminfo` (proc(5)).
fn memory() -> Option<Bytes> {
    let text = files::read_text(Path::new("/proc/meminfo"), Bytes(64 << 10)).ok()??;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(Bytes(kibibytes * 1024))
}
