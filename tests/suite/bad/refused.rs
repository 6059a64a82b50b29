//! Requests that are refused before anything changes.

use super::home::{Home, answer, answering, port, web};
use std::fs;

#[test]
fn a_foreign_ports_holder_is_reported_and_nothing_changes() {
    let home = Home::new();
    let port = answering("200 OK", "foreign");
    home.manifest(&format!("services:\n{}", web("web", port, "ours", "")));
    let pid = format!("(pid {})", std::process::id());
    let said = home.expect(1, &["apply", "--yes"]);
    said.has(&[&format!("port {port} is taken by"), &pid, "services.web"]);
    home.expect(1, &["plan"]).has(&[&pid]);
    assert_eq!(answer(port).as_deref(), Some("foreign"));
    assert!(home.processes().is_empty());
    assert!(!home.record("generations").exists(), "a refused apply leaves no generation");
}

#[test]
fn a_missing_program_is_named() {
    let home = Home::new();
    home.manifest("services:\n  web: {runtime: process, command: [/not/there/server]}");
    let said = home.llamero(&["apply", "--yes"]);
    said.has(&["/not/there/server"]);
    assert!(matches!(said.code, 1 | 3), "{said}");
    assert!(home.processes().is_empty());
    home.manifest("services:\n  web: {runtime: process, command: [no-such-server-anywhere]}");
    home.expect(1, &["apply", "--yes"]).has(&["no-such-server-anywhere"]);
}

#[test]
fn without_confirmation_nothing_changes() {
    let home = Home::new();
    home.manifest(&format!("services:\n{}", web("web", port(), "one", "")));
    home.expect(7, &["apply"]).has(&["confirmation required", "--yes"]);
    assert!(!home.record("generations").exists());
    assert!(home.processes().is_empty());
    // Neither does `down` act without confirmation.
    home.expect(0, &["apply", "--yes"]);
    let before = home.processes();
    home.expect(7, &["down", "--stack", "bad"]);
    assert_eq!(home.processes(), before);
}

#[test]
fn an_unmanaged_file_is_left_alone() {
    let home = Home::new();
    let config = home.write("config.yaml", "mine: yes\n");
    let port = port();
    home.manifest(&format!(
        "gateway: {{engine: litellm, runtime: process, port: {port}, command: [sleep, \"600\"], config: {}, \
         master_key: {{file: ~/key, generate: true}}}}",
        config.display()
    ));
    let said = home.expect(7, &["apply", "--yes"]);
    said.has(&[&config.display().to_string()]);
    assert_eq!(fs::read_to_string(&config).expect("there"), "mine: yes\n");
    assert!(!home.path("key").exists() && home.processes().is_empty());
}

#[test]
fn without_a_user_manager_the_process_runtime_is_offered() {
    let home = Home::new();
    home.manifest("services:\n  web: {runtime: systemd, command: [sleep, \"600\"]}");
    home.expect(1, &["apply", "--yes"]).has(&["runtime: process"]);
    assert!(!home.path(".config/systemd/user/bad-web.service").exists());
}

#[test]
fn a_rollback_to_an_unknown_generation_is_an_error() {
    let home = Home::new();
    home.manifest(&format!("services:\n{}", web("web", port(), "one", "")));
    home.expect(1, &["rollback", "--yes"]).has(&["no earlier committed generation"]);
    home.expect(1, &["rollback", "--yes", "--stack", "nowhere"]).has(&["there is no stack `nowhere`"]);
    home.expect(1, &["down", "--yes", "--stack", "../../out"]).has(&["there is no stack"]);
    home.expect(0, &["apply", "--yes"]);
    let before = home.processes();
    home.expect(1, &["rollback", "--yes"]).has(&["no earlier committed generation", "llamero history"]);
    home.expect(1, &["rollback", "7", "--yes"]).has(&["no generation 7", "llamero history"]);
    home.expect(1, &["show", "7"]).has(&["no generation 7"]);
    assert_eq!(home.processes(), before);
}

#[test]
fn a_missing_manifest_or_a_folder_is_an_error() {
    let home = Home::new();
    home.expect(1, &["plan"]).has(&["llamero.yaml", "llamero plan stack.yaml"]);
    for verb in ["plan", "apply", "validate", "diff"] {
        home.expect(1, &[verb, "gone.yaml"]).has(&["there is no file gone.yaml"]);
        fs::create_dir_all(home.path("folder.yaml")).expect("a folder");
        let said = home.expect(1, &[verb, "folder.yaml"]);
        said.has(&["folder.yaml", "it is not a regular file"]);
    }
    // A running stack does not need its manifest.
    home.manifest(&format!("services:\n{}", web("web", port(), "one", "")));
    home.expect(0, &["apply", "--yes"]);
    fs::remove_file(home.path("llamero.yaml")).expect("removed");
    home.expect(0, &["status"]);
    home.expect(0, &["down", "--yes"]);
    assert!(home.processes().is_empty());
}

#[test]
fn an_unreadable_secret_is_reported_before_anything_changes() {
    let home = Home::new();
    let port = port();
    let with = |secret: &str| {
        let web = web("web", port, "one", "");
        home.manifest(&format!("services:\n{web}    secrets: {{TOKEN: {secret}}}"));
    };
    with("{env: LLAMERO_TEST_NOT_SET}");
    home.expect(1, &["apply", "--yes"]).has(&["LLAMERO_TEST_NOT_SET", "set LLAMERO_TEST_NOT_SET"]);
    with("{file: ~/token}");
    let path = home.path("token");
    home.expect(1, &["apply", "--yes"]).has(&[&path.display().to_string(), "mode 0600"]);
    fs::write(&path, "\n").expect("written");
    home.expect(1, &["apply", "--yes"]).has(&[&path.display().to_string(), "is empty"]);
    assert!(home.processes().is_empty());
    assert!(!home.record("generations").exists());
}

#[test]
fn a_mass_deletion_requires_prune_anyway() {
    let home = Home::new();
    let pages: Vec<u16> = (0..5).map(|_| port()).collect();
    let services = |count: usize| -> String {
        let pages = pages.iter().take(count).enumerate();
        pages.map(|(index, port)| web(&format!("page{index}"), *port, "hello", "")).collect()
    };
    home.manifest(&format!("services:\n{}", services(5)));
    home.expect(0, &["apply", "--yes"]);
    home.manifest(&format!("services:\n{}", services(1)));
    let said = home.expect(7, &["apply", "--yes"]);
    said.has(&["this would remove 4 of 5 managed resources; nothing was changed", "--prune-anyway"]);
    assert!(pages.iter().all(|port| answer(*port).is_some()));
    home.expect(0, &["apply", "--yes", "--prune-anyway"]);
    assert!(pages[1..].iter().all(|port| answer(*port).is_none()));
    home.expect(0, &["rollback", "--yes"]);
    home.expect(0, &["rollback", "--yes"]);
    home.expect(0, &["down", "--yes"]);
}
