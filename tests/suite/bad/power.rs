//! A power cut at any instant of an apply: what was synced is kept, and what was not is lost in the worst ways.
//!
//! A real apply is traced, every state of the disk that a cut may leave is computed from its calls, laid out, and given
//! to the real program.

mod disk;
mod trace;

use super::home::{CommandOutput, Home, PATIENT, UNHEALTHY, answer, port, run, said, signal, until, web};
use crate::fakes::hub::Hub;
use disk::{Disk, Node, Tree};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use trace::{CALLS, Event, events};

/// Of how many states one is looked at where there is not much time.
const SOME: usize = 40;

/// Of how many that are looked at one is applied to again.
const AGAIN: usize = 4;

/// One apply after the other: by what its servers answer, what else it is called with, how it ends, and what it says
/// then.
const APPLIES: [(&str, &str, i32, &str); 3] = [
    ("one", "", 0, "Applied generation 1 in"),
    ("three", "--json", 0, r#""event":"committed","generation":2"#),
    ("broken", "", 3, "Generation 3 failed and was rolled back"),
];

/// The good generation before the first apply, and after each.
const GOOD: [Option<u64>; 4] = [None, Some(1), Some(2), Some(2)];

struct Stack {
    home: Home,
    /// Where the model comes from, for as long as it can be reached.
    hub: Option<Hub>,
    ports: [u16; 3],
    /// What the stack is not to find in its home: manifests and the trace.
    aside: TempDir,
    /// The texts that each file may have that is no record.
    known: BTreeMap<PathBuf, BTreeSet<Vec<u8>>>,
    /// Those files, by the generation that needs them.
    needed: BTreeMap<u64, BTreeSet<PathBuf>>,
}

/// A state that a power cut may leave.
struct Left {
    tree: Tree,
    /// The number of applies whose end was reported.
    reported: usize,
    /// True if it may be left at the moment of a report.
    now_reported: bool,
}

impl Stack {
    fn new() -> Self {
        let aside = crate::folder();
        let ports = [port(), port(), port()];
        let hub = Hub::start();
        hub.commit("tiny.gguf", "a tiny model");
        let (known, needed) = (BTreeMap::new(), BTreeMap::new());
        let stack = Self { home: Home::new(), hub: Some(hub), ports, aside, known, needed };
        for (word, ..) in APPLIES {
            stack.home.write(&format!("token-{word}"), word);
            fs::write(stack.manifest(word), stack.revision(word)).expect("written");
        }
        stack
    }

    fn manifest(&self, word: &str) -> PathBuf {
        self.aside.path().join(format!("{word}.yaml"))
    }

    /// Declares a server, a model file for another, and a gateway.
    fn revision(&self, word: &str) -> String {
        let [web_port, llama, gateway] = self.ports;
        let program = std::env::current_exe().expect("this program");
        let server = format!("[sh, -c, 'exec \"$0\" --exact bad::home::server --ignored', {}]", program.display());
        let environment = |port: u16| format!("{{PORT: \"{port}\", ANSWER: '{{\"data\": [{{\"id\": \"tiny\"}}]}}'}}");
        let unhealthy = if word == "broken" { UNHEALTHY } else { "" };
        format!(
            "version: 1\nstack: bad\npolicy: {{{PATIENT}}}\n\
             providers:\n  llama: {{engine: llama-cpp, runtime: process, port: {llama}, command: {server}, env: {}}}\n\
             models:\n  tiny: {{provider: llama, source: \"hf:someone/tiny/tiny.gguf\", insecure: true}}\n\
             gateway:\n  engine: litellm\n  runtime: process\n  port: {gateway}\n  retries: {}\n  command: {server}\n  \
             env: {}\n  master_key: {{file: ~/keys/master, generate: true}}\n\
             services:\n{}    secrets: {{TOKEN: {{file: ~/token-{word}}}}}\n",
            environment(llama),
            word.len(),
            environment(gateway),
            web("web", web_port, word, unhealthy),
        )
    }

    fn plan(&self) -> CommandOutput {
        run(self.home.command(&["plan"]).arg(self.manifest("three")).env("HF_ENDPOINT", self.hub_url()))
    }

    fn hub_url(&self) -> &str {
        self.hub.as_ref().map_or("http://127.0.0.1:9", |hub| &hub.url)
    }

    /// Makes every apply under the eyes of strace; returns all that a power cut meanwhile may leave.
    fn apply_all(&mut self) -> Vec<Left> {
        let before = self.tree();
        let trace = self.aside.path().join("trace");
        let apply = |(word, more, code, _): (&str, &str, i32, &str)| {
            let (program, manifest) = (env!("CARGO_BIN_EXE_llamero"), self.manifest(word));
            format!("{program} apply --yes {more} {} || [ $? = {code} ] || exit 99", manifest.display())
        };
        let script = APPLIES.map(apply).join("\n");
        let mut strace = Command::new("strace");
        self.home.sync(&mut strace);
        strace.args(["-I2", "-f", "-y", "-xx", "-s", "1048576", "-e", &format!("trace={CALLS}"), "-o"]).arg(&trace);
        strace.args(["sh", "-c", &script]).env("HF_ENDPOINT", self.hub_url());
        let child = strace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("strace runs");
        // The servers live on, and strace with them.
        let read = || fs::read_to_string(&trace).unwrap_or_default();
        until("all is applied", || ended(&read()).is_some());
        signal(&child, Signal::TERM);
        let said = said(child);
        let text = read();
        assert_eq!(ended(&text), Some(0), "{said}");
        self.power_off();
        self.states(Disk::new(&before), &events(&text, &self.home.path("")))
    }

    /// Follows the calls, and stops after each.
    fn states(&mut self, mut disk: Disk, events: &[Event]) -> Vec<Left> {
        let mut left: Vec<Left> = Vec::new();
        let mut presence: HashMap<Tree, usize> = HashMap::new();
        let mut reported = 0;
        for event in events {
            let now_reported = match event {
                Event::Changed(change) => {
                    disk.apply(change);
                    false
                }
                Event::Said(words) => APPLIES.get(reported).is_some_and(|apply| words.contains(apply.3)),
            };
            reported += usize::from(now_reported);
            for (path, node) in disk.now() {
                if let (true, Node::File { bytes, .. }) = (is_rendered(&path), node) {
                    if let (true, Some(good)) = (now_reported, GOOD[reported]) {
                        self.needed.entry(good).or_default().insert(path.clone());
                    }
                    self.known.entry(path).or_default().insert(bytes);
                }
            }
            for mut tree in disk.after_power_cut() {
                // What a server says is for people.
                tree.retain(|path, _| !path.ends_with("log"));
                if let Some(index) = presence.get(&tree) {
                    // What may be left later on has to be right then.
                    left[*index].reported = reported;
                    left[*index].now_reported |= now_reported;
                } else {
                    presence.insert(tree.clone(), left.len());
                    left.push(Left { tree, reported, now_reported });
                }
            }
        }
        assert_eq!(reported, APPLIES.len(), "not every end was reported");
        assert_eq!(texts(&disk.now()), texts(&self.tree()), "the disk does not match its calls");
        left
    }

    /// Ends everything at once.
    fn power_off(&self) {
        until("nothing runs", || {
            for pid in self.home.processes() {
                let _ = kill_process(Pid::from_raw(pid.cast_signed()).expect("a pid"), Signal::KILL);
            }
            self.home.processes().is_empty()
        });
    }

    fn tree(&self) -> Tree {
        tree(&self.home.path(""))
    }

    fn lay_out(&self, tree: &Tree) {
        for entry in fs::read_dir(self.home.path("")).expect("the home").flatten() {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
        }
        for (path, node) in tree {
            let path = self.home.path("").join(path);
            match node {
                Node::Folder { mode } => fs::DirBuilder::new().mode(*mode).create(path).expect("a folder"),
                Node::Link { target } => symlink(target, path).expect("a link"),
                Node::File { mode, bytes } => {
                    fs::write(&path, bytes).expect("a file");
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("a mode");
                }
            }
        }
    }

    /// Switches the machine on with what is left, and looks.
    fn looks_right(&self, left: &Left) {
        self.lay_out(&left.tree);
        for (path, node) in &left.tree {
            if let (true, Node::File { bytes, .. }) = (is_rendered(path), node) {
                let text = String::from_utf8_lossy(bytes);
                assert!(self.known.get(path).is_some_and(|texts| texts.contains(bytes)), "{}:\n{text}", path.display());
            }
        }
        // Every record is whole or not there.
        let doctor = self.home.llamero(&["doctor", "--stack", "bad"]);
        assert!(doctor.code == 0 || doctor.err.contains("there is no stack"), "{doctor}");
        let good = self.good();
        let possible = &GOOD[left.reported..GOOD.len().min(left.reported + 2)];
        assert!(possible.contains(&good), "{good:?} is the good generation, and not of {possible:?}");
        for path in good.iter().flat_map(|good| &self.needed[good]) {
            assert!(left.tree.contains_key(path), "generation {good:?} is good, and {} is lost", path.display());
        }
        let plan = self.plan();
        assert_eq!(plan.code, 0, "{plan}");
        assert!(good.is_none() || !plan.out.contains("+ create"), "generation {good:?} is good: {plan}");
    }

    /// Returns the good generation.
    fn good(&self) -> Option<u64> {
        let said = self.home.llamero(&["history", "--json", "--stack", "bad"]);
        if said.err.contains("there is no stack") {
            return None;
        }
        assert_eq!(said.code, 0, "{said}");
        let document: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
        let generations = document["generations"].as_array().expect("a list");
        generations.iter().find(|one| one["current"] == true)?["generation"].as_u64()
    }

    /// Applies a desired state to what is left.
    fn goes_on(&self, left: &Left) {
        self.lay_out(&left.tree);
        let mut command = self.home.command(&["apply", "--yes"]);
        let said = run(command.arg(self.manifest("three")).env("HF_ENDPOINT", self.hub_url()));
        assert_eq!((said.code, answer(self.ports[0]).as_deref()), (0, Some("three")), "{said}");
        let plan = self.plan();
        plan.has(&["Nothing to do"]);
        self.power_off();
    }

    /// Rolls back from what is left to a committed generation, where nothing can be fetched.
    fn goes_back(&self, left: &Left, generation: u64) {
        self.lay_out(&left.tree);
        let mut command = self.home.command(&["rollback", &generation.to_string(), "--yes", "--stack", "bad"]);
        let said = run(command.env("HF_ENDPOINT", self.hub_url()));
        let word = APPLIES[usize::try_from(generation).expect("small") - 1].0;
        assert_eq!((said.code, answer(self.ports[0]).as_deref()), (0, Some(word)), "{said}");
        self.power_off();
    }
}

/// Returns whether a file is rendered, and not a record.
fn is_rendered(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    path.ends_with("keys/master") || ["yaml", "env", "gguf"].iter().any(|one| ending == *one)
}

fn node(path: &Path) -> Node {
    let metadata = fs::symlink_metadata(path).expect("metadata");
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_symlink() {
        Node::Link { target: fs::read_link(path).expect("a link") }
    } else if metadata.is_dir() {
        Node::Folder { mode }
    } else {
        Node::File { mode, bytes: fs::read(path).expect("a file") }
    }
}

/// Returns everything below a folder.
fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            let node = node(&path);
            if matches!(node, Node::Folder { .. }) {
                folders.push(path.clone());
            }
            tree.insert(path.strip_prefix(root).expect("below the root").to_owned(), node);
        }
    }
    tree
}

fn texts(tree: &Tree) -> BTreeMap<&Path, Option<String>> {
    let text = |node: &Node| match node {
        Node::File { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    };
    tree.iter().map(|(path, node)| (path.as_path(), text(node))).collect()
}

/// Returns the exit code of the first process of a trace, once it has ended.
fn ended(trace: &str) -> Option<i32> {
    let of =
        |line: &'_ str| line.split_once(' ').map(|(process, rest)| (process.to_owned(), rest.trim_start().to_owned()));
    let (first, _) = of(trace.lines().next()?)?;
    let rest = |line: &str| of(line).filter(|(process, _)| *process == first).map(|(_, rest)| rest);
    let end =
        trace.lines().filter_map(rest).find_map(|line| Some(line.strip_prefix("+++ exited with ")?.to_owned()))?;
    end.split(' ').next()?.parse().ok()
}

/// Returns whether calls can be traced here.
fn may_trace() -> bool {
    let probe = Command::new("strace").args(["-qq", "-f", "-y", "-o", "/dev/null", "true"]).output();
    let may = probe.is_ok_and(|output| output.status.success());
    if !may {
        crate::skipped("there is no strace, or nothing may be traced here");
    }
    may
}

/// Checks one of so many states that a power cut may leave, and each that may be left when an end is reported.
fn survives(every: usize) {
    if !may_trace() {
        return;
    }
    let mut stack = Stack::new();
    let all = stack.apply_all();
    for (_, left) in all.iter().enumerate().filter(|(index, left)| left.now_reported || index % every == 0) {
        stack.looks_right(left);
    }
    for left in all.iter().step_by(every * AGAIN) {
        stack.goes_on(left);
    }
    stack.hub = None;
    for left in all.iter().filter(|left| left.now_reported) {
        for generation in GOOD[..=left.reported].iter().flatten().collect::<BTreeSet<_>>() {
            stack.goes_back(left, *generation);
        }
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_reported() {
    survives(SOME);
}

#[test]
#[ignore = "takes minutes: `make faults`"]
fn every_power_cut_loses_nothing_that_was_reported() {
    survives(1);
}
