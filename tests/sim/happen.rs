//! What happens to processes from outside while they run.

use crate::apply::{apply, report};
use crate::drive::{Run, stack};
use crate::executor::Pid;
use crate::stacks::Declaration;
use llamero::reconcile::{self, Options, fire};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Something that happens from outside.
pub(crate) enum Happening {
    Cancel,
    Kill(Pid),
    Apply(Declaration),
    Confirm,
}

impl Run {
    pub(crate) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Cancel => {
                self.sim().note(0, format_args!("it is cancelled"));
                self.sim().interrupt();
            }
            Happening::Kill(pid) => {
                let before = self.sim().dead.clone();
                self.sim().note(pid, format_args!("is killed from outside"));
                self.sim().dead.insert(pid);
                self.bury(&before);
            }
            Happening::Apply(declaration) => {
                // What one that is dead did is no part of what this one does.
                if self.executor.is_idle() {
                    let before = self.truth_now();
                    self.notes().before = Arc::new(before);
                }
                let world = self.world();
                let notes = Arc::clone(&self.notes);
                world.sim().note(world.pid, format_args!("a second apply comes"));
                let apply = apply(world.clone(), declaration, Options::default(), CancellationToken::new(), notes);
                self.executor.spawn(world.pid, apply);
            }
            Happening::Confirm => {
                let world = self.world();
                let notes = Arc::clone(&self.notes);
                self.executor.spawn(world.pid, async move {
                    let stack = stack(&world);
                    let report = report(&world, &notes, None);
                    let confirmed = reconcile::confirm(&stack, "sim", &report).await.map_err(|error| error.to_string());
                    world.sim().note(world.pid, format_args!("confirm: {confirmed:?}"));
                    notes.lock().expect("no panic").confirmed.push(confirmed);
                });
            }
        }
    }

    pub(crate) fn fire(&mut self, generation: u64, deadline: Option<Duration>) {
        let world = self.world();
        let notes = Arc::clone(&self.notes);
        let killed = self.sim().episode.kill_switch.take();
        if let Some(tick) = killed {
            self.sim().kill = Some((world.pid, tick));
        }
        world.sim().note(world.pid, format_args!("the switch of generation {generation} begins"));
        self.sim().firing.insert(world.pid);
        self.executor.spawn(world.pid, async move {
            let stack = stack(&world);
            let report = report(&world, &notes, None);
            let fired = fire(&stack, generation, deadline, &|_| {}, &report).await.map_err(|error| error.to_string());
            world.sim().note(world.pid, format_args!("the switch of generation {generation}: {fired:?}"));
            world.sim().firing.remove(&world.pid);
            notes.lock().expect("no panic").fired.push((generation, fired));
        });
    }
}
