//! GPUs: those that a machine has, and those that a server may use.

use super::units::Bytes;
use serde::{Deserialize, Serialize};

/// A GPU of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its number in the order of the PCI bus.
    pub index: u32,
    /// Its unique name, such as `GPU-5f2c…`.
    pub uuid: String,
    /// Its model, such as `NVIDIA H100`.
    pub name: String,
    /// The size of its memory.
    pub memory: Bytes,
}

impl Gpu {
    /// Returns whether an index or a UUID denotes this GPU. As for CUDA, a prefix of a UUID is enough.
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
    /// Unspecified: the server may use any GPU that it finds.
    Unspecified,
    /// All of them.
    All,
    /// Those with these indices or UUIDs.
    Devices(Vec<String>),
}

impl Gpus {
    /// Returns whether it is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Returns whether both certainly share a GPU; unspecified ones are not certain. A GPU named once by index and
    /// once by UUID is not recognized as the same.
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
