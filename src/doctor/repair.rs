//! The repair: damaged records are renamed, and those that can be derived are rewritten.

use super::error::Error;
use super::recovered;
use crate::history::StackLock;
use crate::reconcile::Stack;
use crate::resolve::Directories;
use crate::resource::{ResourceId, Spec};
use crate::systems::pulled::Pulled;
use crate::systems::{artifacts, files, pulled, sealed};
use serde::Serialize;
use std::path::PathBuf;

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
    for (id, error) in pulled::damage(&stack.systems.records.models)? {
        let Some(mut aside) = set_aside(&error, "the models pulled for it are no longer managed")? else { continue };
        if let Some(record) = remembered(stack, &id)? {
            pulled::record(&stack.systems.records.models, &id, &record)?;
            aside.message = format!("{}; its record was rebuilt from the last committed generation", aside.message);
        }
        repairs.push(aside);
    }
    for (_, error) in pulled::damage(&stack.systems.records.images)? {
        repairs.extend(set_aside(&error, "the image is no longer managed")?);
    }
    for error in artifacts::damage(&stack.systems.records.artifacts)? {
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
