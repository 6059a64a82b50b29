//! The call that creates a container.

use super::client::checked;
use super::containers::Stack;
use super::error::Error;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptions;
use llamero_core::targets::docker::lower::{ImageCommand, NewContainer, needs_image_command, request};

/// A container that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// Requests that the engine could not fulfil, such as a limit that it cannot enforce.
    pub warnings: Vec<String>,
}

impl Stack<'_> {
    /// Creates a container of an image that is there, with the stack's ownership marker; it does not run yet. Its folders,
    /// volumes and network must be there.
    pub async fn create(self, new: &NewContainer<'_>) -> Result<Created, Error> {
        let docker = self.docker;
        let what = format!("make the container `{}`", new.name);
        checked("container", new.name)?;
        let mut command = ImageCommand::default();
        if needs_image_command(new.run)
            && let Some(image) = docker.image(&new.container.image).await?
        {
            (command.entrypoint, command.words) = image.command;
        }
        let body = body(request(docker.engine, self.name, new, &command));
        let options = CreateContainerOptions { name: Some(new.name.to_owned()), ..CreateContainerOptions::default() };
        let call = docker.api.create_container(Some(options), body);
        let made = docker.within(&what, docker.deadlines.change, call).await?;
        Ok(Created { id: made.id, warnings: made.warnings })
    }
}

fn body(request: serde_json::Value) -> ContainerCreateBody {
    serde_json::from_value(request).expect("the request is one of the Engine API")
}
