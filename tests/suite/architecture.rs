//! The architecture, as far as it can be read from the sources: which module uses which, where each outside crate is at
//! home, and what is deliberately absent from the values.

mod graph;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The largest source file, in lines.
const LARGEST: usize = 600;

/// The packages, in the order of the flow: values, then the world.
const PACKAGES: [&str; 2] = ["crates/core", "."];

/// Each outside crate that has a home, and the paths under `src/` of its package where it may be named.
const HOMES: &[(&str, &[&str])] = &[
    ("annotate_snippets", &["manifest/report.rs"]),
    ("anstream", &["cli/problem.rs", "cli/progress.rs", "cli/color.rs"]),
    ("anstyle", &["cli/"]),
    ("bollard", &["systems/docker/"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("indicatif", &["cli/"]),
    ("jiff", &["systems/clock.rs"]),
    ("nvml_wrapper", &["systems/gpu.rs"]),
    ("reqwest", &["systems/http/", "systems/downloads/"]),
    ("rustix", &["systems/"]),
    ("rustls", &["systems/http/", "systems/downloads/"]),
    ("schemars", &["manifest/", "resource/mode.rs"]),
    ("serde_saphyr", &["manifest/yaml.rs", "render/yaml.rs", "lockfile/file.rs"]),
    ("similar", &["cli/"]),
    ("strsim", &["manifest/suggest.rs"]),
    ("tempfile", &["systems/"]),
    ("zbus", &["systems/systemd/"]),
];

/// What values never name: input and output, the environment, clocks, and waiting.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::io",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "async",
    "tokio",
    "futures_util",
];

/// What names one target among several.
const TARGETS: &[&str] = &[
    "Systemd",
    "systemd",
    "Docker",
    "docker",
    "Runtime",
    "Kind::Unit",
    "Kind::Process",
    "Kind::Container",
    "unit_name",
    "unit_file",
    "Launch",
    "NewContainer",
];

/// Modules that treat all targets alike, by the package that they are in.
const WITHOUT_TARGETS: &[(&str, &[&str])] =
    &[("crates/core", &["plan"]), (".", &["observe", "history", "apply", "reconcile", "cli"])];

/// Sources in them that name an outside thing that also is a target, and what for.
const OTHER_THINGS: &[(&str, &str)] = &[
    ("cli/command_line.rs", "the runtime that waits for input and output is called one too"),
    ("observe/pins.rs", "what an image's name leads to is asked of the engine, whoever runs its containers"),
    ("reconcile/world.rs", "the dead-man's switch is a timer of the service manager's"),
];

/// What reads a clock, or waits by it.
const CLOCKS: &[&str] = &["Instant::now", "elapsed(", "thread::sleep", "time::sleep"];

/// Tests that do so all the same, and why.
const TESTS_WITH_CLOCKS: &[(&str, &str)] = &[
    ("tests/suite/clock.rs", "the module for it"),
    ("tests/suite/architecture.rs", "it names them"),
    ("tests/suite/fakes/upstream.rs", "it records when it was asked, for a test on real parts"),
    ("tests/suite/real/", "real parts take their own time, and some of these tests measure it"),
    ("tests/sim/main.rs", "it reports how many runs it makes in a second"),
    ("tests/sim/world.rs", "its clock is simulated"),
];

/// Crates that are given up or unsafe for parsing untrusted files.
const BANNED: &[&str] = &["serde_yaml", "serde_yml", "yaml-rust"];

struct Source {
    /// The package that it is part of.
    package: &'static str,
    /// The path under `src/` of its package.
    path: String,
    text: String,
}

impl Source {
    /// Returns the path from the root of the repository.
    fn shown(&self) -> String {
        format!("{}/src/{}", self.package, self.path).trim_start_matches("./").to_owned()
    }

    /// Returns the module that the file belongs to: the first part of its path.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Returns the lines that are code and not tests, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(index, line)| (index + 1, line))
    }
}

fn root(package: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(package).join("src")
}

fn sources() -> Vec<Source> {
    let mut sources: Vec<Source> = PACKAGES.into_iter().flat_map(sources_of).collect();
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(sources.len() > 50, "only {} sources were found", sources.len());
    sources
}

fn sources_of(package: &'static str) -> Vec<Source> {
    let root = root(package);
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the sources can be listed") {
            let path: PathBuf = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source can be read");
                let path = path.strip_prefix(&root).expect("it lies under the root").display().to_string();
                sources.push(Source { package, path, text });
            }
        }
    }
    sources
}

/// Returns the modules of all packages, in the order of each `lib.rs`.
fn modules() -> Vec<String> {
    let of_package = |package| -> Vec<String> {
        let text = fs::read_to_string(root(package).join("lib.rs")).expect("lib.rs can be read");
        let declared = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        declared.map(str::to_owned).collect()
    };
    PACKAGES.into_iter().flat_map(of_package).collect()
}

/// Returns whether `word` stands in `line` as a whole word or path.
fn says(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(start, _)| !line[..start].ends_with(part) && !line[start + word.len()..].starts_with(part))
}

/// Returns whether a line names an outside crate: in a path, or in an attribute, or by importing it.
fn names_crate(line: &str, name: &str) -> bool {
    let imported = line.trim_start().trim_start_matches("pub ").starts_with("use ");
    line.match_indices(name).any(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + name.len()..]);
        // A name behind another path belongs to another crate.
        let begins = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        let alone = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        begins && alone && (after.starts_with("::") || (imported && before.trim_end().ends_with("use")))
    })
}

/// Returns the modules of this package that a line names: `crate::X`, `crate::{X, Y::Z}`.
fn used(line: &str) -> Vec<String> {
    let word = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    line.match_indices("crate::")
        .flat_map(|(start, live)| {
            let rest = &line[start + live.len()..];
            match rest.strip_prefix('{') {
                None => vec![word(rest)],
                Some(list) => {
                    // Only names at the first level of the braces are modules.
                    let mut depth = 0_i32;
                    let flat: String = list
                        .chars()
                        .filter(|c| {
                            depth += i32::from(*c == '{') - i32::from(*c == '}');
                            depth == 0
                        })
                        .collect();
                    flat.split(',').map(|name| word(name.trim())).collect()
                }
            }
        })
        .collect()
}

fn check(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let modules = modules();
    // Where both packages have a module of a name, each means its own.
    let place = |package: &str, name: &str| {
        let is_named = |module: &String| module == name;
        if package == PACKAGES[0] { modules.iter().position(is_named) } else { modules.iter().rposition(is_named) }
    };
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for source in sources().iter().filter(|source| !matches!(source.path.as_str(), "lib.rs" | "main.rs")) {
        let own = place(source.package, source.module())
            .unwrap_or_else(|| panic!("{} is in no module of lib.rs", source.path));
        seen.insert(own);
        for (number, line) in source.code() {
            for name in used(line) {
                if place(source.package, &name).is_some_and(|place| place > own) {
                    problems.push(format!("{}:{number} uses `{name}`, which is below it", source.shown()));
                }
            }
        }
    }
    assert_eq!(seen.len(), modules.len(), "every module of lib.rs has sources");
    check(&problems);
}

#[test]
fn an_outside_crate_is_used_only_in_its_modules() {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for source in sources() {
        for (number, line) in source.code() {
            for (name, homes) in HOMES.iter().filter(|(name, _)| names_crate(line, name)) {
                seen.insert(*name);
                if !homes.iter().any(|home| source.path.starts_with(home)) {
                    problems.push(format!("{}:{number} names `{name}`, whose home is {homes:?}", source.shown()));
                }
            }
        }
    }
    for (name, _) in HOMES.iter().filter(|(name, _)| !seen.contains(name)) {
        problems.push(format!("`{name}` is used nowhere: take it out"));
    }
    check(&problems);
}

/// Where no engine is named: what plans, records, reconciles and prints is the same for all of them.
const ANY_ENGINE: &[&str] =
    &["resolve/", "plan/", "live/", "status.rs", "pace.rs", "apply/", "reconcile/", "history/", "cli/"];

/// Where one is named all the same, and why.
const ENGINE_NAMED: &[(&str, &str, &str)] = &[
    ("apply/model.rs", "ollama", "it carries out steps on models by the API that servers which pull models have"),
    ("apply/trial.rs", "openai", "a protocol, and no engine"),
    ("resolve/externals.rs", "redis", "a protocol, and no engine"),
];

/// Names of engines that are words of their own in the sources.
const ENGINE_WORDS: &[&str] = &["llama_cpp", "LlamaCpp"];

#[test]
fn what_plans_and_reconciles_names_no_engine() {
    let names: Vec<String> = llamero::engines::all().map(|engine| engine.name().replace('-', "_")).collect();
    // The gateway's own memory is an ordinary word.
    let names =
        names.into_iter().filter(|name| name != "memory").chain(ENGINE_WORDS.iter().map(|name| (*name).to_owned()));
    let names: Vec<String> = names.map(|name| name.to_lowercase()).collect();
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources().iter().filter(|source| ANY_ENGINE.iter().any(|home| source.path.starts_with(home))) {
        for (number, line) in source.code() {
            let line = line.to_lowercase().replace('-', "_");
            for name in names.iter().filter(|name| says(&line, name)) {
                match ENGINE_NAMED.iter().position(|(path, allowed, _)| source.path == *path && name == allowed) {
                    Some(index) => drop(used.insert(index)),
                    None => problems.push(format!("{}:{number} names the engine `{name}`", source.shown())),
                }
            }
        }
    }
    let unused = ENGINE_NAMED.iter().enumerate().filter(|(index, _)| !used.contains(index));
    problems.extend(unused.map(|(_, (path, name, _))| format!("{path} names `{name}` no more: take it out")));
    check(&problems);
}

/// Words that hold the name of an engine where none is meant, and what they are.
const NO_ENGINE: &[(&str, &str)] = &[
    ("OllamaName", "the form of names in registries of models, whoever pulls from them"),
    ("ollama_name", "the same, of a model of the manifest"),
];

/// Where texts of other programs enter, and are classified: each by one table.
const BOUNDARY: &[&str] = &["systems/", "engines/", "manifest/yaml.rs"];

/// A message is for users. What depends on a failure depends on its type.
#[test]
fn no_text_of_a_message_is_read_above_the_boundary() {
    let mut problems = Vec::new();
    let above = |source: &&Source| !BOUNDARY.iter().any(|folder| source.path.starts_with(folder));
    for source in sources().iter().filter(above) {
        for (number, line) in source.code() {
            let literal = line.split(".contains(\"").skip(1);
            let reads_words = literal.into_iter().any(|text| text.starts_with(|c: char| c.is_alphabetic() || c == ' '));
            let reads_message = ["why", "message", "said", "to_string()"]
                .iter()
                .flat_map(|of| [".contains(", ".starts_with(", ".ends_with("].map(|call| format!("{of}{call}")))
                .any(|call| line.contains(&call));
            if reads_words || reads_message {
                problems.push(format!("{}:{number} decides by the words of a text", source.shown()));
            }
        }
    }
    check(&problems);
}

/// What resolves and plans also has no word of which the name of an engine is a part, such as a setting's or a
/// variable's.
#[test]
fn what_resolves_and_plans_has_no_word_of_an_engine() {
    let names = ["litellm", "ollama", "vllm", "llama_cpp", "llamacpp", "openai", "redis_"];
    let homes = ["resolve/", "plan/", "pace.rs", "status.rs"];
    let (mut problems, mut used) = (Vec::new(), BTreeSet::new());
    for source in sources().iter().filter(|source| homes.iter().any(|home| source.path.starts_with(home))) {
        for (number, line) in source.code() {
            let mut line = line.to_owned();
            for (word, _) in NO_ENGINE {
                if says(&line, word) {
                    used.insert(*word);
                    line = line.replace(word, "");
                }
            }
            let line = line.to_lowercase().replace('-', "_");
            let named = names.iter().filter(|name| line.contains(**name));
            problems.extend(named.map(|name| format!("{}:{number} has a word of `{name}`", source.shown())));
        }
    }
    let unused = NO_ENGINE.iter().filter(|(word, _)| !used.contains(word));
    problems.extend(unused.map(|(word, _)| format!("`{word}` is used no more: take it out")));
    check(&problems);
}

#[test]
fn core_modules_are_pure() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| source.package == PACKAGES[0]) {
        for (number, line) in source.code() {
            for word in IMPURE.iter().filter(|word| says(line, word)) {
                problems.push(format!("{}:{number} says `{word}`", source.shown()));
            }
        }
    }
    check(&problems);
}

#[test]
fn a_target_is_named_where_it_is_at_home() {
    let mut problems = Vec::new();
    let mut excused = BTreeSet::new();
    for source in sources() {
        let alike = WITHOUT_TARGETS.iter().find(|(package, _)| *package == source.package);
        if !alike.is_some_and(|(_, modules)| modules.contains(&source.module())) {
            continue;
        }
        for (number, line) in source.code() {
            for word in TARGETS.iter().filter(|word| says(line, word)) {
                match OTHER_THINGS.iter().find(|(path, _)| *path == source.path) {
                    Some((path, _)) => drop(excused.insert(*path)),
                    None => problems.push(format!("{}:{number} says `{word}`", source.shown())),
                }
            }
        }
    }
    for (path, _) in OTHER_THINGS.iter().filter(|(path, _)| !excused.contains(path)) {
        problems.push(format!("`{path}` names no target: take it out"));
    }
    check(&problems);
}

#[test]
fn a_target_has_both_of_its_halves() {
    let folders = |package: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root(package).join("targets")).expect("the targets can be listed");
        let folders = entries.map(|entry| entry.expect("an entry can be read")).filter(|entry| entry.path().is_dir());
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let [pure, world] = PACKAGES.map(folders);
    assert_eq!(pure, world);
    assert_eq!(world.len(), llamero::targets::TARGETS.len());
    for target in llamero::targets::TARGETS {
        assert!(llamero::targets::driver(target.kind()).is_some(), "{target:?} has no driver");
    }
}

#[test]
fn every_file_has_a_module_doc_and_is_short() {
    let mut problems = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            problems.push(format!("{} does not open with `//!`", source.shown()));
        }
        let lines = source.text.lines().count();
        if lines > LARGEST {
            problems.push(format!("{} has {lines} lines, and {LARGEST} is the most", source.shown()));
        }
    }
    check(&problems);
}

#[test]
fn a_lint_is_expected_with_a_reason_and_never_allowed() {
    let mut problems = Vec::new();
    for source in sources() {
        let attributes: Vec<&str> = source.text.split("#[").chain(source.text.split("#![")).skip(1).collect();
        for attribute in attributes {
            let whole = attribute.split(")]").next().unwrap_or_default();
            if whole.starts_with("allow(") || (whole.starts_with("expect(") && !whole.contains("reason")) {
                problems.push(format!("{}: #[{whole})]", source.shown()));
            }
        }
    }
    check(&problems);
}

#[test]
fn banned_crates_are_nowhere_in_the_lock_file() {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).expect("Cargo.lock can be read");
    assert!(lock.contains("name = \"serde-saphyr\""), "this is the lock file of this package");
    let banned = BANNED.iter().filter(|name| lock.contains(&format!("name = \"{name}\"")));
    check(&banned.map(|name| format!("`{name}` is in Cargo.lock")).collect::<Vec<_>>());
}

#[test]
fn the_source_parser_finds_modules_and_crates() {
    assert_eq!(used("use crate::{plan::{self, text}, desired};"), ["plan", "desired"]);
    assert_eq!(used("    crate::resource::Note::error(crate::cli::X)"), ["resource", "cli"]);
    assert!(names_crate("use zbus::proxy;", "zbus") && names_crate("#[zbus::proxy]", "zbus"));
    assert!(!names_crate("use clap_complete::Shell;", "clap") && !names_crate("let similar = 1;", "similar"));
    assert!(says("pub async fn run()", "async") && !says("asynchronous", "async"));
}

/// Returns the path from the root of the repository and the text of every test that is a file of its own.
fn tests() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = ["tests", "crates/core/tests"].map(|folder| root.join(folder)).to_vec();
    let mut tests = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the tests can be listed") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let shown = path.strip_prefix(root).expect("it lies under the root").display().to_string();
                tests.push((shown, fs::read_to_string(&path).expect("a test can be read")));
            }
        }
    }
    assert!(tests.len() > 50, "only {} tests were found", tests.len());
    tests
}

#[test]
fn tests_read_no_clock() {
    let of_sources = sources().into_iter().filter_map(|source| {
        let (_, tests) = source.text.split_once("#[cfg(test)]")?;
        Some((source.shown(), tests.to_owned()))
    });
    let mut unused: Vec<&str> = TESTS_WITH_CLOCKS.iter().map(|(path, _)| *path).collect();
    let mut problems = Vec::new();
    for (path, text) in tests().into_iter().chain(of_sources) {
        let Some(clock) = CLOCKS.iter().find(|clock| text.contains(*clock)) else { continue };
        let excused = TESTS_WITH_CLOCKS.iter().find(|(excused, _)| path.starts_with(excused));
        unused.retain(|path| Some(*path) != excused.map(|(path, _)| *path));
        if excused.is_none() {
            problems.push(format!("{path}: `{clock}`; tests count work or wait for events, with `clock::until`"));
        }
    }
    problems.extend(unused.iter().map(|path| format!("{path} is excused and uses no clock")));
    check(&problems);
}

/// Returns the tests that the table of invariants in `ARCHITECTURE.md` names, such as `laws::converges`.
fn tests_of_invariants() -> Vec<String> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md")).expect("it can be read");
    let (_, table) = text.split_once("## Invariants").expect("a section of invariants");
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| **"));
    let kept_by = rows.filter_map(|row| row.trim_end_matches(" |").rsplit_once(" | "));
    kept_by.flat_map(|(_, tests)| tests.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_invariant_is_kept_by_tests_that_exist() {
    let texts: String = tests().into_iter().map(|(_, text)| text).collect();
    let named = tests_of_invariants();
    assert!(named.len() > 15, "only {} tests are named", named.len());
    let name = |test: &str| test.rsplit("::").next().unwrap_or_default().to_owned();
    let missing = named.iter().filter(|test| !texts.contains(&format!("fn {}(", name(test))));
    check(&missing.map(|test| format!("ARCHITECTURE.md names `{test}`, which is no test")).collect::<Vec<_>>());
}

#[test]
fn files_do_not_use_each_other_in_a_circle() {
    let mut problems = Vec::new();
    for name in PACKAGES {
        let files = sources_of(name).into_iter().map(|source| (source.path, source.text)).collect();
        let graph = graph::graph(&files);
        assert!(graph.values().map(BTreeSet::len).sum::<usize>() > 100, "the graph of {name} is almost empty");
        problems.extend(graph::circles(&graph).iter().map(|circle| format!("{name}: {circle:?}")));
    }
    check(&problems);
}

#[test]
fn the_front_file_of_a_folder_declares_and_re_exports() {
    let fronts = sources().into_iter().filter(|source| source.path.ends_with("mod.rs"));
    let of_code = |source: &Source| {
        let file = syn::parse_file(&source.text).expect("it compiles");
        let declares = |item: &syn::Item| match item {
            syn::Item::Mod(module) => module.content.is_none(),
            syn::Item::Use(_) => true,
            _ => false,
        };
        file.items.iter().filter(|item| !declares(item)).count()
    };
    let problems = fronts.filter(|source| of_code(source) > 0).map(|source| format!("{} holds code", source.shown()));
    check(&problems.collect::<Vec<_>>());
}
