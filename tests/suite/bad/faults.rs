//! An apply in which one system call fails, for each of them in turn.

use super::home::{CommandOutput, Home, PATIENT, answer, port, said, until, web};
use crate::clock::ends_within;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The operations that can fail: their names on different machines, and their possible errors.
const FAULTS: &[(&str, &[&str])] = &[
    ("rename,renameat,renameat2", &["ENOSPC", "EROFS", "EIO"]),
    ("fsync,fdatasync", &["EIO", "ENOSPC"]),
    ("mkdir,mkdirat", &["ENOSPC", "EROFS"]),
    ("unlink,unlinkat", &["EROFS", "EIO"]),
    ("fchmod", &["EROFS", "EIO"]),
    ("write", &["ENOSPC", "EIO"]),
    ("openat", &["ENOSPC", "EROFS", "EMFILE", "EIO"]),
    ("read", &["EIO"]),
    ("getdents64", &["EIO"]),
    ("socket", &["EMFILE"]),
    ("statx,newfstatat", &["EIO"]),
    ("clone,clone3,vfork,fork", &["EAGAIN", "ENOMEM"]),
];

/// How long an apply takes at the very most.
const DEADLINE: Duration = Duration::from_secs(120);

/// Up to here each call fails in its turn, and from here on ever fewer: these look at every process of the machine.
const EACH: u32 = 60;

/// Of how many calls one fails where there is not much time.
const SOME: u32 = 4;

/// How many calls of one kind are looked at.
const MANY: u32 = 1500;

/// After how many applies in which nothing failed there is no more to fail.
const BEYOND: u32 = 3;

/// What tokio and the standard library say before they give up: they were denied a thread, or a word between two of
/// their own threads, which never happens but here.
const DENIED: &[&str] = &["OS can't spawn worker thread", "failed to wake I/O driver"];

struct Stack {
    home: Home,
    /// Where the calls of an apply are put down, out of its sight.
    trace: TempDir,
    port: u16,
    /// The texts that each rendered file may have.
    known: BTreeMap<PathBuf, BTreeSet<String>>,
}

impl Stack {
    /// Applies both revisions once, to learn their rendered files.
    fn new() -> Self {
        let trace = crate::folder();
        let mut stack = Self { home: Home::new(), trace, port: port(), known: BTreeMap::new() };
        for word in ["one", "two"] {
            stack.revision(word);
            stack.home.expect(0, &["apply", "--yes"]);
            for (path, text) in stack.rendered() {
                stack.known.entry(path).or_default().insert(text);
            }
        }
        assert_eq!(stack.known.len(), 1, "the file of secrets: {:?}", stack.known.keys());
        stack
    }

    fn revision(&self, word: &str) {
        self.home.write("token", "a token");
        let web = web("web", self.port, word, "");
        let services = format!("services:\n{web}    secrets: {{TOKEN_{word}: {{file: ~/token}}}}");
        self.home.manifest_with(PATIENT, &services);
    }

    fn rendered(&self) -> BTreeMap<PathBuf, String> {
        let files = self.home.listing().into_keys().filter(|path| path.extension().is_some_and(|end| end == "env"));
        files.map(|path| (path.clone(), fs::read_to_string(&path).expect("text"))).collect()
    }

    /// Applies while the call number `count` of each thread fails; returns what was said, and the calls that failed.
    fn apply_with(&self, calls: &str, error: &str, count: u32) -> (CommandOutput, Vec<String>) {
        let trace = self.trace.path().join("trace");
        let _ = fs::remove_file(&trace);
        let mut strace = Command::new("strace");
        self.home.sync(&mut strace);
        // The supervisor and its server are let go as soon as they are programs of their own.
        strace.args(["-f", "-qq", "-y", "-b", "execve", "-e", &format!("trace={calls}")]);
        strace.args(["-e", &format!("inject={calls}:error={error}:when={count}"), "-o"]).arg(&trace);
        strace.arg(env!("CARGO_BIN_EXE_llamero")).args(["apply", "--yes"]);
        let mut child = strace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("strace runs");
        while !ends_within(&mut child, DEADLINE) {
            self.end_hung();
        }
        let said = said(child);
        let trace = fs::read_to_string(&trace).unwrap_or_default();
        (said, injected(&trace))
    }

    /// Ends the apply that hangs.
    fn end_hung(&self) {
        for pid in self.home.processes() {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if line.ends_with(b"llamero\0apply\0--yes\0") && !line.starts_with(b"strace") {
                let pid = Pid::from_raw(pid.cast_signed()).expect("a pid");
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }

    /// Fails one call in an apply of the other revision and returns its exit code; `None` when there was no such call.
    fn survives(&self, calls: &str, error: &str, count: u32) -> Option<i32> {
        let home = &self.home;
        let (old, new) = if answer(self.port).as_deref() == Some("one") { ("one", "two") } else { ("two", "one") };
        self.revision(new);
        let before = home.listing();
        let (said, injected) = self.apply_with(calls, error, count);
        let what = format!("{calls} {error} {count}:\n{}\n{said}", injected.join("\n"));
        let panics = panics(&said.err);
        for panic in &panics {
            assert!(panic.is_of_others(), "{panic:?}: {what}");
        }
        // Between its own threads the kernel never fails: one that waits for a word that was lost was ended from
        // outside.
        let unheard = injected.iter().all(|line| line.contains("anon_inode:") || line.contains("pipe:"));
        let unborn = said.code == 127 && said.err.contains("shared libraries")
            || said.code == 1 && said.err.contains("cannot start:");
        if unborn {
            assert_eq!(home.listing(), before, "it could not begin and has begun: {what}");
        } else if [101, -Signal::ABORT.as_raw()].contains(&said.code) {
            assert!(!panics.is_empty(), "{what}");
        } else if !(unheard && said.code == -Signal::KILL.as_raw()) {
            assert!([0, 1, 2, 3, 4].contains(&said.code), "{what}");
        }
        let lives = answer(self.port);
        match said.code {
            0 | 2 => assert_eq!(lives.as_deref(), Some(new), "{what}"),
            1 | 3 | 127 => assert_eq!(lives.as_deref(), Some(old), "{what}"),
            _ => assert!(lives.is_none() || [old, new].contains(&lives.as_deref().unwrap_or_default()), "{what}"),
        }
        for (path, text) in self.rendered() {
            assert!(self.known.get(&path).is_some_and(|texts| texts.contains(&text)), "half a file: {what}\n{text}");
        }
        home.expect(0, &["doctor"]);
        if said.code == 4 {
            self.helps(&said, old);
        }
        let again = home.expect(0, &["apply", "--yes"]);
        home.expect(0, &["plan"]).has(&["Nothing to do"]);
        assert_eq!(answer(self.port).as_deref(), Some(new), "{what}\nthen {again}");
        // A dead-man's switch that could not be observed, and so was not disarmed, ends by itself a second later.
        until(&format!("one server and its supervisor: {what}\nthen {again}"), || home.processes().len() == 2);
        (!injected.is_empty()).then_some(said.code)
    }

    /// Runs the printed remedies one after the other.
    #[track_caller]
    fn helps(&self, said: &CommandOutput, old: &str) {
        let (_, remedies) =
            said.err.split_once("What to do:\n").unwrap_or_else(|| panic!("no remedy is printed: {said}"));
        let lines: Vec<&str> = remedies.lines().map_while(|line| line.strip_prefix("  ")).collect();
        let commands: Vec<Vec<&str>> = lines.iter().map(|line| line.split_whitespace().collect()).collect();
        let verbs: Vec<&str> = commands.iter().filter(|words| words[0] == "llamero").map(|words| words[1]).collect();
        assert_eq!(verbs, ["status", "rollback", "down"], "{said}");
        for words in &commands {
            match words[..] {
                ["less", path] => assert!(fs::exists(path).is_ok_and(|there| there), "{path}: {said}"),
                ["llamero", "status", ..] => {
                    let code = self.home.llamero(&words[1..]).code;
                    assert!([0, 2].contains(&code), "status ends with {code}: {said}");
                }
                ["llamero", verb, ..] => {
                    let agreed: Vec<&str> = words[1..].iter().copied().chain(["--yes"]).collect();
                    let then = self.home.expect(0, &agreed);
                    let expected = (verb == "rollback").then_some(old);
                    assert_eq!(answer(self.port).as_deref(), expected, "{said}\nthen {then}");
                }
                _ => panic!("`{}` is no command known here: {said}", words.join(" ")),
            }
        }
    }

    /// Fails one of so many calls of one kind, each in its turn, and returns how often it ended with which exit code.
    fn survives_all(&self, calls: &str, error: &str, every: u32) -> BTreeMap<i32, u32> {
        let mut codes = BTreeMap::new();
        let mut beyond = 0;
        let mut count = 1;
        while count < MANY && beyond < BEYOND {
            match self.survives(calls, error, count) {
                Some(code) => *codes.entry(code).or_default() += 1,
                // Calls are counted for each thread, and these take their work as it comes.
                None => beyond += 1,
            }
            count += (count / EACH).max(every);
        }
        codes
    }
}

/// One panic: where it was in the sources, and what it said.
#[derive(Debug, PartialEq)]
struct Panic {
    place: String,
    message: String,
}

impl Panic {
    /// Returns whether it is tokio's or the standard library's own.
    fn is_of_others(&self) -> bool {
        self.place.starts_with('/') && DENIED.iter().any(|message| self.message.starts_with(message))
    }
}

fn panics(said: &str) -> Vec<Panic> {
    let begin = |(index, line): (usize, &str)| Some((index, line.split_once(" panicked at ")?.1.to_owned()));
    let message = |index: usize| said.lines().nth(index + 1).unwrap_or_default().to_owned();
    let live = said.lines().enumerate().filter_map(begin);
    live.map(|(index, place)| Panic { place, message: message(index) }).collect()
}

/// Returns the calls of a trace that failed on purpose. One that was cut in two by another thread's is put together.
fn injected(trace: &str) -> Vec<String> {
    let lines: Vec<&str> = trace.lines().collect();
    let failed = lines.iter().enumerate().filter(|(_, line)| line.ends_with("(INJECTED)"));
    let whole = |(index, line): (usize, &&str)| {
        let thread = line.split_once(' ').map_or("", |(thread, _)| thread);
        let begun =
            lines[..index].iter().rev().find(|other| other.split_once(' ').is_some_and(|(one, _)| one == thread));
        let begun = begun.filter(|_| line.contains(" resumed>")).unwrap_or(&"");
        format!("{begun} {line}")
    };
    failed.map(whole).collect()
}

/// Returns whether calls can be made to fail here.
fn may_inject() -> bool {
    let probe = Command::new("strace").args(["-qq", "-f", "-b", "execve", "-o", "/dev/null", "true"]).output();
    let may = probe.is_ok_and(|output| output.status.success());
    if !may {
        crate::skipped("there is no strace, or nothing may be traced here");
    }
    may
}

#[test]
fn only_panics_of_dependencies_are_excused() {
    let said = |place: &str, message: &str| {
        let live =
            panics(&format!("error: x\n\nthread 'main' (7) panicked at {place}:1:2:\n{message}\nnote: run with\n"));
        assert_eq!(live, [Panic { place: format!("{place}:1:2:"), message: message.to_owned() }]);
        live[0].is_of_others()
    };
    let tokio = "/home/a/.cargo/registry/src/tokio-1.54.1/src/runtime/blocking/pool.rs";
    assert!(said(tokio, "OS can't spawn worker thread: Cannot allocate memory (os error 12)"));
    assert!(!said(tokio, "index out of bounds: the len is 0 but the index is 0"));
    assert!(!said("src/turn/mod.rs", "failed to wake I/O driver"));
    assert!(panics("error: nothing was changed\n").is_empty());
}

#[test]
fn a_rename_or_a_sync_may_fail_anywhere() {
    if !may_inject() {
        return;
    }
    let stack = Stack::new();
    for (calls, errors) in &FAULTS[..2] {
        let codes = stack.survives_all(calls, errors[0], SOME);
        // Some come before anything that runs is touched, some after.
        assert!(codes.contains_key(&1) && codes.contains_key(&3), "{calls}: {codes:?}");
    }
}

#[test]
fn without_threads_nothing_changes() {
    if !may_inject() {
        return;
    }
    let stack = Stack::new();
    for count in 1..=2 {
        let before = stack.home.listing();
        let (said, injected) = stack.apply_with("clone,clone3", "EAGAIN", count);
        assert_eq!((said.code, injected.len()), (1, 1), "{said}");
        said.has(&["cannot start: OS can't spawn worker thread"]);
        assert_eq!(stack.home.listing(), before, "{said}");
    }
}

#[test]
#[ignore = "takes minutes: `make faults`"]
#[expect(clippy::print_stdout, reason = "the lane shows what it did")]
fn every_system_call_may_fail() {
    assert!(may_inject());
    let only = std::env::var("LLAMERO_FAULTS").unwrap_or_default();
    let stack = Stack::new();
    for (calls, errors) in FAULTS.iter().filter(|(calls, _)| calls.contains(&only)) {
        for error in *errors {
            let codes = stack.survives_all(calls, error, 1);
            println!("{calls} {error}: exit code => runs {codes:?}");
        }
    }
}
