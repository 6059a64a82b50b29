//! The settings in force on a live server against those that are declared.
//!
//! Fingerprints say what a server was started with. They do not say what a drop-in of the user's, a changed limit or
//! the engine itself made of it.

use crate::engines::{self, Reading};
use crate::live::{Effective, LiveRun, Override};
use crate::plan::cause::Cause;
use crate::resource::{Bytes, Field, Fields, Resource, Run};
use crate::targets::{self, Target};
use std::collections::BTreeMap;

/// The differences between what is in force and what is declared.
#[derive(Debug, Default)]
pub(super) struct Deviations {
    /// Those that end when the server starts again.
    pub(super) correctable: Vec<Cause>,
    /// Those that llamero only reports: a start would bring them back, or they are the user's own.
    pub(super) reported: Vec<Cause>,
}

/// Returns what deviates on a live server; values count only where it is `current`, and so was started as declared.
pub(super) fn deviations(resource: &Resource, run: &Run, live: &LiveRun, current: bool) -> Deviations {
    let mut deviations = Deviations::default();
    let target = targets::of_kind(resource.id.kind);
    deviations.reported.extend(live.effective.overrides.iter().map(|other| overridden(resource, target, other)));
    if !current {
        return deviations;
    }
    let fields = declared(resource, run);
    let readings = run.engine.as_ref().map(|engine| engines::readings(engine.as_str())).unwrap_or_default();
    for (name, value) in &live.effective.values {
        let Some(field) = fields.get(name) else { continue };
        match readings.iter().find(|reading| reading.option == name) {
            Some(reading) => deviations.reported.extend(lowered(reading, &fields, field, value)),
            None if is_as_declared(run, name, field, value) => {}
            None => {
                let cause = not_in_force(name, field, &field.value, value);
                let is_limit = matches!(name.as_str(), Effective::MEMORY | Effective::CPUS);
                let own = is_limit && target.is_some_and(Target::resets_limits);
                if own { &mut deviations.correctable } else { &mut deviations.reported }.push(cause);
            }
        }
    }
    deviations
}

/// Returns the settings of a model that another program recreated otherwise than they are declared.
pub(super) fn of_recreated_model(resource: &Resource, effective: &BTreeMap<String, String>) -> Vec<Cause> {
    of(resource, effective, |declared, in_force| match (number(declared), number(in_force)) {
        (Some(declared), Some(in_force)) => declared.to_bits() != in_force.to_bits(),
        _ => declared != in_force,
    })
}

/// Returns the numbers that a server has lowered of a model that is as llamero made it.
pub(super) fn of_model(resource: &Resource, effective: &BTreeMap<String, String>) -> Vec<Cause> {
    of(resource, effective, |declared, in_force| number(in_force) < number(declared))
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn of(resource: &Resource, effective: &BTreeMap<String, String>, differs: impl Fn(&str, &str) -> bool) -> Vec<Cause> {
    let fields = resource.fields();
    let cause = |(name, value): (&String, &String)| {
        let field = fields.get(name).filter(|field| differs(&field.value, value))?;
        Some(not_in_force(name, field, &field.value, value))
    };
    effective.iter().filter_map(cause).collect()
}

/// Returns whether a value in force is the declared one.
fn is_as_declared(run: &Run, name: &str, field: &Field, value: &str) -> bool {
    match (name, run.limits.memory) {
        // The kernel counts memory in pages, so a limit is rounded.
        (Effective::MEMORY, Some(declared)) => {
            value.parse::<u64>().is_ok_and(|in_force| in_force.abs_diff(declared.0) < 1 << 16)
        }
        _ => field.value == value,
    }
}

/// Returns the fields that can be read back; of words that may be secret only their digests are.
fn declared(resource: &Resource, run: &Run) -> Fields {
    let mut fields = resource.fields();
    for (name, field) in &mut fields {
        if name.starts_with("environment ") {
            field.value = Effective::digested(&field.value);
        }
    }
    fields.insert(Effective::COMMAND.to_owned(), Effective::digested(&run.command.argv().join("\0")).into());
    fields
}

fn overridden(resource: &Resource, target: Option<&dyn Target>, other: &Override) -> Cause {
    Cause::Overridden {
        by: other.path.clone(),
        settings: other.settings.clone(),
        remedy: target.and_then(|target| target.override_remedy(&resource.id, &other.path)),
    }
}

/// Returns the cause where a server reports less than its options declare.
fn lowered(reading: &Reading, fields: &Fields, field: &Field, value: &str) -> Option<Cause> {
    let number = |field: &Field| field.value.split_whitespace().last()?.parse::<u64>().ok();
    let (declared, in_force) = (number(field)?, value.parse::<u64>().ok()?);
    let parts = reading.shared_by.and_then(|option| number(fields.get(option)?)).unwrap_or(1).max(1);
    (in_force < declared / parts).then(|| {
        not_in_force(reading.option, field, &declared.to_string(), &in_force.saturating_mul(parts).to_string())
    })
}

fn not_in_force(name: &str, field: &Field, declared: &str, in_force: &str) -> Cause {
    let setting = field.origins.last().map_or_else(|| name.to_owned(), |origin| origin.path.to_string());
    let shown = |value: &str| match value.parse() {
        _ if Effective::is_digested(name) || matches!(name, "template" | "system") => None,
        Ok(bytes) if name == Effective::MEMORY => Some(Bytes(bytes).exact()),
        _ => Some(value.to_owned()),
    };
    Cause::NotInForce { setting, declared: shown(declared), in_force: shown(in_force) }
}
