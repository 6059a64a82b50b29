//! Containers and images: pulled, made, started, stopped, removed.
//!
//! A container cannot be changed. Another takes its place, and the former one stays beside it, stopped and under a name
//! of its own, until the new one has proved itself; it is put back when that does not happen.

use super::step::{Failure, LONGEST_STOP};
use super::{Event, Execution};
use crate::live::Managed;
use crate::plan::Action;
use crate::resource::{ImageSpec, MountSource, Resource, ResourceId, Run, Spec};
use crate::systems::docker::{self, Docker, FINGERPRINT_LABEL, Live, NewContainer, PullProgress, RESOURCE_LABEL};
use crate::systems::{Hint, Systems, files, pulled};
use std::collections::BTreeMap;

/// Returns the name of the container whose place another has taken.
pub(super) fn previous(id: &ResourceId) -> String {
    // No service can be called so.
    format!("{}.previous", id.name)
}

async fn docker<'a>(execution: Execution<'a>, id: &ResourceId) -> Result<&'a Docker, Failure> {
    execution.systems.docker().await.map_err(|error| Failure::of(Some(id), &error))
}

/// Pulls an image, with what its registry asks for.
pub(super) async fn pull(
    execution: Execution<'_>,
    action: &Action,
    resource: &Resource,
    image: &ImageSpec,
) -> Result<(), Failure> {
    let id = &resource.id;
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let docker = docker(execution, id).await?;
    let record = pulled::Pulled {
        fingerprint: resource.fingerprint(),
        endpoint: docker.socket().display().to_string(),
        name: image.name.to_string(),
        pulled: Some(image.name.to_string()),
        sha256: image.name.digest().cloned(),
        made: None,
    };
    // On record before it is there: an interrupted pull leaves nothing that nobody knows of.
    pulled::record(&execution.systems.images, id, &record).map_err(|error| failed(&error))?;
    let step = action.to_string();
    let progress = |PullProgress { received, total, status }: PullProgress| {
        let done = Some(received).filter(|_| total.is_some());
        (execution.report)(Event::Progress { step: step.clone(), done, total, note: Some(status) });
    };
    let brought = docker.pull(&image.name, &progress, execution.cancel).await.map_err(|error| failed(&error))?;
    let record = pulled::Pulled { sha256: brought.digest_at(&image.name), ..record };
    pulled::record(&execution.systems.images, id, &record).map_err(|error| failed(&error))
}

/// Removes an image that llamero pulled, unless another stack has it too.
pub(super) async fn remove_image(execution: Execution<'_>, managed: &Managed) -> Result<(), Failure> {
    let id = managed.id();
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let folder = &execution.systems.images;
    let known = execution.inventory.iter().find(|resource| resource.id == *id).map(|resource| &resource.spec);
    let Some(Spec::Image(image)) = known else { return Err(Failure::new(id, "its name is not on record")) };
    let (name, socket) = (image.name.to_string(), docker(execution, id).await?.socket().display().to_string());
    if !pulled::is_shared(folder, id, &name, &socket).map_err(|error| failed(&error))? {
        match docker(execution, id).await?.remove_image(&name).await {
            // A stranger's container is made of it: from here on it is the stranger's.
            Ok(_) | Err(docker::Error::Conflict { .. }) => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    pulled::forget(folder, id).map_err(|error| failed(&error))
}

/// Starts a container as it is wished for: the one that is there, the former one, or a new one.
pub(super) async fn start(execution: Execution<'_>, resource: &Resource, run: &Run) -> Result<(), Failure> {
    let (id, name) = (&resource.id, resource.id.name.as_str());
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let stack = docker(execution, id).await?.stack(&execution.desired.stack);
    let fingerprint = resource.fingerprint().to_string();
    let is_ours =
        |live: &Live| stack.owns(live) && live.labels.get(RESOURCE_LABEL).is_some_and(|label| *label == id.to_string());
    let is_wanted =
        |live: &Live| is_ours(live) && live.labels.get(FINGERPRINT_LABEL).is_some_and(|label| *label == fingerprint);
    let find = async |name: &str| stack.find(name).await.map_err(|error| failed(&error));
    let previous = previous(id);
    if let Some(live) = find(name).await? {
        if is_wanted(&live) {
            return stack.start(name).await.map_err(|error| failed(&error));
        }
        stack.stop(name, patience(execution, id)).await.map_err(|error| failed(&error))?;
        // While a former one stands by, this one never proved itself.
        if find(&previous).await?.is_some_and(|previous| is_ours(&previous)) {
            stack.remove(name).await.map_err(|error| failed(&error))?;
        } else {
            stack.rename(name, &previous).await.map_err(|error| failed(&error))?;
        }
    }
    if find(&previous).await?.is_some_and(|previous| is_wanted(&previous)) {
        stack.rename(&previous, name).await.map_err(|error| failed(&error))?;
        return stack.start(name).await.map_err(|error| failed(&error));
    }
    let Some(container) = &run.container else { return Err(Failure::new(id, "it has no image")) };
    if let Some(network) = container.network.as_ref().filter(|network| !matches!(network.as_str(), "host" | "bridge")) {
        stack.ensure_network(network).await.map_err(|error| failed(&error))?;
    }
    for mount in container.mounts.iter().filter(|mount| !mount.read_only) {
        if let MountSource::Path(path) = &mount.source
            && !path.exists()
        {
            files::create_folder(path).map_err(|error| failed(&error))?;
        }
    }
    let labels = BTreeMap::from([
        (RESOURCE_LABEL.to_owned(), id.to_string()),
        (FINGERPRINT_LABEL.to_owned(), fingerprint.clone()),
    ]);
    let new = NewContainer { name, run, container, labels: &labels };
    stack.create(&new).await.map_err(|error| failed(&error))?;
    stack.start(name).await.map_err(|error| failed(&error))
}

/// Stops a container.
pub(super) async fn stop(execution: Execution<'_>, id: &ResourceId) -> Result<(), Failure> {
    let stack = docker(execution, id).await?.stack(&execution.desired.stack);
    stack.stop(&id.name, patience(execution, id)).await.map_err(|error| Failure::of(Some(id), &error))
}

/// Removes a container of the stack under one of its names, and the stack's network with the last that was in it.
pub(super) async fn remove(execution: Execution<'_>, id: &ResourceId, name: &str) -> Result<(), Failure> {
    let failed = |error: &dyn Hint| Failure::of(Some(id), error);
    let stack = docker(execution, id).await?.stack(&execution.desired.stack);
    stack.remove(name).await.map_err(|error| failed(&error))?;
    // While there is another container, it may be in it, also if it does not run now.
    if stack.containers().await.is_ok_and(|left| left.is_empty()) {
        let _ = stack.remove_network(&format!("llamero-{}", execution.desired.stack)).await;
    }
    Ok(())
}

/// Returns the last lines that a container wrote.
pub(super) async fn last_lines(systems: &Systems, stack: &str, id: &ResourceId, count: usize) -> Vec<String> {
    let Ok(docker) = systems.docker().await else { return Vec::new() };
    docker.stack(stack).last_lines(&id.name, count).await.unwrap_or_default()
}

/// Returns how long a container may take to stop.
fn patience(execution: Execution<'_>, id: &ResourceId) -> std::time::Duration {
    let known = execution.inventory.iter().find(|resource| resource.id == *id).and_then(Resource::run);
    known.map_or(LONGEST_STOP, |run| run.stop_timeout.duration())
}
