//! Plans on disk. A saved plan is only compared: every apply plans again.

use super::{Error, Prepared, Staleness};
use crate::plan::Plan;
use crate::resource::{Bytes, Digest, SecretReference};
use crate::systems::files;
use crate::systems::output::Format;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The version of a saved plan's form.
const SCHEMA: u32 = 1;

/// The largest saved plan that is read, in bytes.
const LIMIT: Bytes = Bytes(256 << 20);

/// A plan on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedPlan {
    /// The version of the format; it also distinguishes a saved plan from a manifest.
    llamero_plan: u32,
    /// The llamero that saved it.
    llamero: String,
    /// The stack's name.
    stack: String,
    /// The manifest's file.
    pub(super) manifest: PathBuf,
    /// The digest of the manifest's text.
    manifest_digest: Digest,
    /// The generation that the machine was on.
    generation: Option<u64>,
    /// The digest of the desired state, as rendered.
    desired: Digest,
    /// The canary, if this plan alone sets it.
    #[serde(default)]
    pub(super) canary: Option<String>,
    /// The secrets whose values were unknown: the plan covers any value with which it stays the same.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    unknown: BTreeSet<SecretReference>,
    /// The plan.
    plan: serde_json::Value,
}

impl SavedPlan {
    /// The file of a saved plan.
    pub const FORMAT: Format =
        Format { name: "a saved plan", recognizes: Self::recognizes, limit: LIMIT, mode: files::PRIVATE };

    /// Returns a plan as it is saved.
    #[must_use]
    pub fn new(prepared: &Prepared, generation: Option<u64>, canary: Option<String>) -> Self {
        let unknown = prepared.revision.desired.unknown.keys().cloned().collect();
        Self {
            llamero_plan: SCHEMA,
            llamero: env!("CARGO_PKG_VERSION").to_owned(),
            stack: prepared.revision.desired.stack.clone(),
            manifest: prepared.revision.manifest.clone(),
            manifest_digest: prepared.revision.manifest_digest.clone(),
            generation,
            desired: digest(prepared, &unknown),
            canary,
            unknown,
            plan: plan(prepared),
        }
    }

    /// Returns its text.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads a saved plan; `None` when the file is something else, or not there.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let Some(text) = files::read_text(path, LIMIT)? else { return Ok(None) };
        if !Self::is_one(&text) {
            return Ok(None);
        }
        let damaged = |error: serde_json::Error| Error::DamagedPlan { path: path.to_owned(), why: error.to_string() };
        serde_json::from_str(&text).map(Some).map_err(damaged)
    }

    /// Returns whether a text is a saved plan, whole or damaged: a mapping whose first key says so.
    fn is_one(text: &str) -> bool {
        let opening = text.trim_start().strip_prefix('{').map(str::trim_start);
        opening.is_some_and(|opening| opening.starts_with("\"llamero_plan\""))
    }

    /// Returns whether a text is a saved plan.
    fn recognizes(text: &str) -> bool {
        #[derive(Deserialize)]
        struct Opening {
            #[serde(rename = "llamero_plan")]
            _schema: u32,
        }
        serde_json::from_str::<Opening>(text).is_ok()
    }

    /// Returns the reasons why it is stale, as far as they show without planning.
    #[must_use]
    pub fn staleness(&self, manifest: &Digest, generation: Option<u64>) -> Option<Staleness> {
        if self.llamero_plan != SCHEMA || self.llamero != env!("CARGO_PKG_VERSION") {
            return Some(Staleness::Version(self.llamero.clone()));
        }
        if self.manifest_digest != *manifest {
            return Some(Staleness::Manifest(self.manifest.clone()));
        }
        let moved = Staleness::Generation { then: self.generation, now: generation };
        (self.generation != generation).then_some(moved)
    }

    /// Returns the reasons why it is stale, after planning again.
    #[must_use]
    pub fn difference(&self, prepared: &Prepared) -> Option<Staleness> {
        if self.plan != plan(prepared) {
            let unknown: Vec<String> = self.unknown.iter().map(ToString::to_string).collect();
            return Some(if unknown.is_empty() { Staleness::Machine } else { Staleness::Unknown(unknown) });
        }
        (self.desired != digest(prepared, &self.unknown)).then_some(Staleness::Facts)
    }
}

fn plan(prepared: &Prepared) -> serde_json::Value {
    let plan = prepared.plan.clone();
    // What others run, and how this user's sessions are kept, makes no plan out of date; neither does a secret that is
    // known now, and as it was assumed.
    let unchanged = plan.unchanged + plan.undetermined.len();
    let plan = Plan { warnings: Vec::new(), undetermined: Vec::new(), unchanged, ..plan };
    serde_json::to_value(plan).unwrap_or_default()
}

/// Returns the digest of the desired state, whatever the values of unknown secrets are.
fn digest(prepared: &Prepared, unknown: &BTreeSet<SecretReference>) -> Digest {
    let mut desired = prepared.revision.desired.clone();
    if !unknown.is_empty() {
        desired.learn_secrets(&unknown.iter().map(|secret| (secret.clone(), Digest::of("unknown"))).collect());
    }
    Digest::of(serde_json::to_string(&desired).unwrap_or_default())
}
