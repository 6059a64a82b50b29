//! Checks for plaintext secrets where a value's type cannot exclude them: in raw settings and in commands.

use super::checker::Checker;
use crate::engines::GATEWAYS;
use crate::manifest::suggest::looks_secret;
use crate::manifest::yaml::{Node, Value};
use crate::resource::{Note, has_password};

pub(super) fn check(checker: &mut Checker<'_>) {
    let tree = checker.tree;
    in_addresses(checker, tree, "");
    if let Some(settings) = tree.field("gateway").and_then(|gateway| gateway.field("settings")) {
        in_settings(checker, settings, "gateway.settings");
    }
    for section in ["cache", "gateway"] {
        if let Some(node) = tree.field(section) {
            in_commands(checker, node, section);
        }
    }
    for section in ["providers", "models", "services"] {
        for (key, node) in tree.field(section).map(Node::entries).unwrap_or_default() {
            in_commands(checker, node, &format!("{section}.{}", key.text));
        }
    }
}

/// Finds `scheme://user:password@host` in any text.
fn in_addresses(checker: &mut Checker<'_>, node: &Node, path: &str) {
    match &node.value {
        Value::Text(text) if has_password(text) => {
            let note = Note::error("secret-in-clear", "this address contains a plaintext password");
            let hint =
                "write it under `secrets`, as `{env: NAME}` or `{file: PATH}`, or in a file that the program reads";
            checker.at(note.hint(hint), path, &node.span);
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.text.clone() } else { format!("{path}.{}", key.text) };
                in_addresses(checker, value, &path);
            }
        }
        Value::List(items) => items.iter().for_each(|item| in_addresses(checker, item, path)),
        _ => {}
    }
}

fn in_settings(checker: &mut Checker<'_>, node: &Node, path: &str) {
    for (key, value) in node.entries() {
        let path = format!("{path}.{}", key.text);
        let refers = |text: &str| GATEWAYS.iter().any(|engine| text.starts_with(engine.reference()));
        let in_clear = matches!(&value.value, Value::Text(text) if !text.is_empty() && !refers(text));
        if in_clear && looks_secret(&key.text) {
            let note = Note::error("secret-in-clear", format!("`{}` looks like a plaintext secret", key.text));
            let engine = checker.manifest.gateway.as_ref().map(|gateway| gateway.engine.value.0);
            let reference = engine.or_else(|| GATEWAYS.first().copied()).map_or("", |engine| engine.reference());
            let hint = format!(
                "write `{reference}NAME` here, and `NAME: {{env: NAME}}` or `{{file: PATH}}` under `gateway.secrets`"
            );
            checker.at(note.hint(hint), &path, &value.span);
        }
        in_settings(checker, value, &path);
    }
    if let Value::List(items) = &node.value {
        for item in items {
            in_settings(checker, item, path);
        }
    }
}

fn in_commands(checker: &mut Checker<'_>, node: &Node, path: &str) {
    for field in ["command", "args"] {
        let Some(Value::List(words)) = node.field(field).map(|node| &node.value) else { continue };
        let mut flag = None;
        for word in words {
            let Value::Text(text) = &word.value else { continue };
            let (name, value) = text.split_once('=').map_or((text.as_str(), None), |(name, value)| (name, Some(value)));
            let named = |name: &str| name.starts_with('-') && looks_secret(name);
            let secret =
                value.map_or(flag.is_some() && !text.starts_with('-'), |value| named(name) && !value.is_empty());
            if secret {
                let shown = flag.unwrap_or(name);
                let note = Note::error("secret-in-clear", format!("`{shown}` looks like a plaintext secret"));
                let hint = "every user of the machine can see a command; set it under `secrets`";
                checker.at(note.hint(hint), format!("{path}.{field}"), &word.span);
            }
            // A flag that names a file or a variable takes no secret.
            flag = Some(name).filter(|name| value.is_none() && named(name));
        }
    }
}
