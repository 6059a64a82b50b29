//! An apply that is killed at random instants, with real servers on the user manager and as processes.

use super::home::{Home, files_below, property};
use super::killer::Killer;
use llamero::history::History;
use llamero::render::marker;
use llamero::resource::{Kind, ResourceId, Spec};
use llamero::systems::proc;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

/// The default number of kills.
const KILLS: u32 = 40;

/// After how many kills all of it is taken down, to see that nothing is left.
const DOWN: u32 = 20;

const PORTS: [u16; 3] = [18570, 18571, 18572];

struct Stack {
    home: Home,
    /// The texts that each rendered file may have.
    known: BTreeMap<PathBuf, BTreeSet<String>>,
}

impl Stack {
    /// Declares three Redis servers, one of which only one of the two revisions has.
    fn revision(&self, word: &str) {
        let memory = if word == "one" { "64mb" } else { "65mb" };
        let server = |name: &str, runtime: &str, port: u16| {
            format!(
                "  {name}:\n    runtime: {runtime}\n    command: [redis-server, --port, \"{port}\", --save, \"\", --maxmemory, \
                 {memory}, --bind, 127.0.0.1, --set-proc-title, \"no\"]\n    ports: [\"{port}\"]\n    secrets: {{TOKEN_{word}: {{file: {}}}}}\n",
                self.home.path("token").display()
            )
        };
        let mut services = server("unit", "systemd", PORTS[0]) + &server("process", "process", PORTS[1]);
        if word == "two" {
            services += &server("second", "systemd", PORTS[2]);
        }
        let policy = "policy: {health: {timeout: 20s, stable_for: 0s}}";
        self.home.write("llamero.yaml", &format!("version: 1\nstack: kills\n{policy}\nservices:\n{services}"));
    }

    fn records(&self) -> PathBuf {
        self.home.under_home(".local/state/llamero/kills")
    }

    /// Returns the text of every unit file and file of secrets.
    fn rendered(&self) -> BTreeMap<PathBuf, String> {
        let units = self.home.under_home(".config/systemd/user");
        let managed =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kills-"));
        let units = files_below(&units).into_iter().filter(managed).filter(|path| !path.is_symlink());
        let secrets = files_below(&self.records().join("secrets"));
        units.chain(secrets).map(|path| (path.clone(), fs::read_to_string(&path).expect("text"))).collect()
    }

    /// Returns every process of the stack that runs, by its mark. Redis leaves it alone where it may not change its
    /// title.
    fn running() -> BTreeSet<ResourceId> {
        let mark = |process: proc::Status| proc::variable(process.identity.pid, proc::RESOURCE);
        proc::all().into_iter().filter_map(|process| mark(process)?.strip_prefix("kills/")?.parse().ok()).collect()
    }

    /// Asserts that every file is old or new, and that whatever there is, is on record.
    #[track_caller]
    fn is_sound(&self, what: &str) {
        let inventory = History::new(self.records()).memory().expect("whole records").inventory;
        let on_record = |id: &ResourceId| inventory.iter().any(|resource| resource.id == *id);
        for (path, text) in self.rendered() {
            // A file that was to replace another is neither of the two yet, and belongs to neither.
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".llamero-new-")) {
                continue;
            }
            let whole = self.known.get(&path).is_some_and(|texts| texts.contains(&text));
            assert!(whole, "half a file after {what}: {}\n{text}", path.display());
            let private = path.extension().is_some_and(|extension| extension == "env");
            assert_eq!(text.contains("a token"), private, "a secret is in its private file alone: {}", path.display());
            let marker = marker::read(&text).expect("a marker");
            assert!(on_record(&marker.resource), "after {what} {} is not on record", path.display());
        }
        for id in Self::running() {
            assert!(on_record(&id), "after {what} {id} runs and is not on record");
        }
        let directories = inventory.iter().filter(|resource| matches!(resource.spec, Spec::File(_)));
        assert!(directories.count() >= 2, "the inventory is not empty");
        self.home.expect(0, &["doctor"]);
    }

    /// Asserts that the desired state runs.
    #[track_caller]
    fn is_as_wished(&self, word: &str, what: &str) {
        assert!(self.home.expect(0, &["plan"]).contains("Nothing to do"), "{what}");
        let kinds = |word: &str| match word {
            "two" => vec![(Kind::Unit, "unit"), (Kind::Unit, "second"), (Kind::Process, "process")],
            _ => vec![(Kind::Unit, "unit"), (Kind::Process, "process")],
        };
        let names = |(kind, name): (Kind, &str)| {
            let name = if kind == Kind::Unit { format!("kills-{name}") } else { name.to_owned() };
            ResourceId::new(kind, name)
        };
        let expected: BTreeSet<ResourceId> = kinds(word).into_iter().map(names).collect();
        assert_eq!(Self::running(), expected, "{what}");
        assert_eq!(property("kills-unit.service", "ActiveState"), "active", "{what}");
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // A test that fails leaves nothing that runs.
        let _ = self.home.llamero(&["down", "--purge", "--yes", "--stack", "kills"]);
    }
}

/// Returns in which part of an apply its last word came.
fn part(events: &str) -> String {
    let mut part = "looks and plans".to_owned();
    for line in events.lines() {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let word = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let verb = |step: &str| {
            step.split_once(' ').map_or(step.to_owned(), |(verb, rest)| {
                let object =
                    rest.rsplit(' ').next().unwrap_or_default().split('/').next().unwrap_or_default().to_owned();
                format!("{verb} {object}")
            })
        };
        match event["event"].as_str().unwrap_or_default() {
            "planned" => "begins a generation".clone_into(&mut part),
            "started" => part = verb(&word("step")),
            "done" => part = format!("after {}", verb(&word("step"))),
            "settling" => "sees whether it lasts".clone_into(&mut part),
            "committed" => "committed, clears away".clone_into(&mut part),
            "finished" => "is done".clone_into(&mut part),
            _ => {}
        }
    }
    part
}

#[test]
#[ignore = "needs a systemd user manager"]
#[expect(clippy::print_stdout, reason = "the lane shows what it did")]
fn an_apply_survives_kills_at_random_instants() {
    let kills = std::env::var("LLAMERO_KILLS").ok().map_or(KILLS, |number| number.parse().expect("a number"));
    let mut stack = Stack { home: Home::new(), known: BTreeMap::new() };
    stack.home.write("token", "a token");
    let mut killer = None;
    for word in ["one", "two", "one", "two"] {
        stack.revision(word);
        killer = Some(Killer::measure(&stack.home));
        stack.is_as_wished(word, "the first time");
        for (path, text) in stack.rendered() {
            stack.known.entry(path).or_default().insert(text);
        }
    }
    assert_eq!(stack.known.len(), 5, "two units and three files of secrets: {:?}", stack.known.keys());

    let mut parts: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let mut killer = killer.expect("four applies were measured");
    for kill in 0..kills {
        let word = if kill % 2 == 0 { "one" } else { "two" };
        stack.revision(word);
        let part = part(&killer.kill(&stack.home).events);
        let what = format!("kill {kill} ({part})");
        stack.is_sound(&what);
        let repaired = stack.home.expect(0, &["plan"]);
        if kill % DOWN == DOWN - 1 {
            let down = stack.home.expect(0, &["down", "--yes"]);
            assert_eq!(Stack::running(), BTreeSet::new(), "{what}\n{repaired}\n{down}");
            assert_eq!(stack.rendered(), BTreeMap::new(), "{what}");
        }
        stack.home.expect(0, &["apply", "--yes"]);
        stack.is_as_wished(word, &what);
        let counts = parts.entry(part).or_default();
        counts.0 += 1;
        counts.1 += u32::from(!repaired.contains("Nothing to do"));
    }
    stack.home.expect(0, &["down", "--purge", "--yes"]);
    assert_eq!(Stack::running(), BTreeSet::new());

    let table = table(&parts, kills);
    println!("{table}");
    if let Some(path) = std::env::var_os("LLAMERO_KILLS_REPORT") {
        fs::write(path, table).expect("written");
    }
}

fn table(parts: &BTreeMap<String, (u32, u32)>, kills: u32) -> String {
    let mut sorted: Vec<_> = parts.iter().collect();
    sorted.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let mut text = format!(
        "# Killed {kills} times\n\n`make kills` makes this anew: `llamero apply` of a changed manifest is killed (SIGKILL) after a \
         random time. Three real\nRedis servers, as systemd user units and as a process; each change rewrites files of secrets and \
         units, restarts two\nservers, and adds or removes the third. After each kill every file is whole, old or new; whatever \
         there is, is on\nrecord; `apply` brings about what is declared, and then `plan` has nothing to do.\n\n\
         | what it last said it was doing | kills | of these with work left | |\n|---|---:|---:|---|\n"
    );
    let most = sorted.first().map_or(1, |(_, (count, _))| *count);
    for (part, (count, left)) in sorted {
        let bar = "█".repeat((count * 24).div_ceil(most) as usize);
        let _ = writeln!(text, "| {part} | {count} | {left} | {bar} |");
    }
    text
}
