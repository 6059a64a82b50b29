//! The one test binary. Pure tests and tests against fakes run anywhere; those under `real` need real parts and are
//! run by the real lane.
#![expect(clippy::too_many_lines, reason = "a test on a real part is one story, told from its beginning to its end")]

mod architecture;
pub(crate) mod bad;
mod cli;
mod clock;
mod docker;
mod downloads;
mod fakes;
mod files;
mod health;
mod observe;
mod ollama;
mod parts;
mod process;
mod python;
mod real;
#[path = "../../crates/core/tests/suite/sample.rs"]
mod sample;
mod states;
mod systemd;
mod trial;

/// Returns an empty folder: in memory where that is possible, since the tests sync many small files.
fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let suits = rustix::fs::statvfs(memory).is_ok_and(|it| {
        it.f_bavail * it.f_frsize > 2 << 30 && !it.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC)
    });
    let folder = if suits { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder")
}

/// Prints that a test was skipped, and the reason.
#[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
