//! The one test binary. Pure tests and tests against fakes run anywhere; those under `real` need real parts and are
//! run by the real lane.

mod architecture;
mod bad;
mod cases;
mod cli;
mod docker;
mod downloads;
mod fakes;
mod files;
mod golden;
mod health;
mod laws;
mod manifest_cases;
mod ollama;
mod planning;
mod process;
mod python;
mod real;
mod rollout;
mod sample;
mod schema;
mod states;
mod systemd;

/// Says that a test could not be done here, and why.
#[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
