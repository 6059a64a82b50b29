//! The engine axis: all that is particular to an engine is in its own file here, and has one line in the tables of
//! `table.rs`.
//!
//! The methods of the traits have no default, so that the compiler names what a new engine lacks. Nothing here knows
//! the manifest, a machine or a runtime: an engine is asked with plain values, and answers with plain values.

mod engine;
mod gateway;
pub mod litellm;
pub mod llama_cpp;
pub mod llama_cpp_python;
pub mod memory;
pub mod ollama;
pub mod openai;
mod parameters;
mod python;
pub mod redis;
mod rendered;
mod routing;
mod server;
pub mod settings;
mod table;
pub mod vllm;

pub use engine::{Cache, Engine, Gateway, Models, Provider};
pub use gateway::{GatewayCache, GatewayServer, GatewaySettings, Handoff};
pub use parameters::{Parameter, ParameterKind, Parameters};
pub use python::names_exception;
pub use rendered::{ModelFields, Rendered, SettingsAs};
pub use routing::{Relations, Route, Routing};
pub use server::{CacheServer, Launch, ModelPlace, ModelServer, PulledServer, Reading, ShareOfGpu, Upstream};
pub use settings::{Problem, Setting, Settings, Shape, Value};
pub use table::{CACHES, GATEWAYS, PROVIDERS, all, find, gateway, readings};
