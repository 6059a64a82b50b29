//! Calls on the parts of a server that hands its socket off. Each names the instance that it is about, so that execution
//! chooses none.

use crate::live::Managed;
use crate::resource::{ResourceId, Seconds};
use serde::Serialize;
use std::fmt;

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
