//! A program that uses the library and not the command line: the example, with a real server in a home of its own.

use super::home::{CommandOutput, Home, answer, port, run, web};
use std::path::Path;
use std::process::Command;

/// Runs the example, which cargo builds beside the tests.
fn example(home: &Home, words: &[&str]) -> CommandOutput {
    let llamero = Path::new(env!("CARGO_BIN_EXE_llamero"));
    let program = llamero.parent().expect("a folder").join("examples/plan_and_apply");
    assert!(program.is_file(), "{} is not there: run `cargo build --examples`", program.display());
    let mut command = Command::new(program);
    home.sync(command.arg(llamero).arg(home.path("llamero.yaml")).args(words));
    run(&mut command)
}

#[test]
fn a_library_user_plans_and_applies_without_the_command_line() {
    let home = Home::new();
    let port = port();
    home.manifest(&format!("services:\n{}", web("web", port, "one", "")));

    let said = example(&home, &[]);
    said.has(&["+ create process/web", "not applied: pass --agree"]);
    assert_eq!(said.code, 1, "{said}");
    assert_eq!(answer(port), None, "nothing runs before consent");
    assert!(!home.record("generations").exists(), "nothing is on record before consent");

    let said = example(&home, &["--agree"]);
    said.has(&["done start process/web", "generation 1: Committed"]);
    assert_eq!((said.code, answer(port).as_deref()), (0, Some("one")), "{said}");

    let said = example(&home, &["--agree"]);
    said.has(&["nothing differs; 0 unhealthy"]);
    assert_eq!(said.code, 0, "{said}");

    // A guard has a kind, and the machine stays as it is.
    home.expect(0, &["suspend", "maintenance"]);
    let said = example(&home, &["--agree"]);
    said.has(&["Suspended: bad is suspended: by", "because: maintenance"]);
    assert_eq!((said.code, answer(port).as_deref()), (1, Some("one")), "{said}");
}
