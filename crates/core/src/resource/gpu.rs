//! GPUs: those that a machine has, and those that a server may use.

use super::units::Bytes;
use serde::{Deserialize, Serialize};

/// A GPU of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its number in the order of the PCI bus.
    pub index: u32,
    /// The name that no other GPU has, such as `GPU-5f2c…`.
    pub uuid: String,
    /// What it is, such as `NVIDIA H100`.
    pub name: String,
    /// All of its memory, in bytes.
    pub memory: Bytes,
}

impl Gpu {
    /// Returns whether an index or a UUID means this one. As for CUDA, the beginning of a UUID is enough.
    #[must_use]
    pub fn is(&self, device: &str) -> bool {
        device.parse() == Ok(self.index) || (device.starts_with("GPU-") && self.uuid.starts_with(device))
    }
}

/// The GPUs that a server may use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gpus {
    /// None of them.
    #[default]
    None,
    /// Whichever it finds, if it uses any: nobody said.
    Unspecified,
    /// All of them.
    All,
    /// Those with these indices or UUIDs.
    Devices(Vec<String>),
}

impl Gpus {
    /// Returns whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Returns whether there is a GPU in both; of two that only perhaps use any it is not known. One that is named by its
    /// index and by its UUID is not known to be the same.
    #[must_use]
    pub fn shares_one(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, _) | (_, Self::None) | (Self::Unspecified, Self::Unspecified) => false,
            (Self::Unspecified, _) | (_, Self::Unspecified) => true,
            (Self::All, _) | (_, Self::All) => true,
            (Self::Devices(one), Self::Devices(other)) => one.iter().any(|device| other.contains(device)),
        }
    }
}
