//! GPUs: those that a machine has, and those that a server may use.

use super::units::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

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

/// A GPU as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum GpuDevice {
    /// Its number in the order of the PCI bus.
    Index(u32),
    /// Its unique name `GPU-…`. As for CUDA, a beginning of it is enough.
    Uuid(String),
    /// The unique name `MIG-…` of a part of one.
    Mig(String),
}

impl FromStr for GpuDevice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |text: &str, also: &[u8]| {
            let is_digit = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-' || also.contains(&byte);
            text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(is_digit)
        };
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            if let Ok(index) = text.parse() {
                return Ok(Self::Index(index));
            }
        } else if let Some(uuid) = text.strip_prefix("GPU-").filter(|uuid| digits(uuid, b"")) {
            return Ok(Self::Uuid(format!("GPU-{uuid}")));
        } else if let Some(uuid) = text.strip_prefix("MIG-")
            && digits(uuid.strip_prefix("GPU-").unwrap_or(uuid), b"/")
        {
            return Ok(Self::Mig(text.to_owned()));
        }
        let hint = "write each GPU's index, or its `GPU-…` or `MIG-…` as `nvidia-smi -L` lists them";
        Err(format!("`{}` is not a GPU\n{hint}", text.escape_debug()))
    }
}

impl fmt::Display for GpuDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => index.fmt(f),
            Self::Uuid(name) | Self::Mig(name) => f.write_str(name),
        }
    }
}

impl Gpu {
    /// Returns whether a manifest means this GPU. What is part of one is known to the driver alone.
    #[must_use]
    pub fn is(&self, device: &GpuDevice) -> bool {
        match device {
            GpuDevice::Index(index) => *index == self.index,
            GpuDevice::Uuid(uuid) => self.uuid.starts_with(uuid),
            GpuDevice::Mig(_) => false,
        }
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
