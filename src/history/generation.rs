//! A generation: one applied revision and its outcome, as plain data.

use crate::plan::{Cause, Change, Verb};
use crate::resolve::Desired;
use crate::resource::{Digest, Resource, ResourceId, Seconds, Spec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// A revision: the desired state of a generation and its origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The time of its beginning, with the offset from UTC.
    pub begun: String,
    /// The llamero that began it.
    pub llamero: String,
    /// The manifest's file.
    pub manifest: PathBuf,
    /// The digest of the manifest's text.
    pub manifest_digest: Digest,
    /// The digest of its lock file, where there was one.
    #[serde(default)]
    pub lock_digest: Option<Digest>,
    /// The manifest's text; empty for a revision without a manifest, such as that of `down`.
    pub manifest_text: String,
    /// The origin if it is not a manifest: a rollback.
    pub origin: Option<String>,
    /// Everything rendered.
    pub desired: Desired,
    /// Orphans: resources of earlier generations that still exist and are not part of this revision.
    #[serde(default)]
    pub orphans: Vec<Resource>,
    /// The changes that its plan makes, and why. Records of earlier versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<RecordedChange>,
}

/// A change that a generation makes, with its causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedChange {
    /// The resource.
    pub on: ResourceId,
    /// The kind of change.
    pub verb: Verb,
    /// The causes, down to the field.
    pub causes: Vec<Cause>,
}

impl From<&Change> for RecordedChange {
    fn from(change: &Change) -> Self {
        Self { on: change.on.clone(), verb: change.verb, causes: change.causes.clone() }
    }
}

impl Revision {
    /// Returns the settings of the manifest that its changes come from, each once, in the order of the changes.
    #[must_use]
    pub fn changed_settings(&self) -> Vec<String> {
        let causes = self.changes.iter().flat_map(|change| &change.causes);
        let settings = causes.filter(|cause| matches!(cause, Cause::Setting { .. })).map(ToString::to_string);
        let mut seen = BTreeSet::new();
        settings.filter(|setting| seen.insert(setting.clone())).collect()
    }
}

/// The ending of an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It passed its gate.
    Committed,
    /// It failed before anything that runs was touched.
    Abandoned,
    /// It failed and was rolled back.
    RolledBack,
    /// It failed, and the rollback failed or was disabled.
    Stuck,
    /// It was interrupted; the next apply resumes it.
    Interrupted,
    /// It was verified off-line and removed again.
    Rehearsed,
}

/// The result of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepResult {
    /// It was done.
    Done,
    /// It failed.
    Failed,
    /// It was not attempted, since something before it failed.
    NotAttempted,
}

/// One step and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// Its action, such as `restart unit/gateway`.
    pub step: String,
    /// Its result.
    pub result: StepResult,
    /// The error.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// The remedy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// The last lines that the server wrote.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub log: Vec<String>,
}

impl StepOutcome {
    /// Returns the outcome of a step that nothing came of.
    #[must_use]
    pub fn not_attempted(step: String) -> Self {
        Self { step, result: StepResult::NotAttempted, why: None, hint: None, log: Vec::new() }
    }
}

/// The outcome of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The ending of the apply.
    pub ending: Ending,
    /// True if anything that runs may have been touched.
    #[serde(default)]
    pub touched: bool,
    /// When, with the offset from UTC.
    pub ended: String,
    /// The reason for a rollback or an abort.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// Every step of it.
    pub steps: Vec<StepOutcome>,
    /// The steps of the rollback, if there was one.
    #[serde(default)]
    pub rollback: Vec<StepOutcome>,
    /// Servers that were unhealthy before and still are.
    #[serde(default)]
    pub unhealthy_before: Vec<ResourceId>,
    /// The time from start to healthy of each started server.
    #[serde(default)]
    pub start_times: BTreeMap<ResourceId, Seconds>,
    /// The content of each model on a server once every server was healthy.
    #[serde(default)]
    pub contents: BTreeMap<ResourceId, Digest>,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number, from 1.
    pub number: u64,
    /// The revision.
    pub revision: Arc<Revision>,
    /// The outcome; `None` while it is being applied, or after a crash.
    pub outcome: Option<Arc<Outcome>>,
}

impl Generation {
    /// Returns whether it passed its gate.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.ending == Ending::Committed)
    }

    /// Returns the revision as applied: with the actual content of its models, even where they are not pinned.
    #[must_use]
    pub fn fulfilled(self) -> Revision {
        let mut revision = Arc::unwrap_or_clone(self.revision);
        for (id, content) in self.outcome.iter().flat_map(|outcome| &outcome.contents) {
            if let Some(Spec::Model(model)) = revision.desired.resources.get_mut(id).map(|resource| &mut resource.spec)
            {
                model.sha256.get_or_insert_with(|| content.clone());
            }
        }
        revision
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Outcome, RecordedChange, Revision};
    use crate::plan::{Cause, FieldChange, Verb};
    use crate::resource::{Kind, ResourceId};

    #[test]
    fn records_without_lock_files_and_reasons_are_read() {
        let outcome: Outcome =
            serde_json::from_str(r#"{"ending": "rolled-back", "ended": "then", "steps": []}"#).expect("an outcome");
        assert_eq!((outcome.ending, outcome.why), (Ending::RolledBack, None));
        let revision: Revision = serde_json::from_str(&format!(
            r#"{{"begun": "then", "llamero": "0.1.0", "manifest": "/a.yaml", "manifest_digest": "{}",
            "manifest_text": "", "origin": null, "desired": {{"stack": "a", "resources": [], "memory": null,
            "policy": {{"drift": "correct", "prune": true, "rollback": true}}}}}}"#,
            "0".repeat(64)
        ))
        .expect("a revision");
        assert_eq!((revision.lock_digest.clone(), revision.changes.len()), (None, 0));
        let text = serde_json::to_string(&revision).expect("it is written");
        assert!(!text.contains("changes"), "what is empty is left out: {text}");
    }

    #[test]
    fn every_kind_of_cause_reads_back() {
        let field = FieldChange { name: "--ctx-size".to_owned(), before: None, after: Some("4096".to_owned()) };
        let setting = Cause::Setting {
            path: "models.a.context".into(),
            before: Some("2048".to_owned()),
            after: Some("4096".to_owned()),
            fields: vec![field.clone()],
        };
        let causes = vec![
            Cause::Declared,
            Cause::Undeclared,
            setting,
            Cause::Field(field),
            Cause::Content { of: "file/gateway".to_owned() },
            Cause::Unrecorded,
            Cause::Drift("it is gone".to_owned()),
            Cause::Unfinished("it was interrupted".to_owned()),
        ];
        let change = RecordedChange { on: ResourceId::new(Kind::Unit, "home-a"), verb: Verb::Change, causes };
        let text = serde_json::to_string(&change).expect("it is written");
        assert_eq!(serde_json::from_str::<RecordedChange>(&text).expect("it is read"), change);
    }
}
