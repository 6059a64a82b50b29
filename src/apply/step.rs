//! One step, one call: what each action means in a system's language.

use super::{Event, Scene, container, handover, health, model, trial};
use crate::observed::{FoundRun, Ours};
use crate::plan::Action;
use crate::render::{marker, unit};
use crate::resource::{
    Artifact, ArtifactSource, Bytes, Environment, FileSpec, Kind, Probe, Resource, ResourceId, Run, Runtime, Spec,
};
use crate::systems::downloads::{self, Download, Fetched, Patience, Token};
use crate::systems::systemd::{self, JobResult};
use crate::systems::{Hint, Retry, artifacts, files, process, python, secrets, vllm};
use std::path::Path;
use std::time::Duration;

/// The longest wait for a systemd job beyond what the unit itself may take, in seconds.
pub(super) const JOB: Duration = Duration::from_secs(30);

/// The longest that a server without a record of its own may take to stop.
pub(super) const LONGEST_STOP: Duration = Duration::from_secs(300);

/// The largest rendered file that is read, in bytes.
const LIMIT: Bytes = Bytes(4 << 20);

/// The longest that a server may take to bring what it has on a GPU to host memory.
const SLEEP: Duration = Duration::from_secs(120);

/// The longest that a command may take to make a model file.
const COMMAND: Duration = Duration::from_secs(4 * 3600);

/// Why a step failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The resource that it is about.
    pub on: Option<ResourceId>,
    /// What went wrong, with its causes.
    pub why: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The last lines that the server wrote.
    pub log: Vec<String>,
    /// When it makes sense to try again.
    pub retry: Retry,
    /// Whether nothing went wrong but that somebody stopped it.
    pub interrupted: bool,
}

impl Failure {
    pub(super) fn new(on: &ResourceId, why: impl Into<String>) -> Self {
        let (hint, log) = (None, Vec::new());
        Self { on: Some(on.clone()), why: why.into(), hint, log, retry: Retry::Never, interrupted: false }
    }

    /// Returns a failure that is no single resource's.
    #[must_use]
    pub fn of_all(why: impl Into<String>, retry: Retry) -> Self {
        Self { on: None, why: why.into(), hint: None, log: Vec::new(), retry, interrupted: false }
    }

    /// Returns what an error means for a resource, or for none.
    #[must_use]
    pub fn of(on: Option<&ResourceId>, error: &dyn Hint) -> Self {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        let (retry, interrupted) = (error.retry(), error.interrupted());
        Self { on: on.cloned(), why, hint: error.hint(), log: Vec::new(), retry, interrupted }
    }
}

/// Makes the one call that `action` names.
pub(super) async fn perform(scene: Scene<'_>, action: &Action) -> Result<(), Failure> {
    let on = action.on().cloned();
    let failed = |error: &dyn Hint| Failure::of(on.as_ref(), error);
    match action {
        Action::GenerateSecret(id) => match &wanted(scene, id)?.spec {
            Spec::Secret(secret) => secrets::generate(&secret.path).map(drop).map_err(|error| failed(&error)),
            _ => Err(mismatch(id)),
        },
        Action::CreateEnvironment(id) => match &wanted(scene, id)?.spec {
            Spec::Environment(environment) => create(scene, action, environment).await,
            _ => Err(mismatch(id)),
        },
        Action::FetchArtifact(id) | Action::VerifyArtifact(id) => match &wanted(scene, id)?.spec {
            Spec::Artifact(artifact) => fetch(scene, action, id, artifact).await,
            _ => Err(mismatch(id)),
        },
        Action::KeepContent(id) | Action::PullModel(id) | Action::LoadModel(id) => {
            match (&wanted(scene, id)?.spec, action) {
                (Spec::Model(model), Action::KeepContent(_)) => model::keep_content(scene, id, model).await,
                (Spec::Model(model), Action::LoadModel(_)) => model::load(scene, id, model).await,
                (Spec::Model(model), _) => model::pull(scene, action, wanted(scene, id)?, model).await,
                _ => Err(mismatch(id)),
            }
        }
        Action::RemoveModel(ours) => model::remove(scene, ours).await,
        Action::PullImage(id) => match &wanted(scene, id)?.spec {
            Spec::Image(image) => container::pull(scene, action, wanted(scene, id)?, image).await,
            _ => Err(mismatch(id)),
        },
        Action::RemoveImage(ours) => container::remove_image(scene, ours).await,
        Action::RemoveContainer(ours) => container::remove(scene, ours.id(), &ours.id().name).await,
        Action::RemoveFormer(ours) if ours.id().kind == Kind::Unit => handover::clear_strays(scene, ours).await,
        Action::RemoveFormer(ours) => container::remove(scene, ours.id(), &container::former(ours.id())).await,
        Action::WriteFile(id) => match &wanted(scene, id)?.spec {
            Spec::File(file) => write_file(scene, wanted(scene, id)?, file),
            _ => Err(mismatch(id)),
        },
        Action::WriteUnit(id) => {
            let text = unit::unit(&scene.desired.stack, wanted(scene, id)?);
            let text = text.map_err(|error| Failure::new(id, error.to_string()))?;
            still_ours(scene, id, &scene.systems.unit_file(id))?;
            files::write(&scene.systems.unit_file(id), text.as_bytes(), files::PRIVATE).map_err(|error| failed(&error))
        }
        Action::ReloadManager => {
            let systemd = scene.systems.systemd().await.map_err(|error| failed(&error))?;
            systemd.reload().await.map_err(|error| failed(&error))
        }
        Action::EnableUnit(id) if handover::hands_on(scene.systems, id) => handover::enable(scene, id),
        Action::EnableUnit(id) => {
            let systemd = scene.systems.systemd().await.map_err(|error| failed(&error))?;
            systemd.enable(&[unit::unit_name(id)]).await.map_err(|error| failed(&error))?;
            // systemd makes the link and does not sync it.
            files::settle(&scene.systems.units.join("default.target.wants")).map_err(|error| failed(&error))
        }
        Action::Start(id) => start(scene, id, false).await,
        Action::Restart(ours) => start(scene, ours.id(), true).await,
        Action::Rehearse(id) => {
            let (resource, run) = server(scene, id)?;
            handover::rehearse(scene, resource, run).await
        }
        Action::HandOver(ours) => handover::hand_over(scene, wanted(scene, ours.id())?).await,
        Action::Stop(ours) => stop(scene, ours).await,
        Action::Sleep(ours) => put_to_sleep(scene, action, ours).await,
        Action::Wake(ours) => wake(scene, action, ours).await,
        Action::Try(trial) => {
            let (_, run) = server(scene, &trial.gateway)?;
            trial::try_out(scene, action, trial, run).await
        }
        Action::AwaitHealthy(id) => await_healthy(scene, action, id).await.map(drop),
        Action::RemoveUnit(ours) => remove_unit(scene, ours).await,
        Action::RemoveProcess(ours) => scene.systems.processes.forget(&ours.id().name).map_err(|error| failed(&error)),
        Action::RemoveFile(ours) | Action::RemoveEnvironment(ours) | Action::RemoveArtifact(ours) => {
            remove(scene, ours)
        }
    }
}

/// Waits until a server is healthy; returns how it was found then.
pub(super) async fn await_healthy(scene: Scene<'_>, action: &Action, id: &ResourceId) -> Result<FoundRun, Failure> {
    let (resource, run) = server(scene, id)?;
    health::await_healthy(scene, action, resource, run).await
}

fn wanted<'a>(scene: Scene<'a>, id: &ResourceId) -> Result<&'a Resource, Failure> {
    scene.desired.resources.get(id).ok_or_else(|| mismatch(id))
}

/// A plan and its wish belong together; this is what a mix-up would look like.
fn mismatch(id: &ResourceId) -> Failure {
    Failure::new(id, format!("{id} is in the plan and not in the wish"))
}

fn server<'a>(scene: Scene<'a>, id: &ResourceId) -> Result<(&'a Resource, &'a Run), Failure> {
    let resource = wanted(scene, id)?;
    resource.run().map(|run| (resource, run)).ok_or_else(|| mismatch(id))
}

async fn create(scene: Scene<'_>, action: &Action, environment: &Environment) -> Result<(), Failure> {
    let step = action.to_string();
    let note = |line: &str| {
        (scene.report)(Event::Progress { step: step.clone(), done: None, total: None, note: Some(line.to_owned()) });
    };
    python::create(environment, python::uv().as_deref(), &note, scene.cancel)
        .await
        .map_err(|error| Failure::of(action.on(), &error))
}

async fn fetch(scene: Scene<'_>, action: &Action, id: &ResourceId, artifact: &Artifact) -> Result<(), Failure> {
    let step = action.to_string();
    let progress = |progress: downloads::Progress| {
        let downloads::Progress { received, total } = progress;
        (scene.report)(Event::Progress { step: step.clone(), done: Some(received), total, note: None });
    };
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let verify = matches!(action, Action::VerifyArtifact(_)) || artifact.source == ArtifactSource::File;
    let fetched = match &artifact.source {
        _ if verify => {
            let digested = downloads::digest_file(&artifact.path, &progress, scene.cancel).await;
            let (sha256, size) = digested.map_err(|error| failed(&error))?;
            Fetched { sha256, size }
        }
        ArtifactSource::Url { url, token } => {
            let token = token.as_ref().map(secrets::resolve).transpose().map_err(|error| failed(&error))?;
            let download = Download {
                url: url.clone(),
                token: token.map(|token| Token(token.reveal().to_owned())),
                path: artifact.path.clone(),
                sha256: artifact.sha256.clone(),
                keep_free: artifact.keep_free,
                patience: Patience::default(),
            };
            let client = &scene.systems.client;
            downloads::fetch(client, &download, &progress, scene.cancel).await.map_err(|error| failed(&error))?
        }
        ArtifactSource::Command { argv } => {
            let note = |line: &str| {
                let note = Some(line.to_owned());
                (scene.report)(Event::Progress { step: step.clone(), done: None, total: None, note });
            };
            downloads::make(argv, &artifact.path, artifact.sha256.as_ref(), &note, COMMAND, scene.cancel)
                .await
                .map_err(|error| failed(&error))?
        }
        ArtifactSource::File => return Err(mismatch(id)),
    };
    if let Some(wanted) = artifact.sha256.as_ref().filter(|wanted| **wanted != fetched.sha256) {
        let why = format!("{} has the sha256 {}, not {wanted}", artifact.path.display(), fetched.sha256);
        return Err(Failure::new(id, why));
    }
    let ours = artifact.source != ArtifactSource::File;
    artifacts::record(&scene.systems.records, &artifact.path, &fetched, ours).map_err(|error| failed(&error))
}

fn write_file(scene: Scene<'_>, resource: &Resource, file: &FileSpec) -> Result<(), Failure> {
    let failed = |error: &dyn Hint| Failure::of(Some(&resource.id), error);
    let body = secrets::fill(&file.content).map_err(|error| failed(&error))?;
    still_ours(scene, &resource.id, &file.path)?;
    let text = marker::mark(&scene.desired.stack, &resource.id, &resource.fingerprint(), &body);
    files::write(&file.path, text.as_bytes(), files::PRIVATE).map_err(|error| failed(&error))
}

async fn start(scene: Scene<'_>, id: &ResourceId, again: bool) -> Result<(), Failure> {
    let (resource, run) = server(scene, id)?;
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    match run.runtime {
        Runtime::Docker => container::start(scene, resource, run).await,
        Runtime::Systemd if run.hands_on => handover::start(scene, resource, run).await,
        Runtime::Systemd => {
            let systemd = scene.systems.systemd().await.map_err(|error| failed(&error))?;
            let name = unit::unit_name(id);
            let deadline = JOB + run.stop_timeout.duration() + run.timeout.duration();
            let job = if again { systemd.restart(&name, deadline).await } else { systemd.start(&name, deadline).await };
            // Whether it runs is for the health wait to find out: a job's result is a coin flip for a server that
            // dies at once (systemd issue 28304).
            match job.map_err(|error| failed(&error))?.result {
                JobResult::Done | JobResult::Failed => Ok(()),
                other => Err(Failure::new(id, format!("systemd ended the start with `{other}`"))),
            }
        }
        Runtime::Process => {
            let launch = process::Launch {
                stack: scene.desired.stack.clone(),
                resource: id.clone(),
                fingerprint: resource.fingerprint(),
                argv: run.argv.clone(),
                environment: run.environment.clone(),
                environment_file: run.environment_file.as_ref().map(|file| file.0.clone()),
                working_directory: run.working_directory.clone(),
                stop_timeout: run.stop_timeout,
                restart: run.restart,
            };
            scene.systems.processes.start(&id.name, &launch).await.map_err(|error| failed(&error))
        }
    }
}

async fn stop(scene: Scene<'_>, ours: &Ours) -> Result<(), Failure> {
    let id = ours.id();
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    if id.kind == Kind::Container {
        return container::stop(scene, id).await;
    }
    if handover::hands_on(scene.systems, id) {
        return handover::dismantle(scene, ours).await;
    }
    if id.kind == Kind::Process {
        let deadline = JOB + LONGEST_STOP;
        return scene.systems.processes.stop(&id.name, deadline).await.map_err(|error| failed(&error));
    }
    let systemd = scene.systems.systemd().await.map_err(|error| failed(&error))?;
    let known = scene.inventory.iter().find(|resource| resource.id == *id).and_then(Resource::run);
    let deadline = JOB + known.map_or(LONGEST_STOP, |run| run.stop_timeout.duration());
    systemd.stop(&unit::unit_name(id), deadline).await.map(drop).map_err(|error| failed(&error))
}

async fn remove_unit(scene: Scene<'_>, ours: &Ours) -> Result<(), Failure> {
    let id = ours.id();
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    if handover::hands_on(scene.systems, id) {
        return handover::dismantle(scene, ours).await;
    }
    if files::stamp(&scene.systems.unit_file(id)).map_err(|error| failed(&error))?.is_none() {
        return Ok(());
    }
    still_ours(scene, id, &scene.systems.unit_file(id))?;
    let systemd = scene.systems.systemd().await.map_err(|error| failed(&error))?;
    // A start that a killed llamero asked for may still be on its way: it would run without a file.
    match systemd.stop(&unit::unit_name(id), JOB + LONGEST_STOP).await {
        Ok(_) | Err(systemd::Error::NoSuchUnit { .. }) => {}
        Err(error) => return Err(failed(&error)),
    }
    systemd.disable(&[unit::unit_name(id)]).await.map_err(|error| failed(&error))?;
    files::remove(&scene.systems.unit_file(id)).map(drop).map_err(|error| failed(&error))
}

/// Has a server make room on its GPU and stay; one that does not sleep when it is told to makes room by stopping.
async fn put_to_sleep(scene: Scene<'_>, action: &Action, ours: &Ours) -> Result<(), Failure> {
    let asked = vllm::sleep(&scene.systems.client, endpoint_of_vllm(scene, ours)?.0, SLEEP);
    match or_stopped(scene, ours.id(), asked).await? {
        Ok(()) => Ok(()),
        Err(error) => {
            note(scene, action, &format!("{error}, so it is stopped"));
            stop(scene, ours).await
        }
    }
}

/// Has a server that sleeps serve again; one that does not wake when it is told to is started anew.
async fn wake(scene: Scene<'_>, action: &Action, ours: &Ours) -> Result<(), Failure> {
    let (endpoint, timeout) = endpoint_of_vllm(scene, ours)?;
    let asked = vllm::wake(&scene.systems.client, endpoint, timeout);
    match or_stopped(scene, ours.id(), asked).await? {
        Ok(()) => Ok(()),
        Err(error) => {
            note(scene, action, &format!("{error}, so it is started anew"));
            stop(scene, ours).await?;
            start(scene, ours.id(), false).await
        }
    }
}

fn endpoint_of_vllm<'a>(scene: Scene<'a>, ours: &Ours) -> Result<(&'a str, Duration), Failure> {
    let known = scene.inventory.iter().rev().find(|resource| resource.id == *ours.id()).and_then(Resource::run);
    match known {
        Some(Run { probe: Probe::Vllm { endpoint, .. }, timeout, .. }) => Ok((endpoint, timeout.duration())),
        _ => Err(Failure::new(ours.id(), "its address is not on record")),
    }
}

/// Waits for something unless somebody wants all of it to stop.
async fn or_stopped<T>(scene: Scene<'_>, id: &ResourceId, work: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::select! {
        result = work => Ok(result),
        () = scene.cancel.cancelled() => {
            Err(Failure { interrupted: true, ..Failure::new(id, "stopped while it was asked") })
        }
    }
}

fn note(scene: Scene<'_>, action: &Action, text: &str) {
    let note = Some(text.to_owned());
    (scene.report)(Event::Progress { step: action.to_string(), done: None, total: None, note });
}

/// Makes sure that nobody has put another file in the place of ours since it was looked at for the plan.
fn still_ours(scene: Scene<'_>, id: &ResourceId, path: &Path) -> Result<(), Failure> {
    let text = files::read_text(path, LIMIT).map_err(|error| Failure::of(Some(id), &error))?;
    let Some(text) = text else { return Ok(()) };
    let ours = marker::read(&text).is_some_and(|marker| marker.stack == scene.desired.stack && marker.resource == *id);
    if ours {
        return Ok(());
    }
    let why = format!("{} was put there by somebody else meanwhile, and is left", path.display());
    Err(Failure { hint: Some("move it away, then run it again".to_owned()), ..Failure::new(id, why) })
}

/// Removes what lies in a place that earlier generations tell.
fn remove(scene: Scene<'_>, ours: &Ours) -> Result<(), Failure> {
    let id = ours.id();
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let known = scene.inventory.iter().find(|resource| resource.id == *id);
    match known.map(|resource| &resource.spec) {
        Some(Spec::File(file)) => {
            still_ours(scene, id, &file.path)?;
            files::remove(&file.path).map(drop).map_err(|error| failed(&error))
        }
        Some(Spec::Environment(environment)) => python::remove(&environment.path).map_err(|error| failed(&error)),
        Some(Spec::Artifact(artifact)) => {
            artifacts::remove(&scene.systems.records, &artifact.path).map_err(|error| failed(&error))
        }
        _ => Err(Failure::new(id, format!("the place of {id} is not on record"))),
    }
}
