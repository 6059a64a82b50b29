//! Supervised processes, as their records and the kernel report them.

use crate::live::{Live, LiveRun, Ownership, Presence, RunState};
use crate::resource::ResourceId;
use crate::systems::process::{self, ProcessState};
use crate::systems::{Systems, proc, unknown};
use std::collections::BTreeMap;

/// Inspects servers by their names.
pub(super) fn inspect(systems: &Systems, servers: Vec<&ResourceId>) -> BTreeMap<ResourceId, Presence> {
    let inspected = servers.into_iter().map(|id| {
        let presence = match systems.processes.state(&id.name) {
            Err(process::Error::Missing(_)) => Presence::Absent,
            Ok(process) => Presence::Present(Live::Run(Box::new(live_process(&process)))),
            Err(error) => unknown(&error),
        };
        (id.clone(), presence)
    });
    inspected.collect()
}

fn live_process(process: &ProcessState) -> LiveRun {
    let exit = || process.exit.map(|exit| exit.to_string());
    let (phase, why) = match process.phase {
        process::Phase::Starting => (RunState::Starting, None),
        process::Phase::Running => (RunState::Running, None),
        process::Phase::BackingOff => (RunState::BackingOff, exit()),
        process::Phase::Stopped => (RunState::Stopped, None),
        process::Phase::Exited => (RunState::Stopped, exit()),
        process::Phase::Failed => (RunState::Failed, process.problem.clone().or_else(exit)),
    };
    let launch = &process.launch;
    let claim = Ownership { stack: launch.stack.clone(), fingerprint: launch.fingerprint.clone(), intact: true };
    LiveRun {
        definition: Some(claim),
        // Without its supervisor it would not be restarted.
        enabled: process.supervised || phase != RunState::Running,
        phase,
        // A launch is only written while nothing runs, so what runs is the launch.
        running: process.running_fingerprint.clone().or_else(|| process.pid.map(|_| launch.fingerprint.clone())),
        identity: process.identity.clone(),
        restarts: process.restarts,
        memory: process.pid.and_then(proc::memory),
        why,
        ..LiveRun::stopped()
    }
}
