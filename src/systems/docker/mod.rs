//! Docker's Engine API, and Podman's in its place: containers, images, networks and volumes, seen and changed.
//!
//! Nothing with another ownership marker than the stack's is changed. Which containers there should be is decided
//! elsewhere, nothing is pulled unasked, and no container is restarted without a step of the plan.

mod client;
mod connect;
mod containers;
mod create;
mod credentials;
mod error;
mod images;
mod live;
mod networks;
mod pull;

pub use client::{Deadlines, Docker};
pub use connect::DockerEnvironment;
pub use containers::Stack;
pub use create::Created;
pub use error::{Error, Fault};
pub use images::Image;
pub use live::{Check, Live, Status};
pub use pull::PullProgress;

pub use llamero_core::targets::docker::lower::{Engine, FINGERPRINT_LABEL, NewContainer, RESOURCE_LABEL, STACK_LABEL};
