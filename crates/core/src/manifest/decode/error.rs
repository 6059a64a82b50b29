//! Errors of decoding, in the words of a manifest's author.

use crate::manifest::{suggest, values};
use serde::de;
use std::fmt;
use std::ops::Range;

/// An error of decoding a value.
#[derive(Debug)]
pub(super) struct Error {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) path: Option<String>,
    pub(super) span: Option<Range<usize>>,
    pub(super) missing: Option<String>,
}

impl Error {
    pub(super) fn new(code: &'static str, message: String) -> Self {
        Self { code, message, hint: None, path: None, span: None, missing: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        // A value's own check may add a hint after a line break.
        let text = message.to_string();
        let (message, hint) =
            text.split_once('\n').map_or((text.as_str(), None), |(message, hint)| (message, Some(hint)));
        // A possible secret must be reported as one, so that it is masked.
        let code = if message == values::SECRET_IN_CLEAR { "secret-in-clear" } else { "bad-value" };
        Self { hint: hint.map(str::to_owned), ..Self::new(code, message.to_owned()) }
    }

    fn invalid_type(live: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = declared(&expected.to_string());
        // An integer beyond every integer type arrives as a float.
        if matches!(live, de::Unexpected::Float(number) if number.fract() == 0.0 && number.abs() >= 1e15) {
            return Self::new("wrong-type", format!("expected {expected}, but this number is too large"));
        }
        let quoted = expected == "a string" && matches!(live, de::Unexpected::Bool(_));
        let hint = quoted.then(|| "put it in quotes: YAML reads it as a boolean".to_owned());
        Self { hint, ..Self::new("wrong-type", format!("expected {expected}, found {}", kind(&live))) }
    }

    fn invalid_value(live: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = declared(&expected.to_string());
        match live {
            de::Unexpected::Signed(number) => {
                Self::new("bad-value", format!("expected a non-negative integer, found {number}"))
            }
            live => Self::new("bad-value", format!("expected {expected}, found {}", kind(&live))),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        let hint = match field {
            "version" => Some("write `version: 1`".to_owned()),
            "stack" => Some("write `stack: NAME`: it prefixes the names of units and containers".to_owned()),
            _ => None,
        };
        let missing = Some(field.to_owned());
        Self { hint, missing, ..Self::new("missing-field", format!("`{field}` is missing")) }
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let hint = suggest::hint(variant, known, "known values");
        Self { hint, ..Self::new("unknown-word", format!("`{variant}` is not a known value")) }
    }
}

/// Translates a Rust type name for the author of a manifest.
fn declared(expected: &str) -> String {
    let words = match expected {
        "a sequence" => "a list",
        "a map" => "a mapping",
        "f32" | "f64" => "a number",
        name if name.starts_with("struct ") => "a mapping",
        name if name.starts_with(['u', 'i']) && name[1..].parse::<u8>().is_ok() => "an integer",
        other => other,
    };
    words.to_owned()
}

fn kind(live: &de::Unexpected<'_>) -> &'static str {
    match live {
        de::Unexpected::Bool(_) => "a boolean",
        de::Unexpected::Unsigned(_) | de::Unexpected::Signed(_) => "an integer",
        de::Unexpected::Float(_) => "a number",
        de::Unexpected::Str(_) | de::Unexpected::Char(_) | de::Unexpected::Bytes(_) => "a string",
        de::Unexpected::Unit | de::Unexpected::Option => "nothing",
        de::Unexpected::Seq => "a list",
        de::Unexpected::Map => "a mapping",
        _ => "something else",
    }
}
