//! Text from outside on the terminal: it steers nothing, and no name of a file ends the program.

use super::home::{CommandOutput, Home};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// Erases the line, goes up, sets the title, hides what follows, and turns the reading direction.
const STEERING: [(&str, &str); 5] = [
    ("\\e[2K\\e[1A", "\\u001b[2K\\u001b[1A"),
    ("\\e]0;title\\a", "\\u001b]0;title\\u0007"),
    ("\\e[8m", "\\u001b[8m"),
    ("\\x9b1A", "\\u009b1A"),
    ("gpj.\\u202Eexe", "gpj.\\u202eexe"),
];

/// Asserts that nothing on either stream is a control character, but for the ends of lines.
#[track_caller]
fn steers_nothing(output: &CommandOutput) {
    for (line, text) in output.out.lines().chain(output.err.lines()).enumerate() {
        let steers = |c: char| (c.is_control() && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!text.contains(steers), "line {line} is {text:?}");
    }
}

#[test]
fn arguments_in_a_plan_are_printed_and_steer_nothing() {
    let home = Home::new();
    for (written, shown) in STEERING {
        home.manifest(&format!("services: {{a: {{runtime: process, command: [sleep, \"{written}\"]}}}}"));
        for verb in [&["plan", "--verbose"][..], &["diff"], &["plan", "--json"]] {
            let output = home.llamero(verb);
            steers_nothing(&output);
        }
        home.expect(2, &["diff"]).has(&[shown]);
    }
}

#[test]
fn a_line_break_in_an_argument_is_no_line_of_the_plan() {
    let home = Home::new();
    home.manifest("services: {a: {runtime: process, command: [sleep, \"1\\nPlan: nothing to do.\"]}}");
    for verb in [&["plan", "--verbose"][..], &["diff"]] {
        let output = home.llamero(verb);
        assert!(!output.out.lines().any(|line| line.contains("nothing to do.") && !line.contains("sleep")), "{output}");
    }
}

#[test]
fn a_servers_log_steers_nothing() {
    let home = Home::new();
    home.write("steers", "printf 'ha\\033[2K\\033[1Aha \\302\\2331A\\n'; exit 1\n");
    home.manifest("services: {a: {runtime: process, command: [sh, ./steers]}}");
    let output = home.expect(3, &["apply", "--yes"]);
    steers_nothing(&output);
    output.has(&["ha\\u001b[2K\\u001b[1Aha \\u009b1A"]);
}

#[test]
fn a_refused_argument_steers_nothing() {
    let home = Home::new();
    let output = home.llamero(&["plan", "--no\u{1b}[2Ksuch", "\u{9b}1A"]);
    assert_eq!(output.code, 1, "{output}");
    steers_nothing(&output);
}

#[test]
fn a_path_that_is_not_utf_8_is_refused_with_a_remedy() {
    let home = Home::new();
    let name = OsStr::from_bytes(b"stack-\xff.yaml");
    std::fs::write(home.path("").join(name), "version: 1\nstack: bad\n").expect("written");
    for verb in ["validate", "plan", "diff", "apply", "status", "doctor", "down"] {
        let output = super::home::run(home.command(&[verb]).arg(name));
        assert_eq!(output.code, 1, "{verb}: {output}");
        output.has(&["stack-\u{fffd}.yaml is not UTF-8; nothing was changed", "hint: rename the file or folder"]);
    }
}
