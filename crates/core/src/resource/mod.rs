//! The vocabulary that every other module shares: what a resource is called, the plain data that describes it, its
//! fingerprint, and the notes that a check leaves behind.
//!
//! Values only. Nothing here reads a file, a clock or the environment, and nothing here decides.

mod address;
mod capability;
mod command;
mod container;
mod cpus;
mod endpoint;
mod engine_name;
mod external;
mod fingerprint;
mod gpu;
mod health;
mod id;
mod identity;
mod image_name;
mod mode;
mod note;
mod ollama_name;
mod origin;
mod prerequisite;
mod probe;
mod redis_endpoint;
mod run;
mod secret;
mod spec;
mod units;
mod volume;

pub use address::{Host, NotAnAddress, Port, has_password};
pub use capability::{GatewayApi, GpuClaim, SleepCalls};
pub use command::{Command, Part};
pub use container::{Container, Mount, MountSource, Protocol, Publish};
pub use cpus::Cpus;
pub use endpoint::Endpoint;
pub use engine_name::EngineName;
pub use external::{External, ExternalQuestion};
pub use fingerprint::{Digest, Field, Fields, Fingerprint, Hasher, SCHEME};
pub use gpu::{Gpu, GpuDevice, Gpus};
pub use health::Health;
pub use id::{Kind, ResourceId};
pub use identity::{LiveIdentity, Shared, shared};
pub use image_name::ImageName;
pub use mode::Mode;
pub use note::{Location, Note, Severity};
pub use ollama_name::OllamaName;
pub use origin::{ManifestPath, Origin, Origins};
pub use prerequisite::Prerequisite;
pub use probe::{Accepts, AnswerKind, Authorization, HttpCheck, HttpProbe, Meaning, OfferedModels, Probe, RespProbe};
pub use redis_endpoint::RedisEndpoint;
pub use run::{Input, Limits, Restart, Run, RunFile, Runtime};
pub use secret::{Content, Piece, SecretReference};
pub use spec::{
    Artifact, ArtifactSource, Environment, FileSpec, GeneratedSecret, ImageSpec, Resource, ServedModel, Spec,
};
pub use units::{Bytes, Seconds};
pub use volume::{Volume, VolumeSource};
