//! Conflicts of the desired state as a whole: host memory that must suffice for all, and ports that only one can have.

use super::cause::Cause;
use super::change::{Refusal, RefusalKind};
use super::compare::Difference;
use super::past::Past;
use crate::engines;
use crate::live::{LiveRun, Observation, PortHolder};
use crate::resolve::Desired;
use crate::resource::{Bytes, ResourceId, Run};
use std::collections::BTreeSet;

/// Returns why the desired state is refused: it exceeds its memory budget, or another program holds a port that it
/// needs.
pub(super) fn conflicts(
    desired: &Desired,
    observed: &Observation,
    past: &Past,
    changes: &[Difference],
) -> Vec<Refusal> {
    // One that runs as declared, but for a setting, holds nothing that is promised to another.
    let is_left = |difference: &&Difference| {
        difference.remedy.is_none() && !difference.change.causes.iter().all(Cause::is_setting)
    };
    let left = changes.iter().filter(is_left).map(Difference::on).collect();
    let stack = Stack { desired, observed, past, left };
    let starting: Vec<&Difference> = changes.iter().filter(|difference| difference.comes_up()).collect();
    let over_budget = stack.over_budget(!starting.is_empty());
    let ports = starting.into_iter().flat_map(|difference| stack.taken_ports(difference));
    over_budget.into_iter().chain(ports).collect()
}

/// The whole stack.
struct Stack<'a> {
    desired: &'a Desired,
    observed: &'a Observation,
    past: &'a Past,
    /// The resources that differ and are left as they are.
    left: BTreeSet<&'a ResourceId>,
}

impl Stack<'_> {
    fn declared(&self, id: &ResourceId) -> Option<&Run> {
        self.desired.resources.get(id)?.run()
    }

    fn over_budget(&self, starts: bool) -> Option<Refusal> {
        let budget = self.desired.memory?;
        let mut claims: Vec<(&ResourceId, Bytes)> =
            self.desired.runs().filter_map(|(resource, run)| Some((&resource.id, run.memory?))).collect();
        // What is no longer declared and stays up takes its part, once something new is to come up beside it.
        for id in self.left.iter().filter(|id| starts && !self.desired.resources.contains_key(**id)) {
            let live = self.observed.run(id).filter(|live| live.is_up());
            claims.extend(live.map(|live| (*id, Bytes(self.past.memory_taken(id, live)))));
        }
        let sum: Bytes = claims.iter().map(|(_, bytes)| *bytes).sum();
        if sum <= budget {
            return None;
        }
        let named: Vec<String> = claims.iter().map(|(id, bytes)| format!("{id} {bytes}")).collect();
        Some(Refusal {
            on: claims.first().map(|(id, _)| (*id).clone())?,
            kind: RefusalKind::OverBudget,
            message: format!("{sum} of host memory are asked for and {budget} may be used: {}", named.join(", ")),
            hint: Some("lower a `limits.memory`, or raise `machine.memory`".to_owned()),
        })
    }

    /// Returns the conflicts about the ports of a server that starts.
    fn taken_ports(&self, difference: &Difference) -> Vec<Refusal> {
        let ports = self.declared(difference.on()).map(|run| run.ports.as_slice()).unwrap_or_default();
        ports.iter().filter_map(|port| self.taken_port(difference, *port)).collect()
    }

    fn taken_port(&self, difference: &Difference, port: u16) -> Option<Refusal> {
        let on = difference.on();
        let (holder, advice) = if let Some(left) = self.left.iter().find(|id| self.holds(id, port)) {
            (format!("{left}, which is left as it is"), None)
        } else {
            let holder = self.observed.ports.get(&port).filter(|holder| holder.resource.is_none())?;
            let pid = holder.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            (format!("{}{pid}", holder.command), self.advice(on, holder, port))
        };
        let another = || format!("stop it, or give {} another `port`", difference.change.role);
        Some(Refusal {
            on: on.clone(),
            kind: RefusalKind::PortTaken,
            message: format!("port {port} is taken by {holder}"),
            hint: Some(advice.unwrap_or_else(another)),
        })
    }

    /// Returns the engine's own advice for a port that another program holds.
    fn advice(&self, id: &ResourceId, holder: &PortHolder, port: u16) -> Option<String> {
        engines::find(self.declared(id)?.engine.as_ref()?.as_str())?.on_port_taken(&holder.command, port)
    }

    /// Returns whether a server of this stack that is up listens on `port`, or will when it comes back by itself.
    fn holds(&self, id: &ResourceId, port: u16) -> bool {
        let listens = self.observed.ports.get(&port).is_some_and(|holder| holder.resource.as_ref() == Some(id));
        let up = self.observed.run(id).is_some_and(LiveRun::is_up);
        listens || (up && self.past.ports.get(id).is_some_and(|ports| ports.contains(&port)))
    }
}
