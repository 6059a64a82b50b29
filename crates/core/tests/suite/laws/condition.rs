//! What became of a thing since it was as a declaration asked, and how it is then observed.

use super::generate::STACK;
use llamero_core::live::{Live, LiveFile, LiveRun, Ownership, Presence, RunState, Unseen};
use llamero_core::resource::{ArtifactSource, Digest, Fingerprint, Kind, Resource, ServedModel, Spec};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What happened to a thing since it was as the declaration before wanted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    AsBefore,
    AsNow,
    Absent,
    Edited,
    Stopped,
    Failed,
    Starting,
    /// An interrupted hand-off left instances beside the current one.
    Orphaned,
    /// Its socket does not listen.
    Silent,
    BackingOff,
    RunsOlder,
    EditedRunsOlder,
    NotLoaded,
    NotEnabled,
    /// It sleeps.
    Asleep,
    /// A container was set aside, and no other has taken its place yet.
    SetAside,
    /// Another has taken a container's place, and was not verified.
    Replaced,
    /// One of an apply that is on no record has taken a container's place.
    Abandoned,
    /// What stood aside before was left behind.
    LeftAside,
    /// Its content is not the pinned one.
    OtherContent,
    Unmanaged,
    OtherStacks,
    Unknown,
}

pub(super) fn calm() -> impl Strategy<Value = Condition> {
    prop_oneof![
        6 => Just(Condition::AsBefore),
        2 => Just(Condition::AsNow),
        1 => Just(Condition::Absent),
        1 => Just(Condition::Edited),
        1 => Just(Condition::Stopped),
        1 => Just(Condition::Failed),
        1 => Just(Condition::Starting),
        1 => Just(Condition::Orphaned),
        1 => Just(Condition::Silent),
        1 => Just(Condition::BackingOff),
        2 => Just(Condition::RunsOlder),
        1 => Just(Condition::EditedRunsOlder),
        1 => Just(Condition::NotLoaded),
        1 => Just(Condition::NotEnabled),
        2 => Just(Condition::Asleep),
        1 => Just(Condition::SetAside),
        1 => Just(Condition::Replaced),
        2 => Just(Condition::Abandoned),
        1 => Just(Condition::LeftAside),
        1 => Just(Condition::OtherContent),
    ]
}

pub(super) fn wild() -> impl Strategy<Value = Condition> {
    prop_oneof![
        12 => calm(),
        1 => Just(Condition::Unmanaged),
        1 => Just(Condition::OtherStacks),
        1 => Just(Condition::Unknown),
    ]
}

pub(super) fn claim(asked: &Fingerprint, condition: Condition) -> Option<Ownership> {
    let stack = if condition == Condition::OtherStacks { "another" } else { STACK };
    let intact = !matches!(condition, Condition::Edited | Condition::EditedRunsOlder);
    let claim = Ownership { stack: stack.to_owned(), fingerprint: asked.clone(), intact };
    (condition != Condition::Unmanaged).then_some(claim)
}

pub(super) fn presence(before: Option<&Resource>, now: Option<&Resource>, condition: Condition) -> Presence {
    let newer = matches!(condition, Condition::AsNow | Condition::RunsOlder | Condition::EditedRunsOlder);
    let asked = if newer { now.or(before) } else { before };
    // A file of the user's own is as it is wanted, unless it is the point that it cannot be.
    let own = |resource: &&Resource| matches!(&resource.spec, Spec::Artifact(artifact) if artifact.source == ArtifactSource::File);
    let foreign = matches!(condition, Condition::Unmanaged | Condition::OtherStacks);
    let (asked, condition) = match now.or(before).filter(own) {
        Some(own) if condition != Condition::Unknown && !foreign => (Some(own), Condition::AsNow),
        _ => (asked, condition),
    };
    match condition {
        Condition::Unknown => return Presence::Unknown(Unseen::new("no access")),
        Condition::Absent => return Presence::Absent,
        _ => {}
    }
    let Some(resource) = asked.or(now.filter(|_| foreign)) else { return Presence::Absent };
    let fingerprint = resource.fingerprint();
    Presence::Present(match &resource.spec {
        Spec::Secret(_) => Live::Secret,
        Spec::Environment(_) => Live::Environment { complete: condition != Condition::Edited },
        Spec::Artifact(artifact) => Live::Artifact {
            size: 0,
            sha256: match condition {
                Condition::Edited | Condition::Unmanaged => Some(Digest::of("other")),
                Condition::NotLoaded | Condition::OtherStacks => None,
                _ => artifact.sha256.clone(),
            },
            managed: artifact.source != ArtifactSource::File && !foreign,
        },
        Spec::Image(_) => Live::Image { managed: !foreign },
        Spec::Model(model) => of_model(model, fingerprint, condition),
        Spec::File(_) => Live::File(LiveFile { marker: claim(&fingerprint, condition), text: None }),
        Spec::Run(_) => {
            let older = matches!(condition, Condition::RunsOlder | Condition::EditedRunsOlder);
            let running = before.filter(|_| older).unwrap_or(resource);
            let definition = claim(&fingerprint, condition);
            let mut run = live_run(definition, &running.fingerprint(), condition);
            run.memory_limit = running.run().and_then(|run| run.limits.memory);
            let unit = resource.id.kind == Kind::Unit;
            run.loaded = !unit || condition != Condition::NotLoaded;
            run.enabled = !unit || condition != Condition::NotEnabled;
            run.asleep = condition == Condition::Asleep && running.run().is_some_and(|run| run.sleep.is_some());
            Live::Run(Box::new(run))
        }
    })
}

pub(super) fn live_run(definition: Option<Ownership>, running: &Fingerprint, condition: Condition) -> LiveRun {
    let phase = match condition {
        Condition::Stopped => RunState::Stopped,
        Condition::Failed => RunState::Failed,
        Condition::Starting => RunState::Starting,
        Condition::BackingOff => RunState::BackingOff,
        _ => RunState::Running,
    };
    let mut run = LiveRun { definition, phase, ..LiveRun::stopped() };
    run.running = run.is_up().then(|| running.clone());
    run.why = matches!(phase, RunState::Failed | RunState::BackingOff).then(|| "exit status 1".to_owned());
    run
}

/// Returns a model as its server has it. One that llamero derived has a name of llamero's own.
fn of_model(model: &ServedModel, fingerprint: Fingerprint, condition: Condition) -> Live {
    let foreign = matches!(condition, Condition::Unmanaged | Condition::OtherStacks) && !model.is_derived();
    let other = foreign || condition == Condition::OtherContent;
    let sha256 = if other { model.sha256.as_ref().map(|_| Digest::of("other")) } else { model.sha256.clone() };
    let mut live = live_model((!foreign).then_some(fingerprint), sha256, !foreign);
    if let Live::Model { loaded, unserved, edited, .. } = &mut live {
        let down = matches!(condition, Condition::Stopped | Condition::Failed | Condition::BackingOff);
        *unserved = down;
        *loaded = !down && condition != Condition::NotLoaded;
        *edited = condition == Condition::Edited && model.is_derived();
    }
    live
}

/// Returns a model that is loaded, on a server that answers.
pub(super) fn live_model(recorded: Option<Fingerprint>, sha256: Option<Digest>, managed: bool) -> Live {
    let effective = BTreeMap::new();
    let (loaded, kept, unserved, edited) = (true, false, false, false);
    Live::Model { recorded, loaded, sha256, managed, kept, unserved, edited, effective }
}
