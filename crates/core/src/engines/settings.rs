//! The settings that a manifest may give an engine: each has a name and a type.
//!
//! Settings with a field of their own in the manifest are not among them.

use crate::resource::Bytes;

/// The type of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Count,
    /// A number above 0 and up to 1.
    Share,
    /// A size, which is passed to the engine in bytes.
    Size,
    /// A word.
    Text,
    /// An absolute path.
    Path,
    /// A word, a number, or `true` or `false` as `1` or `0`.
    Scalar,
}

/// A setting of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The name.
    pub name: &'static str,
    /// The type.
    pub shape: Shape,
}

/// The settings of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The settings, sorted by name.
    pub known: &'static [Setting],
    /// The names that differ from the manifest's, and the field of the manifest for each.
    pub elsewhere: &'static [(&'static str, &'static str)],
    /// Advice for what is not among them.
    pub others: &'static str,
}

/// A setting that a manifest gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The setting's name.
    pub name: &'static str,
    /// The value.
    pub given: Given,
    /// The value as the manifest writes it.
    pub written: String,
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Of a switch.
    Switch(bool),
    /// Of anything else, as it is passed to the engine.
    Text(String),
}

/// The defect of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// There is no such setting.
    Unknown,
    /// The value is of another type; what is expected.
    Expected(&'static str),
}

impl Settings {
    /// Returns the settings that can be read, and what is wrong with the others by their names.
    #[must_use]
    pub fn read(&self, given: &serde_json::Value) -> (Vec<Value>, Vec<(String, Problem)>) {
        let (mut values, mut problems) = (Vec::new(), Vec::new());
        for (name, value) in given.as_object().into_iter().flatten() {
            let Some(setting) = self.known.iter().find(|setting| setting.name == name) else {
                problems.push((name.clone(), Problem::Unknown));
                continue;
            };
            match setting.shape.read(value) {
                Ok(given) => {
                    let written = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    values.push(Value { name: setting.name, given, written });
                }
                Err(expected) => problems.push((name.clone(), Problem::Expected(expected))),
            }
        }
        (values, problems)
    }
}

impl Shape {
    /// Returns the value, or what was expected.
    fn read(self, value: &serde_json::Value) -> Result<Given, &'static str> {
        let text = match self {
            Self::Switch => return value.as_bool().map(Given::Switch).ok_or("`true` or `false`"),
            Self::Count => value.as_u64().ok_or("a whole number")?.to_string(),
            Self::Share => {
                let share = value.as_f64().filter(|share| *share > 0.0 && *share <= 1.0);
                share.ok_or("a number above 0 and up to 1, such as `0.9`")?.to_string()
            }
            Self::Size => {
                let size = value.as_u64().or_else(|| Some(value.as_str()?.parse::<Bytes>().ok()?.0));
                size.filter(|size| *size > 0).ok_or("a size, such as `4GiB`")?.to_string()
            }
            // What begins with `-` would be another flag.
            Self::Text => {
                let text = value.as_str().filter(|text| !text.is_empty() && !text.starts_with('-'));
                text.ok_or("a word")?.to_owned()
            }
            Self::Path => {
                let path = value.as_str().filter(|path| path.starts_with('/') && !path.chars().any(char::is_control));
                path.ok_or("an absolute path")?.to_owned()
            }
            Self::Scalar => match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Bool(on) => u8::from(*on).to_string(),
                serde_json::Value::Number(number) => number.to_string(),
                _ => return Err("a word, a number, or `true` or `false`"),
            },
        };
        Ok(Given::Text(text))
    }
}

impl Value {
    /// Returns the value as one word: of a switch `true` or `false`.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.given {
            Given::Switch(on) => on.to_string(),
            Given::Text(text) => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Given, Shape};
    use crate::engines::PROVIDERS;
    use serde_json::json;

    #[test]
    fn each_type_reads_to_its_edges_and_no_further() {
        let read = |shape: Shape, value: serde_json::Value| match shape.read(&value) {
            Ok(Given::Text(text)) => text,
            Ok(Given::Switch(on)) => format!("switch {on}"),
            Err(_) => "refused".to_owned(),
        };
        let cases = [
            (Shape::Switch, json!(true), "switch true"),
            (Shape::Switch, json!(1), "refused"),
            (Shape::Count, json!(0), "0"),
            (Shape::Count, json!(-1), "refused"),
            (Shape::Share, json!(0.0), "refused"),
            (Shape::Share, json!(0.25), "0.25"),
            (Shape::Share, json!(1.0), "1"),
            (Shape::Share, json!(1.01), "refused"),
            (Shape::Size, json!(0), "refused"),
            (Shape::Size, json!(1), "1"),
            (Shape::Size, json!("4KiB"), "4096"),
            (Shape::Size, json!("x"), "refused"),
            (Shape::Text, json!("word"), "word"),
            (Shape::Text, json!(""), "refused"),
            (Shape::Text, json!("-flag"), "refused"),
            (Shape::Path, json!("/a b"), "/a b"),
            (Shape::Path, json!("a"), "refused"),
            (Shape::Path, json!("/a\nb"), "refused"),
            (Shape::Scalar, json!(true), "1"),
            (Shape::Scalar, json!(1.5), "1.5"),
            (Shape::Scalar, json!(["a"]), "refused"),
        ];
        for (shape, value, expected) in cases {
            assert_eq!(read(shape, value.clone()), expected, "{shape:?} of {value}");
        }
    }

    #[test]
    fn settings_are_sorted_and_none_is_set_twice() {
        for engine in PROVIDERS {
            let settings = engine.settings();
            assert!(settings.known.is_sorted_by(|one, other| one.name < other.name), "{}", engine.name());
            let is_known = |name: &str| settings.known.iter().any(|setting| setting.name == name);
            assert!(settings.elsewhere.iter().all(|(name, _)| !is_known(name)), "{}", engine.name());
        }
    }
}
