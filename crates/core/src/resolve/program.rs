//! The programs of servers: what is installed for them, and where they are.

use super::build::Builder;
use super::facts::program_of;
use super::server::Server;
use crate::manifest::Install;
use crate::resource::{
    Command, Digest, Environment, Input, Kind, ManifestPath, Note, Origin, Origins, Resource, ResourceId, Spec,
};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

impl Builder<'_> {
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

    /// Returns a server's command without its arguments, and adds what is installed for it.
    pub(super) fn program(
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
}

/// Returns the setting by which packages are installed.
fn installed(path: &ManifestPath, install: &Install) -> Origin {
    Origin::new(path.key("install.python"), install.python.value.0.join(" "))
}
