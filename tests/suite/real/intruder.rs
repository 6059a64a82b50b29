//! Another program on the port of a server that is a unit.

use super::home::{Home, property};
use crate::bad::intruders::{Intruder, NOBODY};
use crate::clock::until;
use std::process::{Command, Stdio};

const PORT: u16 = 18470;

/// Declares a gateway that runs `script`, which gets the port.
fn manifest(home: &Home, script: &str) {
    let program = std::env::current_exe().expect("this program");
    let upstream = crate::bad::home::answering("200 OK", "{}");
    let text = format!(
        "version: 1\nstack: intruded\npolicy: {{health: {{timeout: 1h, stable_for: 1s}}}}\n\
         providers:\n  one: {{engine: openai, runtime: external, endpoint: \"http://127.0.0.1:{upstream}/v1\"}}\n\
         models:\n  first: {{provider: one}}\n\
         gateway:\n  engine: litellm\n  runtime: systemd\n  port: {PORT}\n  command: [/bin/sh, -c, '{script}', {}]\n  \
         env: {{INTRUDES_ON: \"{PORT}\"}}\n  master_key: {{file: {}, generate: true}}\n",
        program.display(),
        home.path("key").display()
    );
    home.write("llamero.yaml", &text);
}

#[test]
#[ignore = "needs a systemd user manager"]
fn a_foreign_listener_on_a_units_port_gets_no_request() {
    for user in [None, Some(NOBODY)] {
        let home = Home::new();
        let runs = home.path("runs");
        manifest(&home, &format!("touch {}; exec sleep 600", runs.display()));
        let apply = home.command(&["apply", "--yes"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        until("the server runs", || runs.exists());
        let marks = [("LLAMERO_RESOURCE", "intruded/unit/intruded-gateway".to_owned())];
        let intruder = Intruder::start(PORT, user, &marks).expect("an intruder");
        let applied = apply.expect("it runs").wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&applied.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(applied.status.code(), Some(3), "{text}");
        for word in
            [&format!("port {PORT} is held by"), &format!("(pid {}, user ", intruder.pid()), "hint: stop the process"]
        {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert_eq!(intruder.end(), "", "it was asked something");
        home.expect(0, &["down", "--purge", "--yes"]);
    }
}

#[test]
#[ignore = "needs a systemd user manager"]
fn a_unit_with_a_foreign_listener_is_unhealthy() {
    let home = Home::new();
    let leaves = home.path("leaves");
    // What answers is a child of the unit's main process, and that one goes on without it.
    let script = format!(
        "\"$0\" --exact bad::intruders::intruder --ignored & child=$!; \
         until [ -e {} ]; do sleep 0.1; done; kill $child; exec sleep 600",
        leaves.display()
    );
    manifest(&home, &script);
    home.expect(0, &["apply", "--yes"]);
    home.expect(0, &["status"]);
    home.write("leaves", "");
    until("it has left its port", || std::net::TcpStream::connect(("127.0.0.1", PORT)).is_err());
    let intruder = Intruder::start(PORT, Some(NOBODY), &[]).expect("an intruder");
    let said = home.expect(2, &["status"]);
    assert!(said.contains(&format!("port {PORT} is held by")), "{said}");
    assert_eq!(property("intruded-gateway.service", "ActiveState"), "active");
    assert_eq!(intruder.end(), "", "it was asked something");
    home.expect(0, &["down", "--purge", "--yes"]);
    let _ = Command::new("systemctl").args(["--user", "reset-failed"]).status();
}
