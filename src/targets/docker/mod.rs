//! A container engine, driven: Docker, or Podman in its place.

mod driver;
mod execute;
mod observe;

pub(super) use driver::Docker;
