//! Checks that the declared memory fits into the budgets.

use super::checker::Checker;
use crate::resource::{Bytes, Note};

pub(super) fn check(checker: &mut Checker<'_>) {
    gpus(checker);
    host(checker);
}

fn gpus(checker: &mut Checker<'_>) {
    let manifest = checker.manifest;
    for gpu in manifest.machine.gpus.as_deref().unwrap_or_default() {
        let Some(budget) = &gpu.budget else { continue };
        let claims: Vec<(&str, Bytes)> = manifest
            .providers
            .iter()
            .filter(|provider| provider.value.gpus.iter().any(|choice| choice.value == gpu.device.value))
            .filter_map(|provider| Some((provider.name.value.as_str(), provider.value.memory.as_ref()?.0)))
            .collect();
        let sum: Bytes = claims.iter().map(|(_, claim)| *claim).sum();
        if sum > budget.0 {
            let claims: Vec<String> = claims.iter().map(|(name, claim)| format!("`{name}` {claim}")).collect();
            let message = format!("GPU {} has a budget of {}, but {sum} are claimed", gpu.device.value, budget.0);
            let note = Note::error("over-budget", message).hint(format!("lower one of these: {}", claims.join(", ")));
            checker.at(note, "machine.gpus", &budget.span);
        }
    }
}

fn host(checker: &mut Checker<'_>) {
    let manifest = checker.manifest;
    let Some(budget) = &manifest.machine.memory else { return };
    let mut limits = Vec::new();
    let sections = manifest
        .providers
        .iter()
        .map(|entry| (entry.name.value.clone(), entry.value.common()))
        .chain(manifest.services.iter().map(|entry| (entry.name.value.clone(), entry.value.common())))
        .chain(manifest.gateway.iter().map(|gateway| ("gateway".to_owned(), gateway.common())))
        .chain(manifest.cache.iter().map(|cache| ("cache".to_owned(), cache.common())));
    for (name, common) in sections {
        if let Some(memory) = &common.limits.memory {
            limits.push((name, memory.0));
        }
    }
    let sum: Bytes = limits.iter().map(|(_, limit)| *limit).sum();
    if sum > budget.0 {
        let limits: Vec<String> = limits.iter().map(|(name, limit)| format!("`{name}` {limit}")).collect();
        let message = format!("the stack has a budget of {} of host memory, but its limits add up to {sum}", budget.0);
        let note = Note::error("over-budget", message).hint(format!("lower one of these: {}", limits.join(", ")));
        checker.at(note, "machine.memory", &budget.span);
    }
}
