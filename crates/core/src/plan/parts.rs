//! Socket hand-off as steps: the calls on the parts of a server that hands its socket off, and the order in which they
//! start it, replace it, clear orphans and remove all of it.
//!
//! Each call names the instance that it is about, so that execution chooses none.

use super::step::Action;
use crate::live::{InstanceState, Instances, Managed};
use crate::resource::{ResourceId, Seconds};
use serde::Serialize;
use std::fmt;

/// The time for an instance that serves no client to end.
const GRACE: Seconds = Seconds::new(10);

/// The time for an instance to end beyond the time for its requests.
const MARGIN: Seconds = Seconds::new(90);

/// A call on one part of a server that hands its socket off.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "call")]
pub enum PartCall {
    /// Writes the definition of the socket.
    DefineSocket {
        /// The server.
        server: ResourceId,
    },
    /// Has the socket listen after a boot.
    EnableSocket {
        /// The server.
        server: ResourceId,
    },
    /// Has the socket listen.
    StartSocket {
        /// The server.
        server: ResourceId,
    },
    /// Has the socket listen no more; instances that run keep it.
    StopSocket {
        /// The server.
        server: Managed,
    },
    /// Removes the definition of the socket.
    RemoveSocket {
        /// The server.
        server: Managed,
    },
    /// Writes the gate file, which keeps an instance out of clients' reach.
    CloseGate(Instance),
    /// Writes the definition of an instance.
    Define(Instance),
    /// Gives an instance less of the processors and disks than others have, where they are scarce.
    LowerWeight(Instance),
    /// Starts an instance.
    Start(Instance),
    /// Waits until an instance is up, and verifies it on its private socket.
    Rehearse(Instance),
    /// Gives an instance as much of the processors and disks as others have.
    RaiseWeight(Instance),
    /// Removes the gate file: clients reach the instance.
    OpenGate(Instance),
    /// Has the server's own name lead to an instance, now and at the next boot.
    MakeCurrent(Instance),
    /// Has an instance accept no more connections, and end by itself once its requests are answered.
    Drain(ManagedInstance),
    /// Ends an instance, by force when its time is over.
    End {
        /// The instance.
        #[serde(flatten)]
        instance: ManagedInstance,
        /// Its time.
        within: Seconds,
    },
    /// Removes the definition of an instance.
    Remove(ManagedInstance),
    /// Removes the server's own name.
    RemoveName {
        /// The server.
        server: Managed,
    },
}

/// An instance of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Instance {
    /// The server.
    pub server: ResourceId,
    /// The instance's number.
    pub number: u64,
}

/// An instance of a server that is proven to be managed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ManagedInstance {
    /// The server.
    pub server: Managed,
    /// The instance's number.
    pub number: u64,
}

impl PartCall {
    /// Returns the server that the call is about.
    #[must_use]
    pub const fn server(&self) -> &ResourceId {
        match self {
            Self::DefineSocket { server } | Self::EnableSocket { server } | Self::StartSocket { server } => server,
            Self::StopSocket { server } | Self::RemoveSocket { server } | Self::RemoveName { server } => server.id(),
            Self::CloseGate(instance)
            | Self::Define(instance)
            | Self::LowerWeight(instance)
            | Self::Start(instance)
            | Self::Rehearse(instance)
            | Self::RaiseWeight(instance)
            | Self::OpenGate(instance)
            | Self::MakeCurrent(instance) => &instance.server,
            Self::Drain(instance) | Self::End { instance, .. } | Self::Remove(instance) => instance.server.id(),
        }
    }

    /// Returns the words for the call and for the part, without the server.
    #[must_use]
    pub const fn words(&self) -> (&'static str, Option<u64>) {
        match self {
            Self::DefineSocket { .. } => ("write the socket of", None),
            Self::EnableSocket { .. } => ("enable the socket of", None),
            Self::StartSocket { .. } => ("start the socket of", None),
            Self::StopSocket { .. } => ("stop the socket of", None),
            Self::RemoveSocket { .. } => ("remove the socket of", None),
            Self::RemoveName { .. } => ("remove the name of", None),
            Self::CloseGate(instance) => ("close the gate of", Some(instance.number)),
            Self::Define(instance) => ("write", Some(instance.number)),
            Self::LowerWeight(instance) => ("lower the weight of", Some(instance.number)),
            Self::Start(instance) => ("start", Some(instance.number)),
            Self::Rehearse(instance) => ("rehearse", Some(instance.number)),
            Self::RaiseWeight(instance) => ("raise the weight of", Some(instance.number)),
            Self::OpenGate(instance) => ("open the gate of", Some(instance.number)),
            Self::MakeCurrent(instance) => ("switch", Some(instance.number)),
            Self::Drain(instance) => ("drain", Some(instance.number)),
            Self::End { instance, .. } => ("end", Some(instance.number)),
            Self::Remove(instance) => ("remove", Some(instance.number)),
        }
    }
}

impl fmt::Display for PartCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words() {
            (words, Some(number)) if matches!(self, Self::MakeCurrent(_)) => {
                write!(f, "{words} {} to instance {number}", self.server())
            }
            (words, Some(number)) => write!(f, "{words} instance {number} of {}", self.server()),
            (words, None) => write!(f, "{words} {}", self.server()),
        }
    }
}

/// Returns the calls that start a server where none of it runs, one after another. An instance that is defined as
/// declared is started as it is; `defines` says that there is none.
pub(super) fn start(server: &ResourceId, live: &Instances, managed: Option<&Managed>, defines: bool) -> Vec<Action> {
    let kept = live.current.filter(|_| !defines);
    let instance = Instance { server: server.clone(), number: kept.unwrap_or(live.next) };
    let server = server.clone();
    let mut calls = Vec::new();
    if kept.is_none() {
        // The port may have changed.
        calls.extend(managed.filter(|_| live.listens).map(|it| PartCall::StopSocket { server: it.clone() }));
        calls.extend([PartCall::Define(instance.clone()), PartCall::MakeCurrent(instance.clone())]);
    }
    calls.push(PartCall::DefineSocket { server: server.clone() });
    let mut actions: Vec<Action> = calls.drain(..).map(Action::Part).collect();
    // A socket cannot listen while the service of its name is missing.
    actions.extend([Action::ReloadManager(server.kind), Action::Enable(server.clone())]);
    calls.extend([PartCall::EnableSocket { server: server.clone() }, PartCall::StartSocket { server }]);
    calls.push(PartCall::Start(instance));
    actions.extend(calls.into_iter().map(Action::Part));
    if let (None, Some(managed)) = (kept, managed) {
        let previous = remove_strays(managed, live);
        if !previous.is_empty() {
            actions.extend(previous);
            actions.push(Action::ReloadManager(managed.id().kind));
        }
    }
    actions
}

/// Returns the calls that start the successor of a server out of clients' reach and verify it.
///
/// It starts with less weight than the server that serves meanwhile: to load it takes all that a processor gives.
pub(super) fn rehearse(server: &ResourceId, live: &Instances) -> Vec<Action> {
    let instance = Instance { server: server.clone(), number: live.next };
    vec![
        Action::Part(PartCall::CloseGate(instance.clone())),
        Action::Part(PartCall::Define(instance.clone())),
        Action::ReloadManager(server.kind),
        Action::Part(PartCall::LowerWeight(instance.clone())),
        Action::Part(PartCall::Start(instance.clone())),
        Action::Part(PartCall::Rehearse(instance)),
    ]
}

/// Returns the calls by which clients reach the successor of a server, and the server ends.
pub(super) fn hand_over(server: &Managed, live: &Instances) -> Vec<Action> {
    let instance = Instance { server: server.id().clone(), number: live.next };
    let reload = Action::ReloadManager(server.id().kind);
    let mut actions = vec![
        Action::Part(PartCall::RaiseWeight(instance.clone())),
        Action::Part(PartCall::OpenGate(instance.clone())),
        Action::Part(PartCall::MakeCurrent(instance)),
        reload.clone(),
    ];
    if let Some(number) = live.current {
        let previous = ManagedInstance { server: server.clone(), number };
        actions.extend([
            Action::Part(PartCall::Drain(previous.clone())),
            Action::Part(PartCall::Remove(previous)),
            reload,
        ]);
    }
    actions
}

/// Returns the calls that remove the instances that an interrupted hand-off left beside the current one.
pub(super) fn clear_orphans(server: &Managed, live: &Instances) -> Vec<Action> {
    let mut actions: Vec<Action> = live
        .others
        .iter()
        .flat_map(|(number, state)| {
            let instance = ManagedInstance { server: server.clone(), number: *number };
            let end = match state {
                InstanceState::Serving => PartCall::Drain(instance.clone()),
                InstanceState::Defined | InstanceState::Started => {
                    PartCall::End { instance: instance.clone(), within: GRACE }
                }
            };
            [Action::Part(end), Action::Part(PartCall::Remove(instance))]
        })
        .collect();
    if !actions.is_empty() {
        actions.push(Action::ReloadManager(server.id().kind));
    }
    actions
}

/// Returns the calls that remove the instances beside a server that does not hand its socket off yet, or does not any
/// more.
pub(super) fn remove_strays(server: &Managed, live: &Instances) -> Vec<Action> {
    let end = |instance: ManagedInstance| {
        let ended = PartCall::End { instance: instance.clone(), within: GRACE };
        [Action::Part(ended), Action::Part(PartCall::Remove(instance))]
    };
    instances(server, live).flat_map(end).collect()
}

/// Returns the calls that end a server with all its instances. The socket stops first: the next connection would start
/// the server again.
pub(super) fn stop(server: &Managed, live: &Instances, timeout: Seconds) -> Vec<Action> {
    let within = Seconds { milliseconds: timeout.milliseconds.saturating_add(MARGIN.milliseconds) };
    let end = |instance| Action::Part(PartCall::End { instance, within });
    let socket = Action::Part(PartCall::StopSocket { server: server.clone() });
    [socket].into_iter().chain(instances(server, live).map(end)).collect()
}

/// Returns the calls that free the name of a server that does not run, for a definition of its own under it.
pub(super) fn free_name(server: &Managed) -> Vec<Action> {
    let name = Action::Part(PartCall::RemoveName { server: server.clone() });
    vec![name, Action::Part(PartCall::RemoveSocket { server: server.clone() })]
}

/// Returns the calls that remove the parts of a server that does not run. The instances go last: their ownership
/// markers show what the rest belongs to.
pub(super) fn remove(server: &Managed, live: &Instances) -> Vec<Action> {
    let instances = instances(server, live).map(|instance| Action::Part(PartCall::Remove(instance)));
    free_name(server).into_iter().chain(instances).collect()
}

fn instances<'a>(server: &'a Managed, live: &'a Instances) -> impl Iterator<Item = ManagedInstance> + 'a {
    let numbers = live.current.into_iter().chain(live.others.keys().copied());
    numbers.map(|number| ManagedInstance { server: server.clone(), number })
}
