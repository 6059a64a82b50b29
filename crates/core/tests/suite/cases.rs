//! The planner, from a manifest to the printed plan: each folder holds a manifest, the manifest applied before it, the
//! events on the machine since, and the printed plan with its steps.
//!
//! - `manifest.yaml`: the manifest.
//! - `before.yaml`: the manifest applied before, if there is one.
//! - `since.yaml`: a [`Since`]; without it nothing happened.
//! - `plan.txt`: the plan, and its steps.
//! - `first.txt`: the rendered files until the canary has been tried, if there is one.

use crate::golden;
use llamero_core::live::{
    Effective, InstanceState, Live, LiveFile, LiveRun, Observation, Override, Ownership, PortHolder, Presence, Remnant,
    RunState, Unseen,
};
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::plan::{Past, Plan, foresee, foresee_all, foresee_otherwise, plan, text};
use llamero_core::resolve::{Desired, Directories, Facts, SecretFact, questions, resolve};
use llamero_core::resource::{
    ArtifactSource, Bytes, Digest, Fingerprint, Gpu, Health, Kind, Note, Resource, ResourceId, Seconds,
    SecretReference, Spec,
};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What has happened to the machine since the last apply.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an event of its own")]
pub(crate) struct Since {
    /// What became of things; `*` at the end of a name stands for the digits of its digest.
    resources: BTreeMap<String, Happening>,
    /// Other programs that listen on ports.
    ports: BTreeMap<u16, String>,
    /// Sizes of downloads, as their servers report them.
    sizes: BTreeMap<String, u64>,
    /// What became of secrets, by the words for their places.
    secrets: BTreeMap<String, SecretHappening>,
    /// How long servers took to be healthy the last time.
    start_times: BTreeMap<String, String>,
    /// Programs that are no longer on the path.
    missing_programs: BTreeSet<String>,
    /// The version of Python, when it is another now; empty when there is none.
    python: Option<String>,
    /// The interpreters beside programs.
    pythons: BTreeMap<PathBuf, PathBuf>,
    /// The digests of model files that were fetched before.
    fetched: BTreeMap<PathBuf, Digest>,
    /// The memory of each GPU; without any there is no driver.
    gpus: Vec<String>,
    /// What registries have now of models that would be pulled.
    moved: BTreeMap<String, Digest>,
    /// True if everything is to be removed.
    down: bool,
    /// True if everything is to be removed with all records, and each model file was fetched once more in part.
    purge: bool,
    /// Whether what was applied before is on no record.
    unrecorded: bool,
    /// The health of external parts; by default they are healthy.
    externals: BTreeMap<String, String>,
    /// Whether units end when the user logs out.
    lingering_is_off: bool,
}

impl Since {
    /// Returns a machine to which nothing happened, and that has GPUs of these sizes.
    pub(crate) fn with_gpus(memory: &[&str]) -> Self {
        Self { gpus: memory.iter().map(|size| (*size).to_owned()).collect(), ..Self::default() }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Happening {
    /// It is not there.
    Gone,
    /// An unmanaged resource is in its place.
    Unmanaged,
    /// Another stack's resource is in its place.
    OtherStack,
    /// It cannot be seen.
    Unknown,
    /// It was edited by hand.
    Edited,
    /// It carries the ownership marker of this stack and an unknown fingerprint.
    Otherwise,
    /// It was stopped.
    Stopped,
    /// It died for good.
    Failed,
    /// It is about to run.
    Starting,
    /// It died and waits to be started again.
    BackingOff,
    /// Its process runs with what an earlier definition said.
    Older,
    /// It does not start with the machine.
    NotEnabled,
    /// The manager has not read its unit file.
    NotLoaded,
    /// An interrupted hand-off left an instance beside it.
    Orphaned,
    /// It runs, and sleeps.
    Asleep,
    /// A model file whose digest is not known.
    Unverified,
    /// A model whose server does not answer, and that its folder of models shows.
    Unserved,
    /// A model file of another content, or an environment that is not whole.
    Damaged,
    /// A drop-in of the user's gives it another command and another memory limit.
    Overridden,
    /// A drop-in of the administrator's for several units sets something that is not declared.
    OverriddenByPrefix,
    /// Its engine, or the server that it is on, has a smaller context than declared.
    Lowered,
    /// Its limits were changed while it runs.
    Limited,
    /// Its socket failed, and it runs on.
    SocketDown,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SecretHappening {
    Absent,
    Unreadable,
    Rotated,
}

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
    let (desired, notes) = resolve(&manifest, &lock(path), &facts(&manifest, since));
    (desired, notes.into_iter().map(|(note, keys, span)| note.at(manifest::locate(&text, &keys, span))).collect())
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

/// Returns the one thing that a name means.
fn find(observed: &Observation, name: &str) -> ResourceId {
    let matches = |id: &&ResourceId| match name.strip_suffix('*') {
        Some(begin) => id.to_string().starts_with(begin),
        None => id.to_string() == name,
    };
    let live: Vec<&ResourceId> = observed.resources.keys().filter(matches).collect();
    let [only] = live.as_slice() else {
        let all: Vec<String> = observed.resources.keys().map(ToString::to_string).collect();
        panic!("`{name}` means {live:?} of {all:?}");
    };
    (*only).clone()
}

fn happen(observed: &mut Observation, stack: &str, id: &ResourceId, happening: Happening) {
    let other = Fingerprint { scheme: 1, digest: "0".repeat(32) };
    let mark = |stack: &str| Ownership { stack: stack.to_owned(), fingerprint: other.clone(), intact: true };
    let claimed = |claim: Option<Ownership>| match id.kind {
        Kind::File => Live::File(LiveFile { marker: claim, text: None }),
        _ => Live::Run(Box::new(LiveRun { definition: claim, phase: RunState::Running, ..LiveRun::stopped() })),
    };
    let presence = match happening {
        Happening::Gone => Some(Presence::Absent),
        Happening::Unknown => Some(Presence::Unknown(Unseen {
            why: "the bus does not answer".to_owned(),
            hint: Some("start it".to_owned()),
        })),
        Happening::Unmanaged if id.kind != Kind::Model => Some(Presence::Present(claimed(None))),
        Happening::OtherStack => Some(Presence::Present(claimed(Some(mark("other"))))),
        Happening::Otherwise if matches!(observed.resources[id], Presence::Absent) => {
            Some(Presence::Present(claimed(Some(mark(stack)))))
        }
        _ => None,
    };
    let down = matches!(happening, Happening::Gone | Happening::Stopped | Happening::Failed | Happening::BackingOff);
    if down {
        observed.ports.retain(|_, holder| holder.resource.as_ref() != Some(id));
    }
    if let Some(presence) = presence {
        observed.resources.insert(id.clone(), presence);
        return;
    }
    if matches!(happening, Happening::Orphaned) {
        let parts = observed.instances.get_mut(id).expect("it hands its socket off");
        parts.others.insert(parts.next, InstanceState::Serving);
        parts.others.insert(parts.next + 1, InstanceState::Started);
        parts.next += 2;
        return;
    }
    let Some(Presence::Present(live)) = observed.resources.get_mut(id) else { panic!("{id} is not there") };
    match (live, happening) {
        (Live::File(LiveFile { marker: Some(claim), .. }), Happening::Edited) => claim.intact = false,
        (Live::File(LiveFile { marker: Some(claim), .. }), Happening::Otherwise) => claim.fingerprint = other,
        (Live::Artifact { sha256, .. }, Happening::Unverified) => *sha256 = None,
        (Live::Artifact { sha256, .. }, Happening::Damaged) => *sha256 = Some(Digest::of("damaged")),
        (Live::Model { unserved, .. }, Happening::Unserved) => *unserved = true,
        (Live::Model { edited, effective, .. }, Happening::Edited) => {
            *edited = true;
            *effective = [("num_ctx", "512"), ("temperature", "0.70"), ("system", "another")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        }
        (Live::Model { effective, .. }, Happening::Lowered) => {
            effective.insert("num_ctx".to_owned(), "2048".to_owned());
        }
        (Live::Model { sha256, .. }, Happening::Damaged) => *sha256 = Some(Digest::of("damaged")),
        (Live::Model { sha256, managed, recorded, .. }, Happening::Unmanaged) => {
            (*sha256, *managed, *recorded) = (Some(Digest::of("damaged")), false, None);
        }
        (Live::Environment { complete }, Happening::Damaged) => *complete = false,
        (Live::Run(run), happening) => {
            happen_to_run(run, happening, other);
            happen_to_settings(run, happening, id);
        }
        (live, happening) => panic!("{happening:?} cannot happen to {live:?}"),
    }
}

fn happen_to_run(run: &mut LiveRun, happening: Happening, other: Fingerprint) {
    match happening {
        Happening::Edited => run.definition.iter_mut().for_each(|claim| claim.intact = false),
        Happening::Otherwise => run.definition.iter_mut().for_each(|claim| claim.fingerprint = other.clone()),
        Happening::Stopped => (run.phase, run.running) = (RunState::Stopped, None),
        Happening::Failed => {
            (run.phase, run.running) = (RunState::Failed, None);
            run.why = Some("exited with 1".to_owned());
        }
        Happening::Starting => run.phase = RunState::Starting,
        Happening::BackingOff => (run.phase, run.running) = (RunState::BackingOff, None),
        Happening::Older => run.running = Some(other),
        Happening::NotEnabled => run.enabled = false,
        Happening::NotLoaded => run.loaded = false,
        Happening::Asleep => run.asleep = true,
        Happening::Overridden
        | Happening::OverriddenByPrefix
        | Happening::Lowered
        | Happening::Limited
        | Happening::SocketDown => {}
        other => panic!("{other:?} cannot happen to a server"),
    }
}

fn happen_to_settings(run: &mut LiveRun, happening: Happening, id: &ResourceId) {
    let mut set = |name: &str, value: &str| drop(run.effective.values.insert(name.to_owned(), value.to_owned()));
    let drop_in = |folder: &str, file: &str, settings: &[&str]| Override {
        path: Path::new(folder).join(file),
        settings: settings.iter().map(|name| (*name).to_owned()).collect(),
    };
    match happening {
        Happening::Overridden => {
            set(Effective::MEMORY, "1073741824");
            set(Effective::COMMAND, &Effective::digested("/home/ai/other"));
            let folder = format!("/home/ai/.config/systemd/user/{}.service.d", id.name);
            run.effective.overrides = vec![drop_in(&folder, "mine.conf", &["ExecStart", "MemoryMax"])];
        }
        Happening::OverriddenByPrefix => {
            run.effective.overrides = vec![drop_in("/etc/systemd/user/home-.service.d", "nice.conf", &["Nice"])];
        }
        Happening::Lowered => {
            // What each of two slots sees.
            set("--ctx-size", "2048");
            set("--parallel", "2");
            set("--max-model-len", "2048");
        }
        Happening::Limited => {
            set(Effective::MEMORY, "1073741824");
            set(Effective::CPUS, "50%");
        }
        Happening::SocketDown => run.socket_down = Some("it failed (resources)".to_owned()),
        _ => {}
    }
}

/// Returns the plan as a person reads it, with the steps behind it.
fn shown(notes: &[Note], plan: &Plan) -> String {
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
    let (declared, notes) = revision(&folder.join("manifest.yaml"), &since);
    let before = folder.join("before.yaml");
    let applied = if before.is_file() { revision(&before, &Since::default()).0 } else { Desired::default() };
    let mut observed = bare(declared.resources.values().chain(applied.resources.values()));
    let first = plan(&applied, &observed, &Past::default());
    assert!(first.refusals.is_empty(), "{}: {:?}", before.display(), first.refusals);
    observed = foresee_all(&applied, &observed, &first);
    for (name, happening) in &since.resources {
        let id = find(&observed, name);
        happen(&mut observed, &declared.stack, &id, *happening);
    }
    for (port, command) in &since.ports {
        let (command, pid) = command.split_once(" as ").expect("`COMMAND as PID`");
        let pid = Some(pid.parse().expect("a pid is a number"));
        observed.ports.insert(*port, PortHolder { pid, command: command.to_owned(), resource: None });
    }
    for (name, size) in &since.sizes {
        observed.download_sizes.insert(find(&observed, name), *size);
    }
    for (name, content) in &since.moved {
        observed.moved.insert(find(&observed, name), content.clone());
    }
    for part in &declared.externals {
        let health = since.externals.get(&part.role).map_or(Health::Healthy, Health::unreachable);
        observed.externals.insert(part.role.clone(), health);
    }
    observed.end_at_logout.extend(since.lingering_is_off.then_some(Kind::Unit));
    let mut past = if since.unrecorded { Past::default() } else { past(&applied) };
    for (name, time) in &since.start_times {
        past.start_times.insert(find(&observed, name), time.parse::<Seconds>().expect("a duration"));
    }
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

/// Returns everything that a stack can have on disk beside its resources.
fn remnants(applied: &Desired) -> BTreeSet<Remnant> {
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

/// What parts of a manifest may be replaced with: what reads, at the edges of what may be.
const EDGES: &[(&str, &[&str])] = &[
    ("stack: home", &["stack: a", "stack: gateway", "stack: a-b-c-d-e-f-g-h-i-j-k-l-m-n-o-p-"]),
    (
        "engine: llama-cpp, runtime: systemd",
        &["engine: llama-cpp, runtime: process", "engine: ollama, runtime: docker"],
    ),
    ("engine: llama-cpp, runtime: systemd", &["engine: openai, runtime: external, endpoint: 'http://[::1]:1/'"]),
    (
        "port: 8000",
        &["port: 1", "port: 65534", "port: 3001, limits: {memory: 16777215TiB}", "port: 4001, adopt: true, unit: x"],
    ),
    ("port: 8000", &["port: 8000, install: {python: ['a b', ' ', '==1']}", "port: 8000, command: ['~/x', './y', '']"]),
    ("  qwen3:", &["  '{\"}:':", "  'ollama/🦙':", "  '..':", "  '-':", "  '/':"]),
    ("context: 8192", &["context: 1", "context: 18446744073709551615", "parallel: 4294967296", "mode: embedding"]),
    ("source: hf:Qwen/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf", &["source: hf:a/b/c d@e/f", "source: hf:🦙/%/..c"]),
    (
        "source: hf:Qwen/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf",
        &["source: {command: ['{path}']}", "source: 'https://a/b?c#d'"],
    ),
    ("file:~/models/small.gguf", &["'file:///'", "file:../../x", "'file://~'", "file:🦙"]),
    ("memory: 512MiB", &["memory: 1MiB", "memory: 16777215TiB", "ttl: 0s", "ttl: 1ms", "port: 1"]),
    (
        "{file: ~/key, generate: true}",
        &["{env: A}", "{file: /}", "{file: '', generate: true}", "{file: '..', generate: true}"],
    ),
    ("command: [page,", &["command: ['/',", "command: ['a b',", "command: [./page, ~/x, ../y,"]),
    ("ports: [3000]", &["ports: ['3000:8080']", "ports: ['127.0.0.1:1:2']", "ports: []"]),
    ("after: [gateway]", &["after: [cache, llama-cpp, gateway]", "env: {A: '%$\"'}", "working_directory: ''"]),
    ("health: {path: /healthz}", &["health: {path: '/%'}", "health: {timeout: 0s, stable_for: 1000000d}"]),
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Whatever is read without an error can be desired and planned, and the plan be printed.
    #[test]
    fn every_valid_manifest_can_be_planned(
        chosen in prop::collection::vec((prop::sample::select(EDGES), any::<prop::sample::Index>()), 1..5),
    ) {
        let good = golden::repository("crates/core/tests/suite/cases/service-after-the-gateway/manifest.yaml");
        let mut text = golden::read(&good);
        for ((part, edges), index) in &chosen {
            let edge: &&str = index.get(edges);
            text = text.replacen(part, edge, 1);
        }
        let (manifest, notes) = manifest::read(&text);
        prop_assert!(manifest.is_some() || !notes.is_empty());
        if let Some(manifest) = manifest {
            let (desired, notes) = resolve(&manifest, &LockFile::default(), &facts(&manifest, &Since::default()));
            let notes: Vec<Note> = notes.into_iter().map(|(note, _, _)| note).collect();
            let planned = plan(&desired, &bare(desired.resources.values()), &past(&desired));
            shown(&notes, &planned);
        }
    }
}

#[test]
fn the_edge_cases_are_parts_of_the_valid_manifest() {
    let good =
        golden::read(&golden::repository("crates/core/tests/suite/cases/service-after-the-gateway/manifest.yaml"));
    for (part, edges) in EDGES {
        assert!(good.contains(part), "`{part}` is not in the manifest");
        let reads = |edge: &&str| manifest::read(&good.replacen(part, edge, 1)).0.is_some();
        assert!(edges.iter().any(reads), "nothing that `{part}` is replaced with reads");
    }
}
