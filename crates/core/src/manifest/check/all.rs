//! All checks of a manifest, in order.

use super::checker::Checker;
use super::{budgets, clash, cycles, engines, parts, ports, references, secrets, servers, sources, unused};
use crate::manifest::types::Manifest;
use crate::manifest::yaml::Node;
use crate::resource::Note;

/// Checks a manifest as far as it could be decoded.
pub(in crate::manifest) fn check(text: &str, tree: &Node, manifest: &Manifest) -> Vec<Note> {
    let mut checker = Checker::new(text, tree, manifest);
    parts::check(&mut checker);
    servers::check(&mut checker);
    secrets::check(&mut checker);
    references::check(&mut checker);
    cycles::check(&mut checker);
    ports::check(&mut checker);
    budgets::check(&mut checker);
    engines::check(&mut checker);
    sources::check(&mut checker);
    clash::check(&mut checker);
    unused::check(&mut checker);
    checker.notes
}
