//! A request from its source to a plan that waits for consent, and through the pass to its end.
//!
//! ```text
//! Source ─▶ open: stack lock, guards, plan ─▶ Pending ─▶ (consent) ─▶ run ─▶ Applied
//! ```
//!
//! Nothing here prints or asks. Verbs do that between the two calls, and so does whoever uses the library.

use super::{Error, Finished, Guard, LoadedManifest, Notice, Notify, Options, Prepared, SavedPlan, Stack};
use super::{attempt, disarm, environment_digest, prepare, run_pass, teardown};
use crate::apply::Report;
use crate::history::{Revision, StackLock};
use crate::observe::Depth;
use crate::pace::{self, Next};
use crate::plan::RefusalKind;
use crate::resolve::Desired;
use crate::resource::ResourceId;
use crate::systems::{FailureKind, clock};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// The source of the desired state.
#[derive(Debug)]
pub enum Source {
    /// A manifest.
    Manifest(Box<LoadedManifest>),
    /// A saved plan, applied only if planning anew gives the same plan.
    Plan(Box<SavedPlan>, Box<LoadedManifest>),
    /// A generation; without a number, the committed one before the current one.
    Generation(Box<Stack>, Option<u64>),
    /// Nothing: everything of the stack is removed.
    Nothing(Box<Stack>),
}

impl Source {
    /// Reads a manifest or a saved plan from a file; without a path, the default manifest.
    pub fn read(path: Option<&Path>, notify: &Notify<'_>) -> Result<Self, Error> {
        match path.map(SavedPlan::read).transpose()?.flatten() {
            Some(saved) => {
                let loaded = LoadedManifest::read(&saved.manifest, notify)?;
                Ok(Self::Plan(Box::new(saved), Box::new(loaded)))
            }
            None => Ok(Self::Manifest(Box::new(LoadedManifest::open(path, notify)?))),
        }
    }
}

/// The desired state to apply, and the options.
#[derive(Debug)]
pub struct Request {
    /// The source of the desired state.
    pub source: Source,
    /// How.
    pub options: Options,
    /// The model whose route changes first, if one is to.
    pub canary: Option<String>,
    /// True if the lock file must cover the manifest.
    pub locked: bool,
    /// True if most of what is managed may be removed.
    pub prune_anyway: bool,
    /// llamero's own program, which supervises processes and carries out the dead-man's switch.
    pub program: PathBuf,
    /// The command that makes the request, for whoever finds the stack locked.
    pub command: String,
}

impl Request {
    /// Returns a request for a source with no options.
    #[must_use]
    pub fn new(source: Source, program: PathBuf, command: String) -> Self {
        let options = Options::default();
        Self { source, options, canary: None, locked: false, prune_anyway: false, program, command }
    }
}

/// The next step of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The plan has refusals, of this kind.
    Blocked(FailureKind),
    /// A guard stops it.
    Guarded(Guard),
    /// Nothing of the stack is on this machine.
    Absent,
    /// The machine matches the desired state already; these servers are unhealthy all the same.
    Unchanged(BTreeMap<ResourceId, String>),
    /// Servers run as desired, and have to pass the health gate before that can be committed.
    Unverified,
    /// There are changes to agree to.
    Changes,
    /// There are changes, and saving the plan was agreeing to them.
    Agreed,
}

/// A request that was planned and changes nothing yet. It holds the stack lock.
#[derive(Debug)]
pub struct Pending {
    /// The stack.
    pub stack: Stack,
    /// The plan, with what it was made from.
    pub prepared: Prepared,
    /// The next step.
    pub verdict: Verdict,
    options: Options,
    _lock: StackLock,
}

/// A request that was carried out. It holds the stack lock.
#[derive(Debug)]
pub struct Applied {
    /// The stack.
    pub stack: Stack,
    /// Its end.
    pub finished: Finished,
    _lock: StackLock,
}

/// A request whose source was read, with the stack lock.
struct Resolved {
    stack: Stack,
    lock: StackLock,
    revision: Revision,
    saved: Option<SavedPlan>,
    /// True if the stack is taken down.
    down: bool,
    depth: Depth,
    /// True if the caller named the desired state itself, so that it may remove most of what is managed.
    prune_anyway: bool,
    /// The manifest, if it was made from one.
    loaded: Option<Box<LoadedManifest>>,
}

/// Takes the stack lock, checks the guards and plans. Changes nothing on the machine.
pub async fn open(request: Request, notify: &Notify<'_>) -> Result<Pending, Error> {
    let Request { source, options, canary, locked, prune_anyway, program, command } = request;
    let resolved = match source {
        Source::Manifest(loaded) => {
            check_coverage(&loaded, locked, notify)?;
            let stack = loaded.stack(program)?;
            let revision = loaded.resolve_quietly(canary.as_deref(), notify).await?;
            Resolved { loaded: Some(loaded), ..declared(stack, revision, None, &command)? }
        }
        Source::Plan(..) if canary.is_some() => return Err(Error::CanaryOfPlan),
        Source::Plan(saved, loaded) => {
            check_coverage(&loaded, locked, notify)?;
            let stack = loaded.stack(program)?;
            let revision = loaded.resolve_quietly(saved.canary.as_deref(), notify).await?;
            Resolved { loaded: Some(loaded), ..declared(stack, revision, Some(*saved), &command)? }
        }
        Source::Generation(stack, number) => earlier(*stack, number, &command)?,
        Source::Nothing(stack) => nothing(*stack, &command)?,
    };
    check_options(&resolved, options)?;
    if let Some(guard) = quarantined(&resolved)? {
        notify(Notice::Guard(&guard));
    }
    planned(Resolved { prune_anyway: resolved.prune_anyway || prune_anyway, ..resolved }, options, notify).await
}

/// Refuses a manifest that its lock file does not cover where that is asked for, and remarks on it elsewhere.
pub fn check_coverage(loaded: &LoadedManifest, locked: bool, notify: &Notify<'_>) -> Result<(), Error> {
    let coverage = loaded.coverage();
    if locked && !coverage.is_exact() {
        return Err(Guard::NotCovered(coverage).into());
    }
    if coverage.exists && !coverage.missing.is_empty() {
        notify(Notice::NotPinned(&coverage));
    }
    Ok(())
}

fn declared(stack: Stack, revision: Revision, saved: Option<SavedPlan>, command: &str) -> Result<Resolved, Error> {
    let lock = stack.history.lock(command)?;
    if let Some(suspension) = stack.history.hold()? {
        return Err(Guard::Suspended { stack: stack.name, suspension }.into());
    }
    if let Some(saved) = &saved
        && let Some(staleness) = saved.staleness(&revision.manifest_digest, stack.history.current()?)
    {
        return Err(Guard::StalePlan(staleness).into());
    }
    let (down, depth) = (false, Depth::Health);
    Ok(Resolved { stack, lock, revision, saved, down, depth, prune_anyway: false, loaded: None })
}

fn earlier(stack: Stack, number: Option<u64>, command: &str) -> Result<Resolved, Error> {
    let lock = stack.history.lock(command)?;
    let number = match number {
        Some(number) => number,
        None => before_current(&stack)?,
    };
    let generation = stack.history.load(number)?;
    if !generation.is_committed() {
        return Err(Guard::NeverCommitted(number).into());
    }
    let revision = Revision {
        begun: clock::now(),
        llamero: env!("CARGO_PKG_VERSION").to_owned(),
        origin: Some(format!("rollback to generation {number}")),
        ..generation.fulfilled()
    };
    let (saved, down, depth) = (None, false, Depth::Health);
    Ok(Resolved { stack, lock, revision, saved, down, depth, prune_anyway: true, loaded: None })
}

/// Returns the last committed generation before the current one that asked for something else, and for something.
fn before_current(stack: &Stack) -> Result<u64, Error> {
    let Some(current) = stack.history.committed()? else { return Err(Error::NoEarlier) };
    let all = stack.history.all()?;
    let earlier = all.iter().rev().find(|generation| {
        let desired = &generation.revision.desired;
        generation.is_committed()
            && generation.number < current.number
            && *desired != current.revision.desired
            && !desired.resources.is_empty()
    });
    earlier.map(|generation| generation.number).ok_or(Error::NoEarlier)
}

fn nothing(stack: Stack, command: &str) -> Result<Resolved, Error> {
    let lock = stack.history.lock(command)?;
    let revision = teardown::revision(&stack);
    let (down, depth) = (true, Depth::State);
    Ok(Resolved { stack, lock, revision, saved: None, down, depth, prune_anyway: true, loaded: None })
}

fn check_options(resolved: &Resolved, options: Options) -> Result<(), Error> {
    if options.confirm_within.is_some() && !resolved.revision.desired.policy.rollback {
        return Err(Guard::RollbackOff.into());
    }
    let against = if options.rehearse { Guard::against_rehearsal(&resolved.stack.history)? } else { None };
    against.map_or(Ok(()), |guard| Err(guard.into()))
}

/// Returns the last failure of what is requested, if `pace` would not try it again now.
fn quarantined(resolved: &Resolved) -> Result<Option<Guard>, Error> {
    let Some(attempt) = attempt(&resolved.revision) else { return Ok(None) };
    let quarantine = resolved.stack.history.quarantine()?;
    let digest = environment_digest(&resolved.revision);
    if pace::next(&quarantine, &attempt, &digest, clock::seconds()) == Next::Try {
        return Ok(None);
    }
    let failed = quarantine.into_iter().rev().find(|failed| failed.attempt == attempt);
    Ok(failed.map(Guard::Quarantined))
}

async fn planned(resolved: Resolved, options: Options, notify: &Notify<'_>) -> Result<Pending, Error> {
    let Resolved { stack, lock, revision, saved, down, depth, prune_anyway, loaded } = resolved;
    let mut prepared = prepare(&stack, revision, depth, options).await?;
    if let Some(loaded) = loaded {
        let desired = &prepared.revision.desired;
        loaded.report_unknown(desired, &prepared.plan.needs_unknown(desired), notify)?;
    }
    if down {
        prepared = with_the_rest(&stack, prepared, options)?;
    }
    if let Some(staleness) = saved.as_ref().and_then(|saved| saved.difference(&prepared)) {
        return Err(Guard::StalePlan(staleness).into());
    }
    if options.rehearse && prepared.plan.first.is_some() {
        // The whole configuration is rehearsed, and not only its canary.
        prepared.revision.desired.canary = None;
        prepared = prepare(&stack, prepared.revision, depth, options).await?;
    }
    let verdict = match verdict(&stack, &prepared, prune_anyway, down)? {
        Verdict::Changes if saved.is_some() => Verdict::Agreed,
        verdict => verdict,
    };
    // An apply that was killed may have left its dead-man's switch armed. Where drift is left alone, so is a server
    // that it had stopped.
    if matches!(verdict, Verdict::Unchanged(_)) && prepared.plan.changes.is_empty() {
        disarm(&stack).await;
    }
    Ok(Pending { stack, prepared, verdict, options, _lock: lock })
}

/// Adds to the plan of a stack that is taken down what is there beside its resources.
fn with_the_rest(stack: &Stack, mut prepared: Prepared, options: Options) -> Result<Prepared, Error> {
    prepared.observed.remnants = teardown::remnants(stack, &prepared.inventory)?;
    let Prepared { plan, observed, past, inventory, .. } = &prepared;
    prepared.plan = plan.clone().taking_down(observed, past, inventory, options.purge);
    Ok(prepared)
}

fn verdict(stack: &Stack, prepared: &Prepared, prune_anyway: bool, down: bool) -> Result<Verdict, Error> {
    let plan = &prepared.plan;
    if let Some(kind) = blocked(plan.refusals.iter().map(|refusal| refusal.kind)) {
        return Ok(Verdict::Blocked(kind));
    }
    if let Some((removed, managed)) = plan.removes_most().filter(|_| !prune_anyway) {
        return Ok(Verdict::Guarded(Guard::PrunesMost { removed, managed }));
    }
    if !plan.is_empty() {
        return Ok(Verdict::Changes);
    }
    let Some(committed) = stack.history.committed()? else {
        return Ok(if down { Verdict::Absent } else { Verdict::Unverified });
    };
    // How a generation was brought about is no part of what it asked for.
    let desired = Desired { canary: None, unknown: BTreeMap::new(), ..prepared.revision.desired.clone() };
    let unchanged = committed.revision.desired == desired;
    Ok(if unchanged { Verdict::Unchanged(prepared.unhealthy()) } else { Verdict::Unverified })
}

/// Returns the kind of failure that refusals of a plan are, if there are any.
pub fn blocked(refusals: impl Iterator<Item = RefusalKind>) -> Option<FailureKind> {
    let kinds = refusals.map(|refusal| match refusal {
        RefusalKind::NotOurs => FailureKind::NotManaged,
        RefusalKind::OverBudget => FailureKind::OverBudget,
        RefusalKind::PortTaken | RefusalKind::Missing | RefusalKind::Unseen => FailureKind::Blocked,
    });
    // What no policy refuses comes first: it is there whatever the policy.
    kinds.min_by_key(|kind| (*kind != FailureKind::Blocked, *kind))
}

impl Pending {
    /// Carries out the plan: staged, switched, gated, and committed or rolled back.
    ///
    /// An error means that nothing was changed.
    pub async fn run(self, report: &Report<'_>, cancel: &CancellationToken) -> Result<Applied, Error> {
        let Self { stack, prepared, options, _lock: lock, .. } = self;
        let finished = Box::pin(run_pass(&stack, prepared, options, report, cancel)).await?;
        Ok(Applied { stack, finished, _lock: lock })
    }
}
