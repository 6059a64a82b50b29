//! Checks of the records that llamero keeps about a stack: findings with stable codes, and their repair.
//!
//! Repair deletes nothing: a damaged file is renamed. No server is started, stopped or queried; where a revision was
//! lost, the container engine is queried for containers that carry the stack's ownership marker.

mod recovered;

use crate::history::{self, StackLock};
use crate::reconcile::Stack;
use crate::resolve::Directories;
use crate::resource::{Kind, ResourceId, Spec};
use crate::systems::pulled::Pulled;
use crate::systems::{FailureKind, Hint, artifacts, files, process, pulled, sealed};
use crate::targets;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// The kind of a finding. The names are part of the interface for other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A record does not match its seal.
    RecordDamaged,
    /// A record was written by a llamero that was never released.
    RecordUnreleased,
    /// A record was written by a later llamero.
    RecordNewer,
    /// A record cannot be read.
    RecordUnreadable,
    /// A managed process runs without a record.
    RecordLost,
    /// The servers of the stack end when their user logs out.
    EndsAtLogout,
}

impl Code {
    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RecordDamaged => "record-damaged",
            Self::RecordUnreleased => "record-unreleased",
            Self::RecordNewer => "record-newer",
            Self::RecordUnreadable => "record-unreadable",
            Self::RecordLost => "record-lost",
            Self::EndsAtLogout => "ends-at-logout",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A problem in the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of problem.
    pub code: Code,
    /// The file or folder concerned.
    pub path: PathBuf,
    /// A description of the problem.
    pub message: String,
    /// The remedy, if there is one.
    pub remedy: Option<String>,
}

/// A record that was repaired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// The file concerned.
    pub path: PathBuf,
    /// The new name of the file, if it was damaged.
    pub aside: Option<PathBuf>,
    /// A description of the repair.
    pub message: String,
}

/// The result of a repair.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repaired {
    /// The repairs made.
    pub repairs: Vec<Repair>,
    /// Messages about resources that may remain on the machine without a record.
    pub left: Vec<String>,
}

/// A failure to check or repair the records.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The generations could not be listed.
    #[error(transparent)]
    History(#[from] history::Error),
    /// The records of processes could not be used.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A record could not be rewritten.
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
pub async fn check(stack: &Stack) -> Result<Vec<Finding>, Error> {
    let mut findings: Vec<Finding> = stack.history.damage()?.iter().map(finding).collect();
    let processes = &stack.systems.processes;
    for name in files::names(processes.folder())? {
        let damage = processes.damage(&name)?;
        if damage.is_empty() && processes.is_lost(&name)? {
            findings.push(Finding {
                code: Code::RecordLost,
                path: processes.folder().join(&name),
                message: format!("the process `{name}` runs without a record"),
                remedy: Some(REPAIR.to_owned()),
            });
        }
        findings.extend(damage.iter().map(finding));
    }
    for folder in [&stack.systems.pulled, &stack.systems.images] {
        findings.extend(pulled::damage(folder)?.iter().map(|(_, error)| finding(error)));
    }
    findings.extend(artifacts::damage(&stack.systems.records)?.iter().map(finding));
    findings.extend(at_logout(stack).await);
    Ok(findings)
}

/// Returns the finding that servers of the committed generation all end when their user logs out.
async fn at_logout(stack: &Stack) -> Option<Finding> {
    // Damaged records have findings of their own.
    let desired = stack.history.committed().ok()??.revision.desired;
    let kinds: BTreeSet<Kind> = desired.runs().map(|(resource, _)| resource.id.kind).collect();
    for kind in kinds {
        let (Some(driver), Some(target)) = (targets::driver(kind), targets::of_kind(kind)) else { continue };
        if driver.ends_at_logout(&stack.systems).await != Some(true) {
            continue;
        }
        if let Some((message, remedy)) = target.at_logout() {
            let path = stack.history.folder().to_owned();
            let remedy = Some(remedy.to_owned());
            return Some(Finding { code: Code::EndsAtLogout, path, message: message.to_owned(), remedy });
        }
    }
    None
}

const REPAIR: &str = "`llamero doctor --repair` rebuilds it from the running servers";

fn finding(error: &sealed::Error) -> Finding {
    let (code, remedy) = match error {
        sealed::Error::Damaged { .. } => (Code::RecordDamaged, Some(REPAIR.to_owned())),
        sealed::Error::Unreleased { .. } => (Code::RecordUnreleased, Some(REPAIR.to_owned())),
        sealed::Error::Future { .. } => (Code::RecordNewer, error.hint()),
        sealed::Error::Files(_) => (Code::RecordUnreadable, error.hint()),
    };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Finding { code, path: error.path().to_owned(), message: format!("{error}{cause}"), remedy }
}

/// Renames every damaged record, and rewrites those that can be derived from managed servers and intact records. The
/// stack lock must be held.
pub async fn repair(stack: &Stack, directories: &Directories, _lock: &StackLock) -> Result<Repaired, Error> {
    let mut repairs = Vec::new();
    for error in stack.history.damage()? {
        let then = match error.path().file_name().and_then(|name| name.to_str()) {
            Some("quarantine") => "earlier failures are no longer known",
            Some("suspended") => "the stack is no longer suspended",
            _ => "running servers are rediscovered by their ownership markers",
        };
        repairs.extend(set_aside(&error, then)?);
    }
    let processes = &stack.systems.processes;
    for name in files::names(processes.folder())? {
        for error in processes.damage(&name)? {
            repairs.extend(set_aside(&error, "running servers are rediscovered by their ownership markers")?);
        }
        if processes.rebuild(&name)? {
            let message = format!("the record of the process `{name}` was rebuilt from its ownership marker");
            repairs.push(Repair { path: processes.folder().join(&name), aside: None, message });
        }
    }
    for (id, error) in pulled::damage(&stack.systems.pulled)? {
        let Some(mut aside) = set_aside(&error, "the models pulled for it are no longer managed")? else { continue };
        if let Some(record) = remembered(stack, &id)? {
            pulled::record(&stack.systems.pulled, &id, &record)?;
            aside.message = format!("{}; its record was rebuilt from the last committed generation", aside.message);
        }
        repairs.push(aside);
    }
    for (_, error) in pulled::damage(&stack.systems.images)? {
        repairs.extend(set_aside(&error, "the image is no longer managed")?);
    }
    for error in artifacts::damage(&stack.systems.records)? {
        repairs.extend(set_aside(&error, "its file is verified again when it is needed")?);
    }
    let left = recover(stack, directories, &mut repairs).await?;
    Ok(Repaired { repairs, left })
}

/// Recreates records that only a lost revision held, and returns messages about resources that cannot be recovered.
async fn recover(stack: &Stack, directories: &Directories, repairs: &mut Vec<Repair>) -> Result<Vec<String>, Error> {
    let Some(number) = stack.history.last_lost()? else { return Ok(Vec::new()) };
    let mut left = Vec::new();
    let recovered::Recovered { resources, engine } = match recovered::find(stack, directories).await {
        Ok(lost) => lost,
        // The repairs made so far are reported all the same.
        Err(error) => {
            return Ok(vec![format!("resources that only a lost revision recorded were not searched for: {error}")]);
        }
    };
    for revision in repairs.iter().filter(|repair| repair.path.ends_with("desired")) {
        let aside = revision.aside.as_ref().unwrap_or(&revision.path).display();
        left.push(format!(
            "resources that only that revision recorded may remain: files at paths set in its manifest, such as `gateway.config`, and \
             environments and model files in {}; {aside} lists them",
            directories.data.join("llamero").display()
        ));
        if !engine {
            left.push(
                "no container engine answers; if the stack has containers, repair again when one does".to_owned(),
            );
        }
    }
    if !resources.is_empty() {
        let names: Vec<String> = resources.iter().map(|resource| resource.id.to_string()).collect();
        let path = stack.history.keep_found(number, resources)?;
        let message =
            format!("rediscovered by ownership markers and recorded in {1}: {0}", names.join(", "), path.display());
        repairs.push(Repair { path, aside: None, message });
    }
    Ok(left)
}

fn set_aside(error: &sealed::Error, then: &str) -> Result<Option<Repair>, Error> {
    let (sealed::Error::Damaged { path, .. } | sealed::Error::Unreleased { path, .. }) = error else { return Ok(None) };
    let aside = files::set_aside(path)?;
    let message = format!("{} is now {}; {then}", path.display(), aside.display());
    Ok(Some(Repair { path: path.clone(), aside: Some(aside), message }))
}

/// Returns the last committed generation's record of a model on a server. It does not report the model as pulled by
/// llamero, so another program's model is never removed.
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
