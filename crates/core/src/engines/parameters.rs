//! The parameters that a manifest may give a model that llamero makes: each has a name and a type.

use super::settings::Problem;
use serde_json::{Number, Value};

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// A whole number, which may be negative.
    Whole,
    /// A number.
    Number,
    /// `true` or `false`.
    Switch,
    /// Words; one of them need not be a list.
    Words,
}

/// The parameters of an engine's models.
#[derive(Debug, Clone, Copy)]
pub struct Parameters {
    /// The parameters, sorted by name.
    pub known: &'static [(&'static str, ParameterKind)],
    /// The names that differ from the manifest's, and the field of the manifest for each.
    pub elsewhere: &'static [(&'static str, &'static str)],
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// A whole number.
    Whole(i64),
    /// A number.
    Number(Number),
    /// `true` or `false`.
    Switch(bool),
    /// Words.
    Words(Vec<String>),
}

/// What can be read, and what is wrong with the rest, each by its name.
type Read = (Vec<(&'static str, Parameter)>, Vec<(String, Problem)>);

impl Parameters {
    /// Those of an engine whose models have none.
    pub const NONE: Self = Self { known: &[], elsewhere: &[] };

    /// Returns the parameters that can be read, and what is wrong with the others by their names.
    #[must_use]
    pub fn read(&self, given: &Value) -> Read {
        let (mut values, mut problems) = (Vec::new(), Vec::new());
        for (name, value) in given.as_object().into_iter().flatten() {
            let Some((known, kind)) = self.known.iter().find(|(known, _)| known == name) else {
                problems.push((name.clone(), Problem::Unknown));
                continue;
            };
            match kind.read(value) {
                Ok(parameter) => values.push((*known, parameter)),
                Err(expected) => problems.push((name.clone(), Problem::Expected(expected))),
            }
        }
        (values, problems)
    }
}

impl ParameterKind {
    /// Returns the value, or what was expected.
    fn read(self, value: &Value) -> Result<Parameter, &'static str> {
        match (self, value) {
            (Self::Whole, _) => value.as_i64().map(Parameter::Whole).ok_or("a whole number"),
            (Self::Number, Value::Number(number)) => Ok(Parameter::Number(number.clone())),
            (Self::Number, _) => Err("a number"),
            (Self::Switch, _) => value.as_bool().map(Parameter::Switch).ok_or("`true` or `false`"),
            (Self::Words, Value::String(word)) => Ok(Parameter::Words(vec![word.clone()])),
            (Self::Words, Value::Array(words)) => {
                let words: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
                words.map(Parameter::Words).ok_or("a list of words")
            }
            (Self::Words, _) => Err("a list of words"),
        }
    }
}

impl From<Parameter> for Value {
    fn from(parameter: Parameter) -> Self {
        match parameter {
            Parameter::Whole(number) => number.into(),
            Parameter::Number(number) => Self::Number(number),
            Parameter::Switch(on) => on.into(),
            Parameter::Words(words) => words.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engines::{PROVIDERS, Problem};
    use serde_json::{Value, json};

    #[test]
    fn parameters_are_sorted_and_none_is_set_twice() {
        for engine in PROVIDERS {
            let parameters = engine.model_fields().parameters;
            assert!(parameters.known.is_sorted_by(|(one, _), (other, _)| one < other), "{}", engine.name());
            let is_known = |name: &str| parameters.known.iter().any(|(known, _)| *known == name);
            assert!(parameters.elsewhere.iter().all(|(name, _)| !is_known(name)), "{}", engine.name());
        }
    }

    #[test]
    fn each_value_has_the_type_of_its_parameter() {
        let ollama = PROVIDERS.iter().find(|engine| engine.name() == "ollama").expect("an engine");
        let read = |name: &str, value: Value| {
            let (values, problems) = ollama.model_fields().parameters.read(&json!({ name: value }));
            let value = values.into_iter().next().map(|(_, parameter)| Value::from(parameter));
            value.ok_or_else(|| problems.into_iter().next().map(|(_, problem)| problem).expect("a problem"))
        };
        assert_eq!(read("top_k", json!(20)), Ok(json!(20)));
        assert_eq!(read("num_predict", json!(-1)), Ok(json!(-1)));
        assert_eq!(read("temperature", json!(1)), Ok(json!(1)));
        assert_eq!(read("temperature", json!(0.7)), Ok(json!(0.7)));
        assert_eq!(read("use_mmap", json!(false)), Ok(json!(false)));
        assert_eq!(read("stop", json!("</s>")), Ok(json!(["</s>"])));
        assert_eq!(read("stop", json!(["a", "b"])), Ok(json!(["a", "b"])));
        for (name, value) in [
            ("top_k", json!(0.5)),
            ("top_k", json!("20")),
            ("temperature", json!("hot")),
            ("use_mmap", json!(1)),
            ("stop", json!([1])),
            ("stop", json!({})),
        ] {
            assert!(matches!(read(name, value.clone()), Err(Problem::Expected(_))), "{name}: {value}");
        }
        assert_eq!(read("temprature", json!(1)), Err(Problem::Unknown));
    }
}
