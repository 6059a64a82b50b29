//! Comparison of a declared model on a server with its observation.

use super::case::Case;
use super::difference::{Difference, Remedy};
use super::effective;
use super::verdicts::{Verdict, absent, asked_otherwise, change, made, reported, short, sync};
use crate::live::{Live, Observation, Ownership};
use crate::plan::cause::{Cause, FieldChange};
use crate::plan::change::{Consequence, Disruption, Refusal, RefusalKind, Verb};
use crate::resource::{Bytes, Digest, OllamaName, Resource, ServedModel};

pub(super) fn model(case: Case<'_>, spec: &ServedModel, live: Option<&Live>) -> Verdict {
    let Case { desired, observed, past, resource } = case;
    let size = observed.download_sizes.get(&resource.id).copied().map(Bytes);
    let differs = |verb, causes, consequence, remedy| {
        let change = change(resource, verb, causes, consequence);
        sync(desired, Difference { change, remedy: Some(remedy) })
    };
    let nothing = Consequence::of(Disruption::None);
    let download = size.is_none_or(|size| size.0 > 0).then_some(size);
    let pulled = Consequence { download, ..nothing };
    if let Some(moved) = observed.moved.get(&resource.id) {
        return Verdict::Refused(moved_on(resource, spec, moved));
    }
    let Some(Live::Model { recorded, loaded, sha256, managed, kept, edited, effective, .. }) = live else {
        return made(desired, resource, vec![absent(past, resource)], pulled);
    };
    if let (Some(is), Some(declared)) = (sha256, &spec.sha256)
        && is != declared
    {
        if !managed {
            return Verdict::Refused(other_content(resource, spec, is, declared));
        }
        let (verb, cause) = other_pin(case, is, declared);
        return differs(verb, vec![cause], if *kept { nothing } else { pulled }, Remedy::Make);
    }
    match recorded {
        Some(recorded) if *recorded != resource.fingerprint() => {
            let claim = Ownership { stack: desired.stack.clone(), fingerprint: recorded.clone(), intact: true };
            let (verb, causes) = asked_otherwise(past, resource, &claim);
            differs(verb, causes, nothing, Remedy::Make)
        }
        // An existing model of that name that llamero did not create.
        None if spec.is_derived() => differs(Verb::Change, vec![Cause::Unrecorded], nothing, Remedy::Make),
        _ if *edited => {
            let mut causes = vec![Cause::Drift("another program recreated it with other settings".to_owned())];
            causes.extend(effective::of_recreated_model(resource, effective));
            differs(Verb::Correct, causes, nothing, Remedy::Make)
        }
        _ if spec.pinned && !loaded && server_is_up(observed, resource) => {
            let cause = Cause::Drift("it should stay loaded, but is not loaded".to_owned());
            differs(Verb::Correct, vec![cause], nothing, Remedy::Load)
        }
        // It is what llamero made, and its server does not honour it.
        _ => match effective::of_model(resource, effective) {
            causes if causes.is_empty() => Verdict::Same,
            causes => reported(resource, causes),
        },
    }
}

/// Returns the cause for managed content other than the pinned: it drifted, or the pin changed.
fn other_pin(case: Case<'_>, is: &Digest, declared: &Digest) -> (Verb, Cause) {
    let (before, after) = (short(is), short(declared));
    if case.past.contents.get(&case.resource.id) == Some(declared) {
        return (Verb::Correct, Cause::Drift(format!("its content is {before}, not {after}")));
    }
    let change = FieldChange { name: "sha256".to_owned(), before: Some(before), after: Some(after) };
    (Verb::Change, Cause::Field(change))
}

fn moved_on(resource: &Resource, spec: &ServedModel, moved: &Digest) -> Refusal {
    let declared = spec.sha256.as_ref().map(short).unwrap_or_default();
    let message = format!(
        "`{}` now resolves to {}, not to the pinned {declared}, which is not on this machine",
        spec.source,
        short(moved)
    );
    let model = resource.role.trim_start_matches("models.");
    let hint = Some(format!("`llamero update {model}` pins the current content; `llamero outdated` shows it first"));
    Refusal { on: resource.id.clone(), kind: RefusalKind::Missing, message, hint }
}

fn other_content(resource: &Resource, spec: &ServedModel, is: &Digest, declared: &Digest) -> Refusal {
    let message = format!(
        "`{}` on {} has the content {}, not {}, and is not managed by llamero",
        spec.source,
        spec.endpoint,
        short(is),
        short(declared)
    );
    let hint = Some(format!("`{}` lets llamero pull the pinned content", OllamaName::removal(&spec.source)));
    Refusal { on: resource.id.clone(), kind: RefusalKind::NotOurs, message, hint }
}

/// Returns whether the server of a model is up; an external server is up if it answered, or if the model was not
/// observed.
fn server_is_up(observed: &Observation, resource: &Resource) -> bool {
    resource.needs.iter().all(|id| observed.run(id).is_some_and(crate::live::LiveRun::is_up))
}
