//! Real environments. Those that need a package index say so and are skipped where there is none.

use llamero::resource::Environment;
use llamero::systems::Hint as _;
use llamero::systems::python::{EnvironmentState, Error, create, interpreter, program, state, uv};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tokio_util::sync::CancellationToken;

async fn environment(path: PathBuf, requirements: &[&str]) -> Environment {
    let (python, version) = interpreter(&CancellationToken::new()).await.expect("a Python");
    assert!(version.starts_with("3."), "{version}");
    assert!(!python.display().to_string().contains("shims"), "{}", python.display());
    Environment { path, requirements: requirements.iter().map(|&name| name.to_owned()).collect(), python }
}

async fn made(tool: Option<&Path>) {
    let folder = crate::folder();
    let declared = environment(folder.path().join("environments/abc"), &["six==1.16.0"]).await;
    let (lines, cancel) = (Mutex::new(vec![]), CancellationToken::new());
    let hear = |line: &str| lines.lock().expect("no panic").push(line.to_owned());
    // What a killed try leaves behind: a folder that says that it is an environment.
    std::fs::create_dir_all(declared.path.join("bin")).expect("a folder");
    std::fs::write(declared.path.join("pyvenv.cfg"), "").expect("a file");
    assert_eq!(state(&declared.path).expect("a state"), EnvironmentState::Partial);
    match create(&declared, tool, &hear, &cancel).await {
        Err(error) if error.hint().is_some_and(|hint| hint.contains("cannot be reached")) => {
            crate::skipped("no package index");
            return;
        }
        other => other.expect("it is made"),
    }
    assert_eq!(state(&declared.path).expect("a state"), EnvironmentState::Complete);
    assert!(lines.lock().expect("no panic").iter().any(|line| line.contains("six")));
    let asked = std::process::Command::new(program(&declared.path, "python"))
        .args(["-c", "import six, sys; print(six.__version__, sys.prefix)"])
        .output()
        .expect("it runs");
    let reported = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    assert_eq!(reported, format!("1.16.0 {}", declared.path.display()));
    let stamp = declared.path.join(".llamero-complete.json");
    let before = stamp.metadata().and_then(|stamp| stamp.modified()).expect("a stamp");
    create(&declared, tool, &hear, &cancel).await.expect("it is there");
    assert_eq!(stamp.metadata().and_then(|stamp| stamp.modified()).expect("a stamp"), before);
}

#[tokio::test]
async fn two_stacks_create_one_environment_once() {
    let folder = crate::folder();
    let declared = environment(folder.path().join("environments/abc"), &[]).await;
    let (lines, cancel) = (Mutex::new(vec![]), CancellationToken::new());
    let hear = |line: &str| lines.lock().expect("no panic").push(line.to_owned());
    let (one, other) = tokio::join!(create(&declared, None, &hear, &cancel), create(&declared, None, &hear, &cancel));
    one.expect("made");
    other.expect("found");
    assert_eq!(state(&declared.path).expect("a state"), EnvironmentState::Complete);
    let waited = lines.lock().expect("no panic").iter().filter(|line| line.contains("another llamero")).count();
    assert_eq!(waited, 1);
    // A waiting process can be cancelled.
    let exclusive = folder.path().join("environments/held.making");
    let exclusive = std::fs::File::create(exclusive).expect("a mark");
    exclusive.lock().expect("held");
    let declared = environment(folder.path().join("environments/held"), &[]).await;
    cancel.cancel();
    assert!(matches!(create(&declared, None, &hear, &cancel).await, Err(Error::Cancelled)));
}

#[tokio::test]
async fn pip_makes_an_environment() {
    made(None).await;
}

#[tokio::test]
async fn uv_makes_an_environment() {
    let Some(uv) = uv() else {
        crate::skipped("uv is not on the PATH");
        return;
    };
    made(Some(&uv)).await;
}

#[tokio::test]
async fn a_missing_requirement_is_reported() {
    let folder = crate::folder();
    let declared = environment(folder.path().join("abc"), &["six==99.99"]).await;
    let error = create(&declared, None, &|_| {}, &CancellationToken::new()).await.expect_err("there is none");
    let hint = error.hint().expect("a hint");
    assert!(hint.contains("six==99.99") || hint.contains("cannot be reached"), "{hint}");
    assert_eq!(state(&declared.path).expect("a state"), EnvironmentState::Partial);
}

#[tokio::test]
async fn an_unmanaged_folder_is_left_alone() {
    let folder = crate::folder();
    std::fs::write(folder.path().join("thesis.txt"), "years").expect("a file");
    let declared = environment(folder.path().to_owned(), &[]).await;
    let result = create(&declared, None, &|_| {}, &CancellationToken::new()).await;
    assert!(matches!(result, Err(Error::Foreign { .. })));
    assert!(folder.path().join("thesis.txt").exists());
}

#[tokio::test]
async fn an_interrupted_attempt_is_cleaned_up_by_the_next() {
    let folder = crate::folder();
    let declared = environment(folder.path().join("abc"), &[]).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert!(matches!(create(&declared, None, &|_| {}, &cancel).await, Err(Error::Cancelled)));
    std::fs::create_dir_all(declared.path.join("lib")).expect("a folder");
    assert_eq!(state(&declared.path).expect("a state"), EnvironmentState::Partial);
    let broken = Environment { python: "/bin/false".into(), ..declared };
    assert!(matches!(create(&broken, None, &|_| {}, &CancellationToken::new()).await, Err(Error::Failed { .. })));
    assert!(!broken.path.exists());
}
