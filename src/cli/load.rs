//! From the command line to a manifest, its meaning, and its stack.

use super::color;
use super::exit::Exit;
use super::problem::{Problem, note, say};
use super::{ManifestArgument, StackArgument};
use crate::history::Revision;
use crate::lockfile::{self, LockFile};
use crate::manifest::{self, Manifest};
use crate::observe::{directories, facts};
use crate::pace::Attempt;
use crate::reconcile::Stack;
use crate::resolve::{self, Directories, Facts, questions, resolve};
use crate::resource::{Bytes, Digest, Note};
use crate::systems::{clock, files};
use std::path::{Path, PathBuf};

/// A manifest that was read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) manifest: Manifest,
    pub(super) directories: Directories,
    /// The lock file, and what it says if it is there.
    pub(super) lock_path: PathBuf,
    pub(super) lock: Option<LockFile>,
    lock_digest: Option<Digest>,
}

impl Loaded {
    /// Returns what is tried by applying it.
    pub(super) fn attempt(&self) -> Attempt {
        Attempt { manifest: Digest::of(&self.text), lock: self.lock_digest.clone() }
    }
}

/// Returns the name of who runs this, for people.
pub(super) fn user() -> String {
    let named =
        ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    named.unwrap_or_else(|| "somebody".to_owned())
}

/// Reads a manifest and tells every problem with it.
pub(super) fn manifest(argument: &ManifestArgument) -> Result<Loaded, Problem> {
    let path = find(argument)?;
    let text = read(&path)?;
    let (manifest, notes) = manifest::read(&text);
    tell(&path, &text, &notes);
    let Some(manifest) = manifest else { return Err(broken(&path, &notes)) };
    let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
    let directories = directories(absolute.parent().unwrap_or(Path::new("/")));
    let lock_path = path.with_extension("lock");
    if lock_path == path {
        let message = format!("{} would be its own lock file; nothing was changed", path.display());
        return Err(Problem::new(Exit::Error, message).hint("give the manifest another ending, such as `.yaml`"));
    }
    let (lock, lock_digest) = lock_file(&lock_path)?.unzip();
    Ok(Loaded { path, text, manifest, directories, lock_path, lock, lock_digest })
}

fn lock_file(path: &Path) -> Result<Option<(LockFile, Digest)>, Problem> {
    let Some(text) = files::read_text(path, Bytes(lockfile::LIMIT as u64))? else { return Ok(None) };
    let damaged = |why| {
        Problem::new(Exit::Error, format!("{} is damaged: {why}; nothing was changed", path.display()))
            .hint("bring it back from git, or move it away and make a new one with `llamero lock`")
    };
    LockFile::parse(&text).map(|lock| Some((lock, Digest::of(&text)))).map_err(damaged)
}

/// Refuses a manifest that its lock file does not cover, if that is asked for, and says so otherwise.
pub(super) fn check_lock(loaded: &Loaded, locked: bool) -> Result<(), Problem> {
    let lock = loaded.lock.clone().unwrap_or_default();
    let missing: Vec<String> = lock.missing(&loaded.manifest).into_iter().map(|source| source.key).collect();
    let unused = lock.unused(&loaded.manifest);
    let path = loaded.lock_path.display();
    if locked && !(missing.is_empty() && unused.is_empty()) {
        let said = |what: &str, keys: &[String]| (!keys.is_empty()).then(|| format!("{what} {}", keys.join(", ")));
        let parts = [said("it does not say", &missing), said("the manifest no longer has", &unused)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let message = format!("{path} is out of date: {}; nothing was changed", parts.join("; "));
        return Err(Problem::new(Exit::Error, message).hint("`llamero lock` brings it up to date"));
    }
    if loaded.lock.is_some() && !missing.is_empty() {
        note(&format!("{path} does not say {}; `llamero lock` adds it", missing.join(", ")));
    }
    Ok(())
}

/// Finds out what must be known of this machine for a manifest.
pub(super) async fn known(loaded: &Loaded) -> Facts {
    facts(&questions(&loaded.manifest, &loaded.directories), loaded.directories.clone()).await
}

/// Finds out what a manifest means on this machine.
pub(super) async fn revision(loaded: &Loaded) -> Result<Revision, Problem> {
    let Loaded { path, text, manifest, lock, lock_digest, .. } = loaded;
    let (desired, notes) = resolve(manifest, &lock.clone().unwrap_or_default(), &known(loaded).await);
    let notes: Vec<Note> =
        notes.into_iter().map(|(note, keys, span)| note.at(manifest::locate(text, &keys, span))).collect();
    tell(path, text, &notes);
    if notes.iter().any(Note::is_error) {
        return Err(broken(path, &notes));
    }
    Ok(Revision {
        begun: clock::now(),
        llamero: env!("CARGO_PKG_VERSION").to_owned(),
        manifest: std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        manifest_digest: Digest::of(text),
        lock_digest: lock_digest.clone(),
        manifest_text: text.clone(),
        origin: None,
        desired,
        orphans: Vec::new(),
    })
}

/// Has the route of a model change first, if somebody says so beside the manifest.
pub(super) fn canary(revision: &mut Revision, loaded: &Loaded, model: Option<&str>) -> Result<(), Problem> {
    let Some(model) = model else { return Ok(()) };
    let Loaded { path, manifest, .. } = loaded;
    if manifest.gateway.is_none() {
        let message = format!("{} has no gateway, and so no routes to change; nothing was changed", path.display());
        return Err(Problem::new(Exit::Error, message).hint("leave out `--canary`"));
    }
    let Some(canary) = resolve::canary(manifest, model) else {
        let known: Vec<&str> = manifest.models.iter().map(|model| model.name.value.as_str()).collect();
        let message = format!("there is no model `{model}` in {}; nothing was changed", path.display());
        return Err(Problem {
            hint: manifest::suggest(model, &known, "there are"),
            ..Problem::new(Exit::Error, message)
        });
    };
    revision.desired.canary = Some(canary);
    Ok(())
}

/// Opens the stack with a name.
pub(super) fn stack(name: &str, directories: &Directories) -> Result<Stack, Problem> {
    let program = std::env::current_exe()
        .map_err(|error| Problem::new(Exit::Error, format!("cannot find llamero's own program: {error}")))?;
    Stack::open(name, directories, program).map_err(|error| Problem::of(&error))
}

/// Opens the stack that a verb is about, for verbs that need no manifest.
pub(super) fn stack_of(argument: &StackArgument) -> Result<Stack, Problem> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let directories = directories(&here);
    if let Some(name) = &argument.stack {
        // A name that no manifest could say would lead out of the folder of all stacks.
        if !manifest::is_stack_name(name) || !directories.records(name).join("generations").is_dir() {
            return Err(Problem::new(Exit::Error, format!("there is no stack `{name}`"))
                .hint("name one that was applied, or point to its manifest"));
        }
        return stack(name, &directories);
    }
    if argument.manifest.manifest.is_some() || find(&argument.manifest).is_ok() {
        let loaded = manifest(&argument.manifest)?;
        return stack(&loaded.manifest.stack.value, &directories);
    }
    let known: Vec<String> = files::names(&directories.state.join("llamero"))?
        .into_iter()
        .filter(|name| directories.records(name).join("generations").is_dir())
        .collect();
    match known.as_slice() {
        [only] => stack(only, &directories),
        [] => Err(Problem::new(Exit::Error, "no stack was applied here and no manifest was found")
            .hint("say which manifest: `llamero apply MANIFEST`")),
        several => Err(Problem::new(Exit::Error, format!("there are several stacks: {}", several.join(", ")))
            .hint("say which one: `--stack NAME`")),
    }
}

fn find(argument: &ManifestArgument) -> Result<PathBuf, Problem> {
    if let Some(path) = &argument.manifest {
        return Ok(path.clone());
    }
    let configured = directories(Path::new("/")).config.join("llamero").join("llamero.yaml");
    let candidates = [PathBuf::from("llamero.yaml"), configured];
    candidates.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let message = format!("there is no llamero.yaml here and no {}", candidates[1].display());
        Problem::new(Exit::Error, message).hint("name the manifest, such as `llamero plan stack.yaml`")
    })
}

fn read(path: &Path) -> Result<String, Problem> {
    let text = files::read_text(path, Bytes(manifest::LIMIT as u64))?;
    text.ok_or_else(|| Problem::new(Exit::Error, format!("there is no file {}", path.display())))
}

fn tell(path: &Path, text: &str, notes: &[Note]) {
    if !notes.is_empty() {
        let report = manifest::report(&path.display().to_string(), text, notes, color::on_errors());
        say(&report);
    }
}

fn broken(path: &Path, notes: &[Note]) -> Problem {
    let errors = notes.iter().filter(|note| note.is_error()).count();
    let errors = if errors == 1 { "1 error".to_owned() } else { format!("{errors} errors") };
    Problem::new(Exit::Error, format!("{errors} in {}; nothing was changed", path.display()))
}
