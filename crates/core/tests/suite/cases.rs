//! The planner, from a manifest to the printed plan: each folder holds a manifest, the manifest applied before it, the
//! events on the machine since, and the printed plan with its steps.
//!
//! - `manifest.yaml`: the manifest.
//! - `before.yaml`: the manifest applied before, if there is one.
//! - `since.yaml`: a [`Since`](crate::since::Since); without it nothing happened.
//! - `plan.txt`: the plan, and its steps.
//! - `first.txt`: the rendered files until the canary has been tried, if there is one.

use crate::given::{bare, facts, past};
use crate::golden;
use crate::since::Since;
use llamero_core::live::{Observation, Remnant};
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::plan::{Action, Group, Past, Phase, Plan, Step, foresee, foresee_all, foresee_otherwise, plan, text};
use llamero_core::resolve::{Desired, resolve};
use llamero_core::resource::{ArtifactSource, Note, Resource, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Returns the lock file beside a manifest.
fn lock(path: &Path) -> LockFile {
    let path = path.with_extension("lock");
    let text = path.is_file().then(|| golden::read(&path));
    text.map(|text| LockFile::parse(&text).expect("a lock file")).unwrap_or_default()
}

/// Returns what a manifest means, and what is said of it.
fn revision(path: &Path, since: &Since) -> (Desired, Vec<Note>) {
    let text = golden::read(path);
    let (manifest, notes) = manifest::read(&text);
    let Some(manifest) = manifest.filter(|_| notes.is_empty()) else {
        panic!("{}", manifest::report(&path.display().to_string(), &text, &notes, false));
    };
    let (desired, mut notes) = resolve(&manifest, &lock(path), &facts(&manifest, since));
    let unknown = desired.unknown.values();
    notes.extend(unknown.map(|secret| (secret.note(None), secret.path.to_string(), secret.span.clone())));
    (desired, notes.into_iter().map(|(note, keys, span)| note.at(manifest::locate(&text, &keys, span))).collect())
}

/// Returns the plan as a person reads it, with the steps behind it.
pub(crate) fn shown(notes: &[Note], plan: &Plan) -> String {
    let mut shown = String::new();
    for note in notes {
        let place = note.place.as_ref().map(|place| place.path.as_str()).unwrap_or_default();
        shown += &format!("{}: {place}: {}\n", note.code, note.message);
    }
    if notes.iter().any(Note::is_error) {
        return shown;
    }
    for line in text::lines(plan) {
        assert!(line.text.chars().count() <= 80 || !line.text.trim().contains(' '), "too long: {}", line.text);
        shown += &line.text;
        shown.push('\n');
    }
    let mut phase = None;
    for step in &plan.steps {
        if phase != Some(step.phase) {
            shown += &format!("\n{:?}\n", step.phase).to_lowercase();
            phase = Some(step.phase);
        }
        shown += &format!("  {step}\n");
    }
    shown
}

fn check(folder: &Path) -> Option<String> {
    let since = folder.join("since.yaml");
    let since: Since = if since.is_file() {
        serde_saphyr::from_str(&golden::read(&since)).unwrap_or_else(|error| panic!("{}: {error}", since.display()))
    } else {
        Since::default()
    };
    let (mut declared, notes) = revision(&folder.join("manifest.yaml"), &since);
    let before = folder.join("before.yaml");
    let applied = if before.is_file() { revision(&before, &Since::default()).0 } else { Desired::default() };
    let mut observed = bare(declared.resources.values().chain(applied.resources.values()));
    let first = plan(&applied, &observed, &Past::default());
    assert!(first.refusals.is_empty(), "{}: {:?}", before.display(), first.refusals);
    observed = foresee_all(&applied, &observed, &first);
    declared.assume_unknown(|file| match &applied.resources.get(&file.id)?.spec {
        Spec::File(file) => Some(&file.content),
        _ => None,
    });
    since.happen(&mut observed, &declared);
    let mut past = if since.unrecorded { Past::default() } else { past(&applied) };
    past.start_times = since.start_times(&observed);
    let policy = declared.policy.clone();
    let down = since.down || since.purge;
    let declared = if down { Desired::nothing(declared.stack, policy) } else { declared };
    if since.purge {
        past.keep.clear();
        observed.remnants = remnants(&applied);
    }
    let inventory: Vec<Resource> = applied.resources.values().cloned().collect();
    let plan = |declared: &Desired, observed: &Observation, past: &Past| {
        let plan = plan(declared, observed, past);
        if down { plan.taking_down(observed, past, &inventory, since.purge) } else { plan }
    };
    let planned = plan(&declared, &observed, &past);
    check_groups(folder, &planned);
    if planned.refusals.is_empty() {
        let done = foresee_all(&declared, &observed, &planned);
        let rest = plan(&declared, &done, &past);
        assert!(rest.is_empty(), "{}: after the plan there is still {:?}", folder.display(), rest.steps);
        // Where a call fails and another is made in its place, planning again leads to the same end.
        for failing in planned.steps.iter().filter(|step| !step.otherwise.is_empty()) {
            let mut seen = observed.clone();
            for step in &planned.steps {
                let foresee = if step.id == failing.id { foresee_otherwise } else { foresee };
                seen = foresee(&declared, seen, step);
            }
            let again = plan(&declared, &seen, &past);
            let rest = plan(&declared, &foresee_all(&declared, &seen, &again), &past);
            assert!(
                rest.is_empty(),
                "{}: without `{}` there is still {:?}",
                folder.display(),
                failing.action,
                rest.steps
            );
        }
    }
    let differences = planned.first.as_deref().map(|first| golden::compare(&folder.join("first.txt"), &files(first)));
    differences.flatten().or(golden::compare(&folder.join("plan.txt"), &shown(&notes, &planned)))
}

/// What becomes of one server in some cases, whatever calls it takes.
const TITLES: &[(&str, &str)] = &[
    ("gateway-socket-handoff", "hand unit/home-gateway over to instance 2"),
    ("gateway-first-apply-socket-handoff", "start unit/home-gateway"),
    ("gateway-port-changed-is-a-restart", "restart unit/home-gateway"),
    ("gateway-orphan-is-cleared", "clear orphaned instances of unit/home-gateway"),
    ("gateway-removed-socket-handoff", "remove unit/home-gateway"),
    ("docker-image-changed", "replace container/home-cache"),
    ("down-of-processes", "remove process/gateway"),
];

/// Each step but a manager's reload is shown with one resource.
fn check_groups(folder: &Path, plan: &Plan) {
    let phases = [Phase::Stage, Phase::Canary, Phase::Switch, Phase::Prune, Phase::Purge];
    let groups: Vec<Group> = phases.into_iter().flat_map(|phase| plan.groups(phase)).collect();
    let mut shown: Vec<&String> = groups.iter().flat_map(|group| &group.calls).map(|(call, _)| call).collect();
    let is_shown = |step: &&Step| !matches!(step.action, Action::ReloadManager(_));
    let steps: Vec<String> = plan.steps.iter().filter(is_shown).map(|step| step.action.to_string()).collect();
    let mut expected: Vec<&String> = steps.iter().collect();
    shown.sort_unstable();
    expected.sort_unstable();
    assert_eq!(shown, expected, "{}", folder.display());
    let name = folder.file_name().expect("a name");
    let titles: Vec<&String> = groups.iter().map(|group| &group.title).collect();
    for (_, title) in TITLES.iter().filter(|(case, _)| name == *case) {
        assert!(titles.iter().any(|other| *other == title), "`{title}` is none of {titles:?}");
    }
}

/// Returns everything that a stack can have on disk beside its resources.
pub(crate) fn remnants(applied: &Desired) -> BTreeSet<Remnant> {
    let records = Path::new("/home/ai/.local/state/llamero").join(&applied.stack);
    let at = |name: &str| records.join(name);
    let mut models = BTreeMap::new();
    let mut remnants = BTreeSet::from([
        Remnant::ImageRecords { path: at("images") },
        Remnant::EmptyFolder { path: at("secrets") },
        Remnant::FailureRecords { path: at("quarantine") },
        Remnant::Suspension { path: at("suspended") },
        Remnant::SwitchLog { path: at("deadman.log") },
        Remnant::History { path: at("generations"), generations: 3 },
    ]);
    for resource in applied.resources.values() {
        let artifact = resource.id.clone();
        match &resource.spec {
            Spec::Artifact(spec) => {
                let path = spec.path.clone();
                remnants.insert(Remnant::DigestRecord { artifact: artifact.clone(), path: path.clone() });
                let downloads = spec.source != ArtifactSource::File;
                remnants.extend(downloads.then_some(Remnant::Download { artifact, path }));
            }
            Spec::Model(model) => drop(models.insert(resource.id.clone(), model.source.shortest())),
            _ => {}
        }
    }
    remnants.insert(Remnant::ModelRecords { path: at("models"), models });
    remnants
}

/// Returns what the gateway reads of a desired state.
fn files(desired: &Desired) -> String {
    let files = desired.routes().files.into_iter().filter(|(id, _)| id.name != "gateway-launcher");
    files.map(|(id, content)| format!("{id}\n{}\n", content.masked())).collect()
}

#[test]
fn every_case_has_the_expected_plan() {
    let folder = golden::repository("crates/core/tests/suite/cases");
    let names = golden::folders(&folder);
    assert!(names.len() >= 27, "only {} cases were found", names.len());
    golden::all_well(&names.iter().filter_map(|name| check(&folder.join(name))).collect::<Vec<_>>());
}
