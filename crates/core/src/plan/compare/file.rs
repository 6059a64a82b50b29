//! Comparison of a declared file with its observation.

use super::case::Case;
use super::difference::{Difference, Remedy};
use super::verdicts::{Verdict, absent, asked_otherwise, change, not_managed, sync};
use crate::live::{Live, LiveFile};
use crate::plan::cause::Cause;
use crate::plan::change::{Consequence, Disruption, Verb};
use crate::resource::FileSpec;

pub(super) fn file(case: Case<'_>, spec: &FileSpec, live: Option<&Live>) -> Verdict {
    let Case { desired, past, resource, .. } = case;
    let differs = |verb, causes| {
        let change = change(resource, verb, causes, Consequence::of(Disruption::None));
        sync(desired, Difference { change, remedy: Some(Remedy::Write) })
    };
    let Some(Live::File(LiveFile { marker, .. })) = live else {
        return differs(Verb::Create, vec![absent(past, resource)]);
    };
    let Some(claim) = marker.as_ref().filter(|claim| claim.stack == desired.stack) else {
        return Verdict::Refused(not_managed(
            resource,
            &spec.path.display().to_string(),
            marker.as_ref().map(|claim| claim.stack.as_str()),
        ));
    };
    if claim.fingerprint == resource.fingerprint() {
        if claim.intact {
            return Verdict::Same;
        }
        return differs(Verb::Correct, vec![Cause::Drift("it was edited by hand".to_owned())]);
    }
    let (verb, causes) = asked_otherwise(past, resource, claim);
    differs(verb, causes)
}
