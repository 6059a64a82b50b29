//! The desired state of a stack as plain data: its resources, its routes and the rules by which it is changed.

use super::unknown::UnknownSecret;
use crate::engines::Routing;
use crate::manifest::Mode;
use crate::resource::{
    Bytes, Content, Digest, External, Input, Kind, Origin, Piece, Resource, ResourceId, Run, Seconds, SecretReference,
    Spec,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The drift policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drift {
    /// Put it right.
    #[default]
    Correct,
    /// Say it and leave it.
    Warn,
}

/// The rules by which a stack is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The drift policy.
    pub drift: Drift,
    /// True if what is ours and no longer declared is removed.
    pub prune: bool,
    /// True if a failed apply is rolled back.
    pub rollback: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { drift: Drift::Correct, prune: true, rollback: true }
    }
}

/// The one model whose route changes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// Its name.
    pub model: String,
    /// Its purpose.
    pub mode: Mode,
    /// The duration of its trial before the other routes change.
    pub duration: Seconds,
}

/// A whole stack as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Desired {
    /// The stack's name.
    pub stack: String,
    /// Every resource by its name.
    #[serde(with = "listed")]
    pub resources: BTreeMap<ResourceId, Resource>,
    /// The routes of the gateway, if one is part of the stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Routing>,
    /// The parts that others run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub externals: Vec<External>,
    /// Host memory that the stack's servers may take together.
    pub memory: Option<Bytes>,
    /// The rules by which it is changed.
    pub policy: Policy,
    /// Whose route changes first. Only how to get there, and no part of what is kept.
    #[serde(skip)]
    pub canary: Option<Canary>,
    /// The secrets whose values could not be read. Only what is known of them now, and no part of what is kept.
    #[serde(skip)]
    pub unknown: BTreeMap<SecretReference, UnknownSecret>,
}

impl Desired {
    /// Returns a stack that wants nothing: what `down` goes to.
    #[must_use]
    pub fn nothing(stack: impl Into<String>, policy: Policy) -> Self {
        Self { stack: stack.into(), policy, ..Self::default() }
    }

    /// Returns every server that runs.
    pub fn runs(&self) -> impl Iterator<Item = (&Resource, &Run)> {
        self.resources.values().filter_map(|resource| Some((resource, resource.run()?)))
    }

    /// Returns the gateway, if one is part of the stack.
    #[must_use]
    pub fn gateway(&self) -> Option<(&ResourceId, &Run)> {
        self.runs().find(|(_, run)| run.gateway.is_some()).map(|(resource, run)| (&resource.id, run))
    }

    /// Returns every secret that the stack's files hold.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretReference> {
        let files = self.resources.values().filter_map(|resource| match &resource.spec {
            Spec::File(file) => Some(&file.content),
            _ => None,
        });
        files.flat_map(Content::secrets)
    }

    /// Returns the secrets of a resource whose values are unknown: those that a file holds, or a server reads.
    #[must_use]
    pub fn unknown_in(&self, resource: &Resource) -> BTreeSet<&SecretReference> {
        if self.unknown.is_empty() {
            return BTreeSet::new();
        }
        let known_key = |secret: &SecretReference| self.unknown.get_key_value(secret).map(|(reference, _)| reference);
        let of_file = |resource: &'_ Resource| match &resource.spec {
            Spec::File(file) => file.content.secrets().filter_map(&known_key).collect(),
            _ => Vec::new(),
        };
        match &resource.spec {
            Spec::Run(run) => {
                let read = run.inputs.iter().filter_map(|input| self.resources.get(&input.resource));
                read.flat_map(of_file).collect()
            }
            _ => of_file(resource).into_iter().collect(),
        }
    }

    /// Takes the values in force for unknown secrets: `in_force` returns the content of a file as it was last rendered.
    /// Where it differs in more than the values of secrets, the file changes whatever they are.
    pub fn assume_unknown<'a>(&mut self, in_force: impl Fn(&Resource) -> Option<&'a Content>) {
        let Self { resources, unknown, .. } = self;
        for resource in resources.values_mut() {
            let Spec::File(file) = &resource.spec else { continue };
            if !file.content.secrets().any(|secret| unknown.contains_key(secret)) {
                continue;
            }
            let Some(before) = in_force(resource).filter(|before| before.has_text_of(&file.content)) else { continue };
            let Spec::File(file) = &mut resource.spec else { continue };
            for (piece, before) in file.content.0.iter_mut().zip(&before.0) {
                if let (Piece::Secret { reference, digest }, Piece::Secret { digest: before, .. }) = (piece, before)
                    && unknown.contains_key(reference)
                {
                    before.clone_into(digest);
                }
            }
        }
        self.renew_inputs();
    }

    /// Takes note of secrets that came into being after this was desired, and of all that follows from their digests.
    pub fn learn_secrets(&mut self, digests: &BTreeMap<SecretReference, Digest>) {
        for resource in self.resources.values_mut() {
            let Spec::File(file) = &mut resource.spec else { continue };
            for piece in &mut file.content.0 {
                if let Piece::Secret { reference, digest } = piece
                    && let Some(learned) = digests.get(reference)
                {
                    learned.clone_into(digest);
                }
            }
        }
        self.renew_inputs();
    }

    /// Gives what servers read the origins of the resources that it is.
    pub(super) fn trace_inputs(&mut self) {
        let read: BTreeMap<ResourceId, Vec<Origin>> = self
            .resources
            .values()
            .map(|resource| {
                // Another place of the same content is another option of the server.
                let content = resource.origins.0.iter().filter(|(field, _)| *field != "path");
                (resource.id.clone(), content.flat_map(|(_, origins)| origins).cloned().collect())
            })
            .collect();
        for resource in self.resources.values_mut() {
            let Spec::Run(run) = &resource.spec else { continue };
            for Input { resource: input, .. } in &run.inputs {
                let field = input.to_string();
                resource.origins.0.remove(&field);
                resource.origins.add(field, read.get(input).into_iter().flatten().cloned());
            }
        }
    }

    /// Brings the digests of what servers read in line with the files of this stack.
    pub fn renew_inputs(&mut self) {
        let files: BTreeMap<ResourceId, Digest> = self
            .resources
            .values()
            .filter_map(|resource| match &resource.spec {
                Spec::File(file) => Some((resource.id.clone(), file.content.digest())),
                _ => None,
            })
            .collect();
        for resource in self.resources.values_mut() {
            let Spec::Run(run) = &mut resource.spec else { continue };
            for input in run.inputs.iter_mut().filter(|input| input.resource.kind == Kind::File) {
                if let Some(digest) = files.get(&input.resource) {
                    digest.clone_into(&mut input.digest);
                }
            }
        }
    }
}

/// Keeps resources as a list on disk: their names are in them.
mod listed {
    use crate::resource::{Resource, ResourceId};
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(
        resources: &BTreeMap<ResourceId, Resource>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(resources.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<ResourceId, Resource>, D::Error> {
        let list = Vec::<Resource>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|resource| (resource.id.clone(), resource)).collect())
    }
}
