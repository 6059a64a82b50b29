//! One step, one call: what each action means in a system's language.

use super::{Event, Execution, container, handoff, health, model, trial};
use crate::live::Managed;
use crate::plan::Action;
use crate::render::{marker, unit};
use crate::resource::{
    Artifact, ArtifactSource, Bytes, Environment, FileSpec, Kind, Resource, ResourceId, Run, Runtime, SleepCalls, Spec,
};
use crate::systems::downloads::{self, Download, Fetched, Patience, Token};
use crate::systems::systemd::{self, JobResult};
use crate::systems::{Hint, Retry, artifacts, files, process, python, secrets, sleep};
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
pub(super) async fn perform(execution: Execution<'_>, action: &Action) -> Result<(), Failure> {
    let on = action.on().cloned();
    let failed = |error: &dyn Hint| Failure::of(on.as_ref(), error);
    match action {
        Action::GenerateSecret(id) => match &declared(execution, id)?.spec {
            Spec::Secret(secret) => secrets::generate(&secret.path).map(drop).map_err(|error| failed(&error)),
            _ => Err(mismatch(id)),
        },
        Action::CreateEnvironment(id) => match &declared(execution, id)?.spec {
            Spec::Environment(environment) => create(execution, action, environment).await,
            _ => Err(mismatch(id)),
        },
        Action::FetchArtifact(id) | Action::VerifyArtifact(id) => match &declared(execution, id)?.spec {
            Spec::Artifact(artifact) => fetch(execution, action, id, artifact).await,
            _ => Err(mismatch(id)),
        },
        Action::KeepContent(id) | Action::PullModel(id) | Action::LoadModel(id) => {
            match (&declared(execution, id)?.spec, action) {
                (Spec::Model(model), Action::KeepContent(_)) => model::keep_content(execution, id, model).await,
                (Spec::Model(model), Action::LoadModel(_)) => model::load(execution, id, model).await,
                (Spec::Model(model), _) => model::pull(execution, action, declared(execution, id)?, model).await,
                _ => Err(mismatch(id)),
            }
        }
        Action::RemoveModel(managed) => model::remove(execution, managed).await,
        Action::PullImage(id) => match &declared(execution, id)?.spec {
            Spec::Image(image) => container::pull(execution, action, declared(execution, id)?, image).await,
            _ => Err(mismatch(id)),
        },
        Action::RemoveImage(managed) => container::remove_image(execution, managed).await,
        Action::RemoveContainer(managed) => container::remove(execution, managed.id(), &managed.id().name).await,
        Action::RemovePrevious(managed) if managed.id().kind == Kind::Unit => {
            handoff::clear_orphaned_instances(execution, managed).await
        }
        Action::RemovePrevious(managed) => {
            container::remove(execution, managed.id(), &container::previous(managed.id())).await
        }
        Action::WriteFile(id) => match &declared(execution, id)?.spec {
            Spec::File(file) => write_file(execution, declared(execution, id)?, file),
            _ => Err(mismatch(id)),
        },
        Action::WriteUnit(id) => {
            let text = unit::unit(&execution.desired.stack, declared(execution, id)?);
            let text = text.map_err(|error| Failure::new(id, error.to_string()))?;
            still_managed(execution, id, &execution.systems.unit_file(id))?;
            files::write(&execution.systems.unit_file(id), text.as_bytes(), files::PRIVATE)
                .map_err(|error| failed(&error))
        }
        Action::ReloadManager => {
            let systemd = execution.systems.systemd().await.map_err(|error| failed(&error))?;
            systemd.reload().await.map_err(|error| failed(&error))
        }
        Action::EnableUnit(id) if handoff::socket_handoff(execution.systems, id) => handoff::enable(execution, id),
        Action::EnableUnit(id) => {
            let systemd = execution.systems.systemd().await.map_err(|error| failed(&error))?;
            systemd.enable(&[unit::unit_name(id)]).await.map_err(|error| failed(&error))?;
            // systemd makes the link and does not sync it.
            files::sync(&execution.systems.units.join("default.target.wants")).map_err(|error| failed(&error))
        }
        Action::Start(id) => start(execution, id, false).await,
        Action::Restart(managed) => start(execution, managed.id(), true).await,
        Action::Rehearse(id) => {
            let (resource, run) = server(execution, id)?;
            handoff::rehearse(execution, resource, run).await
        }
        Action::HandOff(managed) => handoff::hand_off(execution, declared(execution, managed.id())?).await,
        Action::Stop(managed) => stop(execution, managed).await,
        Action::Sleep(managed) => put_to_sleep(execution, action, managed).await,
        Action::Wake(managed) => wake(execution, action, managed).await,
        Action::Try(trial) => {
            let (_, run) = server(execution, &trial.gateway)?;
            trial::try_out(execution, action, trial, run).await
        }
        Action::AwaitHealthy(id) => health::await_healthy(execution, action, id).await.map(drop),
        Action::RemoveUnit(managed) => remove_unit(execution, managed).await,
        Action::RemoveProcess(managed) => {
            execution.systems.processes.forget(&managed.id().name).map_err(|error| failed(&error))
        }
        Action::RemoveFile(managed) | Action::RemoveEnvironment(managed) | Action::RemoveArtifact(managed) => {
            remove(execution, managed)
        }
    }
}

fn declared<'a, M>(execution: Execution<'a, M>, id: &ResourceId) -> Result<&'a Resource, Failure> {
    execution.desired.resources.get(id).ok_or_else(|| mismatch(id))
}

/// A plan and its wish belong together; this is what a mix-up would look like.
fn mismatch(id: &ResourceId) -> Failure {
    Failure::new(id, format!("internal error: plan and desired state disagree on {id}"))
}

pub(super) fn server<'a, M>(execution: Execution<'a, M>, id: &ResourceId) -> Result<(&'a Resource, &'a Run), Failure> {
    let resource = declared(execution, id)?;
    resource.run().map(|run| (resource, run)).ok_or_else(|| mismatch(id))
}

async fn create(execution: Execution<'_>, action: &Action, environment: &Environment) -> Result<(), Failure> {
    let step = action.to_string();
    let note = |line: &str| {
        (execution.report)(Event::Progress {
            step: step.clone(),
            done: None,
            total: None,
            note: Some(line.to_owned()),
        });
    };
    python::create(environment, python::uv().as_deref(), &note, execution.cancel)
        .await
        .map_err(|error| Failure::of(action.on(), &error))
}

async fn fetch(execution: Execution<'_>, action: &Action, id: &ResourceId, artifact: &Artifact) -> Result<(), Failure> {
    let step = action.to_string();
    let progress = |progress: downloads::Progress| {
        let downloads::Progress { received, total } = progress;
        (execution.report)(Event::Progress { step: step.clone(), done: Some(received), total, note: None });
    };
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let verify = matches!(action, Action::VerifyArtifact(_)) || artifact.source == ArtifactSource::File;
    let fetched = match &artifact.source {
        _ if verify => {
            let digested = downloads::digest_file(&artifact.path, &progress, execution.cancel).await;
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
            let client = &execution.systems.client;
            downloads::fetch(client, &download, &progress, execution.cancel).await.map_err(|error| failed(&error))?
        }
        ArtifactSource::Command { argv } => {
            let note = |line: &str| {
                let note = Some(line.to_owned());
                (execution.report)(Event::Progress { step: step.clone(), done: None, total: None, note });
            };
            downloads::make(argv, &artifact.path, artifact.sha256.as_ref(), &note, COMMAND, execution.cancel)
                .await
                .map_err(|error| failed(&error))?
        }
        ArtifactSource::File => return Err(mismatch(id)),
    };
    if let Some(declared) = artifact.sha256.as_ref().filter(|declared| **declared != fetched.sha256) {
        let why = format!("{} has the sha256 {}, not {declared}", artifact.path.display(), fetched.sha256);
        return Err(Failure::new(id, why));
    }
    let managed = artifact.source != ArtifactSource::File;
    artifacts::record(&execution.systems.records, &artifact.path, &fetched, managed).map_err(|error| failed(&error))
}

fn write_file(execution: Execution<'_>, resource: &Resource, file: &FileSpec) -> Result<(), Failure> {
    let failed = |error: &dyn Hint| Failure::of(Some(&resource.id), error);
    let body = secrets::fill(&file.content).map_err(|error| failed(&error))?;
    still_managed(execution, &resource.id, &file.path)?;
    let text = marker::mark(&execution.desired.stack, &resource.id, &resource.fingerprint(), &body);
    files::write(&file.path, text.as_bytes(), files::PRIVATE).map_err(|error| failed(&error))
}

async fn start(execution: Execution<'_>, id: &ResourceId, again: bool) -> Result<(), Failure> {
    let (resource, run) = server(execution, id)?;
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    match run.runtime {
        Runtime::Docker => container::start(execution, resource, run).await,
        Runtime::Systemd if run.socket_handoff => handoff::start(execution, resource, run).await,
        Runtime::Systemd => {
            let systemd = execution.systems.systemd().await.map_err(|error| failed(&error))?;
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
                stack: execution.desired.stack.clone(),
                resource: id.clone(),
                fingerprint: resource.fingerprint(),
                argv: run.command.argv(),
                environment: run.environment.clone(),
                environment_file: run.environment_file.as_ref().map(|file| file.0.clone()),
                working_directory: run.working_directory.clone(),
                stop_timeout: run.stop_timeout,
                restart: run.restart,
            };
            execution.systems.processes.start(&id.name, &launch).await.map_err(|error| failed(&error))
        }
    }
}

async fn stop(execution: Execution<'_>, managed: &Managed) -> Result<(), Failure> {
    let id = managed.id();
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    if id.kind == Kind::Container {
        return container::stop(execution, id).await;
    }
    if handoff::socket_handoff(execution.systems, id) {
        return handoff::dismantle(execution, managed).await;
    }
    if id.kind == Kind::Process {
        let deadline = JOB + LONGEST_STOP;
        return execution.systems.processes.stop(&id.name, deadline).await.map_err(|error| failed(&error));
    }
    let systemd = execution.systems.systemd().await.map_err(|error| failed(&error))?;
    let known = execution.inventory.iter().find(|resource| resource.id == *id).and_then(Resource::run);
    let deadline = JOB + known.map_or(LONGEST_STOP, |run| run.stop_timeout.duration());
    systemd.stop(&unit::unit_name(id), deadline).await.map(drop).map_err(|error| failed(&error))
}

async fn remove_unit(execution: Execution<'_>, managed: &Managed) -> Result<(), Failure> {
    let id = managed.id();
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    if handoff::socket_handoff(execution.systems, id) {
        return handoff::dismantle(execution, managed).await;
    }
    if files::stamp(&execution.systems.unit_file(id)).map_err(|error| failed(&error))?.is_none() {
        return Ok(());
    }
    still_managed(execution, id, &execution.systems.unit_file(id))?;
    let systemd = execution.systems.systemd().await.map_err(|error| failed(&error))?;
    // A start that a killed llamero asked for may still be on its way: it would run without a file.
    match systemd.stop(&unit::unit_name(id), JOB + LONGEST_STOP).await {
        Ok(_) | Err(systemd::Error::NoSuchUnit { .. }) => {}
        Err(error) => return Err(failed(&error)),
    }
    systemd.disable(&[unit::unit_name(id)]).await.map_err(|error| failed(&error))?;
    files::remove(&execution.systems.unit_file(id)).map(drop).map_err(|error| failed(&error))
}

/// Has a server make room on its GPU and stay; one that does not sleep when it is told to makes room by stopping.
async fn put_to_sleep(execution: Execution<'_>, action: &Action, managed: &Managed) -> Result<(), Failure> {
    let asked = sleep::sleep(&execution.systems.client, sleep_calls(execution, managed)?.0, SLEEP);
    match or_stopped(execution, managed.id(), asked).await? {
        Ok(()) => Ok(()),
        Err(error) => {
            note(execution, action, &format!("{error}, so it is stopped"));
            stop(execution, managed).await
        }
    }
}

/// Has a server that sleeps serve again; one that does not wake when it is told to is started anew.
async fn wake(execution: Execution<'_>, action: &Action, managed: &Managed) -> Result<(), Failure> {
    let (calls, timeout) = sleep_calls(execution, managed)?;
    let asked = sleep::wake(&execution.systems.client, calls, timeout);
    match or_stopped(execution, managed.id(), asked).await? {
        Ok(()) => Ok(()),
        Err(error) => {
            note(execution, action, &format!("{error}, so it is started anew"));
            stop(execution, managed).await?;
            start(execution, managed.id(), false).await
        }
    }
}

/// Returns the calls by which a server sleeps and wakes, and how long it may take to wake.
fn sleep_calls<'a>(execution: Execution<'a>, managed: &Managed) -> Result<(&'a SleepCalls, Duration), Failure> {
    let known = execution.inventory.iter().rev().find(|resource| resource.id == *managed.id()).and_then(Resource::run);
    match known {
        Some(Run { sleep: Some(calls), timeout, .. }) => Ok((calls, timeout.duration())),
        _ => Err(Failure::new(managed.id(), "its address is not on record")),
    }
}

/// Waits for something unless somebody wants all of it to stop.
async fn or_stopped<T>(
    execution: Execution<'_>,
    id: &ResourceId,
    remedy: impl Future<Output = T>,
) -> Result<T, Failure> {
    tokio::select! {
        result = remedy => Ok(result),
        () = execution.cancel.cancelled() => {
            Err(Failure { interrupted: true, ..Failure::new(id, "stopped while it was asked") })
        }
    }
}

fn note(execution: Execution<'_>, action: &Action, text: &str) {
    let note = Some(text.to_owned());
    (execution.report)(Event::Progress { step: action.to_string(), done: None, total: None, note });
}

/// Makes sure that nobody has put another file in the place of ours since it was looked at for the plan.
fn still_managed(execution: Execution<'_>, id: &ResourceId, path: &Path) -> Result<(), Failure> {
    let text = files::read_text(path, LIMIT).map_err(|error| Failure::of(Some(id), &error))?;
    let Some(text) = text else { return Ok(()) };
    let managed =
        marker::read(&text).is_some_and(|marker| marker.stack == execution.desired.stack && marker.resource == *id);
    if managed {
        return Ok(());
    }
    let why = format!("{} was replaced by another program since planning; not touched", path.display());
    Err(Failure { hint: Some("move it away, then run it again".to_owned()), ..Failure::new(id, why) })
}

/// Removes what lies in a place that earlier generations tell.
fn remove(execution: Execution<'_>, managed: &Managed) -> Result<(), Failure> {
    let id = managed.id();
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let known = execution.inventory.iter().find(|resource| resource.id == *id);
    match known.map(|resource| &resource.spec) {
        Some(Spec::File(file)) => {
            still_managed(execution, id, &file.path)?;
            files::remove(&file.path).map(drop).map_err(|error| failed(&error))
        }
        Some(Spec::Environment(environment)) => python::remove(&environment.path).map_err(|error| failed(&error)),
        Some(Spec::Artifact(artifact)) => {
            artifacts::remove(&execution.systems.records, &artifact.path).map_err(|error| failed(&error))
        }
        _ => Err(Failure::new(id, format!("the place of {id} is not on record"))),
    }
}
