//! A server's command as typed parts, in the order of its words.
//!
//! Each part knows the setting of the manifest that it comes from. Only the user's own words are read as text.

use super::fingerprint::{Field, Fields};
use super::origin::{ManifestPath, Origin};
use serde::{Deserialize, Serialize};

/// The field of the words that no flag precedes.
const COMMAND: &str = "command";

/// One part of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// A word by itself: the program, a subcommand.
    Word {
        /// The word.
        word: String,
        /// The settings that it comes from.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        origins: Vec<Origin>,
    },
    /// A word whose position says what it is.
    Operand {
        /// Its description for people.
        name: String,
        /// The word.
        value: String,
        /// The settings that it comes from.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        origins: Vec<Origin>,
    },
    /// An option, such as `--ctx-size 8192`.
    Option {
        /// The flag with its dashes.
        flag: String,
        /// Its value; `None` of a switch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        /// The settings that it comes from.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        origins: Vec<Origin>,
    },
    /// Words of the user's own, whose meaning is not known.
    Raw {
        /// The words.
        words: Vec<String>,
        /// The setting that they stand in.
        path: ManifestPath,
    },
}

/// A command: its words are those of its parts, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Command(pub Vec<Part>);

impl Command {
    /// Returns a command of words that come from no setting.
    #[must_use]
    pub fn words<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Self {
        Self(words.into_iter().map(|word| Part::Word { word: word.into(), origins: Vec::new() }).collect())
    }

    /// Adds a word by itself.
    pub fn word(&mut self, word: impl Into<String>, origins: impl IntoIterator<Item = Origin>) {
        let origins = origins.into_iter().collect();
        self.0.push(Part::Word { word: word.into(), origins });
    }

    /// Adds a word whose position says what it is.
    pub fn operand(&mut self, name: &str, value: impl Into<String>, origins: impl IntoIterator<Item = Origin>) {
        let origins = origins.into_iter().collect();
        self.0.push(Part::Operand { name: name.to_owned(), value: value.into(), origins });
    }

    /// Adds an option with a value.
    #[expect(clippy::needless_pass_by_value, reason = "numbers and literals are passed as they are")]
    pub fn option(&mut self, flag: &str, value: impl ToString, origins: impl IntoIterator<Item = Origin>) {
        let origins = origins.into_iter().collect();
        self.0.push(Part::Option { flag: flag.to_owned(), value: Some(value.to_string()), origins });
    }

    /// Adds an option without a value.
    pub fn switch(&mut self, flag: &str, origins: impl IntoIterator<Item = Origin>) {
        let origins = origins.into_iter().collect();
        self.0.push(Part::Option { flag: flag.to_owned(), value: None, origins });
    }

    /// Adds words of the user's own.
    pub fn raw(&mut self, words: &[String], path: impl Into<ManifestPath>) {
        if !words.is_empty() {
            self.0.push(Part::Raw { words: words.to_vec(), path: path.into() });
        }
    }

    /// Returns the words that the program is run with, itself first.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        let words = |part: &Part| match part {
            Part::Word { word, .. } => vec![word.clone()],
            Part::Operand { value, .. } => vec![value.clone()],
            Part::Option { flag, value, .. } => std::iter::once(flag).chain(value).cloned().collect(),
            Part::Raw { words, .. } => words.clone(),
        };
        self.0.iter().flat_map(words).collect()
    }

    /// Returns the first word.
    #[must_use]
    pub fn program(&self) -> Option<&str> {
        match self.0.first()? {
            Part::Word { word, .. } => Some(word),
            Part::Operand { value, .. } => Some(value),
            Part::Option { flag, .. } => Some(flag),
            Part::Raw { words, .. } => words.first().map(String::as_str),
        }
    }

    /// Returns its fields: options by their flags, operands by their names, and the other words as `command`. An option
    /// given twice has both values.
    #[must_use]
    pub fn fields(&self) -> Fields {
        let mut fields = Fields::new();
        for part in &self.0 {
            let (name, value, origins) = match part {
                Part::Word { word, origins } => (COMMAND, word.as_str(), origins),
                Part::Operand { name, value, origins } => (name.as_str(), value.as_str(), origins),
                Part::Option { flag, value, origins } => (flag.as_str(), value.as_deref().unwrap_or_default(), origins),
                Part::Raw { words, path } => {
                    for (name, value) in raw_fields(words) {
                        let shown = if name == COMMAND { value.clone() } else { format!("{name} {value}") };
                        add(&mut fields, &name, &value, &[Origin::new(path.clone(), shown.trim_end())]);
                    }
                    continue;
                }
            };
            add(&mut fields, name, value, origins);
        }
        fields
    }
}

fn add(fields: &mut Fields, name: &str, value: &str, origins: &[Origin]) {
    let field = fields.entry(name.to_owned()).or_insert_with(|| Field::from(""));
    if !field.value.is_empty() && !value.is_empty() {
        field.value.push(' ');
    }
    field.value.push_str(value);
    field.origins.extend(origins.iter().cloned());
}

/// Splits the user's own words at their flags; a word with white space in it is quoted, so that it is not two.
fn raw_fields(words: &[String]) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for word in words {
        let quoted = |word: &str| {
            let plain = !word.is_empty() && !word.contains(char::is_whitespace);
            if plain { word.to_owned() } else { format!("{word:?}") }
        };
        if word.starts_with("--") && word.len() > 2 {
            let (flag, value) = word.split_once('=').map_or((word.as_str(), None), |(flag, value)| (flag, Some(value)));
            fields.push((flag.to_owned(), value.map(quoted).unwrap_or_default()));
            continue;
        }
        match fields.last_mut() {
            Some((_, value)) if value.is_empty() => *value = quoted(word),
            Some((_, value)) => *value = format!("{value} {}", quoted(word)),
            None => fields.push((COMMAND.to_owned(), quoted(word))),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::Command;
    use crate::resource::{Field, Origin};

    fn shown(command: &Command) -> Vec<String> {
        command.fields().iter().map(|(name, field)| format!("{name}={}", field.value)).collect()
    }

    #[test]
    fn raw_words_become_fields() {
        let words = ["run", "--ctx-size", "8192", "--jinja", "--port=80", "--x", "1", "--x", "2", "--y", "a b", ""];
        let mut command = Command::words(["/bin/serve"]);
        command.raw(&words.map(str::to_owned), "services.a.args");
        let expected =
            ["--ctx-size=8192", "--jinja=", "--port=80", "--x=1 2", "--y=\"a b\" \"\"", "command=/bin/serve run"];
        assert_eq!(shown(&command), expected);
        assert_eq!(command.argv()[1..], words);
    }

    #[test]
    fn values_are_never_taken_for_flags() {
        let mut command = Command::words(["/bin/serve", "serve"]);
        command.operand("model", "--odd", None);
        command.option("--alias", "--port=80", None);
        command.switch("--jinja", None);
        assert_eq!(shown(&command), ["--alias=--port=80", "--jinja=", "command=/bin/serve serve", "model=--odd"]);
        assert_eq!(command.argv(), ["/bin/serve", "serve", "--odd", "--alias", "--port=80", "--jinja"]);
        assert_eq!(command.program(), Some("/bin/serve"));
    }

    #[test]
    fn an_option_that_is_given_twice_has_both_origins() {
        let mut command = Command::words(["/bin/serve"]);
        command.option("--ctx-size", 2048, Some(Origin::new("models.a.context", 2048)));
        command.raw(&["--ctx-size", "4096"].map(str::to_owned), "models.a.args");
        let fields = command.fields();
        let field: &Field = &fields["--ctx-size"];
        assert_eq!(field.value, "2048 4096");
        let origins = [Origin::new("models.a.context", 2048), Origin::new("models.a.args", "--ctx-size 4096")];
        assert_eq!(field.origins, origins);
    }
}
