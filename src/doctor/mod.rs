//! What may be wrong with what llamero keeps about a stack, as findings with stable codes, and how that is mended.
//!
//! Nothing is ever deleted: what is damaged gets another name. No server is started, stopped or asked; a container
//! engine is asked for what carries the stack's mark, where a wish was lost.

mod recovered;

use crate::history::{self, StackLock};
use crate::reconcile::Stack;
use crate::resolve::Directories;
use crate::resource::{ResourceId, Spec};
use crate::systems::pulled::Pulled;
use crate::systems::{FailureKind, Hint, artifacts, files, process, pulled, sealed};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// What kind of thing is wrong. The words are part of what other programs may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A record is not as it was written.
    RecordDamaged,
    /// A record was written by a later llamero.
    RecordNewer,
    /// A record cannot be read.
    RecordUnreadable,
    /// Something of ours runs, and there is no record of it.
    RecordLost,
}

impl Code {
    /// Returns its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RecordDamaged => "record-damaged",
            Self::RecordNewer => "record-newer",
            Self::RecordUnreadable => "record-unreadable",
            Self::RecordLost => "record-lost",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its kind.
    pub code: Code,
    /// The file or folder that it is about.
    pub path: PathBuf,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// One thing that was mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// The file that it is about.
    pub path: PathBuf,
    /// The name that the file has now, if it was damaged.
    pub aside: Option<PathBuf>,
    /// What became of it.
    pub message: String,
}

/// What came of mending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repaired {
    /// What was mended.
    pub repairs: Vec<Repair>,
    /// What may be left on the machine that no record knows of any more, in words for a person.
    pub left: Vec<String>,
}

/// Why the records could not be checked or mended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The generations could not be listed.
    #[error(transparent)]
    History(#[from] history::Error),
    /// The records of processes could not be used.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A record could not be written anew.
    #[error(transparent)]
    Record(#[from] sealed::Error),
    /// A file or folder could not be used.
    #[error(transparent)]
    Files(#[from] files::Error),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::History(error) => error.hint(),
            Self::Process(error) => error.hint(),
            Self::Record(error) => error.hint(),
            Self::Files(error) => error.hint(),
        }
    }

    fn kind(&self) -> FailureKind {
        if let Self::History(error) = self { error.kind() } else { FailureKind::Error }
    }
}

/// Checks every record of a stack. Writes nothing.
pub fn check(stack: &Stack) -> Result<Vec<Finding>, Error> {
    let mut findings: Vec<Finding> = stack.history.damage()?.iter().map(finding).collect();
    let processes = &stack.systems.processes;
    for name in files::names(processes.folder())? {
        let damage = processes.damage(&name)?;
        if damage.is_empty() && processes.is_lost(&name)? {
            findings.push(Finding {
                code: Code::RecordLost,
                path: processes.folder().join(&name),
                message: format!("the process `{name}` runs and there is no record of it"),
                remedy: Some(REPAIR.to_owned()),
            });
        }
        findings.extend(damage.iter().map(finding));
    }
    for folder in [&stack.systems.pulled, &stack.systems.images] {
        findings.extend(pulled::damage(folder)?.iter().map(|(_, error)| finding(error)));
    }
    findings.extend(artifacts::damage(&stack.systems.records)?.iter().map(finding));
    Ok(findings)
}

const REPAIR: &str = "`llamero doctor --repair` mends it from what runs";

fn finding(error: &sealed::Error) -> Finding {
    let (code, remedy) = match error {
        sealed::Error::Damaged { .. } => (Code::RecordDamaged, Some(REPAIR.to_owned())),
        sealed::Error::Future { .. } => (Code::RecordNewer, error.hint()),
        sealed::Error::Files(_) => (Code::RecordUnreadable, error.hint()),
    };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Finding { code, path: error.path().to_owned(), message: format!("{error}{cause}"), remedy }
}

/// Gives every damaged record another name, and writes anew what can be told from what runs and is ours, and from the
/// records that are whole. The lock must be held.
pub async fn repair(stack: &Stack, directories: &Directories, _lock: &StackLock) -> Result<Repaired, Error> {
    let mut repairs = Vec::new();
    for error in stack.history.damage()? {
        repairs.extend(set_aside(&error, "what runs is found again by its marks")?);
    }
    let processes = &stack.systems.processes;
    for name in files::names(processes.folder())? {
        for error in processes.damage(&name)? {
            repairs.extend(set_aside(&error, "what runs is found again by its marks")?);
        }
        if processes.rebuild(&name)? {
            let message = format!("the record of the process `{name}` was written anew from its marks");
            repairs.push(Repair { path: processes.folder().join(&name), aside: None, message });
        }
    }
    for (id, error) in pulled::damage(&stack.systems.pulled)? {
        let Some(mut aside) = set_aside(&error, "what was pulled for it is left alone from here on")? else { continue };
        if let Some(record) = remembered(stack, &id)? {
            pulled::record(&stack.systems.pulled, &id, &record)?;
            aside.message = format!("{}; its record was written anew from the last good generation", aside.message);
        }
        repairs.push(aside);
    }
    for (_, error) in pulled::damage(&stack.systems.images)? {
        repairs.extend(set_aside(&error, "the image is left alone from here on")?);
    }
    for error in artifacts::damage(&stack.systems.records)? {
        repairs.extend(set_aside(&error, "its file is checked anew when it is needed")?);
    }
    let left = recover(stack, directories, &mut repairs).await?;
    Ok(Repaired { repairs, left })
}

/// Puts on record again what only a wish knew that is lost, and returns what that cannot be done for.
async fn recover(stack: &Stack, directories: &Directories, repairs: &mut Vec<Repair>) -> Result<Vec<String>, Error> {
    let Some(number) = stack.history.last_lost()? else { return Ok(Vec::new()) };
    let mut left = Vec::new();
    let recovered::Recovered { resources, engine } = match recovered::find(stack, directories).await {
        Ok(lost) => lost,
        // What was mended is told all the same.
        Err(error) => return Ok(vec![format!("what only a lost wish had was not looked for: {error}")]),
    };
    for revision in repairs.iter().filter(|repair| repair.path.ends_with("desired")) {
        let aside = revision.aside.as_ref().unwrap_or(&revision.path).display();
        left.push(format!(
            "what only that wish had may be left: files at places that its manifest chose, such as `gateway.config`, and \
             environments and model files in {}; look for them in {aside}",
            directories.data.join("llamero").display()
        ));
        if !engine {
            left.push("no container engine answers; if it had containers, mend it again when one does".to_owned());
        }
    }
    if !resources.is_empty() {
        let names: Vec<String> = resources.iter().map(|resource| resource.id.to_string()).collect();
        let path = stack.history.keep_found(number, resources)?;
        let message = format!("found by marks and on record again in {1}: {0}", names.join(", "), path.display());
        repairs.push(Repair { path, aside: None, message });
    }
    Ok(left)
}

fn set_aside(error: &sealed::Error, then: &str) -> Result<Option<Repair>, Error> {
    let sealed::Error::Damaged { path, .. } = error else { return Ok(None) };
    let aside = files::set_aside(path)?;
    let message = format!("{} is now {}; {then}", path.display(), aside.display());
    Ok(Some(Repair { path: path.clone(), aside: Some(aside), message }))
}

/// Returns what the last good generation tells of a model on a server. Whether it was pulled by llamero is not told:
/// nothing is removed that may be somebody else's.
fn remembered(stack: &Stack, id: &ResourceId) -> Result<Option<Pulled>, Error> {
    let Some(good) = stack.history.committed()? else { return Ok(None) };
    let sha256 = good.outcome.as_ref().and_then(|outcome| outcome.contents.get(id).cloned());
    let Some(resource) = good.revision.desired.resources.get(id) else { return Ok(None) };
    let Spec::Model(model) = &resource.spec else { return Ok(None) };
    Ok(Some(Pulled {
        fingerprint: resource.fingerprint(),
        endpoint: model.endpoint.clone(),
        name: model.name.shortest(),
        pulled: None,
        sha256,
        made: None,
    }))
}
