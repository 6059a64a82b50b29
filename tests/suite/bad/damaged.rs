//! Damaged state files.

use super::home::{Home, PATIENT, UNHEALTHY, answer, port, until, web};
use std::fs;
use std::path::Path;

fn stack(home: &Home, ports: [u16; 2], answer: &str) {
    let [first, second] = ports;
    home.manifest_with(
        PATIENT,
        &format!("services:\n{}{}", web("web", first, answer, ""), web("other", second, "stays", "")),
    );
}

/// Returns the bytes cut off and bent at many places, with what was done to each.
fn damages(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let step = (bytes.len() / 9).max(1);
    // The seal itself is tested more densely than the sealed content.
    let offsets = [0, 1, 13, 14, 15, 16, 40].into_iter().chain((0..bytes.len()).step_by(step)).chain([bytes.len() - 1]);
    let mut damages = Vec::new();
    for (index, offset) in offsets.filter(|offset| *offset < bytes.len()).enumerate() {
        damages.push((format!("cut off at {offset}"), bytes[..offset].to_vec()));
        let mut bent = bytes.to_vec();
        bent[offset] ^= [0x01, 0x80, 0x20][index % 3];
        damages.push((format!("bent at {offset}"), bent));
    }
    damages
}

#[test]
fn a_damaged_record_is_reported_and_never_treated_as_absent() {
    let home = Home::new();
    let ports = [port(), port()];
    stack(&home, ports, "one");
    home.expect(0, &["apply", "--yes"]);
    stack(&home, ports, "two");
    home.expect(0, &["apply", "--yes"]);
    let before = home.processes();

    let records = ["generations/1/desired", "generations/1/outcome", "generations/2/desired", "generations/2/outcome"];
    for record in records {
        let path = home.record(record);
        let whole = fs::read(&path).expect("a record");
        for (index, (what, bytes)) in damages(&whole).into_iter().enumerate() {
            fs::write(&path, bytes).expect("damaged");
            let words: &[&str] = match index % 5 {
                0 => &["apply", "--yes"],
                1 => &["down", "--yes", "--purge"],
                2 => &["rollback", "--yes"],
                3 => &["status"],
                _ => &["plan"],
            };
            let said = home.llamero(words);
            let place = path.display().to_string();
            assert_eq!(said.code, 1, "{record} {what}, llamero {}: {said}", words.join(" "));
            assert!(said.err.contains(&place), "{record} {what}: {said}");
            assert!(said.err.contains("hint:"), "{record} {what}: {said}");
            assert!(!said.out.contains("create") && !said.err.contains("create"), "{record} {what}: {said}");
        }
        fs::write(&path, whole).expect("repaired");
    }
    assert_eq!(home.processes(), before, "no running server was changed");
    home.expect(0, &["plan"]).has(&["Nothing to do"]);
}

/// Follows the hint: moves the damaged file away and continues.
#[track_caller]
fn goes_on_without(record: &str) {
    let home = Home::new();
    let ports = [port(), port()];
    stack(&home, ports, "one");
    home.expect(0, &["apply", "--yes"]);
    stack(&home, ports, "two");
    home.expect(0, &["apply", "--yes"]);
    let before = home.processes();
    let path = home.record(record);
    fs::write(&path, "not a record").expect("damaged");
    home.expect(1, &["plan"]).has(&["rediscovers the running servers", &path.display().to_string()]);
    fs::rename(&path, home.path("moved-away")).expect("moved away");

    home.expect(0, &["plan"]).has(&["Nothing to do"]);
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(home.processes(), before, "the running servers were rediscovered");
    home.expect(0, &["status"]);
    home.expect(0, &["history"]);
    // A failure now rolls back to the running servers, not to the empty state.
    let broken = web("web", ports[0], "three", UNHEALTHY);
    home.manifest_with(PATIENT, &format!("services:\n{broken}{}", web("other", ports[1], "stays", "")));
    home.expect(3, &["apply", "--yes"]);
    assert_eq!(answer(ports[0]).as_deref(), Some("two"));
    assert_eq!(answer(ports[1]).as_deref(), Some("stays"));
    home.expect(0, &["down", "--purge", "--yes"]);
    assert!(home.processes().is_empty());
}

#[test]
fn apply_works_after_the_current_revision_is_moved_away() {
    goes_on_without("generations/2/desired");
}

#[test]
fn apply_works_after_an_outcome_is_moved_away() {
    goes_on_without("generations/2/outcome");
}

#[test]
fn a_damaged_stack_lock_is_ignored() {
    let home = Home::new();
    stack(&home, [port(), port()], "one");
    home.expect(0, &["apply", "--yes"]);
    for text in [&b""[..], b"{\"pid\": 1", b"\xff\xfe", b"{\"pid\":4294967295,\"command\":\"x\",\"since\":\"y\"}"] {
        fs::write(home.record("lock"), text).expect("damaged");
        let said = home.expect(0, &["plan"]);
        said.has(&["Nothing to do"]);
        assert!(!said.err.contains("being changed"), "no process holds the lock: {said}");
        home.expect(0, &["apply", "--yes"]).has(&["Nothing to do"]);
    }
}

#[test]
fn a_damaged_server_record_does_not_start_a_second_server() {
    let home = Home::new();
    let ports = [port(), port()];
    stack(&home, ports, "one");
    home.expect(0, &["apply", "--yes"]);
    let before = home.processes();
    for record in ["processes/web/state.json", "processes/web/launch.json"] {
        let path = home.record(record);
        let whole = fs::read(&path).expect("a record");
        for offset in (0..whole.len() - 2).step_by((whole.len() / 9).max(1)) {
            fs::write(&path, &whole[..offset]).expect("damaged");
            damaged_server(&home, &path);
        }
        fs::write(&path, whole).expect("repaired");
    }
    assert_eq!(home.processes(), before);
    assert_eq!(answer(ports[0]).as_deref(), Some("one"));
    home.expect(0, &["plan"]).has(&["Nothing to do"]);
    // Without its record it is found by its ownership marker, and its supervisor does not restart it.
    fs::remove_file(home.record("processes/web/state.json")).expect("removed");
    home.expect(0, &["plan"]).has(&["Nothing to do"]);
    home.expect(0, &["down", "--yes"]);
    until("its supervisor has ended, and has restarted nothing", || home.processes().is_empty());
}

#[track_caller]
fn damaged_server(home: &Home, path: &Path) {
    for words in [&["plan"][..], &["apply", "--yes"]] {
        let said = home.llamero(words);
        assert_eq!(said.code, 1, "{said}");
        said.has(&[&path.display().to_string(), "damaged"]);
        assert!(!said.out.contains("+ create") && !said.err.contains("+ create"), "{said}");
    }
}

#[test]
fn a_corrupted_server_record_is_reported() {
    let home = Home::new();
    let ports = [port(), port()];
    stack(&home, ports, "one");
    home.expect(0, &["apply", "--yes"]);
    let before = home.processes();
    let path = home.record("processes/web/state.json");
    let whole = fs::read(&path).expect("a record");
    for (index, byte) in whole.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
        let mut bent = whole.clone();
        bent[index] = if *byte == b'9' { b'8' } else { byte + 1 };
        fs::write(&path, bent).expect("damaged");
        let said = home.llamero(&["plan"]);
        assert_eq!(said.code, 1, "digit {index} of\n{}\n{said}", String::from_utf8_lossy(&whole));
        said.has(&["damaged", &path.display().to_string()]);
    }
    fs::write(&path, whole).expect("repaired");
    assert_eq!(home.processes(), before);
}
