//! What has happened to a machine since a manifest was applied to it, as the cases write it in `since.yaml`.

use llamero_core::live::{
    Effective, InstanceState, Live, LiveFile, LiveRun, Observation, Override, Ownership, PortHolder, Presence,
    RunState, Unseen,
};
use llamero_core::resolve::Desired;
use llamero_core::resource::{Digest, Fingerprint, Health, Kind, ResourceId, Seconds};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What has happened to the machine since the last apply.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an event of its own")]
pub(crate) struct Since {
    /// What became of things; `*` at the end of a name stands for the digits of its digest.
    pub(crate) resources: BTreeMap<String, Happening>,
    /// Other programs that listen on ports.
    pub(crate) ports: BTreeMap<u16, String>,
    /// Sizes of downloads, as their servers report them.
    pub(crate) sizes: BTreeMap<String, u64>,
    /// What became of secrets, by the words for their places.
    pub(crate) secrets: BTreeMap<String, SecretHappening>,
    /// How long servers took to be healthy the last time.
    pub(crate) start_times: BTreeMap<String, String>,
    /// Programs that are no longer on the path.
    pub(crate) missing_programs: BTreeSet<String>,
    /// The version of Python, when it is another now; empty when there is none.
    pub(crate) python: Option<String>,
    /// The interpreters beside programs.
    pub(crate) pythons: BTreeMap<PathBuf, PathBuf>,
    /// The digests of model files that were fetched before.
    pub(crate) fetched: BTreeMap<PathBuf, Digest>,
    /// The memory of each GPU; without any there is no driver.
    pub(crate) gpus: Vec<String>,
    /// What registries have now of models that would be pulled.
    pub(crate) moved: BTreeMap<String, Digest>,
    /// True if everything is to be removed.
    pub(crate) down: bool,
    /// True if everything is to be removed with all records, and each model file was fetched once more in part.
    pub(crate) purge: bool,
    /// Whether what was applied before is on no record.
    pub(crate) unrecorded: bool,
    /// The health of external parts; by default they are healthy.
    pub(crate) externals: BTreeMap<String, String>,
    /// Whether units end when the user logs out.
    pub(crate) lingering_is_off: bool,
}

impl Since {
    /// Returns a machine to which nothing happened, and that has GPUs of these sizes.
    pub(crate) fn with_gpus(memory: &[&str]) -> Self {
        Self { gpus: memory.iter().map(|size| (*size).to_owned()).collect(), ..Self::default() }
    }

    /// Lets everything happen to a machine on which `declared` is to be applied.
    pub(crate) fn happen(&self, observed: &mut Observation, declared: &Desired) {
        for (name, happening) in &self.resources {
            let id = find(observed, name);
            happen(observed, &declared.stack, &id, *happening);
        }
        for (port, command) in &self.ports {
            let (command, pid) = command.split_once(" as ").expect("`COMMAND as PID`");
            let pid = Some(pid.parse().expect("a pid is a number"));
            observed.ports.insert(*port, PortHolder { pid, command: command.to_owned(), resource: None });
        }
        for (name, size) in &self.sizes {
            observed.download_sizes.insert(find(observed, name), *size);
        }
        for (name, content) in &self.moved {
            observed.moved.insert(find(observed, name), content.clone());
        }
        for part in &declared.externals {
            let health = self.externals.get(&part.role).map_or(Health::Healthy, Health::unreachable);
            observed.externals.insert(part.role.clone(), health);
        }
        observed.end_at_logout.extend(self.lingering_is_off.then_some(Kind::Unit));
    }

    /// Returns the time that each server took to be healthy the last time.
    pub(crate) fn start_times(&self, observed: &Observation) -> BTreeMap<ResourceId, Seconds> {
        let times = self.start_times.iter();
        times.map(|(name, time)| (find(observed, name), time.parse().expect("a duration"))).collect()
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Happening {
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
pub(crate) enum SecretHappening {
    Absent,
    Unreadable,
    Rotated,
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
