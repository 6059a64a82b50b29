//! Files are whole whenever their writer is killed.

use crate::clock::until;
use llamero::resource::{Bytes, Digest};
use llamero::systems::files;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

const FOLDER: &str = "LLAMERO_TEST_FOLDER";
const SIZE: usize = 1 << 20;

fn content(letter: u8) -> Vec<u8> {
    vec![letter; SIZE]
}

/// Not a test of its own: the process that is killed.
#[test]
#[ignore = "run by `a_killed_writer_leaves_no_half_file`"]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    for letter in (b'a'..=b'z').cycle() {
        files::write(&Path::new(&folder).join("file"), &content(letter), files::PRIVATE).expect("written");
    }
}

#[test]
fn a_killed_writer_leaves_no_half_file() {
    let folder = crate::folder();
    let path = folder.path().join("file");
    let whole: BTreeSet<Digest> = (b'a'..=b'z').map(|letter| Digest::of(content(letter))).collect();
    let read = || files::read(&path, Bytes(2 << 20)).expect("read").map(Digest::of);
    for round in 0..40 {
        let before = read();
        let mut writer = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "files::writer", "--ignored"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("a writer");
        // It has written, and goes on writing: where it is killed differs from round to round.
        until("it writes", || read() != before);
        writer.kill().expect("killed");
        writer.wait().expect("waited for");
        assert!(read().is_some_and(|digest| whole.contains(&digest)), "round {round}");
    }
    let names = files::names(folder.path()).expect("names");
    assert!(names.iter().all(|name| name == "file" || name.starts_with(".llamero-new-file-")), "{names:?}");
}
