//! The checks. They write nothing.

use super::error::Error;
use super::finding::{Code, Finding, REPAIR};
use crate::reconcile::Stack;
use crate::resource::Kind;
use crate::systems::{artifacts, files, pulled};
use crate::targets;
use std::collections::BTreeSet;

/// Checks every record of a stack. Writes nothing.
pub async fn check(stack: &Stack) -> Result<Vec<Finding>, Error> {
    let mut findings: Vec<Finding> = stack.history.damage()?.iter().map(Finding::of).collect();
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
        findings.extend(damage.iter().map(Finding::of));
    }
    for folder in [&stack.systems.records.models, &stack.systems.records.images] {
        findings.extend(pulled::damage(folder)?.iter().map(|(_, error)| Finding::of(error)));
    }
    findings.extend(artifacts::damage(&stack.systems.records.artifacts)?.iter().map(Finding::of));
    findings.extend(at_logout(stack).await);
    Ok(findings)
}

/// Returns the finding that servers of the committed generation all end when their user logs out.
async fn at_logout(stack: &Stack) -> Option<Finding> {
    // Damaged records have findings of their own.
    let revision = stack.history.committed().ok()??.revision;
    let kinds: BTreeSet<Kind> = revision.desired.runs().map(|(resource, _)| resource.id.kind).collect();
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
