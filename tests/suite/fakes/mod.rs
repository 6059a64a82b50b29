//! The far sides of the wire, for faults that the real ones do not show on demand.

pub(crate) mod docker;
pub(crate) mod files;
pub(crate) mod hub;
pub(crate) mod machine;
pub(crate) mod ollama;
pub(crate) mod registry;
pub(crate) mod systemd;
pub(crate) mod upstream;
