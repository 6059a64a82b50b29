//! The secrets of servers: which of them are known, and the file that holds them.

use super::build::Builder;
use super::facts::{SecretFact, reference};
use super::server::Server;
use super::unknown::UnknownSecret;
use crate::manifest::SecretSource;
use crate::resource::{
    Content, Digest, FileSpec, GeneratedSecret, Input, Kind, ManifestPath, Origin, Origins, Piece, Resource,
    ResourceId, SecretReference, Spec,
};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

impl Builder<'_> {
    /// Returns the piece of a text that a secret fills; one that cannot be read is unknown. `path` is where the manifest
    /// refers to it, and `role` the part that needs it.
    fn secret(
        &mut self,
        source: &SecretSource,
        role: &str,
        path: &ManifestPath,
        span: &Range<usize>,
    ) -> (Piece, Option<ResourceId>) {
        let reference = reference(source, &self.facts.directories);
        let mut made = None;
        let generate = self.generated.contains(&reference);
        let digest = match self.facts.secrets.get(&reference) {
            Some(SecretFact::Known(digest)) => digest.clone(),
            Some(SecretFact::Unreadable { absent: true, .. }) if generate => Digest::of("to be generated"),
            Some(SecretFact::Unreadable { why, hint, .. }) => {
                self.unknown.entry(reference.clone()).or_insert_with(|| UnknownSecret {
                    why: why.clone(),
                    hint: hint.clone(),
                    path: path.clone(),
                    span: span.clone(),
                });
                Digest::of("unknown")
            }
            None => Digest::of("not looked for"),
        };
        if let (true, SecretReference::File(file)) = (generate, &reference) {
            let spec = Spec::Secret(GeneratedSecret { path: file.clone() });
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let mut id = ResourceId::new(Kind::Secret, name.clone());
            if self.resources.get(&id).is_some_and(|known| known.spec != spec) {
                // Two files of one name in different folders.
                let place = Digest::of(file.to_string_lossy().as_bytes());
                id = ResourceId::new(Kind::Secret, format!("{name}-{}", &place.as_str()[..6]));
            }
            self.add(Resource::new(id.clone(), role, spec), span);
            made = Some(id);
        }
        (Piece::Secret { reference, digest }, made)
    }

    /// Adds the file with the secret part of a server's environment; returns its path.
    pub(super) fn environment_file(
        &mut self,
        server: &Server<'_>,
        needs: &mut BTreeSet<ResourceId>,
        inputs: &mut Vec<Input>,
    ) -> Option<PathBuf> {
        let path = server.path.key("secrets");
        let declared = server
            .common
            .secrets
            .iter()
            .map(|entry| (entry.name.value.clone(), &entry.value, path.key(&entry.name.value)));
        let secrets: Vec<(String, &SecretSource, ManifestPath)> =
            server.secrets.iter().cloned().chain(declared).collect();
        if secrets.is_empty() {
            return None;
        }
        let mut pieces = Vec::new();
        let mut made = BTreeSet::new();
        let mut origins = Vec::new();
        for (name, source, path) in secrets {
            let (piece, id) = self.secret(source, &server.role, &path, &server.span);
            origins.push(Origin::new(path, source));
            made.extend(id);
            pieces.extend([Piece::Text(format!("{name}=\"")), piece, Piece::Text("\"\n".to_owned())]);
        }
        needs.extend(made.iter().cloned());
        let id = ResourceId::new(Kind::File, format!("{}-secrets", Self::name(&server.part)));
        let folder = self.facts.directories.records(&self.manifest.stack).join("secrets");
        let path = folder.join(format!("{}.env", Self::name(&server.part)));
        let content = Content(pieces);
        let digest = content.digest();
        let spec = Spec::File(FileSpec { path: path.clone(), content });
        let origins = Origins::of("content", origins);
        self.add(Resource { id: id.clone(), role: server.role.clone(), spec, needs: made, origins }, &server.span);
        inputs.push(Input { resource: id.clone(), digest });
        needs.insert(id);
        Some(path)
    }
}
