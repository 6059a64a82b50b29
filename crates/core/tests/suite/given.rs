//! What the tests of plans start from: the facts of a machine, a machine on which nothing is, and a past.

use crate::since::{SecretHappening, Since};
use llamero_core::live::{Live, Observation, Presence};
use llamero_core::manifest;
use llamero_core::plan::Past;
use llamero_core::resolve::{Desired, Directories, Facts, SecretFact, questions};
use llamero_core::resource::{ArtifactSource, Bytes, Digest, Gpu, Kind, Resource, SecretReference, Spec};
use std::path::{Path, PathBuf};

/// Returns the facts of a machine that has everything.
pub(crate) fn facts(manifest: &manifest::Manifest, since: &Since) -> Facts {
    let home = PathBuf::from("/home/ai");
    let directories = Directories {
        config: home.join(".config"),
        state: home.join(".local/state"),
        data: home.join(".local/share"),
        manifest: home.join("stack"),
        home,
    };
    let questions = questions(manifest, &directories);
    let secret = |reference: SecretReference| {
        let words = reference.to_string();
        let fact = match since.secrets.get(&words) {
            None => SecretFact::Known(Digest::of(&words)),
            Some(SecretHappening::Rotated) => SecretFact::Known(Digest::of(format!("another {words}"))),
            Some(happening) => SecretFact::Unreadable {
                why: format!("cannot read the {words}"),
                hint: None,
                absent: matches!(happening, SecretHappening::Absent),
            },
        };
        (reference, fact)
    };
    let programs = questions.programs.into_iter().filter(|name| !since.missing_programs.contains(name));
    let python = since.python.clone().unwrap_or_else(|| "3.11.7".to_owned());
    Facts {
        secrets: questions.secrets.into_iter().map(secret).collect(),
        programs: programs.map(|name| (name.clone(), Path::new("/usr/bin").join(name))).collect(),
        python: (!python.is_empty()).then(|| (PathBuf::from("/usr/bin/python3"), python)),
        hub: "https://huggingface.co".to_owned(),
        hub_token: false,
        memory: Some(Bytes(64 << 30)),
        pythons: since.pythons.clone(),
        gpus: Some(since.gpus.clone()).filter(|_| questions.gpus).map(|gpus| {
            let gpu = |(index, memory): (usize, String)| {
                let memory = memory.parse().expect("a size");
                let index = u32::try_from(index).expect("few");
                Gpu { index, uuid: format!("GPU-{index}{index}{index}"), name: "NVIDIA H100".to_owned(), memory }
            };
            if gpus.is_empty() {
                Err("there is no driver".to_owned())
            } else {
                Ok(gpus.into_iter().enumerate().map(gpu).collect())
            }
        }),
        fetched: since.fetched.clone(),
        directories,
    }
}

/// Returns a machine on which nothing is but the user's own model files.
pub(crate) fn bare<'a>(resources: impl Iterator<Item = &'a Resource>) -> Observation {
    let mut observed = Observation::default();
    for resource in resources {
        let presence = match &resource.spec {
            Spec::Artifact(artifact) if artifact.source == ArtifactSource::File => {
                Presence::Present(Live::Artifact { size: 4 << 30, sha256: artifact.sha256.clone(), managed: false })
            }
            _ => Presence::Absent,
        };
        observed.resources.insert(resource.id.clone(), presence);
    }
    observed
}

/// Returns what a history would know after a stack was applied.
pub(crate) fn past(applied: &Desired) -> Past {
    let mut past = Past { previous: applied.routes(), ..Past::default() };
    past.learn(applied.resources.values());
    past.committed = applied.resources.values().map(|resource| (resource.id.clone(), resource.fields())).collect();
    let contents = applied.resources.values().filter_map(|resource| match &resource.spec {
        Spec::Model(model) => Some((resource.id.clone(), model.sha256.clone()?)),
        _ => None,
    });
    past.contents = contents.collect();
    let kept = applied.resources.keys().filter(|id| matches!(id.kind, Kind::Artifact | Kind::Environment));
    past.keep = kept.cloned().collect();
    past
}
