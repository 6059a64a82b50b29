//! A mount from the host, as a manifest writes it: `SOURCE:TARGET`, with `:ro` if it is read only.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A volume of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The source of the mount.
    pub source: VolumeSource,
    /// The absolute path in the container.
    pub target: PathBuf,
    /// True if the container cannot change it.
    pub read_only: bool,
}

/// The source of a container's volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// A path of the host, as it is written.
    Path(String),
    /// A volume of the container engine by its name.
    Name(String),
}

impl FromStr for Volume {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hint = "write `PATH:TARGET` or `VOLUME:TARGET`, with `:ro` if the container must not change it";
        let invalid = |why: &str| format!("`{}` is not a volume: {why}\n{hint}", text.escape_debug());
        let (rest, read_only) = match text.rsplit_once(':') {
            Some((rest, "ro")) => (rest, true),
            Some((rest, "rw")) => (rest, false),
            _ => (text, false),
        };
        let (source, target) = rest.rsplit_once(':').ok_or_else(|| invalid("it names no target"))?;
        if text.chars().any(char::is_control) {
            return Err(invalid("it has a control character"));
        }
        if !target.starts_with('/') {
            return Err(invalid("its target is not an absolute path"));
        }
        if target.split('/').all(str::is_empty) {
            return Err(invalid("its target is the root of the container"));
        }
        let is_name = source.len() > 1
            && source.starts_with(|c: char| c.is_ascii_alphanumeric())
            && source.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        let source = if source.starts_with(['/', '.', '~', '$']) {
            VolumeSource::Path(source.to_owned())
        } else if is_name {
            VolumeSource::Name(source.to_owned())
        } else {
            return Err(invalid("its source is neither a path nor the name of a volume"));
        };
        Ok(Self { source, target: PathBuf::from(target), read_only })
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (VolumeSource::Path(source) | VolumeSource::Name(source)) = &self.source;
        write!(f, "{source}:{}{}", self.target.display(), if self.read_only { ":ro" } else { "" })
    }
}
