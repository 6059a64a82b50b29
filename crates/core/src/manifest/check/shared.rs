//! Checks of the fields that all servers share: runtime, command, image, environment and limits.

use super::checker::Checker;
use crate::manifest::common::{Common, RuntimeName};
use crate::manifest::suggest::looks_secret;
use crate::resource::Note;
use std::ops::Range;

/// A part of the manifest that may be a server.
#[derive(Clone, Copy)]
pub(super) struct Server<'a> {
    /// Its path in the manifest.
    pub(super) path: &'a str,
    pub(super) common: Common<'a>,
    /// The location of notes on the part as a whole.
    pub(super) span: &'a Range<usize>,
}

impl Server<'_> {
    fn has_runtime(&self) -> bool {
        self.common.runtime.is_some()
    }

    /// Returns whether it runs in a container, so that it takes an image.
    fn takes_image(&self) -> bool {
        self.common.runtime.is_some_and(|runtime| runtime.value == RuntimeName::Docker)
    }
}

/// Checks the fields of a server that every one has.
pub(super) fn check(checker: &mut Checker<'_>, server: &Server<'_>) {
    let Server { path, common, .. } = *server;
    if let Some(command) = common.command.filter(|command| command.0.is_empty()) {
        checker.at(Note::error("command", "the command is empty"), format!("{path}.command"), &command.span);
    }
    image(checker, server);
    container_only(checker, server);
    if server.takes_image() && !common.install.python.0.is_empty() {
        let note = Note::error(
            "install",
            "`install` is not supported with `runtime: docker`: the image contains the software",
        );
        checker.at(note.hint("remove `install`"), format!("{path}.install.python"), &common.install.python.span);
    }
    environment(checker, server);
    limits(checker, server);
    if common.adopt.value && common.unit.is_none() && common.container.is_none() {
        let note = Note::error("adopt", "`adopt` requires the name of the existing unit or container");
        checker.at(
            note.hint("also set `unit: NAME` or `container: NAME`"),
            format!("{path}.adopt"),
            &common.adopt.span,
        );
    }
}

/// Checks that a part which is always a server says what runs it.
pub(super) fn check_runtime(checker: &mut Checker<'_>, server: &Server<'_>) {
    let Server { path, span, .. } = *server;
    if !checker.declares(path, "runtime") {
        let note = Note::error("missing-field", "`runtime` is missing");
        checker.at(note.hint("write `systemd`, `process` (needs nothing), `docker` or `external`"), path, span);
    }
}

fn image(checker: &mut Checker<'_>, server: &Server<'_>) {
    let Server { path, common, span } = *server;
    match common.image {
        Some(image) if !server.takes_image() && server.has_runtime() => {
            let note = Note::error("image", "`image` requires `runtime: docker`");
            checker.at(note.hint("set `runtime: docker`, or remove `image`"), format!("{path}.image"), &image.span);
        }
        None if server.takes_image() && !checker.declares(path, "image") => {
            let note = Note::error("missing-field", "`image` is missing");
            checker.at(note.hint("`runtime: docker` requires an image"), path, span);
        }
        _ => {}
    }
}

/// Checks for fields that only a container has.
fn container_only(checker: &mut Checker<'_>, server: &Server<'_>) {
    let Server { path, common, .. } = *server;
    if server.takes_image() || !server.has_runtime() {
        return;
    }
    let first = common.volumes.first().map(|volume| ("volumes", &volume.span));
    let of_a_container = [
        first,
        common.network.map(|network| ("network", &network.span)),
        common.user.map(|user| ("user", &user.span)),
        common.shm_size.map(|size| ("shm_size", &size.span)),
        common.read_only.value.then_some(("read_only", &common.read_only.span)),
    ];
    for (name, span) in of_a_container.into_iter().flatten() {
        let note = Note::error("container-only", format!("`{name}` requires `runtime: docker`"));
        checker.at(note.hint("write `runtime: docker`, or leave it out"), format!("{path}.{name}"), span);
    }
}

fn environment(checker: &mut Checker<'_>, server: &Server<'_>) {
    let Server { path, common, .. } = *server;
    for variable in common.env {
        let path = format!("{path}.env.{}", variable.name.value);
        variable_name(checker, &variable.name.value, &path, &variable.name.span);
        if variable.value.to_string().chars().any(char::is_control) {
            let note = Note::error("bad-value", "an environment variable must be one line without control characters");
            checker.at(note, &path, &variable.value.span);
        }
        if looks_secret(&variable.name.value) && !variable.value.value.is_empty() {
            let note =
                Note::error("secret-in-clear", format!("`{}` looks like a plaintext secret", variable.name.value));
            let hint =
                format!("write it under `secrets`: `{}: {{env: NAME}}` or `{{file: PATH}}`", variable.name.value);
            checker.at(note.hint(hint), path, &variable.value.span);
        }
    }
    for variable in common.secrets.iter().filter(|secret| common.env.find(&secret.name.value).is_some()) {
        let note = Note::error("twice", format!("`{}` is also set under `env`", variable.name.value));
        checker.at(note.hint("remove one of the two"), format!("{path}.secrets"), &variable.name.span);
    }
    for variable in common.secrets {
        variable_name(checker, &variable.name.value, &format!("{path}.secrets"), &variable.name.span);
    }
}

fn limits(checker: &mut Checker<'_>, server: &Server<'_>) {
    let Server { path, common, .. } = *server;
    if let Some(memory) = common.limits.memory.as_ref().filter(|memory| memory.0.0 < 1 << 20) {
        let note = Note::error("bad-value", format!("{} is too little memory for any program", memory.0));
        checker.at(note, format!("{path}.limits.memory"), &memory.span);
    }
}

fn variable_name(checker: &mut Checker<'_>, name: &str, path: &str, span: &Range<usize>) {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || !letters || name.starts_with(|c: char| c.is_ascii_digit()) {
        checker.at(Note::error("name", format!("`{name}` is not a valid name of an environment variable")), path, span);
    }
}
