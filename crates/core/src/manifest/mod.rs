//! The manifest: one YAML file, parsed with the location of every value and checked as a whole.
//!
//! [`read()`] never fails and never stops at the first problem: it returns the values that could be decoded, and a note
//! for every problem. The manifest is resolved for a machine elsewhere.

mod addresses;
mod check;
mod common;
mod decode;
mod engine;
mod locate;
mod names;
mod read;
mod report;
mod schema;
mod source;
mod suggest;
mod template;
mod types;
mod values;
mod yaml;

pub use addresses::{HttpAddress, RedisAddress, ServicePort};
pub use common::{Common, HealthSettings, Install, LimitSettings, Network, RuntimeName};
pub use engine::{CacheEngine, GatewayEngine, ProviderEngine};
pub use locate::locate;
pub use names::{ContainerName, HttpPath, Image, PathText, Sha256, UnitName, Word, is_stack_name};
pub use read::{LIMIT, read};
pub use report::report;
pub use schema::schema;
pub use source::{COMMAND_PATH, DownloadUrl, HubSource, Source, file_name};
pub use suggest::hint as suggest;
pub use template::{Part, Template, TemplatePiece};
pub use types::{
    Cache, DriftPolicy, Gateway, Gpu, Load, Machine, Managed, Manifest, Model, ModelFiles, Policy, Provider, Rollback,
    Rollout, Service,
};
pub use values::{Argv, Entries, Entry, RawSettings, SecretSource, Size, Spanned, Time};

pub use crate::resource::Mode;
