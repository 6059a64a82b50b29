//! Stacks as manifests ask for them, resolved as `apply` resolves them: every engine and runtime, models that a server
//! pulls or derives, model files of every source, images, GPUs, a server that sleeps, and a gateway that hands its socket
//! off and begins with one route.

use super::generate::STACK;
use crate::given::facts;
use crate::since::Since;
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::resolve::{Desired, Drift, Policy, resolve};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The parts of a stack, in the order of [`Part`].
const PARTS: usize = 9;

/// The number of choices of each part.
const CHOICES: u8 = 12;

/// A part of a stack; what it is like is said by a number below [`CHOICES`].
#[derive(Debug, Clone, Copy)]
enum Part {
    Unit,
    Process,
    Container,
    Files,
    Gateway,
    Ollama,
    Sleeper,
    Gpu,
    Cache,
}

/// A manifest in numbers.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    present: [bool; PARTS],
    choices: [u8; PARTS],
    /// Whether the unit and the process have each other's port.
    swapped: bool,
    canary: bool,
    /// The content to which the lock file pins the models that are pulled.
    pin: Option<u8>,
}

/// What each text and pin came to.
static KNOWN: Mutex<BTreeMap<(String, Option<u8>), Desired>> = Mutex::new(BTreeMap::new());

/// One change of a manifest.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Toggle(usize),
    Choose(usize, u8),
    Swap,
    Pin(Option<u8>),
}

pub(super) fn stack() -> impl Strategy<Value = Stack> {
    let pin = prop::option::weighted(0.8, 0..2_u8);
    // Stacks are small, and have a gateway or a server that pulls its models more often than other parts.
    let often = [Part::Gateway, Part::Ollama, Part::Sleeper].map(|part| part as usize);
    let likely = |part: usize| if often.contains(&part) { 0.5 } else { 0.25 };
    let present: [_; PARTS] = std::array::from_fn(|part| prop::bool::weighted(likely(part)));
    (present, prop::array::uniform9(0..CHOICES), any::<bool>(), prop::bool::weighted(0.7), pin).prop_map(
        |(mut present, choices, swapped, canary, pin)| {
            // A server to which a route leads never sleeps.
            present[Part::Gateway as usize] &= !present[Part::Sleeper as usize] || choices[Part::Sleeper as usize] < 4;
            Stack { present, choices, swapped, canary, pin }
        },
    )
}

pub(super) fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        2 => (0..PARTS).prop_map(Edit::Toggle),
        2 => (0..CHOICES).prop_map(|choice| Edit::Choose(Part::Gateway as usize, choice)),
        2 => (0..CHOICES).prop_map(|choice| Edit::Choose(Part::Sleeper as usize, choice)),
        4 => (0..PARTS, 0..CHOICES).prop_map(|(part, choice)| Edit::Choose(part, choice)),
        1 => Just(Edit::Swap),
        2 => prop::option::weighted(0.8, 0..2_u8).prop_map(Edit::Pin),
    ]
}

impl Stack {
    pub(super) fn edited(mut self, edits: &[Edit]) -> Self {
        for edit in edits {
            match *edit {
                Edit::Toggle(part) => self.present[part] = !self.present[part],
                Edit::Choose(part, choice) => self.choices[part] = choice,
                Edit::Swap => self.swapped = !self.swapped,
                Edit::Pin(pin) => self.pin = pin,
            }
        }
        self
    }

    /// Returns what the manifest means on a machine with two GPUs. A stack of no part is what `down` leads to.
    pub(super) fn desired(&self, policy: &Policy) -> Desired {
        if self.providers().is_empty() && self.services().is_empty() {
            return Desired::nothing(STACK, policy.clone());
        }
        let key = (self.text(policy), self.pin);
        if let Some(desired) = KNOWN.lock().expect("no panic").get(&key) {
            return desired.clone();
        }
        let text = &key.0;
        let (manifest, notes) = manifest::read(text);
        let Some(manifest) = manifest.filter(|_| notes.is_empty()) else {
            panic!("{}", manifest::report("generated.yaml", text, &notes, false));
        };
        let since = Since::with_gpus(&["80GiB", "80GiB"]);
        let (desired, notes) = resolve(&manifest, &self.lock(), &facts(&manifest, &since));
        let notes: Vec<String> = notes.into_iter().map(|(note, ..)| note.message).collect();
        assert!(notes.is_empty(), "{text}\n{notes:#?}");
        KNOWN.lock().expect("no panic").insert(key, desired.clone());
        desired
    }

    fn lock(&self) -> LockFile {
        let Some(pin) = self.pin else { return LockFile::default() };
        let digest = if pin == 0 { "a" } else { "c" }.repeat(64);
        let text = format!("version: 1\nsources:\n  \"ollama:tiny:1b\": {{sha256: {digest}}}\n");
        LockFile::parse(&text).expect("a lock file")
    }

    /// Returns what a part is like, if it is there.
    fn part(&self, part: Part) -> Option<u8> {
        self.present[part as usize].then_some(self.choices[part as usize])
    }

    fn text(&self, policy: &Policy) -> String {
        let canary = self.canary && self.part(Part::Gateway).is_some();
        let mut lines = vec![
            "version: 1".to_owned(),
            format!("stack: {STACK}"),
            format!(
                "policy: {{drift: {}, prune: {}, rollback: {}{}}}",
                if policy.drift == Drift::Warn { "warn" } else { "correct" },
                policy.prune,
                if policy.rollback { "auto" } else { "off" },
                if canary { ", rollout: canary, canary: far, canary_for: 5s" } else { "" },
            ),
        ];
        for (key, entries) in
            [("services", self.services()), ("providers", self.providers()), ("models", self.models())]
        {
            if !entries.is_empty() {
                lines.push(format!("{key}:"));
                lines.extend(entries.iter().map(|entry| format!("  {entry}")));
            }
        }
        lines.extend(self.gateway());
        lines.join("\n") + "\n"
    }

    fn services(&self) -> Vec<String> {
        let mut services = Vec::new();
        let (one, other) = if self.swapped { (9101, 9100) } else { (9100, 9101) };
        if let Some(choice) = self.part(Part::Unit) {
            let secret = if choice % 2 == 0 { ", secrets: {TOKEN: {env: TOKEN}}" } else { "" };
            let level = choice / 2;
            services.push(format!(
                "alpha: {{runtime: systemd, command: [serve], env: {{LEVEL: \"{level}\", PORT: \"{one}\"}}, ports: [\"{one}\"]{secret}}}"
            ));
        }
        if let Some(choice) = self.part(Part::Process) {
            let after = if self.part(Part::Unit).is_some() { ", after: [alpha]" } else { "" };
            services.push(format!(
                "beta: {{runtime: process, command: [serve], env: {{LEVEL: \"{choice}\", PORT: \"{other}\"}}, ports: [\"{other}\"]{after}}}"
            ));
        }
        if let Some(choice) = self.part(Part::Container) {
            let volumes = ["", ", volumes: [\"data:/data\"]", ", volumes: [\"data:/data\", \"~/pages:/pages:ro\"]"];
            let (image, volumes) = (choice / 3, volumes[usize::from(choice % 3)]);
            services
                .push(format!("gamma: {{runtime: docker, image: \"gamma:{image}\", ports: [\"9102:80\"]{volumes}}}"));
        }
        services
    }

    fn providers(&self) -> Vec<String> {
        let mut providers = Vec::new();
        if self.part(Part::Files).is_some() {
            providers.push("llama-cpp: {engine: llama-cpp, runtime: systemd, port: 8000}".to_owned());
        }
        if let Some(choice) = self.part(Part::Ollama) {
            providers.push(match choice % 4 {
                0 => "ollama: {engine: ollama, runtime: docker, image: \"ollama/ollama:1\", port: 11435}".to_owned(),
                1 => {
                    "ollama: {engine: ollama, runtime: external, endpoint: \"http://127.0.0.1:11436\", manage: models}"
                        .to_owned()
                }
                _ => "ollama: {engine: ollama, runtime: systemd, port: 11435}".to_owned(),
            });
        }
        if self.part(Part::Sleeper).is_some() {
            providers.push("sleeper: {engine: vllm, runtime: systemd, port: 8100, gpus: [0], sleep: true}".to_owned());
        }
        if let Some(choice) = self.part(Part::Gpu) {
            let gpu = choice % 2;
            providers.push(match choice / 6 {
                0 => format!("big: {{engine: vllm, runtime: systemd, port: 8200, gpus: [{gpu}]}}"),
                _ => format!(
                    "big: {{engine: llama-cpp, runtime: docker, image: \"llama:1\", port: 8200, gpus: [{gpu}]}}"
                ),
            });
        }
        if self.part(Part::Gateway).is_some() {
            providers
                .push("openai: {engine: openai, endpoint: \"https://api.example/v1\", api_key: {env: KEY}}".to_owned());
        }
        providers
    }

    fn models(&self) -> Vec<String> {
        let mut models = Vec::new();
        if let Some(choice) = self.part(Part::Files) {
            let digest = "b".repeat(64);
            let (which, context) = (choice % 6, 2048 * (1 + u32::from(choice / 6)));
            models.push(format!(
                "web: {{provider: llama-cpp, context: {context}, {}}}",
                match which {
                    0 => "source: \"https://models.example/a.gguf\"".to_owned(),
                    1 => format!("source: \"https://models.example/a.gguf\", sha256: {digest}"),
                    2 => "source: hf:org/repository/file.gguf".to_owned(),
                    3 => "source: file:~/own.gguf".to_owned(),
                    4 => format!("source: file:~/own.gguf, sha256: {digest}"),
                    _ => "source: {command: [make, '{path}']}".to_owned(),
                }
            ));
        }
        if let Some(choice) = self.part(Part::Ollama) {
            let load = if choice % 3 == 0 { ", load: pinned" } else { "" };
            let context = if choice % 2 == 0 { String::new() } else { format!(", context: {}", 2048 << (choice / 6)) };
            models.push(format!("tiny: {{provider: ollama, source: \"tiny:1b\"{context}{load}}}"));
            if choice > 7 {
                models.push("texts: {provider: ollama, source: texts, mode: embedding}".to_owned());
            }
        }
        if let Some(choice) = self.part(Part::Sleeper) {
            let (which, context) = (u16::from(choice % 2), 2048 * (1 + u32::from(choice / 6)));
            let port = 8101 + which;
            models.push(format!(
                "sleeper-{which}: {{provider: sleeper, source: \"hf:org/big\", port: {port}, context: {context}}}"
            ));
        }
        if let Some(choice) = self.part(Part::Gpu) {
            let source = if choice / 6 == 0 { "\"hf:org/big\"" } else { "file:~/big.gguf" };
            let context = 2048 * (1 + u32::from(choice % 6 / 2));
            models.push(format!("big: {{provider: big, source: {source}, context: {context}}}"));
        }
        if let Some(choice) = self.part(Part::Gateway) {
            models.push(format!("far: {{provider: openai, source: far-{}}}", choice % 2));
            models.push(format!("near: {{provider: openai, source: near-{}, fallbacks: [far]}}", choice % 3));
        }
        models
    }

    fn gateway(&self) -> Vec<String> {
        let Some(choice) = self.part(Part::Gateway) else { return Vec::new() };
        let mut lines = Vec::new();
        if let Some(choice) = self.part(Part::Cache) {
            let runtime = if choice % 2 == 0 { "systemd" } else { "docker, image: \"redis:7\"" };
            let memory = 128 * (1 + u32::from(choice / 6));
            lines.push(format!("cache: {{engine: redis, runtime: {runtime}, memory: {memory}MiB}}"));
        }
        let runtime = match choice / 3 {
            0 => "docker, image: \"litellm:1\"".to_owned(),
            1 => "systemd, command: [gateway]".to_owned(),
            version => format!("systemd, install: {{python: [\"litellm[proxy]==1.106.{version}\"]}}"),
        };
        let key = "master_key: {file: ~/key, generate: true}";
        lines.push(format!("gateway: {{engine: litellm, runtime: {runtime}, port: 4000, {key}}}"));
        lines
    }
}
