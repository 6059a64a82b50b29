//! No two resources are one live thing: manifests whose names nearly collide, resolved and planned.

use crate::given::{bare, facts, past};
use crate::since::Since;
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::plan::{Past, foresee_all, plan};
use llamero_core::resolve::{Desired, resolve};
use llamero_core::resource::{Kind, Note, ResourceId, ServedModel, shared};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Names of models that differ only in ways that units, files or Ollama ignore.
const NAMES: [&str; 10] = ["a", "A", "a.b", "a-b", "a:b", "A:B", "a:latest", "q:7b", "Q:7b", "e/~"];

/// Two publishers of one repository, two spellings of one name, and a name without its tag.
const SOURCES: [&str; 6] = ["q:7b", "Q:7B", "ann/q:7b", "bob/q:7b", "q", "hf.co/ann/q:7b"];

#[derive(Debug, Clone)]
struct Model {
    name: &'static str,
    source: &'static str,
    context: Option<u32>,
    system: Option<&'static str>,
    provider: &'static str,
    pinned: bool,
}

impl Model {
    fn is_derived(&self) -> bool {
        self.context.is_some() || self.system.is_some()
    }

    fn line(&self) -> String {
        let Self { name, source, provider, .. } = self;
        let context = self.context.map(|context| format!(", context: {context}")).unwrap_or_default();
        let system = self.system.map(|system| format!(", system: {system}")).unwrap_or_default();
        let load = if self.pinned { ", load: pinned" } else { "" };
        format!("  \"{name}\": {{provider: {provider}, source: \"{source}\"{context}{system}{load}}}\n")
    }
}

fn models() -> impl Strategy<Value = Vec<Model>> {
    let settings = (
        prop::sample::select(SOURCES.to_vec()),
        prop::option::of(prop::sample::select(vec![8192, 32768])),
        prop::option::weighted(0.3, Just("brief")),
        prop::sample::select(vec!["own", "theirs", "boxed"]),
        any::<bool>(),
    );
    (prop::sample::subsequence(NAMES.to_vec(), 1..=NAMES.len()), prop::collection::vec(settings, NAMES.len())).prop_map(
        |(names, settings)| {
            let model = |(name, (source, context, system, provider, pinned))| Model {
                name,
                source,
                context,
                system,
                provider,
                pinned,
            };
            names.into_iter().zip(settings).map(model).collect()
        },
    )
}

fn manifest_of(models: &[Model]) -> String {
    let lines: String = models.iter().map(Model::line).collect();
    format!(
        "version: 1\nstack: home\nproviders:\n  own: {{engine: ollama, runtime: systemd, port: 11434}}\n  theirs: \
         {{engine: ollama, runtime: external, endpoint: 'http://10.0.0.1:11434', manage: models}}\n  boxed: {{engine: \
         ollama, runtime: docker, image: 'ollama/ollama:1', port: 11435}}\ngateway:\n  engine: litellm\n  runtime: \
         systemd\n  master_key: {{file: ~/key, generate: true}}\nmodels:\n{lines}"
    )
}

fn resolved(text: &str) -> (Desired, Vec<Note>) {
    let (manifest, notes) = manifest::read(text);
    let manifest = manifest.unwrap_or_else(|| panic!("{text}\n{notes:?}"));
    let (desired, notes) = resolve(&manifest, &LockFile::default(), &facts(&manifest, &Since::default()));
    (desired, notes.into_iter().map(|(note, _, _)| note).collect())
}

fn served(desired: &Desired) -> impl Iterator<Item = (&ResourceId, &str, &ServedModel)> {
    let resources = desired.resources.values();
    resources.filter_map(|resource| Some((&resource.id, resource.role.as_str(), resource.model()?)))
}

proptest! {
    #![proptest_config(super::config())]

    /// Models are never refused for their names, and each declaration is a live model with its own settings.
    #[test]
    fn every_model_has_its_own_identity(models in models()) {
        let (desired, notes) = resolved(&manifest_of(&models));
        prop_assert!(notes.is_empty(), "{:?}", notes);
        prop_assert_eq!(shared(desired.resources.values(), |_| Vec::new()), vec![]);
        let names: Vec<(&str, String)> = served(&desired)
            .map(|(_, _, model)| (model.endpoint.as_str(), model.name.full().to_lowercase()))
            .collect();
        let distinct: BTreeSet<&(&str, String)> = names.iter().collect();
        prop_assert_eq!(distinct.len(), names.len(), "{:?}", names);
        for model in &models {
            let role = format!("models.{}", model.name);
            let own: Vec<&ServedModel> =
                served(&desired).filter(|(_, of, it)| *of == role && it.is_derived()).map(|(_, _, it)| it).collect();
            prop_assert_eq!(own.len(), usize::from(model.is_derived()), "{}", role);
            for own in own {
                let context = own.parameters.get("num_ctx").and_then(serde_json::Value::as_u64);
                prop_assert_eq!(context, model.context.map(u64::from));
                prop_assert_eq!(own.system.as_deref(), model.system);
                prop_assert_eq!(own.pinned, model.pinned);
            }
            let declared = llamero_core::resource::OllamaName::parse(model.source).expect("a name");
            let plain = served(&desired).any(|(_, _, it)| !it.is_derived() && it.name == declared && it.pinned >= model.pinned);
            prop_assert!(model.is_derived() || plain, "{} has no model", role);
        }
    }

    /// Another context of one model is a change of that model, and of nothing that belongs to another.
    #[test]
    fn a_change_of_one_model_changes_no_other(models in models(), chosen in any::<prop::sample::Index>()) {
        let mut edited = models.clone();
        let chosen = chosen.index(models.len());
        edited[chosen].context = Some(models[chosen].context.map_or(4096, |context| context * 2));
        let (before, now) = (resolved(&manifest_of(&models)).0, resolved(&manifest_of(&edited)).0);
        let start = bare(before.resources.values().chain(now.resources.values()));
        let machine = foresee_all(&before, &start, &plan(&before, &start, &Past::default()));
        let plan = plan(&now, &machine, &past(&before));
        prop_assert_eq!(&plan.refusals, &[]);
        let role = format!("models.{}", models[chosen].name);
        let own = |id: &ResourceId| served(&now).any(|(of, it, _)| of == id && it == role);
        prop_assert!(plan.changes.iter().any(|change| own(&change.on)), "{:?}", plan.changes);
        let source = llamero_core::resource::OllamaName::parse(models[chosen].source).expect("a name");
        for change in &plan.changes {
            let gateway = change.on.kind != Kind::Model && change.on.name.contains("gateway");
            // The model that it no longer is goes, and says no longer that it stays loaded, once no other declaration
            // has its name.
            let previous = !models[chosen].is_derived()
                && served(&before).chain(served(&now)).any(|(id, _, it)| *id == change.on && !it.is_derived() && it.name == source);
            prop_assert!(own(&change.on) || previous || gateway, "{:?}", change);
        }
    }

    /// Whatever else two parts would share is refused: files spelled two ways, units, containers.
    #[test]
    fn shared_paths_units_and_containers_are_rejected(
        paths in prop::collection::vec(prop::sample::select(vec!["~/x", "/home/ai/x", "/home/ai/./y/../x/", "~//key", "~/z"]), 1..3),
        services in prop::sample::subsequence(
            vec![
                "  a: {runtime: systemd, command: [page], unit: home-gateway-1}\n",
                "  b: {runtime: systemd, command: [page], unit: home-b-1}\n",
                "  c: {runtime: process, command: [page]}\n",
                "  d: {runtime: docker, image: 'nginx:1', container: web}\n",
                "  e: {runtime: docker, image: 'nginx:1', container: web.former}\n",
            ],
            0..=5,
        ),
    ) {
        let (config, also) = paths.split_first().expect("at least one");
        let text = format!(
            "version: 1\nstack: home\ngateway:\n  engine: litellm\n  runtime: systemd\n  install: {{python: [litellm]}}\n  \
             config: {config}\n  also_at: {also:?}\n  master_key: {{file: ~/key, generate: true}}\nproviders:\n  \
             llama-cpp: {{engine: llama-cpp, runtime: systemd, port: 8000}}\nmodels:\n  m: {{provider: llama-cpp, source: \
             'file:~/m.gguf'}}\nservices:\n{}",
            services.concat()
        );
        let (_, notes) = resolved(&text);
        // What the names mean, said here once more: the path that each spelling leads to.
        let upstream = |path: &&str| if path.contains("key") { "key" } else if path.contains('z') { "z" } else { "x" };
        let mut leads: BTreeMap<&str, BTreeSet<String>> = BTreeMap::from([("key", BTreeSet::from(["key".to_owned()]))]);
        for path in &paths {
            leads.entry(upstream(path)).or_default().insert(path.replace('~', "/home/ai"));
        }
        let says = |part: &str| services.iter().any(|service| service.contains(part));
        let clash = leads.values().any(|spellings| spellings.len() > 1)
            || says("home-gateway-1")
            || says("container: web}") && says("web.previous");
        prop_assert_eq!(notes.iter().any(Note::is_error), clash, "{:?} in {}", notes, text);
    }
}
