//! Comparison of a declared model file with its observation.

use super::case::Case;
use super::difference::{Difference, Remedy};
use super::verdicts::{Verdict, absent, change, made, not_managed, short};
use crate::live::Live;
use crate::plan::cause::{Cause, field_causes};
use crate::plan::change::{Consequence, Disruption, Refusal, RefusalKind, Verb};
use crate::resource::{Artifact, ArtifactSource, Bytes, Spec};

pub(super) fn artifact(case: Case<'_>, spec: &Artifact, live: Option<&Live>) -> Verdict {
    let Case { past, resource, .. } = case;
    let (known, managed) = match live {
        Some(Live::Artifact { sha256, managed, .. }) => (Some(sha256.as_ref()), *managed),
        _ => (None, false),
    };
    let unmanaged = spec.source == ArtifactSource::File;
    let refuse = |message: String, hint: &str| {
        let hint = Some(hint.to_owned());
        Verdict::Refused(Refusal { on: resource.id.clone(), kind: RefusalKind::Missing, message, hint })
    };
    match (known, &spec.sha256) {
        (None, _) if unmanaged => refuse(
            format!("{} does not exist", spec.path.display()),
            "correct `source` in the manifest, or put the file there",
        ),
        (None, _) => fetch(case, vec![absent(past, resource)]),
        (Some(Some(is)), Some(expected)) if is != expected && unmanaged => refuse(
            format!("{} has the sha256 {is}, not {expected}", spec.path.display()),
            "correct `sha256` in the manifest, or the file",
        ),
        (Some(Some(is)), Some(expected)) if is != expected && !managed => {
            Verdict::Refused(not_managed(resource, &spec.path.display().to_string(), None))
        }
        (Some(Some(is)), Some(expected)) if is != expected => {
            let committed = past.committed.get(&resource.id);
            let mut causes = committed.map(|fields| field_causes(fields, &resource.fields())).unwrap_or_default();
            if causes.is_empty() {
                causes.push(Cause::Drift(format!("its sha256 is {}", short(is))));
            }
            fetch(case, causes)
        }
        (Some(None), Some(_)) => Verdict::Differs(Difference {
            change: change(
                resource,
                Verb::Change,
                vec![Cause::Unfinished("its sha256 has not been computed yet".to_owned())],
                Consequence::of(Disruption::None),
            ),
            remedy: Some(Remedy::Verify),
        }),
        _ => Verdict::Same,
    }
}

fn fetch(case: Case<'_>, causes: Vec<Cause>) -> Verdict {
    let Case { desired, observed, resource, .. } = case;
    let size = observed.download_sizes.get(&resource.id).copied().map(Bytes);
    // The output of a command has no known size.
    let made_here = matches!(&resource.spec, Spec::Artifact(Artifact { source: ArtifactSource::Command { .. }, .. }));
    let download = (!made_here).then_some(size);
    made(desired, resource, causes, Consequence { download, ..Consequence::of(Disruption::None) })
}
