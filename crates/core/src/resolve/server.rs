//! A server in the making, as plain data.

use crate::engines::{Engine, Launch};
use crate::manifest::{Common, Network, RuntimeName, SecretSource};
use crate::resource::{Command, Gpus, Input, ManifestPath, Mount, Origins, Probe, Publish, ResourceId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

/// A server in the making: what an engine says of it beyond the common fields.
pub(super) struct Server<'a> {
    /// Its name within the stack, such as `gateway`.
    pub(super) part: String,
    /// The part of the manifest that it serves.
    pub(super) role: String,
    /// The manifest's path of its declaration.
    pub(super) span: Range<usize>,
    /// Its description in a few words.
    pub(super) description: String,
    /// The common fields.
    pub(super) common: Common<'a>,
    /// The command when the manifest says none.
    pub(super) program: Option<&'a str>,
    /// The manifest's path of the common fields.
    pub(super) path: ManifestPath,
    /// The engine's own arguments after the program.
    pub(super) arguments: Command,
    /// The engine's own variables.
    pub(super) environment: BTreeMap<String, String>,
    /// The engine's own secret variables, with the settings that say where they are found.
    pub(super) secrets: Vec<(String, &'a SecretSource, ManifestPath)>,
    /// Ports that it listens on.
    pub(super) ports: Vec<u16>,
    /// The probe of its health.
    pub(super) probe: Probe,
    /// The engine that it is.
    pub(super) engine: Option<&'static str>,
    /// Files and artifacts that it reads when it starts.
    pub(super) inputs: Vec<Input>,
    /// The prerequisites of its start.
    pub(super) needs: BTreeSet<ResourceId>,
    /// Further words at the end, and the setting that they stand in.
    pub(super) last: Option<(&'a [String], ManifestPath)>,
    /// The settings that fields come from which the engine sets.
    pub(super) origins: Origins,
    /// The folder in which it runs.
    pub(super) working_directory: Option<PathBuf>,
    /// The GPUs that it may use.
    pub(super) gpus: Gpus,
    /// The requirements on its container, if it runs in one.
    pub(super) contained: Contained,
}

/// The declaration of a server in the manifest.
pub(super) struct Declaration<'a> {
    /// The server's name within the stack.
    pub(super) part: String,
    /// The part of the manifest that it serves.
    pub(super) role: String,
    /// The manifest's path of the common fields.
    pub(super) path: ManifestPath,
    /// The place of the declaration.
    pub(super) span: Range<usize>,
    /// The common fields.
    pub(super) common: Common<'a>,
}

impl<'a> Server<'a> {
    /// Returns a server with nothing but its declaration, its description and its probe.
    pub(super) fn declared(declaration: Declaration<'a>, description: String, probe: Probe) -> Self {
        let Declaration { part, role, path, span, common } = declaration;
        Self {
            part,
            role,
            span,
            description,
            common,
            program: None,
            path,
            arguments: Command::default(),
            environment: BTreeMap::new(),
            secrets: Vec::new(),
            ports: Vec::new(),
            probe,
            engine: None,
            inputs: Vec::new(),
            needs: BTreeSet::new(),
            last: None,
            origins: Origins::default(),
            working_directory: None,
            gpus: Gpus::None,
            contained: Contained::default(),
        }
    }

    /// Returns this server with the launch of an engine.
    pub(super) fn launched(self, engine: &'static dyn Engine, launch: Launch) -> Self {
        let Launch { arguments, environment, origins, mounts, ipc_host, restart: _, timeout: _, store: _ } = launch;
        let contained = Contained { mounts, ipc_host, ..self.contained };
        let (program, engine) = (engine.program(), Some(engine.name()));
        Self { program, arguments, environment, engine, origins, contained, ..self }
    }
}

/// The requirements of an engine or a service on its container beyond the common fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contained {
    /// The network when the manifest says none.
    pub(super) network: Network,
    /// The image when the manifest says none.
    pub(super) image: Option<&'static str>,
    /// The mounts from the host besides its inputs.
    pub(super) mounts: Vec<Mount>,
    /// Ports that the host opens, besides those that it listens on itself.
    pub(super) publish: Vec<Publish>,
    /// True if it shares memory segments with the host.
    pub(super) ipc_host: bool,
}

impl Default for Contained {
    /// Engines are at home on the host's network: they listen on loopback, and reach what does.
    fn default() -> Self {
        Self { network: Network::Host, image: None, mounts: Vec::new(), publish: Vec::new(), ipc_host: false }
    }
}

/// Returns whether a server runs in a container that has a network of its own.
pub(super) fn is_isolated(common: Common<'_>, default: Network) -> bool {
    let in_container = common.runtime.is_some_and(|runtime| runtime.value == RuntimeName::Docker);
    in_container && common.network.map_or(default, |network| network.value) == Network::Bridge
}

/// Returns the address for an engine to listen on: an isolated server is reached only from outside.
pub(super) fn listen(common: Common<'_>) -> &'static str {
    if is_isolated(common, Network::Host) { "0.0.0.0" } else { "127.0.0.1" }
}
