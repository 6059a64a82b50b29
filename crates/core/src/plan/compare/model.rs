//! A declared model on a server against what was found of it.

use super::super::Past;
use super::super::change::{Cause, Consequence, Disruption, Refusal, RefusalKind, Verb};
use super::{Difference, Verdict, Work, absent, asked_otherwise, change, made, settle, short};
use crate::desired::Desired;
use crate::observed::{Claim, Found, Observed};
use crate::resource::{Bytes, Digest, Resource, ServedModel};

pub(super) fn model(
    desired: &Desired,
    observed: &Observed,
    past: &Past,
    resource: &Resource,
    spec: &ServedModel,
    found: Option<&Found>,
) -> Verdict {
    let size = observed.download_sizes.get(&resource.id).copied().map(Bytes);
    let differs = |verb, causes, consequence, work| {
        let change = change(resource, verb, causes, consequence);
        settle(desired, Difference { change, work: Some(work) })
    };
    let nothing = Consequence::of(Disruption::None);
    let download = size.is_none_or(|size| size.0 > 0).then_some(size);
    let pulled = Consequence { download, ..nothing };
    if let Some(moved) = observed.moved.get(&resource.id) {
        return Verdict::Refused(moved_on(resource, spec, moved));
    }
    let Some(Found::Model { recorded, loaded, sha256, ours, kept, edited, .. }) = found else {
        return made(desired, resource, vec![absent(past, resource)], pulled);
    };
    if let (Some(is), Some(wanted)) = (sha256, &spec.sha256)
        && is != wanted
    {
        if !ours {
            return Verdict::Refused(other_content(resource, spec, is, wanted));
        }
        let (before, after) = (short(is), short(wanted));
        let (verb, cause) = match past.contents.get(&resource.id) {
            Some(committed) if committed == wanted => {
                (Verb::Correct, Cause::Drift(format!("its content is {before}, not {after}")))
            }
            _ => (Verb::Change, Cause::Field { name: "sha256".to_owned(), before: Some(before), after: Some(after) }),
        };
        return differs(verb, vec![cause], if *kept { nothing } else { pulled }, Work::Make);
    }
    match recorded {
        Some(recorded) if *recorded != resource.fingerprint() => {
            let claim = Claim { stack: desired.stack.clone(), fingerprint: recorded.clone(), intact: true };
            let (verb, causes) = asked_otherwise(past, resource, &claim);
            differs(verb, causes, nothing, Work::Make)
        }
        // A model of that name which llamero did not make.
        None if spec.is_derived() => differs(Verb::Change, vec![Cause::Unrecorded], nothing, Work::Make),
        _ if *edited => {
            let cause = Cause::Drift("another program made it anew with other settings".to_owned());
            differs(Verb::Correct, vec![cause], nothing, Work::Make)
        }
        _ if spec.pinned && !loaded && server_is_up(observed, resource) => {
            let cause = Cause::Drift("it is to stay loaded and is not".to_owned());
            differs(Verb::Correct, vec![cause], nothing, Work::Load)
        }
        _ => Verdict::Same,
    }
}

fn moved_on(resource: &Resource, spec: &ServedModel, moved: &Digest) -> Refusal {
    let wanted = spec.sha256.as_ref().map(short).unwrap_or_default();
    let message =
        format!("`{}` now leads to {}, not to {wanted}, which is not on this machine", spec.source, short(moved));
    let model = resource.role.trim_start_matches("models.");
    let hint = Some(format!("`llamero update {model}` takes what there is now; see it first with `llamero outdated`"));
    Refusal { on: resource.id.clone(), kind: RefusalKind::Missing, message, hint }
}

fn other_content(resource: &Resource, spec: &ServedModel, is: &Digest, wanted: &Digest) -> Refusal {
    let message = format!(
        "`{}` on {} has the content {}, not {}, and was not pulled by llamero",
        spec.source,
        spec.endpoint,
        short(is),
        short(wanted)
    );
    let hint = Some(format!("`ollama rm {}` lets llamero pull the one that is locked", spec.source));
    Refusal { on: resource.id.clone(), kind: RefusalKind::NotOurs, message, hint }
}

/// Returns whether the server of a model is up; one that somebody else runs answered, or the model was not seen.
fn server_is_up(observed: &Observed, resource: &Resource) -> bool {
    resource.needs.iter().all(|id| observed.run(id).is_some_and(crate::observed::FoundRun::is_up))
}
