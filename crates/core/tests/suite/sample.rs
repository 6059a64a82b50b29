//! Plain data that many tests begin with and change.

use llamero_core::resource::{Command, Gpus, Limits, Probe, Restart, Run, Runtime, Seconds};
use std::collections::BTreeMap;

/// Returns a server of nothing but its command, on which nothing is asked.
pub(crate) fn run(runtime: Runtime, words: &[&str]) -> Run {
    Run {
        runtime,
        description: String::new(),
        command: Command::words(words.iter().copied()),
        environment: BTreeMap::new(),
        environment_file: None,
        working_directory: None,
        restart: Restart::default(),
        container: None,
        gpus: Gpus::None,
        engine: None,
        gpu_claim: None,
        sleep: None,
        gateway: None,
        socket_handoff: false,
        inputs: Vec::new(),
        limits: Limits::default(),
        ports: Vec::new(),
        memory: None,
        probe: Probe::Running,
        timeout: Seconds::new(10),
        stable_for: Seconds::new(1),
        stop_timeout: Seconds::new(1),
    }
}
