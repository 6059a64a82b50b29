//! The values that a gateway's engine is asked with, and those that it answers with.

use crate::resource::{Origin, RedisEndpoint, Seconds};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The server of a gateway.
#[derive(Debug, Clone)]
pub struct GatewayServer {
    /// The path of its configuration, and the setting that it comes from.
    pub config: (PathBuf, Option<Origin>),
    /// The address to listen on.
    pub listen: &'static str,
    /// The port to listen on, and the setting that it comes from.
    pub port: (u16, Option<Origin>),
}

/// The settings of a gateway as the manifest gives them.
#[derive(Debug, Clone)]
pub struct GatewaySettings<'a> {
    /// The stack's name.
    pub stack: &'a str,
    /// The cache, if there is one.
    pub cache: Option<GatewayCache>,
    /// The number of retries of a request.
    pub retries: Option<u64>,
    /// The number of failures after which a model is cooled down.
    pub allowed_fails: Option<u64>,
    /// The time for which a failing model gets no requests.
    pub cooldown: Option<Seconds>,
    /// Raw settings, merged into the configuration.
    pub raw: &'a Value,
}

/// The cache of a gateway.
#[derive(Debug, Clone)]
pub struct GatewayCache {
    /// The gateway's name for what it is: the protocol of a server, or `local`.
    pub protocol: &'static str,
    /// The address, if it is a server.
    pub server: Option<RedisEndpoint>,
    /// The variable with its password, if it requires one.
    pub password: Option<&'static str>,
    /// The time for which it keeps answers.
    pub ttl: Option<Seconds>,
}

/// The way that a gateway's server hands its socket off to its successor.
#[derive(Debug, Clone)]
pub struct Handoff {
    /// The Python program that an instance runs.
    pub launcher: &'static str,
    /// The variables by which it finds the configuration, each with the setting that it comes from.
    pub environment: BTreeMap<String, (String, Option<Origin>)>,
    /// The time that its last streams may take after a successor has taken its place.
    pub drain: Seconds,
}
