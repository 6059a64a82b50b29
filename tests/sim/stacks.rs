//! The stacks that the simulated machine runs: manifests from a handful of numbers, resolved as `apply` resolves them.

use crate::schedule::Schedule;
use llamero::lockfile::LockFile;
use llamero::manifest::{self, Entries, Manifest, Policy};
use llamero::resolve::{Desired, Directories, Facts, SecretFact, questions, resolve};
use llamero::resource::{Bytes, Digest, SecretReference};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

pub(crate) const STACK: &str = "sim";

/// The parts of a stack: a unit, a process, a container, a server with a model file, a gateway, a server that pulls its
/// models, and a server that may sleep.
pub(crate) const PARTS: usize = 7;

/// The parts that are declared together or not at all.
const PIECES: [&[usize]; 6] = [&[0, 1], &[2], &[3], &[4], &[5], &[6]];

/// A manifest in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(crate) struct Declaration {
    pub(crate) present: [bool; PARTS],
    pub(crate) versions: [u8; PARTS],
    /// Whether the unit and the process have each other's port.
    pub(crate) swapped: bool,
    /// Whether the gateway hands its port on.
    pub(crate) hands_on: bool,
    pub(crate) warn: bool,
    pub(crate) prune: bool,
    pub(crate) rollback: bool,
    /// Whether one route of the gateway changes first.
    pub(crate) canary: bool,
}

/// What a manifest comes to on this machine.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) text: String,
    pub(crate) desired: Desired,
}

/// The most declarations that are remembered with what they mean: one run asks for a few again and again, and a million
/// runs have almost as many.
const MOST_KNOWN: usize = 1_000;

pub(crate) fn directories() -> Directories {
    let home = PathBuf::from("/home/sim");
    Directories {
        config: home.join(".config"),
        state: home.join(".local/state"),
        data: home.join(".local/share"),
        manifest: home.join("stack"),
        home,
    }
}

/// Returns the digest that stands for a secret's value on the simulated machine.
pub(crate) fn digest(value: &str) -> Digest {
    Digest::of(format!("simulated {value}"))
}

impl Declaration {
    /// Returns what the manifest means, on a machine with or without the key that llamero generates.
    pub(crate) fn resolved(&self, key: bool) -> Arc<Resolved> {
        type Known = Mutex<HashMap<(Declaration, bool), Arc<Resolved>>>;
        static KNOWN: OnceLock<Known> = OnceLock::new();
        let known = KNOWN.get_or_init(Mutex::default);
        if let Some(resolved) = known.lock().expect("no panic").get(&(self.clone(), key)) {
            return Arc::clone(resolved);
        }
        let resolved = Arc::new(self.resolve(key));
        let mut known = known.lock().expect("no panic");
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert((self.clone(), key), Arc::clone(&resolved));
        resolved
    }

    fn resolve(&self, key: bool) -> Resolved {
        let text = self.text();
        let desired = mean(&text, &self.manifest(), key);
        Resolved { text, desired }
    }

    /// Returns the manifest, from its pieces. There are few pieces and many manifests, and to read one takes as long as
    /// a whole episode: `the_pieces_of_a_manifest_mean_what_it_means`.
    fn manifest(&self) -> Manifest {
        let pieces: Vec<Option<Arc<Manifest>>> = PIECES.iter().map(|parts| self.piece(parts)).collect();
        let there = || pieces.iter().flatten();
        let mut whole = Manifest::clone(there().next().expect("no declaration is empty"));
        whole.policy = self.policy();
        whole.services = Entries(there().flat_map(|piece| piece.services.0.clone()).collect());
        whole.providers = Entries(there().flat_map(|piece| piece.providers.0.clone()).collect());
        // Upstream models come last.
        let (upstream, own): (Vec<_>, Vec<_>) = there().partition(|piece| piece.gateway.is_some());
        whole.models = Entries(own.iter().chain(&upstream).flat_map(|piece| piece.models.0.clone()).collect());
        whole.gateway = upstream.first().and_then(|piece| piece.gateway.clone());
        whole
    }

    /// Returns the manifest that declares only some parts, if any of them is declared.
    fn piece(&self, parts: &[usize]) -> Option<Arc<Manifest>> {
        let present = std::array::from_fn(|part| self.present[part] && parts.contains(&part));
        let versions = std::array::from_fn(|part| if present[part] { self.versions[part] } else { 0 });
        let (swapped, hands_on) = (self.swapped && (present[0] || present[1]), self.hands_on && present[4]);
        let piece = Self { present, versions, swapped, hands_on, ..Self::default() };
        present.contains(&true).then(|| piece.read())
    }

    fn policy(&self) -> Policy {
        let part = if self.canary && self.present[4] { 4 } else { 0 };
        let present = std::array::from_fn(|other| other == part);
        let piece = Self { present, versions: [0; PARTS], swapped: false, hands_on: false, ..self.clone() };
        piece.read().policy.clone()
    }

    /// Returns the manifest as it is read from its text, which is done once.
    fn read(self) -> Arc<Manifest> {
        type Known = Mutex<HashMap<Declaration, Arc<Manifest>>>;
        static KNOWN: OnceLock<Known> = OnceLock::new();
        let mut known = KNOWN.get_or_init(Mutex::default).lock().expect("no panic");
        let manifest = known.entry(self).or_insert_with_key(|piece| Arc::new(read(&piece.text())));
        Arc::clone(manifest)
    }

    fn text(&self) -> String {
        let Self { present, versions, .. } = self;
        let mut lines = vec![
            "version: 1".to_owned(),
            format!("stack: {STACK}"),
            format!(
                "policy: {{drift: {}, prune: {}, rollback: {}, health: {{timeout: 20s, stable_for: 3s}}{}}}",
                if self.warn { "warn" } else { "correct" },
                self.prune,
                if self.rollback { "auto" } else { "off" },
                if self.canary && present[4] { ", rollout: canary, canary: far, canary_for: 5s" } else { "" },
            ),
        ];
        let (one, other) = if self.swapped { (9001, 9000) } else { (9000, 9001) };
        if present[0] || present[1] || present[2] {
            lines.push("services:".to_owned());
        }
        if present[0] {
            let version = versions[0];
            lines.push(format!(
                "  alpha: {{runtime: systemd, command: [/bin/serve], env: {{LEVEL: \"{version}\", PORT: \"{one}\"}}, ports: [\"{one}\"], \
                 secrets: {{TOKEN: {{env: TOKEN}}}}}}"
            ));
        }
        if present[1] {
            let (version, after) = (versions[1], if present[0] { ", after: [alpha]" } else { "" });
            lines.push(format!(
                "  beta: {{runtime: process, command: [/bin/serve], env: {{LEVEL: \"{version}\", PORT: \"{other}\"}}, ports: [\"{other}\"]{after}}}"
            ));
        }
        if present[2] {
            let version = versions[2];
            lines.push(format!("  gamma: {{runtime: docker, image: \"gamma:{version}\", ports: [\"9002:80\"]}}"));
        }
        let models = present[3..].iter().any(|present| *present);
        if models {
            lines.push("providers:".to_owned());
        }
        if present[3] {
            lines.push("  llama-cpp: {engine: llama-cpp, runtime: systemd, port: 8000}".to_owned());
        }
        if present[4] {
            lines.push(
                "  openai: {engine: openai, endpoint: \"https://api.example/v1\", api_key: {env: TOKEN}}".to_owned(),
            );
        }
        if present[5] {
            lines.push("  ollama: {engine: ollama, runtime: systemd, port: 11500}".to_owned());
        }
        if present[6] {
            lines.push("  vllm: {engine: vllm, runtime: systemd, port: 8100, gpus: [0], sleep: true}".to_owned());
        }
        if models {
            lines.push("models:".to_owned());
        }
        if present[3] {
            let version = versions[3];
            let source = version / 2;
            let context = 1024 * (u32::from(version) + 1);
            lines.push(format!(
                "  small: {{provider: llama-cpp, source: \"https://models.example/{source}.gguf\", context: {context}}}"
            ));
        }
        if present[5] {
            let (context, load) =
                (1024 * u32::from(versions[5] % 2), if versions[5] > 1 { ", load: pinned" } else { "" });
            let context = if context == 0 { String::new() } else { format!(", context: {context}") };
            lines.push(format!("  tiny: {{provider: ollama, source: \"tiny:1b\"{context}{load}}}"));
        }
        if present[6] {
            let (which, context) = (u16::from(versions[6] % 2), 1024 * (u32::from(versions[6] / 2) + 1));
            let port = 8101 + which;
            lines.push(format!(
                "  big-{which}: {{provider: vllm, source: \"hf:org/big\", port: {port}, context: {context}}}"
            ));
        }
        if present[4] {
            let version = versions[4];
            lines.push(format!("  far: {{provider: openai, source: far-{}}}", version % 2));
            lines.push(format!("  near: {{provider: openai, source: near-{}}}", version / 2));
            lines.push("gateway:".to_owned());
            lines.push("  engine: litellm".to_owned());
            lines.push("  runtime: systemd".to_owned());
            if self.hands_on {
                lines.push(format!("  install: {{python: [\"litellm[proxy]==1.106.{}\"]}}", version / 2));
            } else {
                lines.push(format!("  env: {{LEVEL: \"{version}\"}}"));
                lines.push("  command: [/bin/gateway]".to_owned());
            }
            lines.push("  port: 4000".to_owned());
            lines.push("  master_key: {file: ~/key, generate: true}".to_owned());
        }
        lines.join("\n") + "\n"
    }
}

fn read(text: &str) -> Manifest {
    let (manifest, notes) = manifest::read(text);
    manifest
        .filter(|_| notes.is_empty())
        .unwrap_or_else(|| panic!("{}", manifest::report("sim.yaml", text, &notes, false)))
}

/// Returns what a manifest means on a machine with or without the key.
fn mean(text: &str, manifest: &Manifest, key: bool) -> Desired {
    let (desired, notes) = resolve(manifest, &LockFile::default(), &facts(manifest, key));
    let errors: Vec<String> = notes.into_iter().map(|(note, ..)| format!("{note:?}")).collect();
    assert!(errors.is_empty(), "{text}\n{errors:#?}");
    desired
}

#[test]
fn the_pieces_of_a_manifest_mean_what_it_means() {
    for seed in 0..100 {
        for episode in Schedule::of(seed).episodes {
            let resolved = episode.declaration.resolve(true);
            let whole = mean(&resolved.text, &read(&resolved.text), true);
            assert_eq!(format!("{:#?}", resolved.desired), format!("{whole:#?}"), "{}", resolved.text);
        }
    }
}

fn facts(manifest: &Manifest, key: bool) -> Facts {
    let directories = directories();
    let questions = questions(manifest, &directories);
    let fact = |reference: &SecretReference| match reference {
        SecretReference::Env(name) => SecretFact::Known(digest(name)),
        SecretReference::File(_) if key => SecretFact::Known(digest("key")),
        SecretReference::File(_) => {
            SecretFact::Unreadable { why: "it is not there".to_owned(), hint: None, absent: true }
        }
    };
    Facts {
        secrets: questions.secrets.iter().map(|reference| (reference.clone(), fact(reference))).collect(),
        programs: questions
            .programs
            .into_iter()
            .map(|name| {
                let path = if name.starts_with('/') { PathBuf::from(&name) } else { Path::new("/usr/bin").join(&name) };
                (name, path)
            })
            .collect(),
        python: Some((PathBuf::from("/usr/bin/python3"), "3.11.7".to_owned())),
        hub: "https://hub.example".to_owned(),
        hub_token: false,
        memory: Some(Bytes(64 << 30)),
        pythons: std::collections::BTreeMap::new(),
        gpus: None,
        fetched: std::collections::BTreeMap::new(),
        directories,
    }
}
