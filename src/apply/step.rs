//! One step, one call: what each action means in a system's language.

use super::event::Event;
use super::execution::{Execution, mismatch};
use super::{health, log, model, trial};
use crate::live::{Managed, Remnant};
use crate::plan::{Action, Step};
use crate::render::marker;
use crate::resource::{Artifact, ArtifactSource, Environment, FileSpec, Resource, ResourceId, Spec};
use crate::systems::downloads::{self, Download, Fetched, Patience, Recipe, Token};
use crate::systems::{Failure, Hint, Retry, artifacts, files, owned, python, secrets, sleep};
use crate::targets::{self, Call, Scope};
use std::time::Duration;

/// The longest that a server may take to bring what it has on a GPU to host memory.
const SLEEP: Duration = Duration::from_secs(120);

/// The longest time for a command to write a model file.
const COMMAND: Duration = Duration::from_secs(4 * 3600);

/// Makes the one call that a step names, or where it fails the calls that the step names in its place.
pub(super) async fn perform(execution: Execution<'_>, step: &Step) -> Result<(), Failure> {
    let failure = match call(execution, step).await {
        Err(failure) if !failure.interrupted && !step.otherwise.is_empty() => failure,
        result => return result,
    };
    for action in &step.otherwise {
        let note = Some(format!("{}; {action} in its place", failure.why));
        (execution.report)(Event::Progress { step: step.action.to_string(), done: None, total: None, note });
        call(execution, &Step { action: action.clone(), otherwise: Vec::new(), ..step.clone() }).await?;
    }
    Ok(())
}

async fn call(execution: Execution<'_>, step: &Step) -> Result<(), Failure> {
    let (action, arguments) = (&step.action, &step.arguments);
    let on = action.on().cloned();
    let failed = |error: &dyn Hint| Failure::of(on.as_ref(), error);
    match action {
        Action::GenerateSecret(id) => match &execution.declared(id)?.spec {
            Spec::Secret(secret) => secrets::generate(&secret.path).map(drop).map_err(|error| failed(&error)),
            _ => Err(mismatch(id)),
        },
        Action::CreateEnvironment(id) => match &execution.declared(id)?.spec {
            Spec::Environment(environment) => create(execution, step, environment).await,
            _ => Err(mismatch(id)),
        },
        Action::FetchArtifact(id) | Action::VerifyArtifact(id) => match &execution.declared(id)?.spec {
            Spec::Artifact(artifact) => fetch(execution, action, id, artifact).await,
            _ => Err(mismatch(id)),
        },
        Action::KeepContent(id) | Action::PullModel(id) | Action::LoadModel(id) => {
            match (&execution.declared(id)?.spec, action) {
                (Spec::Model(model), Action::KeepContent(_)) => model::keep_content(execution, id, model).await,
                (Spec::Model(model), Action::LoadModel(_)) => model::load(execution, id, model).await,
                (Spec::Model(model), _) => model::pull(execution, action, execution.declared(id)?, model).await,
                _ => Err(mismatch(id)),
            }
        }
        Action::RemoveModel(managed) => model::remove(execution, managed).await,
        Action::WriteFile(id) => match &execution.declared(id)?.spec {
            Spec::File(file) => write_file(execution, execution.declared(id)?, file),
            _ => Err(mismatch(id)),
        },
        Action::Sleep(managed) | Action::Wake(managed) => sleep_or_wake(execution, step, managed).await,
        Action::Try(trial) => {
            let (_, run) = execution.server(&trial.gateway)?;
            trial::try_out(execution, action, trial, run).await
        }
        Action::AwaitHealthy(id) => health::await_healthy(execution, action, id).await.map(drop),
        Action::RemoveFile(managed) => {
            let path = required(managed.id(), arguments.path.as_ref())?;
            owned::check(&execution.desired.stack, managed.id(), path)?;
            files::remove(path).map(drop).map_err(|error| failed(&error))
        }
        Action::RemoveEnvironment(managed) => {
            python::remove(required(managed.id(), arguments.path.as_ref())?).map_err(|error| failed(&error))
        }
        Action::RemoveArtifact(managed) => {
            let path = required(managed.id(), arguments.path.as_ref())?;
            artifacts::remove(&execution.systems.records.artifacts, path).map_err(|error| failed(&error))
        }
        Action::Purge(remnant) => purge(execution, remnant).map_err(|error| failed(&error)),
        _ => on_target(execution, step).await,
    }
}

/// Returns a value that the step must carry.
fn required<'a, T>(id: &ResourceId, value: Option<&'a T>) -> Result<&'a T, Failure> {
    value.ok_or_else(|| Failure::new(id, format!("internal error: a step on {id} lacks what it needs")))
}

async fn create(execution: Execution<'_>, step: &Step, environment: &Environment) -> Result<(), Failure> {
    let name = step.action.to_string();
    let note = |line: &str| {
        (execution.report)(Event::Progress {
            step: name.clone(),
            done: None,
            total: None,
            note: Some(line.to_owned()),
        });
    };
    python::create(environment, step.arguments.uv.as_deref(), &note, execution.cancel)
        .await
        .map_err(|error| Failure::of(step.action.on(), &error))
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
            let (path, sha256) = (&artifact.path, artifact.sha256.as_ref());
            let recipe = Recipe { argv, path, sha256, deadline: COMMAND };
            downloads::make(recipe, &note, execution.cancel).await.map_err(|error| failed(&error))?
        }
        ArtifactSource::File => return Err(mismatch(id)),
    };
    if let Some(declared) = artifact.sha256.as_ref().filter(|declared| **declared != fetched.sha256) {
        let why = format!("{} has the sha256 {}, not {declared}", artifact.path.display(), fetched.sha256);
        return Err(Failure::new(id, why));
    }
    let managed = artifact.source != ArtifactSource::File;
    artifacts::record(&execution.systems.records.artifacts, &artifact.path, &fetched, managed)
        .map_err(|error| failed(&error))
}

fn write_file(execution: Execution<'_>, resource: &Resource, file: &FileSpec) -> Result<(), Failure> {
    let failed = |error: &dyn Hint| Failure::of(Some(&resource.id), error);
    let body = secrets::fill(&file.content).map_err(|error| failed(&error))?;
    owned::check(&execution.desired.stack, &resource.id, &file.path)?;
    let text = marker::mark(&execution.desired.stack, &resource.id, &resource.fingerprint(), &body);
    files::write(&file.path, text.as_bytes(), files::PRIVATE).map_err(|error| failed(&error))
}

/// Removes what is of no use without the stack.
fn purge(execution: Execution<'_>, remnant: &Remnant) -> Result<(), files::Error> {
    match remnant {
        Remnant::Download { path, .. } => downloads::discard(path),
        Remnant::DigestRecord { path, .. } => artifacts::forget(&execution.systems.records.artifacts, path),
        Remnant::EmptyFolder { path } => {
            files::clear_folder(path);
            Ok(())
        }
        Remnant::ModelRecords { path, .. } | Remnant::ImageRecords { path } | Remnant::History { path, .. } => {
            files::remove_folder(path).map(drop)
        }
        Remnant::FailureRecords { path } | Remnant::Suspension { path } | Remnant::SwitchLog { path } => {
            files::remove(path).map(drop)
        }
    }
}

/// Has a target make the call.
async fn on_target(execution: Execution<'_>, step: &Step) -> Result<(), Failure> {
    let Some(driver) = step.action.target().and_then(targets::driver) else {
        let why = format!("internal error: nothing executes `{}`", step.action);
        return Err(Failure { on: step.action.on().cloned(), ..Failure::of_all(why, Retry::Never) });
    };
    let report = |targets::Progress { done, total, note }: targets::Progress| {
        (execution.report)(Event::Progress { step: step.action.to_string(), done, total, note });
    };
    let call = Call {
        scope: Scope { systems: execution.systems, stack: &execution.desired.stack },
        step,
        declared: step.action.on().and_then(|id| execution.desired.resources.get(id)),
        report: &report,
        cancel: execution.cancel,
    };
    driver.execute(call).await.map_err(|failure| log::with_lines(execution, failure))
}

/// Asks a server to sleep, or to wake.
async fn sleep_or_wake(execution: Execution<'_>, step: &Step, managed: &Managed) -> Result<(), Failure> {
    let id = managed.id();
    let calls = required(id, step.arguments.sleep.as_ref())?;
    let client = &execution.systems.client;
    let asked = match step.action {
        Action::Sleep(_) => or_cancelled(execution, id, sleep::sleep(client, calls, SLEEP)).await?,
        _ => {
            let timeout = required(id, step.arguments.wake_timeout.as_ref())?.duration();
            or_cancelled(execution, id, sleep::wake(client, calls, timeout)).await?
        }
    };
    asked.map_err(|error| Failure::of(Some(id), &error))
}

/// Waits for something unless the execution is cancelled.
async fn or_cancelled<T>(
    execution: Execution<'_>,
    id: &ResourceId,
    future: impl Future<Output = T>,
) -> Result<T, Failure> {
    tokio::select! {
        result = future => Ok(result),
        () = execution.cancel.cancelled() => {
            Err(Failure { interrupted: true, ..Failure::new(id, "interrupted") })
        }
    }
}
