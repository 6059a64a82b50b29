//! Read-only commands: no side effects, no escape codes, valid JSON.

use super::home::{Home, UNHEALTHY, port, run, said, web};
use std::process::{Command, Stdio};

#[test]
fn a_closed_pipe_is_no_failure() {
    let home = Home::new();
    let mut child = home.begin(&["schema"]);
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("waited for").code(), Some(0));
    let mut shell = Command::new("bash");
    home.sync(&mut shell);
    let line = format!("set -o pipefail; {} schema | head -n 1", env!("CARGO_BIN_EXE_llamero"));
    let piped = run(shell.args(["-c", &line]));
    assert_eq!((piped.code, piped.out.as_str()), (0, "{\n"), "{piped}");
}

#[test]
fn pipes_get_no_escape_codes() {
    let home = Home::new();
    home.manifest(&format!("services:\n{}", web("web", port(), "one", "")));
    for words in
        [&["plan"][..], &["apply", "--yes"], &["status"], &["diff"], &["history"], &["plan", "gone"], &["--help"]]
    {
        for no_color in [true, false] {
            let mut command = home.command(words);
            if no_color {
                command.env("NO_COLOR", "1");
            }
            let said = run(&mut command);
            assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "{words:?}: {said}");
        }
    }
}

#[test]
fn json_is_json() {
    let home = Home::new();
    let port = port();
    home.manifest(&format!("services:\n{}", web("web", port, "one", "")));
    let lines = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    };
    let applied = lines(&home.expect(0, &["apply", "--yes", "--json"]).out);
    let last = applied.last().expect("a line");
    assert_eq!((last["event"].as_str(), last["generation"].as_u64()), (Some("finished"), Some(1)));
    home.manifest(&format!("services:\n{}", web("web", port, "two", UNHEALTHY)));
    let failed = lines(&home.expect(3, &["apply", "--yes", "--json"]).out);
    assert_eq!(failed.last().expect("a line")["outcome"]["ending"].as_str(), Some("rolled-back"));
    for words in [&["plan", "--json"][..], &["status", "--json"], &["history", "--json"], &["show", "1", "--json"]] {
        let said = home.expect(0, words);
        let _: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{words:?}: {said}"));
    }
}

#[test]
fn read_only_commands_write_nothing() {
    let home = Home::new();
    let port = port();
    let plan = |home: &Home, code| {
        let before = home.listing();
        for words in [&["plan"][..], &["plan", "--json"], &["validate"], &["diff"], &["history"], &["observe"]] {
            home.llamero(words);
        }
        home.expect(code, &["status"]);
        assert_eq!(home.listing(), before);
    };
    home.manifest(&format!("services:\n{}", web("web", port, "one", "")));
    plan(&home, 0);
    home.expect(0, &["apply", "--yes"]);
    plan(&home, 0);
    home.manifest(&format!("services:\n{}", web("web", port, "two", "")));
    plan(&home, 0);

    let mut strace = Command::new("strace");
    home.sync(&mut strace);
    let calls = "trace=openat,open,creat,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,chmod,fchmod,\
                 fchmodat,link,linkat,symlink,symlinkat,truncate,ftruncate,kill";
    strace.args(["-f", "-qq", "-e", calls, "-o"]).arg("/dev/stderr").args([env!("CARGO_BIN_EXE_llamero"), "plan"]);
    let Ok(child) = strace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        crate::skipped("there is no strace");
        return;
    };
    let traced = said(child);
    if traced.code != 0 && traced.err.contains("ptrace") {
        crate::skipped("nothing may be traced here");
        return;
    }
    assert!(traced.err.contains("llamero.yaml"), "the trace shows what is read: {traced}");
    let harmless = |line: &&str| {
        let reads = line.contains("open") && !["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| line.contains(flag));
        let end = line.contains("---") || line.contains("+++") || line.contains("<detached");
        let call = line.contains('(') && !end;
        !call || reads || line.contains("\"/dev/") || line.contains("\"/proc/")
    };
    let written: Vec<&str> = traced.err.lines().filter(|line| !harmless(line)).collect();
    assert!(written.is_empty(), "{written:#?}");
}
