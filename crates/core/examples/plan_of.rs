//! Does the work of one plan over many services, all of it values, so that a profiler can count its instructions.
//!
//! usage: `plan_of STAGE COUNT`, where each STAGE includes those before it: `read`, `resolve`, `create` (nothing is
//! live), `nothing` (everything is live and as declared)

use llamero_core::live::{Observation, Presence};
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::plan::{Past, foresee_all, plan};
use llamero_core::resolve::{Directories, Facts, questions, resolve};
use llamero_core::resource::ResourceId;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How many different commands there are.
const SHAPES: usize = 50;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [stage, count] = &arguments[..] else { return ExitCode::from(2) };
    let (Some(depth), Ok(count)) =
        (["read", "resolve", "create", "nothing"].iter().position(|known| known == stage), count.parse())
    else {
        return ExitCode::from(2);
    };
    if work(depth, count) == count { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns how many services the last stage dealt with.
fn work(depth: usize, count: usize) -> usize {
    let services: String = (0..count)
        .map(|number| {
            format!("  sleep-{number}: {{runtime: process, command: [/bin/sleep, \"{}\"]}}\n", number % SHAPES)
        })
        .collect();
    let (manifest, _) = manifest::read(&format!("version: 1\nstack: bench\nservices:\n{services}"));
    let Some(manifest) = manifest else { return 0 };
    if depth == 0 {
        return manifest.services.iter().count();
    }
    let (desired, _) = resolve(&manifest, &LockFile::default(), &facts(&manifest));
    if depth == 1 {
        return desired.resources.len();
    }
    let absent = |id: &ResourceId| (id.clone(), Presence::Absent);
    let observed = Observation { resources: desired.resources.keys().map(absent).collect(), ..Observation::default() };
    let create = plan(&desired, &observed, &Past::default());
    if depth == 2 {
        return create.changes.len();
    }
    let live = foresee_all(&desired, &observed, &create);
    let nothing = plan(&desired, &live, &Past::default());
    if nothing.is_empty() { nothing.unchanged } else { 0 }
}

fn facts(manifest: &manifest::Manifest) -> Facts {
    let home = PathBuf::from("/home/ai");
    let directories = Directories {
        config: home.join(".config"),
        state: home.join(".local/state"),
        data: home.join(".local/share"),
        manifest: home.join("stack"),
        home,
    };
    let programs = questions(manifest, &directories).programs;
    Facts {
        directories,
        secrets: BTreeMap::new(),
        programs: programs.into_iter().map(|name| (name.clone(), Path::new("/usr/bin").join(name))).collect(),
        python: None,
        hub: String::new(),
        hub_token: false,
        memory: None,
        pythons: BTreeMap::new(),
        gpus: None,
        fetched: BTreeMap::new(),
    }
}
