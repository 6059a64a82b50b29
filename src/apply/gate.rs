//! The health gate: every server of the stack is healthy, and the started ones neither restart nor fail for the
//! configured time.

use super::health::{await_healthy, examine};
use super::log::with_log;
use super::{Event, Execution, Failure, Machine};
use crate::history::Before;
use crate::live::{LiveRun, RunState};
use crate::plan::Action;
use crate::resource::{Health, Resource, ResourceId};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The polling interval.
const EVERY: Duration = Duration::from_millis(500);

/// The longest wait for another answer of a server, in case it is busy.
const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until every server is healthy and stable. Pre-existing failures are accepted; a verified server must still be
/// the same start as when it became healthy. One that the change left running, and that ended meanwhile, must be healthy
/// and stable again: the change may be why.
///
/// Returns the failures; empty when the gate is passed.
pub async fn gate<M: Machine>(
    execution: Execution<'_, M>,
    touched: &BTreeSet<ResourceId>,
    before: &Before,
    verified: &BTreeMap<ResourceId, LiveRun>,
) -> Vec<Failure> {
    let runs = || execution.desired.runs();
    let is_new = |id: &ResourceId| !before.preexisting.contains(id);
    let servers: Vec<&Resource> = runs().map(|(resource, _)| resource).filter(|it| is_new(&it.id)).collect();
    let left = servers.iter().map(|resource| &resource.id).filter(|id| !verified.contains_key(*id));
    let again = join_all(left.map(|id| started_again(execution, id, before))).await;
    let (mut failures, mut first, mut late) = (Vec::new(), verified.clone(), BTreeSet::new());
    for (id, found) in again.into_iter().flatten() {
        match found {
            Ok(live) => {
                late.insert(id.clone());
                first.insert(id, live);
            }
            Err(failure) if failure.interrupted => {}
            Err(failure) => failures.push(failure),
        }
    }
    if !failures.is_empty() {
        return failures;
    }
    // One that was unhealthy and is healthy now fails nothing, and gets the time to show whether it stays so.
    let awaited =
        |id: &ResourceId| late.contains(id) || (touched.contains(id) && (is_new(id) || verified.contains_key(id)));
    let stable = runs().filter(|(resource, _)| awaited(&resource.id)).map(|(_, run)| run.stable_for.duration());
    let stable = stable.max().unwrap_or_default();
    if !stable.is_zero() {
        (execution.report)(Event::Settling { for_ms: u64::try_from(stable.as_millis()).unwrap_or(u64::MAX) });
    }
    let begun = execution.systems.elapsed();
    let last = loop {
        let lives = match look(execution, &servers, &mut first).await {
            Ok(lives) => lives,
            Err(failures) => return failures,
        };
        if execution.cancel.is_cancelled() {
            return Vec::new();
        }
        if passed(execution, begun) >= stable {
            break lives;
        }
        execution.systems.sleep(EVERY.min(stable.saturating_sub(passed(execution, begun)))).await;
    };
    let asked = execution.systems.elapsed();
    let answers = last.into_iter().map(|(resource, live)| answers(execution, resource, live));
    failures.extend(join_all(answers).await.into_iter().flatten());
    // While one took its time to answer, another may have ended.
    if failures.is_empty() && passed(execution, asked) >= EVERY {
        failures.extend(look(execution, &servers, &mut first).await.err().unwrap_or_default());
    }
    failures
}

/// Looks at every server once, and adds those seen for the first time to `first`; returns how each was found, or the
/// failures.
async fn look<'a, M: Machine>(
    execution: Execution<'_, M>,
    servers: &[&'a Resource],
    first: &mut BTreeMap<ResourceId, LiveRun>,
) -> Result<Vec<(&'a Resource, LiveRun)>, Vec<Failure>> {
    let (mut failures, mut lives) = (Vec::new(), Vec::new());
    let examined = join_all(servers.iter().map(|resource| examine(execution, &resource.id))).await;
    for (resource, examined) in servers.iter().zip(examined) {
        match examined {
            Ok(live) => {
                if let Some(why) = unsettled(first.get(&resource.id), &live) {
                    failures.push(with_log(execution, Failure::new(&resource.id, why)).await);
                }
                first.entry(resource.id.clone()).or_insert_with(|| live.clone());
                lives.push((*resource, live));
            }
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() { Ok(lives) } else { Err(failures) }
}

/// Waits until a server is healthy that is another start than before; returns how it was found then.
async fn started_again<M: Machine>(
    execution: Execution<'_, M>,
    id: &ResourceId,
    before: &Before,
) -> Option<(ResourceId, Result<LiveRun, Failure>)> {
    let start = before.starts.get(id)?;
    // One that cannot be seen fails the gate later.
    let live = examine(execution, id).await.ok()?;
    if live.identity.as_ref().is_none_or(|identity| identity == start) {
        return None;
    }
    (execution.report)(Event::StartedAgain { on: id.clone() });
    Some((id.clone(), await_healthy(execution, &Action::AwaitHealthy(id.clone()), id).await))
}

fn passed<M: Machine>(execution: Execution<'_, M>, begun: Duration) -> Duration {
    execution.systems.elapsed().saturating_sub(begun)
}

fn unsettled(first: Option<&LiveRun>, now: &LiveRun) -> Option<String> {
    let why = now.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    if now.phase != RunState::Running {
        return Some(format!("it does not run any more{why}"));
    }
    let same = first.is_none_or(|first| first.identity == now.identity && first.restarts == now.restarts);
    (!same).then(|| format!("it ended after it was healthy, and was started again{why}"))
}

/// Waits for a good answer of a server that has just been found as `live`.
async fn answers<M: Machine>(execution: Execution<'_, M>, resource: &Resource, mut live: LiveRun) -> Option<Failure> {
    let run = resource.run()?;
    let begun = execution.systems.elapsed();
    loop {
        let asked = execution.systems.health(&execution.desired.stack, (&resource.id, run), &live).await;
        let health = asked.unwrap_or_else(|foreign| Health::unhealthy(foreign.to_string()));
        if health == Health::Healthy {
            return None;
        }
        if passed(execution, begun) >= PATIENCE || execution.cancel.is_cancelled() {
            return Some(with_log(execution, Failure::new(&resource.id, health.to_string())).await);
        }
        execution.systems.sleep(EVERY).await;
        live = match examine(execution, &resource.id).await {
            Ok(live) => live,
            Err(failure) => return Some(failure),
        };
    }
}
