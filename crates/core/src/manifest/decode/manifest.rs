//! The repeated decoding of a manifest, until what is left of it succeeds.

use super::decoder::Decoder;
use super::findings::{Findings, join};
use crate::manifest::types::Manifest;
use crate::manifest::yaml::{Key, Node, Value};
use crate::resource::Note;
use std::cell::RefCell;

/// The largest number of problems reported at once.
const MOST: usize = 100;

/// Decodes a manifest as far as possible.
pub(in crate::manifest) fn decode(text: &str, tree: &Node) -> (Option<Manifest>, Vec<Note>) {
    let findings = RefCell::new(Findings::default());
    let mut tree = tree.clone();
    let mut manifest = None;
    for _ in 0..MOST {
        let root = Decoder { text, node: &tree, path: String::new(), at: 0..0, findings: &findings };
        match serde::Deserialize::deserialize(root) {
            Ok(decoded) => {
                manifest = Some(decoded);
                break;
            }
            Err(error) => {
                let mut findings = findings.borrow_mut();
                let path = error.path.clone().unwrap_or_default();
                let silent =
                    error.missing.as_ref().is_some_and(|field| findings.left_out.contains(&join(&path, field)));
                if !silent {
                    findings.add(text, &error);
                }
                // The root cannot be left out: a placeholder replaces a missing field, so that the rest is decoded
                // too.
                let lacking = error.missing.as_ref().filter(|_| path.is_empty());
                if lacking.is_some_and(|field| stand_in(&mut tree, field)) {
                    lacking.map(|field| findings.left_out.remove(field));
                    continue;
                }
                if path.is_empty() || !findings.left_out.insert(path) {
                    break;
                }
            }
        }
    }
    (manifest, findings.into_inner().notes.into_values().collect())
}

/// Inserts a placeholder for a missing mandatory field; returns whether there is one.
fn stand_in(tree: &mut Node, field: &str) -> bool {
    let value = match field {
        "version" => Value::Integer(1),
        "stack" => Value::Text("stack".to_owned()),
        _ => return false,
    };
    let Value::Map(entries) = &mut tree.value else { return false };
    entries.retain(|(key, _)| key.text != field);
    entries.push((Key { text: field.to_owned(), span: 0..0 }, Node { span: 0..0, value }));
    true
}
