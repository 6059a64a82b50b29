//! Calls on a container engine: images, containers, and what containers need of the host.

use super::super::driver::{Call, Progress};
use crate::plan::Action;
use crate::resource::{ImageSpec, Prerequisite, Resource, ResourceId, Spec};
use crate::systems::docker::{Docker, Error, NewContainer, PullProgress};
use crate::systems::{Failure, Hint, files, pulled};
use llamero_core::targets::docker::lower;

/// Makes the call that a step names.
pub(super) async fn execute(call: Call<'_>) -> Result<(), Failure> {
    let failed = |error: &dyn Hint| Failure::of(call.step.action.on(), error);
    let docker = call.scope.systems.docker().await;
    if let Action::Prepare { what: Prerequisite::Folder(path), .. } = &call.step.action {
        return files::create_folder(path).map_err(|error| failed(&error));
    }
    let docker = &docker.map_err(|error| failed(&error))?;
    let stack = docker.stack(call.scope.stack);
    let done = match &call.step.action {
        Action::Prepare { what, .. } => match what {
            Prerequisite::Network(name) => stack.ensure_network(name).await.map(drop),
            Prerequisite::Volume(name) => stack.ensure_volume(name).await.map(drop),
            Prerequisite::Folder(_) => Ok(()),
        },
        Action::RemoveNetwork { name, .. } => match stack.remove_network(name).await {
            // Another program's container is in it: from here on it is that program's.
            Ok(_) | Err(Error::Conflict { .. } | Error::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        },
        Action::PullImage(id) => return pull(call, docker, id).await,
        Action::RemoveImage(managed) => return remove_image(call, docker, managed.id()).await,
        Action::Create(id) => return create(call, docker, id).await,
        Action::SetAside(managed) => {
            stack.rename(&managed.id().name, call.required(call.step.arguments.name.as_ref())?).await
        }
        Action::Restore { server, previous } => stack.rename(&previous.id().name, &server.name).await,
        Action::Start(id) => stack.start(&id.name).await,
        Action::Stop(managed) => stack.stop(&managed.id().name, call.stop_timeout()).await,
        Action::Discard(managed) | Action::RemoveServer(managed) => stack.remove(&managed.id().name).await.map(drop),
        Action::RemoveAside { previous, .. } => stack.remove(&previous.id().name).await.map(drop),
        Action::RemovePrevious(_) => stack.remove(call.required(call.step.arguments.name.as_ref())?).await.map(drop),
        _ => return Err(call.unexpected()),
    };
    done.map_err(|error| failed(&error))
}

fn image(call: Call<'_>) -> Result<(&Resource, &ImageSpec), Failure> {
    let resource = call.resource()?;
    match &resource.spec {
        Spec::Image(image) => Ok((resource, image)),
        _ => Err(call.unexpected()),
    }
}

/// Pulls an image, with what its registry asks for.
async fn pull(call: Call<'_>, docker: &Docker, id: &ResourceId) -> Result<(), Failure> {
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let (resource, image) = image(call)?;
    let folder = &call.scope.systems.records.images;
    let record = pulled::Pulled {
        fingerprint: resource.fingerprint(),
        endpoint: docker.socket().display().to_string(),
        name: image.name.to_string(),
        pulled: Some(image.name.to_string()),
        sha256: image.name.digest().cloned(),
        made: None,
    };
    // On record before it is there: an interrupted pull leaves nothing unrecorded.
    pulled::record(folder, id, &record).map_err(|error| failed(&error))?;
    let progress = |PullProgress { received, total, status }: PullProgress| {
        let done = Some(received).filter(|_| total.is_some());
        (call.report)(Progress { done, total, note: Some(status) });
    };
    let brought = docker.pull(&image.name, &progress, call.cancel).await.map_err(|error| failed(&error))?;
    let record = pulled::Pulled { sha256: brought.digest_at(&image.name), ..record };
    pulled::record(folder, id, &record).map_err(|error| failed(&error))
}

/// Removes an image that llamero pulled, unless another stack has it too.
async fn remove_image(call: Call<'_>, docker: &Docker, id: &ResourceId) -> Result<(), Failure> {
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let folder = &call.scope.systems.records.images;
    let name = call.required(call.step.arguments.name.as_ref())?;
    let socket = docker.socket().display().to_string();
    if !pulled::is_shared(folder, id, name, &socket).map_err(|error| failed(&error))? {
        match docker.remove_image(name).await {
            // Another program's container is made of it: from here on it is that program's.
            Ok(_) | Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    pulled::forget(folder, id).map_err(|error| failed(&error))
}

/// Creates a container as declared; it does not run yet.
async fn create(call: Call<'_>, docker: &Docker, id: &ResourceId) -> Result<(), Failure> {
    let resource = call.resource()?;
    let run = resource.run().ok_or_else(|| call.unexpected())?;
    let Some(container) = &run.container else { return Err(Failure::new(id, "it has no image")) };
    let labels = lower::labels(resource);
    let new = NewContainer { name: &id.name, run, container, labels: &labels };
    docker.stack(call.scope.stack).create(&new).await.map(drop).map_err(|error| Failure::of(Some(id), &error))
}
