//! The flags and variables that an engine renders itself, so that a manifest does not give them a second time.

use super::parameters::Parameters;

/// The flags and variables that llamero renders for the server of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Rendered {
    /// The spellings of each flag, and the setting of the manifest that it comes from.
    pub flags: &'static [(&'static [&'static str], &'static str)],
    /// Each variable, and the setting of the manifest that it comes from.
    pub variables: &'static [(&'static str, &'static str)],
    /// Flags and variables that are defaults: those of the manifest take their place.
    pub defaults: &'static [&'static str],
    /// The way that settings are passed to the engine.
    pub settings: SettingsAs,
}

/// The way that settings are passed to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingsAs {
    /// It has none.
    None,
    /// Each is a flag.
    Flags,
    /// Each is a variable that begins with this.
    Variables(&'static str),
}

impl Rendered {
    /// Nothing is rendered.
    pub const NOTHING: Self = Self { flags: &[], variables: &[], defaults: &[], settings: SettingsAs::None };

    /// Returns the setting of the manifest that a flag comes from, in any spelling.
    #[must_use]
    pub fn flag(&self, word: &str) -> Option<&'static str> {
        // Engines in Python take `_` and `-` for one another.
        let word = word.replace('_', "-");
        self.flags.iter().find(|(spellings, _)| spellings.contains(&word.as_str())).map(|(_, setting)| *setting)
    }

    /// Returns the setting of the manifest that a variable comes from.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&'static str> {
        self.variables.iter().find(|(variable, _)| *variable == name).map(|(_, setting)| *setting)
    }

    /// Returns the engine's own setting that a flag means.
    #[must_use]
    pub fn setting_of_flag(&self, word: &str) -> Option<String> {
        let name = word.strip_prefix("--").filter(|_| self.settings == SettingsAs::Flags)?;
        let name = name.replace('-', "_");
        Some(name.strip_prefix("no_").map_or_else(|| name.clone(), str::to_owned))
    }

    /// Returns the engine's own setting that a variable means.
    #[must_use]
    pub fn setting_of_variable(&self, name: &str) -> Option<String> {
        let SettingsAs::Variables(prefix) = self.settings else { return None };
        name.strip_prefix(prefix).map(str::to_lowercase)
    }
}

/// The fields of a model that an engine uses where llamero runs its server or manages its models.
#[derive(Debug, Clone, Copy)]
pub struct ModelFields {
    /// Those that have an effect.
    pub used: &'static [&'static str],
    /// The alternatives to unused fields.
    pub instead: &'static [(&'static str, &'static str)],
    /// What the field `parameters` may have.
    pub parameters: Parameters,
}
