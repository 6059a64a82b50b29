//! The transaction: what happens to a generation between its begin and its outcome, as a state machine.
//!
//! ```text
//! staging ─▶ arming ─┬▶ canary ─▶ switching ─▶ gating ─▶ confirming ─▶ committing ─▶ pruning ─▶ ended
//!                    └▶ rehearsing                 └────────────┴──────────┴▶ rolling back ───────▲
//! ```
//!
//! Each state has one function, which does its work and returns the next state. A failure before `arming` is done ends
//! the transaction, since nothing that runs was touched; one after it rolls back.

use super::before::{before, still_unhealthy, unfinished};
use super::confirm::await_confirmation;
use super::ending::{Finished, finish, outcome};
use super::generated::learn;
use super::prepare::{Options, Prepared};
use super::unreadable::unreadable;
use super::world::{Stack, World};
use super::{deadman, rollback};
use crate::apply::{Event, Executed, Execution, Failure, Report, execute, gate};
use crate::history::{self, Before, Ending, Outcome, Passed, RecordedChange, Revision, StepOutcome};
use crate::plan::{Phase, Plan, Step};
use crate::resolve::Desired;
use crate::resource::{Resource, ResourceId, Seconds};
use crate::systems::Retry;
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

/// The state of a transaction: what it does next.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Downloads and creates what disturbs no running server.
    Staging,
    /// Arms the dead-man's switch.
    Arming,
    /// Starts what would replace a running server, out of clients' reach, and removes it again.
    Rehearsing,
    /// Changes one model's route first, and tries it.
    Canary,
    /// Changes what runs.
    Switching,
    /// Checks that every server is healthy and stays so.
    Gating,
    /// Waits for confirmation, if it was requested.
    Confirming,
    /// Records the generation as committed.
    Committing,
    /// Removes what is no longer declared.
    Pruning,
    /// Leads back to the last committed generation.
    RollingBack,
    /// Nothing is left to do.
    Ended(Ending),
}

/// A generation on its way. The stack lock must be held.
pub(super) struct Transaction<'a, W: World> {
    stack: &'a Stack<W>,
    number: u64,
    revision: Revision,
    plan: Plan,
    inventory: Vec<Resource>,
    options: Options,
    report: &'a Report<'a>,
    cancel: &'a CancellationToken,
    /// The servers before anything was done.
    before: Before,
    /// Servers that have not been verified as they are declared now.
    unverified: BTreeSet<ResourceId>,
    /// The execution up to the outcome.
    executed: Executed,
    /// The execution after the outcome: rolling back or pruning.
    later: Executed,
    armed: Option<deadman::Armed<W>>,
    /// The phases of the plan that have begun.
    begun: BTreeSet<Phase>,
}

impl<'a, W: World> Transaction<'a, W> {
    /// Puts a generation on record, and returns its transaction.
    pub(super) fn begin(
        stack: &'a Stack<W>,
        mut prepared: Prepared,
        options: Options,
        report: &'a Report<'a>,
        cancel: &'a CancellationToken,
    ) -> Result<Self, history::Error> {
        prepared.revision.orphans = prepared.orphans();
        prepared.revision.changes = prepared.plan.changes.iter().map(RecordedChange::from).collect();
        let number = stack.history.begin(&prepared.revision)?;
        let before = before(&prepared, unfinished(stack, number).map(|earlier| earlier.before));
        let unverified = prepared.unverified();
        let Prepared { revision, plan, mut inventory, .. } = prepared;
        inventory.extend(revision.desired.resources.values().cloned());
        let (executed, later, armed) = (Executed::default(), Executed::default(), None);
        Ok(Self {
            stack,
            number,
            revision,
            plan,
            inventory,
            options,
            report,
            cancel,
            before,
            unverified,
            executed,
            later,
            armed,
            begun: BTreeSet::new(),
        })
    }

    /// Runs from the first state to the last.
    pub(super) async fn run(mut self) -> Finished {
        let mut state = State::Staging;
        loop {
            state = match state {
                State::Staging => self.stage().await,
                State::Arming => self.arm().await,
                State::Rehearsing => self.rehearse().await,
                State::Canary => self.canary().await,
                State::Switching => self.switch().await,
                State::Gating => self.gate().await,
                State::Confirming => self.confirm().await,
                State::Committing => self.commit(),
                State::Pruning => self.prune().await,
                State::RollingBack => self.roll_back().await,
                State::Ended(ending) => return self.end(ending).await,
            };
        }
    }

    async fn stage(&mut self) -> State {
        self.execute(Phase::Stage).await;
        if self.executed.succeeded() {
            // A file that cannot be written later must not stop anything now.
            self.executed.failures.extend(unreadable(&self.plan, &self.revision.desired, &self.stack.systems));
        }
        let desired = learn(self.stack, &self.revision.desired);
        let learned = Revision { desired, ..self.revision.clone() };
        if let Some(first) = &mut self.plan.first {
            **first = learn(self.stack, first);
        }
        if self.executed.succeeded()
            && let Err(error) = self.stack.history.rewrite(self.number, &learned)
        {
            self.executed.failures.push(Failure::of(None, &error));
        }
        if !self.executed.succeeded() {
            return self.abandon();
        }
        self.revision = learned;
        State::Arming
    }

    async fn arm(&mut self) -> State {
        if self.revision.desired.policy.rollback {
            let Self { stack, number, revision, before, options, .. } = &*self;
            match deadman::arm(*stack, *number, &revision.desired, before, options.fire_after).await {
                Ok(armed) => self.armed = Some(armed),
                // Without a way to roll back, nothing is started.
                Err(error) => {
                    let _ = self.stack.history.remove_deadman(self.number);
                    self.executed.failures.push(Failure::of(None, &error));
                    return self.abandon();
                }
            }
        } else {
            deadman::disarm(self.stack).await;
        }
        match (self.options.rehearse, &self.plan.first) {
            (true, _) => State::Rehearsing,
            (false, Some(_)) => State::Canary,
            (false, None) => State::Switching,
        }
    }

    /// Ends before anything that runs was touched: there is nothing to roll back.
    fn abandon(&self) -> State {
        State::Ended(if self.executed.interrupted { Ending::Interrupted } else { Ending::Abandoned })
    }

    async fn rehearse(&mut self) -> State {
        let fail_fast = self.options.fail_fast;
        let rehearsal = self.plan.rehearsal();
        let executed = execute(
            self.execution(&self.revision.desired),
            &rehearsal,
            Phase::Switch,
            &self.before.preexisting,
            fail_fast,
        );
        let executed = executed.await;
        self.executed.extend(executed);
        // Without a successor there was nothing to start.
        if rehearsal.steps.iter().any(|step| step.phase == Phase::Switch) {
            self.later = rollback::undo_rehearsal(self.stack, &rehearsal, &self.before.preexisting, self.report).await;
        }
        State::Ended(match (self.executed.succeeded(), self.later.succeeded()) {
            (true, true) => Ending::Rehearsed,
            // Nothing failed: it was cancelled, and nothing of it is left.
            (false, true) if self.executed.failures.is_empty() => Ending::Interrupted,
            (false, true) => Ending::RolledBack,
            (_, false) => Ending::Stuck,
        })
    }

    async fn canary(&mut self) -> State {
        self.execute(Phase::Canary).await;
        if self.executed.succeeded() {
            return State::Switching;
        }
        self.failed()
    }

    async fn switch(&mut self) -> State {
        self.execute(Phase::Switch).await;
        if self.executed.succeeded() { State::Gating } else { self.failed() }
    }

    async fn gate(&mut self) -> State {
        let execution = self.execution(&self.revision.desired);
        let failures = gate(execution, &self.unverified, &self.before, &self.executed.verified).await;
        self.executed.interrupted |= self.cancel.is_cancelled() && failures.is_empty();
        self.executed.failures.extend(failures);
        if !self.executed.succeeded() {
            return self.failed();
        }
        let still = still_unhealthy(self.execution(&self.revision.desired), &self.before.preexisting).await;
        self.executed.unhealthy_before.extend(still);
        self.executed.contents = self.stack.systems.contents(&self.revision.desired).await;
        State::Confirming
    }

    async fn confirm(&mut self) -> State {
        let Some(within) = self.options.confirm_within else { return State::Committing };
        match self.confirmed(within).await {
            Ok(()) => State::Committing,
            Err(failures) => {
                self.executed.failures.extend(failures);
                // A confirmation that comes while it is being rolled back must find nothing to commit.
                if let Err(error) = self.stack.history.withdraw_passed(self.number) {
                    self.executed.failures.push(Failure::of(None, &error));
                }
                self.failed()
            }
        }
    }

    async fn confirmed(&self, within: Seconds) -> Result<(), Vec<Failure>> {
        let Self { stack, number, before, executed, .. } = self;
        let failed = |why: String| vec![Failure::of_all(why, Retry::Never)];
        let now = stack.systems.moment().ok_or_else(|| failed("this machine has no clock".to_owned()))?;
        let until = now.plus(within.duration());
        let passed = Passed { outcome: self.outcome(Ending::Committed), within, until };
        stack.history.set_passed(*number, &passed).map_err(|error| vec![Failure::of(None, &error)])?;
        let command = format!("llamero confirm --stack {}", stack.name);
        let within_ms = within.milliseconds;
        (self.report)(Event::AwaitingConfirmation { generation: *number, within_ms, command });
        await_confirmation(stack, *number, &passed, self.cancel).await.map_err(failed)?;
        // Whoever confirms sees that the machine can be reached, and not that a server ended meanwhile.
        let execution = self.execution(&self.revision.desired);
        let mut failures = gate(execution, &BTreeSet::new(), before, &executed.verified).await;
        if failures.is_empty() && self.cancel.is_cancelled() {
            failures = failed("it was interrupted before it was committed".to_owned());
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }

    fn commit(&mut self) -> State {
        // A generation that cannot be recorded is not committed: the next run would not know of it.
        let Err(error) = self.stack.history.end(self.number, &self.outcome(Ending::Committed)) else {
            (self.report)(Event::Committed { generation: self.number });
            return State::Pruning;
        };
        self.executed.failures.push(Failure::of(None, &error));
        if let Err(error) = self.stack.history.withdraw(self.number) {
            self.executed.failures.push(Failure::of(None, &error));
            return State::Ended(Ending::Stuck);
        }
        self.failed()
    }

    async fn prune(&mut self) -> State {
        self.begun.insert(Phase::Prune);
        let execution = self.execution(&self.revision.desired);
        let pruned = execute(execution, &self.plan, Phase::Prune, &BTreeSet::new(), false).await;
        self.executed.interrupted = pruned.interrupted;
        self.executed.steps.extend(pruned.steps);
        self.later.failures.extend(pruned.failures);
        State::Ended(Ending::Committed)
    }

    /// Returns what follows a failure once something that runs was touched.
    fn failed(&self) -> State {
        if self.executed.interrupted {
            State::Ended(Ending::Interrupted)
        } else if self.revision.desired.policy.rollback {
            State::RollingBack
        } else {
            State::Ended(Ending::Stuck)
        }
    }

    async fn roll_back(&mut self) -> State {
        self.later = rollback::roll_back(self.stack, &self.before.preexisting, self.report).await;
        if let Ok(Some(good)) = self.stack.history.committed() {
            let still = still_unhealthy(self.execution(&good.revision.desired), &self.before.preexisting).await;
            self.executed.unhealthy_before.extend(still);
        }
        State::Ended(if self.later.succeeded() { Ending::RolledBack } else { Ending::Stuck })
    }

    async fn end(mut self, ending: Ending) -> Finished {
        // What a rehearsal leaves out was never to be attempted.
        if !self.options.rehearse {
            self.skip_the_rest(ending);
        }
        let finished = finish(self.stack, self.number, ending, self.executed, self.later);
        if ending == Ending::Committed {
            // Old records that cannot be removed do no harm.
            let _ = self.stack.history.trim();
        }
        // Its outcome is recorded, so its switch is no longer needed.
        if let Some(armed) = self.armed {
            armed.disarm(self.stack).await;
        }
        finished
    }

    /// Executes one phase of the plan.
    async fn execute(&mut self, phase: Phase) {
        self.begun.insert(phase);
        let first = self.plan.first.as_deref().filter(|_| phase == Phase::Canary);
        let execution = self.execution(first.unwrap_or(&self.revision.desired));
        let executed = execute(execution, &self.plan, phase, &self.before.preexisting, self.options.fail_fast).await;
        self.executed.extend(executed);
        self.executed.touched |= matches!(phase, Phase::Canary | Phase::Switch);
    }

    /// Puts the steps of every phase that did not begin on record as not attempted. Records are removed after a
    /// commit.
    fn skip_the_rest(&mut self, ending: Ending) {
        let purges = |step: &&Step| step.phase == Phase::Purge && ending == Ending::Committed;
        let rest = self.plan.steps.iter().filter(|step| !self.begun.contains(&step.phase) && !purges(step));
        self.executed.steps.extend(rest.map(|step| StepOutcome::not_attempted(step.action.to_string())));
    }

    fn execution<'b>(&'b self, desired: &'b Desired) -> Execution<'b, W> {
        let Self { stack, inventory, report, cancel, .. } = self;
        Execution { desired, inventory, systems: &stack.systems, report: *report, cancel }
    }

    fn outcome(&self, ending: Ending) -> Outcome {
        outcome(self.stack, ending, &self.executed, &Executed::default())
    }
}
