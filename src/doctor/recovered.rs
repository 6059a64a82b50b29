//! Recovery of the resources of a damaged revision, by their ownership markers, at paths that llamero itself chooses.
//!
//! Units and processes need no record: every observation discovers them. Models on servers have records of their own.
//! The content of a file after its marker is not read.

use super::error::Error;
use crate::reconcile::Stack;
use crate::render::marker;
use crate::resolve::Directories;
use crate::resource::{
    Bytes, Command, Container, Content, FileSpec, ImageName, ImageSpec, Kind, Resource, ResourceId, Run, Runtime,
    Seconds, Spec,
};
use crate::systems::{files, pulled};
use std::collections::BTreeSet;

/// The largest rendered file that is read, in bytes.
const LIMIT: Bytes = Bytes(4 << 20);

/// The stop timeout of a container about which nothing else is known.
const STOP: Seconds = Seconds::new(30);

/// The recovered resources.
pub(super) struct Recovered {
    /// Resources without any other record in the stack.
    pub(super) resources: Vec<Resource>,
    /// True if a container engine answered.
    pub(super) engine: bool,
}

/// Finds every resource of a stack that lies at a path chosen by llamero and has no record.
pub(super) async fn find(stack: &Stack, directories: &Directories) -> Result<Recovered, Error> {
    let known: BTreeSet<ResourceId> =
        stack.history.memory()?.inventory.into_iter().map(|resource| resource.id).collect();
    let mut resources = rendered(stack, directories)?;
    for (id, record) in pulled::all(&stack.systems.records.images, Kind::Image)? {
        let name = ImageName::parse(&record.name).ok();
        resources.extend(name.map(|name| resource(id, Spec::Image(ImageSpec { name }))));
    }
    let containers = containers(stack).await;
    let engine = containers.is_some();
    resources.extend(containers.into_iter().flatten());
    resources.retain(|resource| !known.contains(&resource.id));
    resources.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(Recovered { resources, engine })
}

/// Returns the rendered files in the stack's own folders.
fn rendered(stack: &Stack, directories: &Directories) -> Result<Vec<Resource>, Error> {
    let records = stack.history.folder();
    let mut live = Vec::new();
    for folder in [records.to_owned(), records.join("secrets"), directories.config.join("llamero").join(&stack.name)] {
        for name in files::names(&folder)? {
            let path = folder.join(name);
            // An unreadable entry, such as a folder, is no file of llamero's.
            let Ok(Some(text)) = files::read_text(&path, LIMIT) else { continue };
            let managed = |mark: &marker::Marker| mark.stack == stack.name && mark.resource.kind == Kind::File;
            let Some(marker) = marker::read(&text).filter(managed) else { continue };
            // Its text may hold secrets and is no longer needed.
            live.push(resource(marker.resource, Spec::File(FileSpec { path, content: Content::default() })));
        }
    }
    Ok(live)
}

/// Returns the containers that carry the stack's ownership marker; `None` where no engine answers.
async fn containers(stack: &Stack) -> Option<Vec<Resource>> {
    let docker = stack.systems.docker().await.ok()?;
    let live = docker.stack(&stack.name).containers().await.ok()?;
    let container = |name: String| {
        let run = Run {
            container: Some(Box::new(Container::default())),
            timeout: STOP,
            stop_timeout: STOP,
            ..Run::plain(Runtime::Docker, Command::default())
        };
        resource(ResourceId::new(Kind::Container, name), Spec::Run(Box::new(run)))
    };
    Some(live.into_iter().map(|live| container(live.name)).collect())
}

fn resource(id: ResourceId, spec: Spec) -> Resource {
    Resource::new(id, "rediscovered by its ownership marker", spec)
}
