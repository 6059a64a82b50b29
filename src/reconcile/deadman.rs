//! The dead-man's switch of a generation that is not committed yet: outside this process, something rolls it back if
//! this process dies.
//!
//! Where a systemd user manager answers it is a transient timer, which outlives this process and its session; elsewhere
//! it is a process of llamero itself. Both have a short deadline, which heartbeats postpone for as long as this process
//! lives. What happens when a switch fires is in `fire.rs`.

use super::world::{Stack, Switch, World};
use crate::history::{self, Before, Carrier, DeadMan};
use crate::resolve::Desired;
use crate::resource::SecretReference;
use crate::systems::{Hint, detached, secrets};
use std::collections::BTreeSet;
use std::time::Duration;

/// The time after the last heartbeat of an apply at which its generation is rolled back.
pub const FIRE_AFTER: Duration = Duration::from_secs(60);

/// A failure to arm the switch.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the dead-man's switch could not be armed")]
    Records(#[source] history::Error),
    #[error("the dead-man's switch could not be armed")]
    Process(#[source] detached::Error),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Records(error) => error.hint(),
            Self::Process(error) => error.hint(),
        }
    }
}

/// An armed switch. The heartbeats end when this is dropped, and the switch then fires.
pub(super) struct Armed<W: World> {
    number: u64,
    _heartbeat: W::Heartbeat,
}

/// Arms the switch of a generation, before anything that runs is touched: `before` is how the machine is. It replaces
/// every earlier one.
pub(super) async fn arm<W: World>(
    stack: &Stack<W>,
    number: u64,
    desired: &Desired,
    before: &Before,
    deadline: Duration,
) -> Result<Armed<W>, Error> {
    let switch = switch(stack, number, deadline);
    let record = |carrier| {
        let deadman = DeadMan { carrier, before: before.clone() };
        stack.history.set_deadman(number, &deadman).map_err(Error::Records)
    };
    // Recorded before it runs: an unrecorded switch cannot be disarmed.
    record(Some(Carrier::Timer(switch.name.clone())))?;
    let timer = stack.systems.arm_timer(&switch, &secret_environment(stack, desired)).await;
    if !timer {
        record(None)?;
        stack.systems.arm_process(&switch).await.map_err(Error::Process)?;
    }
    disarm_except(stack, Some(number)).await;
    let heartbeat = stack.systems.heartbeat(&switch, timer).await;
    Ok(Armed { number, _heartbeat: heartbeat })
}

impl<W: World> Armed<W> {
    /// Disarms the switch, after the outcome of the generation is on record.
    pub(super) async fn disarm(self, stack: &Stack<W>) {
        end(stack, self.number).await;
    }
}

/// Disarms the switch of every generation. The stack lock must be held.
pub async fn disarm<W: World>(stack: &Stack<W>) {
    disarm_except(stack, None).await;
}

/// Disarms the switch of every generation but `except`. The stack lock must be held.
pub(super) async fn disarm_except<W: World>(stack: &Stack<W>, except: Option<u64>) {
    for number in stack.history.watched().unwrap_or_default() {
        if Some(number) != except {
            end(stack, number).await;
        }
    }
}

/// Disarms a switch. A failure does not matter: a switch that stays armed finds nothing to do.
async fn end<W: World>(stack: &Stack<W>, number: u64) {
    if let Ok(Some(DeadMan { carrier: Some(carrier), .. })) = stack.history.watch(number) {
        stack.systems.disarm(&carrier).await;
    }
    let _ = stack.history.remove_deadman(number);
}

fn switch<W: World>(stack: &Stack<W>, number: u64, after: Duration) -> Switch {
    let arguments = ["deadman", "--stack", &stack.name, "--generation", &number.to_string()].map(str::to_owned);
    Switch {
        name: format!("llamero-deadman-{}-{number}", stack.name),
        description: format!("rolls back generation {number} of {} if it is left unfinished", stack.name),
        generation: number,
        program: stack.program.clone(),
        arguments: arguments.to_vec(),
        environment_file: stack.history.deadman_environment(number),
        file: stack.history.deadman_file(number),
        log: stack.history.folder().join("deadman.log"),
        after,
    }
}

/// Returns the variables that secrets are read from, on the way there and back: a process of the user manager does not
/// have those of this shell.
fn secret_environment<W: World>(stack: &Stack<W>, desired: &Desired) -> String {
    let committed = stack.history.committed().ok().flatten().map(|good| good.revision);
    let committed = committed.iter().flat_map(|revision| revision.desired.secrets());
    let references: BTreeSet<&SecretReference> = desired.secrets().chain(committed).collect();
    let lines = references.into_iter().filter_map(|reference| match reference {
        SecretReference::Env(name) => secrets::environment_line(name, &stack.systems.secret(reference).ok()?),
        SecretReference::File(_) => None,
    });
    lines.collect()
}
