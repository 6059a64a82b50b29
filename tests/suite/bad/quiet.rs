//! What reading verbs do not do, and what nobody gets to see.

use super::home::{Home, port, run, said, web};
use std::fs;
use std::process::{Command, Stdio};

const CANARY: &str = "canary-7f3a91c2-never-shown";

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let home = Home::new();
    let mut child = home.begin(&["schema"]);
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("waited for").code(), Some(0));
    let mut shell = Command::new("bash");
    home.settle(&mut shell);
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
    home.manifest(&format!("services:\n{}", web("web", port, "two", ", SICK: \"1\"")));
    let failed = lines(&home.expect(3, &["apply", "--yes", "--json"]).out);
    assert_eq!(failed.last().expect("a line")["outcome"]["ending"].as_str(), Some("rolled-back"));
    for words in [&["plan", "--json"][..], &["status", "--json"], &["history", "--json"], &["show", "1", "--json"]] {
        let said = home.expect(0, words);
        let _: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{words:?}: {said}"));
    }
}

#[test]
fn looking_writes_nothing() {
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
    home.settle(&mut strace);
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

#[test]
fn a_secret_is_in_one_file_and_in_its_server_and_nowhere_else() {
    let home = Home::new();
    let port = port();
    home.write("token", CANARY);
    let wish = |answer: &str, more: &str| {
        let web = web("web", port, answer, more);
        home.manifest(&format!(
            "services:\n{web}    secrets: {{TOKEN: {{file: ~/token}}, KEY: {{env: LLAMERO_TEST_KEY}}}}"
        ));
    };
    let key = format!("{CANARY}-key");
    let check = |words: &[&str]| {
        let said = run(home.command(words).env("LLAMERO_TEST_KEY", &key));
        assert!(!said.out.contains(CANARY) && !said.err.contains(CANARY), "llamero {}: {said}", words.join(" "));
        for pid in home.processes() {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&line).contains(CANARY), "it is in the command line of {pid}");
        }
        said.code
    };
    wish("one", "");
    for words in [&["plan"][..], &["plan", "--json"], &["diff"], &["plan", "-o", "saved.plan"]] {
        check(words);
    }
    assert_eq!(check(&["apply", "--yes", "--json"]), 0);
    for words in [&["status", "--json"][..], &["history", "--json"], &["show", "1", "--json"], &["observe"], &["diff"]]
    {
        check(words);
    }
    // Also when it fails, and when the secret changes.
    wish("two", ", SICK: \"1\"");
    assert_eq!(check(&["apply", "--yes"]), 3);
    home.write("token", &format!("{CANARY}-2"));
    wish("one", "");
    check(&["diff"]);
    assert_eq!(check(&["apply", "--yes"]), 0);

    let holds = |path: &std::path::PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
    };
    let holders: Vec<_> = home.listing().into_keys().filter(|path| path.is_file() && holds(path)).collect();
    assert_eq!(holders.len(), 2, "{holders:?}");
    assert!(holders.contains(&home.path("token")), "{holders:?}");
    let other = holders.iter().find(|path| **path != home.path("token")).expect("the other");
    assert!(other.parent().is_some_and(|folder| folder.ends_with("secrets")), "{holders:?}");
    assert_eq!(home.listing()[other].3 & 0o777, 0o600);
    home.expect(0, &["down", "--yes"]);
    assert!(!other.exists(), "the environment file goes with its server");
}
