//! Damaged records of units, on the real systemd user manager.

use super::home::{Home, property};
use std::fs;

const PORTS: [u16; 2] = [18595, 18596];

fn server(name: &str, port: u16, more: &str) -> String {
    format!(
        "  {name}: {{runtime: systemd, command: [redis-server, --port, '{port}', --save, '', --bind, 127.0.0.1], \
         ports: ['{port}']{more}}}\n"
    )
}

#[test]
#[ignore = "needs a systemd user manager and redis-server"]
fn a_unit_of_a_damaged_revision_is_found_and_removed() {
    let home = Home::new();
    let token = home.write("token", "secret");
    let revision = |more: &str| {
        let policy = "policy: {health: {timeout: 30s, stable_for: 0s}}";
        let first = server("first", PORTS[0], "");
        home.write("llamero.yaml", &format!("version: 1\nstack: repaired\n{policy}\nservices:\n{first}{more}"));
    };
    revision("");
    home.expect(0, &["apply", "--yes"]);
    revision(&server("second", PORTS[1], &format!(", secrets: {{TOKEN: {{file: {}}}}}", token.display())));
    home.expect(0, &["apply", "--yes"]);
    let records = home.under_home(".local/state/llamero/repaired");
    let unit = home.under_home(".config/systemd/user/repaired-second.service");
    let secret = records.join("secrets/second.env");
    assert!(unit.exists() && secret.exists());
    assert_eq!(property("repaired-second.service", "ActiveState"), "active");

    fs::write(records.join("generations/2/desired"), "damaged").expect("damaged");
    let said = home.expect(0, &["doctor", "--repair"]);
    assert!(said.contains("recovered: file/second-secrets\n"), "{said}");
    revision("");
    let said = home.expect(0, &["apply", "--yes"]);
    assert!(said.contains("remove unit/repaired-second"), "{said}");
    assert!(!unit.exists() && !secret.exists(), "{said}");
    assert_eq!(property("repaired-second.service", "ActiveState"), "inactive");
    assert_eq!(property("repaired-first.service", "ActiveState"), "active");
    home.expect(0, &["down", "--purge", "--yes"]);
}
