//! Routes that change one first: what holds of every such plan.

use crate::given::{bare, facts, past};
use crate::since::Since;
use llamero_core::live::{Live, Observation, Presence};
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::plan::{Action, Past, Phase, Plan, Step, foresee, plan};
use llamero_core::resolve::{Desired, Drift, resolve};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

/// Where each model may be: nowhere, at one of two addresses, or on a server of llamero's own.
const PLACES: [&str; 4] = ["", "far", "near", "own"];
const MODELS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

/// A manifest with some models somewhere, each falling back to the next that there is if it is to.
#[derive(Debug, Clone)]
struct Routes {
    directories: [usize; 4],
    falls_back: [bool; 4],
    first_port: u16,
    retries: u8,
}

impl Routes {
    fn has(&self, model: usize) -> bool {
        self.directories[model] > 0
    }

    fn desired(&self, canary: Option<&str>) -> Desired {
        let next =
            |model: usize| (model + 1..MODELS.len()).find(|other| self.has(*other)).filter(|_| self.falls_back[model]);
        let models: String = (0..MODELS.len())
            .filter(|model| self.has(*model))
            .map(|model| {
                let source = if PLACES[self.directories[model]] == "own" { ", source: 'file:m.gguf'" } else { "" };
                let fallbacks = next(model).map(|next| format!(", fallbacks: [{}]", MODELS[next])).unwrap_or_default();
                format!("  {}: {{provider: {}{source}{fallbacks}}}\n", MODELS[model], PLACES[self.directories[model]])
            })
            .collect();
        let policy = canary.map(|model| format!("policy: {{rollout: canary, canary: {model}}}\n")).unwrap_or_default();
        let text = format!(
            "version: 1\nstack: home\nproviders:\n  far: {{engine: openai, endpoint: 'https://far.example/v1', api_key: \
             {{env: FAR}}}}\n  near: {{engine: openai, endpoint: 'http://127.0.0.1:9000/v1'}}\n  own: {{engine: llama-cpp, \
             runtime: systemd, port: {}}}\nmodels:\n{models}gateway:\n  engine: litellm\n  runtime: systemd\n  retries: \
             {}\n  install: {{python: ['litellm[proxy]==1']}}\n  master_key: {{file: ~/key, generate: true}}\n{policy}",
            self.first_port, self.retries,
        );
        let (manifest, notes) = manifest::read(&text);
        let manifest = manifest.unwrap_or_else(|| panic!("{text}\n{notes:?}"));
        let (desired, notes) = resolve(&manifest, &LockFile::default(), &facts(&manifest, &Since::default()));
        assert!(notes.iter().all(|(note, ..)| !note.is_error()), "{notes:?}");
        desired
    }
}

fn routes() -> impl Strategy<Value = Routes> {
    let directories = prop::array::uniform4(0..PLACES.len());
    let some = |directories: [usize; 4]| if directories == [0; 4] { [1, 0, 0, 0] } else { directories };
    (directories.prop_map(some), any::<[bool; 4]>(), prop::sample::select(vec![8000_u16, 8001, 8004]), 0..2_u8)
        .prop_map(|(directories, falls_back, first_port, retries)| Routes {
            directories,
            falls_back,
            first_port,
            retries,
        })
}

fn after(desired: &Desired, plan: &Plan, observed: &Observation, steps: usize) -> Observation {
    let revision =
        |step: &Step| if step.phase == Phase::Canary { plan.first.as_deref().unwrap_or(desired) } else { desired };
    plan.steps.iter().take(steps).fold(observed.clone(), |observed, step| foresee(revision(step), observed, step))
}

/// Returns what the gateway's configuration says of each model: where it is, and what it falls back to.
fn says(desired: &Desired) -> BTreeMap<String, (Value, Value)> {
    let files = desired.routes().files;
    let config = files.iter().find(|(id, _)| id.name == "gateway").expect("a configuration").1.masked();
    let config: Value = serde_saphyr::from_str(&config).expect("YAML");
    let relations = config.pointer("/router_settings/fallbacks").and_then(Value::as_array).cloned().unwrap_or_default();
    let list = config["model_list"].as_array().cloned().unwrap_or_default();
    let one = |deployment: Value| {
        let name = deployment["model_name"].as_str().expect("a name").to_owned();
        let to = relations.iter().find_map(|entry| entry.get(&name)).cloned().unwrap_or_default();
        (name, (deployment, to))
    };
    list.into_iter().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// However routes change: one is tried before the others follow, all of them do in the end, and whoever stops on
    /// the way can go on.
    #[test]
    fn one_route_is_tried_before_the_others_follow(before in routes(), now in routes(), stop in any::<prop::sample::Index>()) {
        let canary = MODELS[(0..4).find(|model| now.has(*model)).expect("a model")];
        let (before, now) = (before.desired(None), now.desired(Some(canary)));
        let observed = bare(before.resources.values().chain(now.resources.values()));
        let first = plan(&before, &observed, &Past::default());
        prop_assert!(first.refusals.is_empty(), "{:?}", first.refusals);
        let observed = after(&before, &first, &observed, first.steps.len());
        let past = past(&before);
        let planned = plan(&now, &observed, &past);
        prop_assert!(planned.refusals.is_empty(), "{:?}", planned.refusals);

        let (was, will) = (says(&before), says(&now));
        let tries = planned.steps.iter().filter(|step| matches!(step.action, Action::Try(_))).count();
        prop_assert_eq!(tries, usize::from(was.get(canary) != will.get(canary)));
        if let Some(first) = &planned.first {
            let is = says(first);
            prop_assert_eq!(is.get(canary), will.get(canary));
            for (model, route) in &is {
                let led = [&was, &will].into_iter().filter_map(|other| other.get(model)).any(|other| other.0 == route.0);
                prop_assert!(led, "{} leads nowhere that it ever led: {:?}", model, route);
                for target in route.1.as_array().into_iter().flatten().filter_map(Value::as_str) {
                    prop_assert!(is.contains_key(target), "{} falls back to {}, which is not there", model, target);
                }
            }
            for (model, route) in &was {
                // Nothing that clients know goes unless its server has to, and what stays where it is is left as it
                // was.
                let base = route.0["litellm_params"]["api_base"].as_str().unwrap_or_default();
                prop_assert!(is.contains_key(model) || base.contains("127.0.0.1:800"), "{} is gone", model);
                if route.0["litellm_params"]["api_base"].as_str().is_some_and(|base| base.contains("far")) && model != canary {
                    prop_assert_eq!(Some(&route.0), is.get(model).map(|is| &is.0));
                }
            }
        }

        let done = after(&now, &planned, &observed, planned.steps.len());
        prop_assert!(plan(&now, &done, &past).is_empty());
        let cut = after(&now, &planned, &observed, stop.index(planned.steps.len() + 1));
        let again = plan(&now, &cut, &past);
        prop_assert!(again.refusals.is_empty(), "{:?}", again.refusals);
        let done = after(&now, &again, &cut, again.steps.len());
        prop_assert!(plan(&now, &done, &past).is_empty());
    }
}

/// What an interrupted apply wrote and somebody edited since is as declared but for the edit, which is only reported. But
/// while one route is tried the file has another content, so the plan does not say that it is left.
#[test]
fn an_edited_file_that_the_canary_writes_is_not_left() {
    let routes =
        |place| Routes { directories: [place, place, 0, 0], falls_back: [false; 4], first_port: 8000, retries: 0 };
    let (before, mut now) = (routes(1).desired(None), routes(2).desired(Some(MODELS[0])));
    now.policy.drift = Drift::Warn;
    let past = past(&before);
    let start = bare(before.resources.values().chain(now.resources.values()));
    let first = plan(&before, &start, &Past::default());
    let mut observed = after(&before, &first, &start, first.steps.len());
    let done = plan(&now, &observed, &past);
    let done = after(&now, &done, &observed, done.steps.len());
    let file = now.resources.keys().find(|id| id.to_string() == "file/gateway").expect("a configuration");
    let mut written = done.resources[file].clone();
    let Presence::Present(Live::File(live)) = &mut written else { panic!("{written:?}") };
    live.marker.as_mut().expect("a marker").intact = false;
    observed.resources.insert(file.clone(), written);
    let planned = plan(&now, &observed, &past);
    let writes = planned.steps.iter().any(|step| matches!(&step.action, Action::WriteFile(id) if id == file));
    let change = planned.changes.iter().find(|change| change.on == *file).expect("a change");
    assert!(writes && !change.left, "{change:?}");
}
