//! The builder that the engines write their resources with: names, environments, commands, secrets and common fields.

use super::container::{Contained, is_isolated};
use super::facts::{Facts, SecretFact, program_of, reference, secrets};
use crate::lockfile::{LockFile, Pin};
use crate::manifest::{Common, Entry, HealthSettings, Install, Manifest, Model, RuntimeName, SecretSource, Spanned};
use crate::resource::{
    Bytes, Command, Content, Digest, EngineName, Environment, FileSpec, GeneratedSecret, Gpus, Input, Kind, Limits,
    ManifestPath, Note, Origin, Origins, Piece, Probe, Resource, ResourceId, Restart, Run, RunFile, Runtime, Seconds,
    SecretReference, ServedModel, Spec,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How long a server may take to be healthy when nobody says otherwise.
const TIMEOUT: Seconds = Seconds::new(120);

/// How long a server must stay healthy when nobody says otherwise.
const STABLE_FOR: Seconds = Seconds::new(10);

/// What downloads leave free on their disk when the manifest says nothing.
const KEEP_FREE: Bytes = Bytes(1 << 30);

/// How long a server may take to stop.
const STOP_TIMEOUT: Seconds = Seconds::new(30);

pub(super) struct Builder<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) lock: &'a LockFile,
    pub(super) facts: &'a Facts,
    pub(super) resources: BTreeMap<ResourceId, Resource>,
    /// Where each resource is declared first.
    pub(super) spans: BTreeMap<ResourceId, Range<usize>>,
    pub(super) notes: Vec<(Note, String, Range<usize>)>,
}

/// A server in the making: what an engine says of it beyond the common fields.
pub(super) struct Server<'a> {
    /// Its name within the stack, such as `gateway`.
    pub(super) part: String,
    /// The part of the manifest that it serves.
    pub(super) role: String,
    /// Where in the manifest it is declared.
    pub(super) span: Range<usize>,
    /// One line that says what it is.
    pub(super) description: String,
    /// The common fields.
    pub(super) common: Common<'a>,
    /// The command when the manifest says none.
    pub(super) program: Option<&'a str>,
    /// Where the manifest declares the common fields.
    pub(super) path: ManifestPath,
    /// The engine's own arguments after the program.
    pub(super) arguments: Command,
    /// The engine's own variables.
    pub(super) environment: BTreeMap<String, String>,
    /// The engine's own secret variables, with the settings that say where they are found.
    pub(super) secrets: Vec<(String, &'a SecretSource, ManifestPath)>,
    /// Ports that it listens on.
    pub(super) ports: Vec<u16>,
    /// How it shows that it is healthy.
    pub(super) probe: Probe,
    /// The engine that it is.
    pub(super) engine: Option<&'static str>,
    /// Files and artifacts that it reads when it starts.
    pub(super) inputs: Vec<Input>,
    /// What must be there before it starts.
    pub(super) needs: BTreeSet<ResourceId>,
    /// Further words at the end, and the setting that they stand in.
    pub(super) last: Option<(&'a [String], ManifestPath)>,
    /// The settings that fields come from which the engine sets.
    pub(super) origins: Origins,
    /// The folder in which it runs.
    pub(super) working_directory: Option<PathBuf>,
    /// The GPUs that it may use.
    pub(super) gpus: Gpus,
    /// What it wants of its container, if it runs in one.
    pub(super) contained: Contained,
}

impl<'a> Builder<'a> {
    /// Returns what the lock file says of a model's source.
    pub(super) fn pin(&mut self, key: &str, model: &Entry<Model>) -> Option<&'a Pin> {
        let pin = self.lock.pins.get(key)?;
        let declared = model.value.sha256.as_ref().map(|sha256| (sha256, &sha256.value.0));
        if let Some((text, declared)) = declared.filter(|(_, declared)| **declared != pin.sha256) {
            let said = format!("`sha256` says {}…, and the lock file {}…", declared.short(), pin.sha256.short());
            let hint = format!("correct one of them; `llamero update {}` moves the lock file on", model.name.value);
            self.note(
                Note::error("not-as-locked", said).hint(hint),
                format!("models.{}.sha256", model.name.value),
                &text.span,
            );
        }
        Some(pin)
    }

    /// Returns what downloads must leave free on their disk.
    pub(super) fn keep_free(&self) -> Bytes {
        self.manifest.machine.models.keep_free.as_ref().map_or(KEEP_FREE, |size| size.value.0)
    }
}

impl Builder<'_> {
    pub(super) fn note(&mut self, note: Note, path: impl Into<String>, span: &Range<usize>) {
        self.notes.push((note, path.into(), span.clone()));
    }

    pub(super) fn unsupported(&mut self, what: &str, path: impl Into<String>, span: &Range<usize>) {
        let note = Note::error("not-yet-supported", format!("{what} cannot be applied by this version of llamero yet"));
        self.note(note.hint("it is read and checked, and nothing was changed"), path, span);
    }

    /// Adds a resource. Two parts of the manifest may share one that is the same; two different ones of the same name
    /// are a mistake.
    pub(super) fn add(&mut self, resource: Resource, span: &Range<usize>) {
        if let Some(known) = self.resources.get(&resource.id).filter(|known| known.spec != resource.spec) {
            let message = format!("`{}` and `{}` would both be {}", known.role, resource.role, resource.id);
            let note = Note::error("same-name", message).hint("give one of them another name");
            self.note(note, resource.role, span);
            return;
        }
        self.spans.entry(resource.id.clone()).or_insert_with(|| span.clone());
        self.resources.insert(resource.id.clone(), resource);
    }

    /// Adds a model file, which several models may be made of; it is enough that one of them says its digest.
    pub(super) fn add_artifact(&mut self, mut resource: Resource, span: &Range<usize>) {
        let known = self.resources.get(&resource.id).map(|known| &known.spec);
        if let (Some(Spec::Artifact(known)), Spec::Artifact(artifact)) = (known, &mut resource.spec)
            && (known.sha256.is_none() || artifact.sha256.is_none())
        {
            artifact.sha256 = artifact.sha256.take().or_else(|| known.sha256.clone());
            self.resources.remove(&resource.id);
        }
        self.add(resource, span);
    }

    /// Adds a model on a server. What several models of a manifest merely call by other names is one that all of them
    /// share: it stays loaded if one of them says so.
    pub(super) fn add_model(&mut self, mut resource: Resource, span: &Range<usize>) {
        if let (Some(Spec::Model(known)), Spec::Model(model)) =
            (self.resources.get(&resource.id).map(|known| &known.spec), &mut resource.spec)
            && !model.is_derived()
            && known.endpoint == model.endpoint
        {
            let first = known.clone();
            **model = ServedModel {
                pinned: first.pinned || model.pinned,
                embedding: if model.pinned { model.embedding } else { first.embedding },
                ..*first
            };
            let role = self.resources.remove(&resource.id).map(|known| known.role);
            resource.role = role.unwrap_or(resource.role);
        }
        self.add(resource, span);
    }

    /// Returns a text in lower-case letters, digits and `-`.
    pub(super) fn plain(text: &str) -> String {
        let plain: String =
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        plain.trim_matches('-').to_owned()
    }

    /// Returns a part's name as a resource's name: one that a unit and a folder can have.
    pub(super) fn name(part: &str) -> String {
        let plain = Self::plain(part);
        // Different names that look the same once they are plain must stay different.
        if plain == part { plain } else { format!("{plain}-{}", &Digest::of(part).as_str()[..4]) }
    }

    /// Returns the resource name of a server.
    pub(super) fn server_id(&self, part: &str, common: Common<'_>) -> Option<ResourceId> {
        let runtime = common.runtime?.value;
        let name = Self::name(part);
        match runtime {
            RuntimeName::Systemd => {
                let own = common.unit.map(|unit| unit.value.to_string());
                Some(ResourceId::new(
                    Kind::Unit,
                    own.unwrap_or_else(|| format!("{}-{name}", self.manifest.stack.value)),
                ))
            }
            RuntimeName::Process => Some(ResourceId::new(Kind::Process, name)),
            RuntimeName::Docker => Some(ResourceId::new(Kind::Container, self.container_name(part, common))),
            RuntimeName::External => None,
        }
    }

    /// Adds the Python environment that a part wants; returns its name and place.
    pub(super) fn install(
        &mut self,
        install: &Install,
        role: &str,
        path_of: &ManifestPath,
    ) -> Option<(ResourceId, PathBuf)> {
        let requirements = &install.python.value.0;
        let first = requirements.first()?;
        let Some((python, version)) = self.facts.python.clone() else {
            let note =
                Note::error("no-python", "`install.python` needs Python 3, and there is no `python3` on the path");
            self.note(note.hint("install it (Debian: `apt install python3 python3-venv`)"), role, &install.python.span);
            return None;
        };
        let mut sorted = requirements.clone();
        sorted.sort();
        let digest = Digest::of(format!("{version}\n{}", sorted.join("\n")));
        let plain: String = first.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
        let id = ResourceId::new(Kind::Environment, format!("{}-{}", plain.to_lowercase(), &digest.as_str()[..8]));
        let path = self.facts.directories.data.join("llamero").join("environments").join(&id.name);
        let spec = Environment { path: path.clone(), requirements: sorted, python };
        let spec = Spec::Environment(spec);
        let origins = Origins::of("requirements", [installed(path_of, install)]);
        self.add(Resource { origins, ..Resource::new(id.clone(), role, spec) }, &install.python.span);
        Some((id, path))
    }

    /// Returns a command with its program's place and its relative words spelled out.
    pub(super) fn command(
        &mut self,
        words: &[String],
        environment: Option<&Path>,
        path: &str,
        span: &Range<usize>,
    ) -> Option<Vec<String>> {
        let directories = &self.facts.directories;
        let (program, rest) = words.split_first()?;
        let relative = |word: &String| {
            let is_path = word.starts_with("./") || word.starts_with("../") || word.starts_with("~/");
            if is_path { directories.expand(word).to_string_lossy().into_owned() } else { word.clone() }
        };
        let by_path = program.contains('/').then(|| directories.expand(program).to_string_lossy().into_owned());
        let program = if let Some(path) = &by_path {
            self.facts.programs.get(path).cloned()
        } else if let Some(environment) = environment {
            Some(program_of(environment, program))
        } else {
            self.facts.programs.get(program).cloned()
        };
        let Some(program) = program else {
            let (message, hint) = if by_path.is_some() {
                (format!("there is no program `{}` that can be run", words[0]), "correct the path, or its mode")
            } else {
                let hint = "install it, write its full path under `command`, or let `install` bring it";
                (format!("there is no program `{}` on the path", words[0]), hint)
            };
            let note = Note::error("no-program", message);
            self.note(note.hint(hint), path, span);
            return None;
        };
        Some(std::iter::once(program.to_string_lossy().into_owned()).chain(rest.iter().map(relative)).collect())
    }

    /// Returns the piece of a text that a secret fills, and makes sure that the secret can be had.
    fn secret(&mut self, source: &SecretSource, path: &str, span: &Range<usize>) -> (Piece, Option<ResourceId>) {
        let reference = reference(source, &self.facts.directories);
        let mut made = None;
        // It is enough that one of those who refer to it says that it is to be made.
        let same = |other: &&SecretSource| self::reference(other, &self.facts.directories) == reference;
        let generate = secrets(self.manifest).filter(same).any(|source| source.generate);
        let digest = match self.facts.secrets.get(&reference) {
            Some(SecretFact::Known(digest)) => digest.clone(),
            Some(SecretFact::Unreadable { absent: true, .. }) if generate => Digest::of("to be generated"),
            Some(SecretFact::Unreadable { why, hint, .. }) => {
                let mut note = Note::error("unreadable-secret", why.clone());
                note.hint.clone_from(hint);
                self.note(note, path, span);
                Digest::of("unreadable")
            }
            None => Digest::of("not looked for"),
        };
        if let (true, SecretReference::File(file)) = (generate, &reference) {
            let spec = Spec::Secret(GeneratedSecret { path: file.clone() });
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let mut id = ResourceId::new(Kind::Secret, name.clone());
            if self.resources.get(&id).is_some_and(|known| known.spec != spec) {
                // Two files of one name in different folders.
                let place = Digest::of(file.to_string_lossy().as_bytes());
                id = ResourceId::new(Kind::Secret, format!("{name}-{}", &place.as_str()[..6]));
            }
            self.add(Resource::new(id.clone(), path, spec), span);
            made = Some(id);
        }
        (Piece::Secret { reference, digest }, made)
    }

    /// Adds a server with everything that it needs; returns its name.
    pub(super) fn server(&mut self, server: &Server<'_>) -> Option<ResourceId> {
        let Server { part, role, path, span, common, .. } = server;
        let id = self.server_id(part, *common)?;
        let runtime = match id.kind {
            Kind::Unit => Runtime::Systemd,
            Kind::Container => Runtime::Docker,
            _ => Runtime::Process,
        };
        if common.adopt.value {
            self.unsupported("adopting what is there", path.key("adopt").as_str(), &common.adopt.span);
        }
        let mut needs = server.needs.clone();
        let mut inputs = server.inputs.clone();
        let mut image = None;
        let mut command = if runtime == Runtime::Docker {
            let (id, name) = self.image(server)?;
            needs.insert(id);
            image = Some(name);
            Command::default()
        } else {
            self.program(server, &mut needs, &mut inputs)?
        };
        command.0.extend(server.arguments.0.iter().cloned());
        command.raw(&common.args.value.0, path.key("args"));
        if let Some((words, path)) = &server.last {
            command.raw(words, path.clone());
        }

        let mut variables = server.environment.clone();
        if let (Gpus::Devices(devices), false) = (&server.gpus, runtime == Runtime::Docker) {
            // CUDA's own order is that of speed; the driver's tools count along the bus.
            variables.insert("CUDA_DEVICE_ORDER".to_owned(), "PCI_BUS_ID".to_owned());
            variables.insert("CUDA_VISIBLE_DEVICES".to_owned(), devices.join(","));
        }
        let isolated = is_isolated(*common, server.contained.network);
        for entry in common.env {
            match self.spelled_out(&entry.value.value, isolated) {
                Ok(value) => drop(variables.insert(entry.name.value.clone(), value)),
                Err(note) => self.note(note, path.key("env").key(&entry.name.value).as_str(), &entry.value.span),
            }
        }
        let file = self.environment_file(server, &mut needs);
        if let Some((id, _, digest)) = &file {
            needs.insert(id.clone());
            inputs.push(Input { resource: id.clone(), digest: digest.clone() });
        }
        if common.limits != &crate::manifest::LimitSettings::default() && runtime == Runtime::Process {
            let note = Note::warning("no-limits", "the runtime `process` cannot enforce limits");
            self.note(note.hint("`runtime: systemd` can"), path.key("limits").as_str(), span);
        }
        let limits = Limits {
            memory: common.limits.memory.as_ref().map(|memory| memory.value.0),
            cpu_percent: common.limits.cpus.as_ref().map(|cpus| percent(cpus.value)),
        };
        let container = image.map(|image| Box::new(self.contained(server, &image, &inputs)));
        let run = Run {
            runtime,
            container,
            description: server.description.clone(),
            command,
            environment: variables,
            environment_file: file.map(|(_, path, _)| RunFile(path)),
            working_directory: server.working_directory.clone(),
            inputs,
            memory: limits.memory,
            limits,
            gpus: server.gpus.clone(),
            engine: server.engine.map(EngineName::new),
            gpu_claim: None,
            sleep: None,
            gateway: None,
            socket_handoff: false,
            ports: server.ports.clone(),
            probe: server.probe.clone(),
            timeout: self.health(common.health, |health| health.timeout.as_ref()).unwrap_or(TIMEOUT),
            stable_for: self.health(common.health, |health| health.stable_for.as_ref()).unwrap_or(STABLE_FOR),
            stop_timeout: STOP_TIMEOUT,
            restart: Restart::default(),
        };
        let origins = origins(server, &run);
        let resource = Resource { id: id.clone(), role: role.clone(), spec: Spec::Run(Box::new(run)), needs, origins };
        self.add(resource, span);
        Some(id)
    }

    /// Returns a server's command without its arguments, and adds what is installed for it.
    fn program(
        &mut self,
        server: &Server<'_>,
        needs: &mut BTreeSet<ResourceId>,
        inputs: &mut Vec<Input>,
    ) -> Option<Command> {
        let Server { role, path, span, common, .. } = server;
        let install = self.install(common.install, role, path);
        let default: Vec<String> = server.program.map(str::to_owned).into_iter().collect();
        let words = common.command.map_or(default, |command| command.value.0.clone());
        let wants_environment = !common.install.python.0.is_empty();
        if wants_environment && install.is_none() {
            return None;
        }
        if let Some((id, _)) = &install {
            needs.insert(id.clone());
            inputs.push(Input { resource: id.clone(), digest: Digest::of(&id.name) });
        }
        let environment = install.as_ref().map(|(_, path)| path.as_path());
        let command_span = common.command.map_or(span, |command| &command.span).clone();
        let argv = self.command(&words, environment, role, &command_span)?;
        let (program, rest) = argv.split_first()?;
        let declared = common.command.and(words.first()).map(|program| Origin::new(path.key("command"), program));
        let mut command = Command::default();
        command.word(program, declared.into_iter().chain(install.map(|_| installed(path, common.install))));
        command.raw(rest, path.key("command"));
        Some(command)
    }

    /// Adds the file with the secret part of a server's environment.
    fn environment_file(
        &mut self,
        server: &Server<'_>,
        needs: &mut BTreeSet<ResourceId>,
    ) -> Option<(ResourceId, PathBuf, Digest)> {
        let path = server.path.key("secrets");
        let declared = server
            .common
            .secrets
            .iter()
            .map(|entry| (entry.name.value.clone(), &entry.value, path.key(&entry.name.value)));
        let secrets: Vec<(String, &SecretSource, ManifestPath)> =
            server.secrets.iter().cloned().chain(declared).collect();
        if secrets.is_empty() {
            return None;
        }
        let mut pieces = Vec::new();
        let mut made = BTreeSet::new();
        let mut origins = Vec::new();
        for (name, source, path) in secrets {
            origins.push(Origin::new(path, source));
            let (piece, id) = self.secret(source, &server.role, &server.span);
            made.extend(id);
            pieces.extend([Piece::Text(format!("{name}=\"")), piece, Piece::Text("\"\n".to_owned())]);
        }
        needs.extend(made.iter().cloned());
        let id = ResourceId::new(Kind::File, format!("{}-secrets", Self::name(&server.part)));
        let folder = self.facts.directories.records(&self.manifest.stack).join("secrets");
        let path = folder.join(format!("{}.env", Self::name(&server.part)));
        let content = Content(pieces);
        let digest = content.digest();
        let spec = Spec::File(FileSpec { path: path.clone(), content });
        let origins = Origins::of("content", origins);
        self.add(Resource { id: id.clone(), role: server.role.clone(), spec, needs: made, origins }, &server.span);
        Some((id, path, digest))
    }

    fn health(
        &self,
        own: &HealthSettings,
        field: impl Fn(&HealthSettings) -> Option<&Spanned<crate::manifest::Time>>,
    ) -> Option<Seconds> {
        field(own).or_else(|| field(&self.manifest.policy.health)).map(|time| time.value.0)
    }
}

/// Returns the setting by which packages are installed.
fn installed(path: &ManifestPath, install: &Install) -> Origin {
    Origin::new(path.key("install.python"), install.python.value.0.join(" "))
}

/// Returns the settings that the fields of a server come from, without those of its command.
fn origins(server: &Server<'_>, run: &Run) -> Origins {
    let Server { path, common, .. } = server;
    let mut origins = server.origins.clone();
    for entry in common.env {
        let field = format!("environment {}", entry.name.value);
        // What the manifest sets takes the place of the engine's own.
        origins.0.remove(&field);
        origins.add(field, [Origin::new(path.key("env").key(&entry.name.value), &entry.value.value)]);
    }
    let limits = common.limits;
    let memory = limits.memory.as_ref().map(|memory| Origin::new(path.key("limits.memory"), memory.value.0.exact()));
    origins.add("limits.memory", memory);
    let cpus = limits.cpus.as_ref().map(|cpus| Origin::new(path.key("limits.cpus"), cpus.value));
    origins.add("limits.cpus", cpus);
    if let Gpus::Devices(devices) = &run.gpus {
        let fields: &[&str] = match run.container {
            Some(_) => &["gpus"],
            None => &["environment CUDA_DEVICE_ORDER", "environment CUDA_VISIBLE_DEVICES"],
        };
        let chosen = Origin::new(path.key("gpus"), devices.join(", "));
        for field in fields {
            origins.add(*field, [chosen.clone()]);
        }
    }
    if let Some(container) = &run.container {
        origins.extend(super::container::origins(server, container));
    }
    origins
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be from 0.01 to 4096")]
fn percent(cores: f64) -> u32 {
    (cores * 100.0).round() as u32
}
