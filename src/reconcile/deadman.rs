//! The watch over a generation that is not committed yet: somebody outside this process who goes back if it dies.
//!
//! Where a systemd user manager answers it is a transient timer, which outlives this process and its session; elsewhere
//! it is a process of llamero itself. Both have a short deadline, which is pushed on for as long as this process lives.
//! What the watcher does when its time has come is told in `late.rs`.

use super::Stack;
use crate::history::{self, DeadMan, Watcher};
use crate::resolve::Desired;
use crate::resource::{ResourceId, SecretReference};
use crate::systems::proc::Identity;
use crate::systems::systemd::{Later, Systemd};
use crate::systems::{Hint, detached, files, secrets};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long the one who applies a generation may give no sign of life before it is taken back.
pub const FIRE_AFTER: Duration = Duration::from_secs(60);

/// How many signs of life are given within that time.
const SIGNS: u32 = 3;

/// Why nobody watches.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("nobody could be set to watch over this change")]
    Records(#[source] history::Error),
    #[error("nobody could be set to watch over this change")]
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

/// A watch that was begun. The signs of life end when this is dropped, and the watcher then goes back.
pub(super) struct Armed {
    number: u64,
    _signs: JoinSet<()>,
}

/// Sets a watch over a generation, before anything that runs is touched. It takes the place of every earlier one.
pub(super) async fn arm(
    stack: &Stack,
    number: u64,
    desired: &Desired,
    preexisting: &BTreeSet<ResourceId>,
    deadline: Duration,
) -> Result<Armed, Error> {
    let name = format!("llamero-return-{}-{number}", stack.name);
    let preexisting: Vec<ResourceId> = preexisting.iter().cloned().collect();
    let keep = |watcher| {
        let watch = DeadMan { watcher, preexisting: preexisting.clone() };
        stack.history.set_deadman(number, &watch).map_err(Error::Records)
    };
    // On record before it runs: whoever is not on record cannot be told to end.
    keep(Some(Watcher::Timer(name.clone())))?;
    let timer = timer(stack, number, &name, desired, deadline).await;
    if timer.is_none() {
        keep(None)?;
        process(stack, number, deadline).await.map_err(Error::Process)?;
    }
    disarm_except(stack, Some(number)).await;
    let mut signs = JoinSet::new();
    signs.spawn(heartbeat(timer.map(|systemd| (systemd, name)), stack.history.deadman_file(number), deadline / SIGNS));
    Ok(Armed { number, _signs: signs })
}

impl Armed {
    /// Ends the watch, after it is on record how the generation ended.
    pub(super) async fn disarm(self, stack: &Stack) {
        end(stack, self.number).await;
    }
}

/// Ends the watch over every generation. The lock must be held.
pub async fn disarm(stack: &Stack) {
    disarm_except(stack, None).await;
}

/// Ends the watch over every generation but `except`.
async fn disarm_except(stack: &Stack, except: Option<u64>) {
    for number in stack.history.watched().unwrap_or_default() {
        if Some(number) != except {
            end(stack, number).await;
        }
    }
}

/// Ends a watch. Nothing here can fail so that it matters: a watcher that is left finds that there is nothing to do.
async fn end(stack: &Stack, number: u64) {
    if let Ok(Some(DeadMan { watcher: Some(watcher), .. })) = stack.history.watch(number) {
        dismiss(stack, &watcher).await;
    }
    let _ = stack.history.remove_deadman(number);
}

async fn dismiss(stack: &Stack, watcher: &Watcher) {
    match watcher {
        Watcher::Timer(name) => {
            if let Ok(systemd) = stack.systems.systemd().await {
                let _ = systemd.call_off(name, true).await;
            }
        }
        Watcher::Process(process) => {
            detached::end(*process).await;
        }
    }
}

/// Sets a timer, where a user manager answers.
async fn timer(stack: &Stack, number: u64, name: &str, desired: &Desired, after: Duration) -> Option<Systemd> {
    let systemd = stack.systems.systemd().await.ok()?;
    let file = stack.history.deadman_environment(number);
    let secrets = secret_environment(stack, desired);
    if !secrets.is_empty() {
        files::write(&file, secrets.as_bytes(), files::PRIVATE).ok()?;
    }
    let mut argv = vec![stack.program.to_str()?.to_owned()];
    argv.extend(words(stack, number));
    let later = Later {
        description: format!("goes back if generation {number} of {} is left unfinished", stack.name),
        name: name.to_owned(),
        argv,
        environment: detached::environment(),
        environment_file: file.to_str()?.to_owned(),
        after,
    };
    systemd.run_later(&later).await.ok()?;
    Some(systemd.clone())
}

async fn process(stack: &Stack, number: u64, after: Duration) -> Result<(), detached::Error> {
    let mut arguments = words(stack, number);
    arguments.extend(["--after".to_owned(), format!("{}ms", after.as_millis())]);
    detached::start(&stack.program, &arguments, &stack.history.folder().join("deadman.log")).await.map(drop)
}

/// Puts this process on record as the one that watches over a generation.
pub fn enlist_deadman(stack: &Stack, number: u64) -> Result<(), history::Error> {
    let watch = stack.history.watch(number)?.ok_or(history::Error::NoGeneration(number))?;
    let watcher = Identity::of(std::process::id()).map(Watcher::Process);
    stack.history.set_deadman(number, &DeadMan { watcher, ..watch })
}

fn words(stack: &Stack, number: u64) -> Vec<String> {
    ["deadman", "--stack", &stack.name, "--generation", &number.to_string()].map(str::to_owned).to_vec()
}

/// Returns the variables that secrets are read from, on the way there and back: a process of the manager does not have
/// those of this shell.
fn secret_environment(stack: &Stack, desired: &Desired) -> String {
    let good = stack.history.committed().ok().flatten().map(|good| good.revision.desired);
    let references: BTreeSet<&SecretReference> =
        desired.secrets().chain(good.iter().flat_map(Desired::secrets)).collect();
    let lines = references.into_iter().filter_map(|reference| match reference {
        SecretReference::Env(name) => secrets::environment_line(name, &secrets::resolve(reference).ok()?),
        SecretReference::File(_) => None,
    });
    lines.collect()
}

/// Pushes the deadline on, again and again. A sign that is lost does no harm while the lock is held.
async fn heartbeat(timer: Option<(Systemd, String)>, file: PathBuf, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        match &timer {
            Some((systemd, name)) => drop(systemd.put_off(name).await),
            None => drop(files::touch(&file)),
        }
    }
}
