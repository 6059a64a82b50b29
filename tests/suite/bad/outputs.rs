//! Outputs over existing files: only an earlier output of llamero is replaced.

use super::home::{CommandOutput, Home, port, run, said, until, web};
use rustix::fs::{CWD, FileType, Mode, mkfifoat, mknodat};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;

/// The device number of what fails every write with ENOSPC: full(4).
const FULL: (u32, u32) = (1, 7);
const NULL: (u32, u32) = (1, 3);

fn home() -> Home {
    let home = Home::new();
    home.manifest(&format!("services:\n{}", web("web", port(), "one", "")));
    home
}

fn save(home: &Home, to: &str) -> CommandOutput {
    home.llamero(&["plan", "-o", to])
}

#[track_caller]
fn is_a_plan(text: &str) {
    let saved: serde_json::Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(saved["llamero_plan"], 1);
}

/// Makes a character device in the home; says so where that is not permitted.
fn device(home: &Home, name: &str, (major, minor): (u32, u32)) -> bool {
    let number = rustix::fs::makedev(major, minor);
    let made = mknodat(CWD, home.path(name), FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, number);
    // A file system may be mounted so that devices on it cannot be opened.
    let usable = made.is_ok() && fs::OpenOptions::new().write(true).open(home.path(name)).is_ok();
    if !usable {
        crate::skipped("no device may be made here");
    }
    usable
}

#[test]
fn a_plan_replaces_nothing_but_a_saved_plan() {
    let home = home();
    home.write("foreign", "mine\n");
    home.write("foreign.json", "{\"plan\": [1, 2]}\n");
    fs::write(home.path("binary"), [0xff, 0, 0xfe]).expect("written");
    symlink("foreign", home.path("link")).expect("a link");
    for name in ["foreign", "foreign.json", "binary", "link", "llamero.yaml"] {
        let (content, number) = (fs::read(home.path(name)), fs::metadata(home.path(name)).expect("there").ino());
        let said = save(&home, name);
        assert_eq!(said.code, 7, "{name}: {said}");
        said.has(&[name, "is not replaced: it is not a saved plan written by llamero; nothing was changed", "hint:"]);
        assert_eq!(fs::read(home.path(name)).ok(), content.ok(), "{name}");
        assert_eq!(fs::metadata(home.path(name)).expect("there").ino(), number, "{name}");
    }
    assert!(home.path("link").is_symlink());

    // Its own earlier plan, one behind a link, and an empty file, as mktemp(1) makes one.
    home.write("empty", "");
    symlink("saved", home.path("to-saved")).expect("a link");
    for name in ["saved", "saved", "to-saved", "empty", "new/folder/saved"] {
        assert_eq!(save(&home, name).code, 0, "{name}");
        is_a_plan(&fs::read_to_string(home.path(name)).expect("saved"));
        assert_eq!(fs::metadata(home.path(name)).expect("there").mode() & 0o777, 0o600);
    }
    assert!(home.path("to-saved").is_symlink());
    // A truncated one is not recognized.
    let text = fs::read_to_string(home.path("saved")).expect("saved");
    home.write("saved", &text[..text.len() / 2]);
    assert_eq!(save(&home, "saved").code, 7);
}

#[test]
fn an_unsuitable_output_is_refused_before_anything_is_computed() {
    let home = home();
    fs::create_dir(home.path("folder")).expect("a folder");
    symlink("nowhere", home.path("dangling")).expect("a link");
    let _socket = std::os::unix::net::UnixListener::bind(home.path("socket")).expect("a socket");
    for (name, what) in [("folder", "a folder"), ("dangling", "a dangling link"), ("socket", "a socket")] {
        let said = save(&home, name);
        assert_eq!(said.code, 1, "{name}: {said}");
        said.has(&[&format!("cannot write to {name}: it is {what}; nothing was changed"), "hint:"]);
    }
    assert!(home.path("folder").is_dir() && home.path("dangling").is_symlink());
    assert!(!home.path("nowhere").exists());
    assert!(fs::symlink_metadata(home.path("socket")).expect("there").file_type().is_socket());
}

#[test]
fn a_pipe_is_written_to_and_stays() {
    let home = home();
    mkfifoat(CWD, home.path("pipe"), Mode::RUSR | Mode::WUSR).expect("a pipe");
    let path = home.path("pipe");
    let (send, received) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        fs::File::open(path).expect("opened").read_to_string(&mut text).expect("read");
        send.send(text).expect("sent");
    });
    assert_eq!(save(&home, "pipe").code, 0);
    is_a_plan(&received.recv().expect("received"));
    assert!(fs::symlink_metadata(home.path("pipe")).expect("there").file_type().is_fifo());
    // The one that a shell makes has no name of its own.
    let script = format!("{} plan -o >(cat >copy; touch done)", env!("CARGO_BIN_EXE_llamero"));
    let mut shell = std::process::Command::new("bash");
    home.sync(&mut shell);
    assert_eq!(run(shell.args(["-c", &script])).code, 0);
    until("the pipe is read", || home.path("done").exists());
    is_a_plan(&fs::read_to_string(home.path("copy")).expect("copied"));
}

#[test]
fn a_pipe_without_a_reader_times_out() {
    let home = home();
    mkfifoat(CWD, home.path("pipe"), Mode::RUSR | Mode::WUSR).expect("a pipe");
    let said = save(&home, "pipe");
    assert_eq!(said.code, 1, "{said}");
    said.has(&["cannot write to pipe: no reader opened the pipe", "hint:"]);
    assert!(fs::symlink_metadata(home.path("pipe")).expect("there").file_type().is_fifo());
}

#[test]
fn a_device_is_written_to_and_stays() {
    let home = home();
    for (name, number, code) in [("null", NULL, 0), ("full", FULL, 1)] {
        if !device(&home, name, number) {
            return;
        }
        let said = save(&home, name);
        assert_eq!(said.code, code, "{name}: {said}");
        let live = fs::symlink_metadata(home.path(name)).expect("there");
        assert!(live.file_type().is_char_device(), "{name}");
        assert_eq!(live.rdev(), rustix::fs::makedev(number.0, number.1), "{name}");
    }
    save(&home, "full").has(&["cannot write to full"]);
}

#[test]
fn standard_output_has_the_plan_alone() {
    let home = home();
    for name in ["-", "/dev/stdout", "/proc/self/fd/1"] {
        let said = save(&home, name);
        assert_eq!(said.code, 0, "{name}: {said}");
        is_a_plan(&said.out);
        assert!(said.err.contains("services.web") || said.err.contains("web"), "{said}");
    }
    home.expect(1, &["plan", "--json", "-o", "-"]).has(&["standard output", "hint:"]);
    assert!(!home.path("-").exists());
    // A file that a shell has opened as standard output is not replaced under its hands.
    let file = fs::File::create(home.path("out")).expect("a file");
    let number = file.metadata().expect("there").ino();
    let child = home.command(&["plan", "-o", "/dev/stdout"]).stdout(file).stderr(Stdio::piped()).spawn();
    assert_eq!(said(child.expect("llamero runs")).code, 0);
    assert_eq!(fs::metadata(home.path("out")).expect("there").ino(), number);
    is_a_plan(&fs::read_to_string(home.path("out")).expect("read"));
}

#[test]
fn a_saved_plan_of_another_user_stays() {
    let home = home();
    assert_eq!(save(&home, "saved").code, 0);
    if std::os::unix::fs::chown(home.path("saved"), Some(65534), None).is_err() {
        crate::skipped("a file cannot be given to another user");
        return;
    }
    let before = fs::read(home.path("saved")).expect("there");
    let said = save(&home, "saved");
    assert_eq!(said.code, 7, "{said}");
    said.has(&["it belongs to the user 65534"]);
    assert_eq!(fs::read(home.path("saved")).expect("there"), before);
    assert_eq!(fs::metadata(home.path("saved")).expect("there").uid(), 65534);
}

#[test]
fn a_lock_file_never_replaces_another_file() {
    let home = home();
    let lock = home.path("llamero.lock");
    let stays = |code: i32, words: &[&str], is: &dyn Fn(&Path) -> bool| {
        for verb in ["lock", "update"] {
            home.expect(code, &[verb]).has(words);
            assert!(is(&lock), "after {verb}");
        }
    };
    symlink("nowhere.lock", &lock).expect("a link");
    stays(1, &["it is a dangling link"], &|lock| lock.is_symlink() && !lock.exists());
    fs::remove_file(&lock).expect("removed");
    mkfifoat(CWD, &lock, Mode::RUSR | Mode::WUSR).expect("a pipe");
    stays(1, &["it is not a regular file"], &|lock| fs::symlink_metadata(lock).expect("there").file_type().is_fifo());
    fs::remove_file(&lock).expect("removed");
    home.write("llamero.lock", "version: 1\n");
    stays(1, &["is damaged"], &|lock| fs::read_to_string(lock).expect("there") == "version: 1\n");
    fs::remove_file(&lock).expect("removed");
    // A manifest whose name leaves no other for its lock file.
    fs::copy(home.path("llamero.yaml"), home.path("stack.lock")).expect("copied");
    home.expect(1, &["lock", "stack.lock"]).has(&["would be its own lock file"]);
}

#[test]
fn rendered_files_never_replace_a_device_or_a_pipe() {
    let home = home();
    let config = home.path("litellm.yaml");
    mkfifoat(CWD, &config, Mode::RUSR | Mode::WUSR).expect("a pipe");
    home.manifest(&format!(
        "gateway: {{engine: litellm, runtime: process, port: {}, command: [sleep, \"600\"], config: {}, \
         master_key: {{file: ~/key, generate: true}}}}",
        port(),
        config.display()
    ));
    let said = home.llamero(&["apply", "--yes"]);
    assert_eq!(said.code, 1, "{said}");
    said.has(&["cannot see", "litellm.yaml"]);
    assert!(fs::symlink_metadata(&config).expect("there").file_type().is_fifo());
}
