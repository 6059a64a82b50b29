//! The facts of the machine that give a manifest one meaning: folders, programs, digests of secrets.
//!
//! Facts are asked for by [`questions`] and brought by whoever may look; here they are only values.

use crate::manifest::{Install, Manifest, RuntimeName, SecretSource, Source, Spanned};
use crate::resource::{Bytes, Digest, Gpu, SecretReference};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The user's directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// The user's home.
    pub home: PathBuf,
    /// `$XDG_CONFIG_HOME`.
    pub config: PathBuf,
    /// `$XDG_STATE_HOME`.
    pub state: PathBuf,
    /// `$XDG_DATA_HOME`.
    pub data: PathBuf,
    /// The folder of the manifest.
    pub manifest: PathBuf,
}

impl Directories {
    /// Returns the path that a text means: `~` is the home, and what is relative is relative to the manifest.
    #[must_use]
    pub fn expand(&self, text: &str) -> PathBuf {
        let expanded = match text.strip_prefix('~') {
            Some("") => self.home.clone(),
            Some(rest) if rest.starts_with('/') => self.home.join(rest.trim_start_matches('/')),
            _ => self.variable(text).unwrap_or_else(|| PathBuf::from(text)),
        };
        let whole = self.manifest.join(expanded);
        // Without `.`: the path is shown to people and compared with others.
        whole.components().collect()
    }

    fn variable(&self, text: &str) -> Option<PathBuf> {
        let (name, rest) = text.strip_prefix('$')?.split_once('/')?;
        let folder = match name {
            "HOME" => &self.home,
            "XDG_CONFIG_HOME" => &self.config,
            "XDG_STATE_HOME" => &self.state,
            "XDG_DATA_HOME" => &self.data,
            _ => return None,
        };
        Some(folder.join(rest))
    }

    /// Returns the folder of a stack's records.
    #[must_use]
    pub fn records(&self, stack: &str) -> PathBuf {
        self.state.join("llamero").join(stack)
    }

    /// Returns the folder of what is known of model files.
    #[must_use]
    pub fn known_artifacts(&self) -> PathBuf {
        self.state.join("llamero").join("artifacts")
    }

    /// Returns the folder of the user's unit files.
    #[must_use]
    pub fn units(&self) -> PathBuf {
        self.config.join("systemd").join("user")
    }
}

/// The facts about a secret without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretFact {
    /// It can be read; the keyed digest of its value.
    Known(Digest),
    /// It cannot be read, and its value is unknown.
    Unreadable {
        /// Why.
        why: String,
        /// The remedy.
        hint: Option<String>,
        /// True if there simply is no such file.
        absent: bool,
    },
}

/// The facts of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The user's directories.
    pub directories: Directories,
    /// Each secret that was asked about.
    pub secrets: BTreeMap<SecretReference, SecretFact>,
    /// The absolute path of each program that was found, by its name or path.
    pub programs: BTreeMap<String, PathBuf>,
    /// The Python interpreter that makes environments, and its version.
    pub python: Option<(PathBuf, String)>,
    /// The address of the model hub.
    pub hub: String,
    /// True if a token for the model hub is set.
    pub hub_token: bool,
    /// All host memory.
    pub memory: Option<Bytes>,
    /// The Python interpreter beside each program that has one, by the program's path.
    pub pythons: BTreeMap<PathBuf, PathBuf>,
    /// The machine's GPUs, or why they are not known; `None` where they were not queried.
    pub gpus: Option<Result<Vec<Gpu>, String>>,
    /// The digest of each model file that llamero fetched and that is as it was then.
    pub fetched: BTreeMap<PathBuf, Digest>,
}

/// The questions of a manifest about the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Questions {
    /// Secrets whose digests are needed.
    pub secrets: BTreeSet<SecretReference>,
    /// Programs that are looked for: names on the path, and paths.
    pub programs: BTreeSet<String>,
    /// True if a Python interpreter is needed.
    pub python: bool,
    /// True if it must be known which GPUs there are.
    pub gpus: bool,
}

/// Returns what must be known of the machine for this manifest.
#[must_use]
pub fn questions(manifest: &Manifest, directories: &Directories) -> Questions {
    let mut questions = Questions::default();
    let in_container =
        |runtime: Option<&Spanned<RuntimeName>>| runtime.is_some_and(|runtime| runtime.value == RuntimeName::Docker);
    let mut ask = |install: &Install, command: Option<&[String]>, default: Option<&str>| {
        questions.python |= !install.python.0.is_empty();
        let program = command.and_then(|command| command.first()).map(String::as_str).or(default);
        match program {
            // A path is looked at too: what cannot be run should be known before anything is stopped.
            Some(program) if program.contains('/') => {
                questions.programs.insert(directories.expand(program).to_string_lossy().into_owned());
            }
            Some(program) if install.python.0.is_empty() => {
                questions.programs.insert(program.to_owned());
            }
            _ => {}
        }
    };
    for provider in &manifest.providers {
        let engine = provider.value.engine.value;
        questions.gpus |= engine.share_of_gpu().is_some() && provider.value.memory.is_some();
        let external = provider.value.is_external();
        if !external && !in_container(provider.value.runtime.as_ref()) {
            let command = provider.value.command.as_ref().map(|words| words.0.as_slice());
            ask(&provider.value.install, command, engine.program());
        }
        for model in manifest.models.iter().filter(|model| model.value.provider.value == provider.name.value) {
            if let Some(Source::Command(words)) = model.value.source.as_ref().map(|source| &source.value) {
                ask(&provider.value.install, Some(words), None);
            }
        }
    }
    if let Some(gateway) = manifest.gateway.as_ref().filter(|gateway| !in_container(gateway.runtime.as_ref())) {
        ask(&gateway.install, gateway.command.as_ref().map(|words| words.0.as_slice()), gateway.engine.value.program());
    }
    let runs = |runtime: Option<&Spanned<RuntimeName>>| runtime.is_some() && !in_container(runtime);
    if let Some(cache) = manifest.cache.as_ref().filter(|cache| runs(cache.runtime.as_ref())) {
        ask(&cache.install, cache.command.as_ref().map(|words| words.0.as_slice()), cache.engine.value.program());
    }
    for service in manifest.services.iter().filter(|service| !in_container(service.value.runtime.as_ref())) {
        ask(&service.value.install, service.value.command.as_ref().map(|words| words.0.as_slice()), None);
    }
    questions.secrets = secrets(manifest).map(|source| reference(source, directories)).collect();
    questions
}

/// Returns every reference to a secret in a manifest.
pub(super) fn secrets(manifest: &Manifest) -> impl Iterator<Item = &SecretSource> {
    manifest
        .gateway
        .iter()
        .flat_map(|gateway| gateway.master_key.iter().chain(gateway.secrets.iter().map(|entry| &entry.value)))
        .chain(manifest.providers.iter().flat_map(|provider| {
            provider.value.api_key.iter().chain(provider.value.secrets.iter().map(|entry| &entry.value))
        }))
        .chain(manifest.services.iter().flat_map(|service| service.value.secrets.iter().map(|entry| &entry.value)))
        .chain(
            manifest
                .cache
                .iter()
                .flat_map(|cache| cache.password.iter().chain(cache.secrets.iter().map(|entry| &entry.value))),
        )
}

/// Returns a secret's reference with its path spelled out.
#[must_use]
pub(super) fn reference(source: &SecretSource, directories: &Directories) -> SecretReference {
    match &source.reference {
        SecretReference::File(path) => SecretReference::File(directories.expand(&path.to_string_lossy())),
        SecretReference::Env(name) => SecretReference::Env(name.clone()),
    }
}

/// Returns the path of a program in a Python environment.
#[must_use]
pub(super) fn program_of(environment: &Path, name: &str) -> PathBuf {
    environment.join("bin").join(name)
}
