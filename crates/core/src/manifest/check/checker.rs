//! The manifest as the checks see it, with look-up of its parts and their locations.

use crate::manifest::locate::locate;
use crate::manifest::suggest;
use crate::manifest::types::Manifest;
use crate::manifest::yaml::{Key, Node, Value};
use crate::resource::Note;
use std::collections::BTreeMap;
use std::ops::Range;

/// The shared input of the checks: the manifest as text, tree and values, and the notes on it.
pub(super) struct Checker<'a> {
    text: &'a str,
    pub(super) tree: &'a Node,
    /// The keys and values by section and name: a section may have thousands.
    index: BTreeMap<(&'a str, &'a str), (&'a Key, &'a Node)>,
    pub(super) manifest: &'a Manifest,
    pub(super) notes: Vec<Note>,
}

fn index(tree: &Node) -> BTreeMap<(&str, &str), (&Key, &Node)> {
    let sections = tree.entries().iter();
    let entries =
        sections.flat_map(|(section, node)| node.entries().iter().map(move |(key, node)| (section, key, node)));
    entries.map(|(section, key, node)| ((section.text.as_str(), key.text.as_str()), (key, node))).collect()
}

impl<'a> Checker<'a> {
    pub(super) fn new(text: &'a str, tree: &'a Node, manifest: &'a Manifest) -> Self {
        Self { text, tree, index: index(tree), manifest, notes: Vec::new() }
    }

    /// Adds a note with a location.
    pub(super) fn at(&mut self, note: Note, path: impl AsRef<str>, span: &Range<usize>) {
        let place = locate(self.text, path.as_ref(), span.clone());
        self.notes.push(note.at(place));
    }

    /// Returns whether a field is present in the manifest, even if it could not be decoded.
    pub(super) fn declares(&self, path: &str, field: &str) -> bool {
        let node = self.node(path);
        // A misspelt key is reported as such, and not also as missing.
        let meant = |key: &str| suggest::nearest(key, [field]).is_some();
        node.is_some_and(|node| node.entries().iter().any(|(key, _)| meant(&key.text)))
    }

    /// Returns the node at a section, or at a section and a name.
    pub(super) fn node(&self, path: &str) -> Option<&'a Node> {
        match path.split_once('.') {
            None => self.tree.field(path),
            Some((section, name)) => self.index.get(&(section, name)).map(|(_, node)| *node),
        }
    }

    /// Returns the location of the key at a path.
    pub(super) fn key(&self, path: &str) -> Option<Range<usize>> {
        let mut names = path.split('.');
        let (section, name) = (names.next()?, names.next());
        let in_section = |name| self.index.get(&(section, name)).map(|(key, node)| (*key, *node));
        let (mut key, mut node) = match name {
            None => entry(self.tree, section)?,
            Some(name) => in_section(name)?,
        };
        for name in names {
            (key, node) = entry(node, name)?;
        }
        Some(key.span.clone())
    }

    /// Returns whether a section is a mapping or is absent.
    pub(super) fn is_mapping(&self, section: &str) -> bool {
        self.tree.field(section).is_none_or(|node| matches!(node.value, Value::Map(_) | Value::Null))
    }

    /// Returns every name in a section, even if its value could not be decoded.
    pub(super) fn names(&self, section: &str) -> Vec<String> {
        let section = self.tree.field(section);
        section.map(|node| node.entries().iter().map(|(key, _)| key.text.clone()).collect()).unwrap_or_default()
    }
}

fn entry<'a>(node: &'a Node, name: &str) -> Option<(&'a Key, &'a Node)> {
    node.entries().iter().find(|(key, _)| key.text == name).map(|(key, node)| (key, node))
}
