//! Checks for cycles: in fallbacks and in the start order.

use super::checker::Checker;
use crate::manifest::values::Spanned;
use crate::resource::Note;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(checker: &mut Checker<'_>) {
    let manifest = checker.manifest;
    let fallbacks: BTreeMap<&str, &[Spanned<String>]> =
        manifest.models.iter().map(|model| (model.name.value.as_str(), model.value.fallbacks.as_slice())).collect();
    report(checker, "models", "fallbacks", &fallbacks);
    let after: BTreeMap<&str, &[Spanned<String>]> =
        manifest.services.iter().map(|service| (service.name.value.as_str(), service.value.after.as_slice())).collect();
    report(checker, "services", "after", &after);
}

fn report(checker: &mut Checker<'_>, section: &str, field: &str, edges: &BTreeMap<&str, &[Spanned<String>]>) {
    let mut finished: BTreeSet<&str> = BTreeSet::new();
    for start in edges.keys() {
        let mut trail = Vec::new();
        if let Some((names, closing)) = cycle(start, edges, &mut trail, &mut finished) {
            let note = Note::error("cycle", format!("`{field}` forms a cycle: {}", names.join(" → ")));
            let owner = names.get(names.len().saturating_sub(2)).copied().unwrap_or_default();
            checker.at(note.hint("remove one of them"), format!("{section}.{owner}.{field}"), &closing.span);
        }
    }
}

/// Follows the edges from `name`; returns the names of a cycle and the entry that closes it.
fn cycle<'a>(
    name: &'a str,
    edges: &BTreeMap<&'a str, &'a [Spanned<String>]>,
    trail: &mut Vec<&'a str>,
    finished: &mut BTreeSet<&'a str>,
) -> Option<(Vec<&'a str>, &'a Spanned<String>)> {
    if finished.contains(&name) {
        return None;
    }
    trail.push(name);
    for next in edges.get(name).copied().unwrap_or_default() {
        // A name that refers to itself is reported with the references.
        if next.value == name {
            continue;
        }
        if let Some(begin) = trail.iter().position(|presence| *presence == next.value) {
            let mut names = trail[begin..].to_vec();
            names.push(next.value.as_str());
            finished.extend(trail.iter().copied());
            return Some((names, next));
        }
        if let Some(live) = cycle(next.value.as_str(), edges, trail, finished) {
            return Some(live);
        }
    }
    trail.pop();
    finished.insert(name);
    None
}
