//! Decoding of the tree into typed values, with every problem rather than only the first.
//!
//! The types' serde implementations are the only definition of the fields. Serde stops at the first error; so the
//! failed part is noted and left out, and the tree is decoded again without it, until the rest succeeds.

use super::locate::locate;
use super::suggest;
use super::types::Manifest;
use super::values::SPANNED;
use super::yaml::{Key, Node, Value};
use crate::resource::Note;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

/// The largest number of problems reported at once.
const MOST: usize = 100;

/// Decodes a manifest as far as possible.
pub(super) fn decode(text: &str, tree: &Node) -> (Option<Manifest>, Vec<Note>) {
    let findings = RefCell::new(Findings::default());
    let mut tree = tree.clone();
    let mut manifest = None;
    for _ in 0..MOST {
        let root = Decoder { text, node: &tree, path: String::new(), at: 0..0, findings: &findings };
        match serde::Deserialize::deserialize(root) {
            Ok(decoded) => {
                manifest = Some(decoded);
                break;
            }
            Err(error) => {
                let mut findings = findings.borrow_mut();
                let path = error.path.clone().unwrap_or_default();
                let silent =
                    error.missing.as_ref().is_some_and(|field| findings.left_out.contains(&join(&path, field)));
                if !silent {
                    findings.add(text, &error);
                }
                // The root cannot be left out: a placeholder replaces a missing field, so that the rest is decoded
                // too.
                let lacking = error.missing.as_ref().filter(|_| path.is_empty());
                if lacking.is_some_and(|field| stand_in(&mut tree, field)) {
                    lacking.map(|field| findings.left_out.remove(field));
                    continue;
                }
                if path.is_empty() || !findings.left_out.insert(path) {
                    break;
                }
            }
        }
    }
    (manifest, findings.into_inner().notes.into_values().collect())
}

/// Inserts a placeholder for a missing mandatory field; returns whether there is one.
fn stand_in(tree: &mut Node, field: &str) -> bool {
    let value = match field {
        "version" => Value::Integer(1),
        "stack" => Value::Text("stack".to_owned()),
        _ => return false,
    };
    let Value::Map(entries) = &mut tree.value else { return false };
    entries.retain(|(key, _)| key.text != field);
    entries.push((Key { text: field.to_owned(), span: 0..0 }, Node { span: 0..0, value }));
    true
}

/// The findings so far: notes by location, and the paths left out.
#[derive(Default)]
struct Findings {
    notes: BTreeMap<(usize, String), Note>,
    left_out: BTreeSet<String>,
}

impl Findings {
    fn add(&mut self, text: &str, error: &Error) {
        let span = error.span.clone().unwrap_or(0..0);
        let path = error.path.clone().unwrap_or_default();
        let mut note = Note::error(error.code, error.message.clone()).at(locate(text, &path, span.clone()));
        note.hint.clone_from(&error.hint);
        self.notes.insert((span.start, note.message.clone()), note);
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// An error of decoding a value.
#[derive(Debug)]
struct Error {
    code: &'static str,
    message: String,
    hint: Option<String>,
    path: Option<String>,
    span: Option<Range<usize>>,
    missing: Option<String>,
}

impl Error {
    fn new(code: &'static str, message: String) -> Self {
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
        let code = if message == super::values::SECRET_IN_CLEAR { "secret-in-clear" } else { "bad-value" };
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

#[derive(Clone)]
struct Decoder<'a> {
    text: &'a str,
    node: &'a Node,
    path: String,
    /// The location of the node as a whole: its key, if it has one.
    at: Range<usize>,
    findings: &'a RefCell<Findings>,
}

impl<'a> Decoder<'a> {
    fn child(&self, name: &str, node: &'a Node, at: Range<usize>) -> Self {
        Self { path: join(&self.path, name), node, at, ..self.clone() }
    }

    fn is_left_out(&self, name: &str) -> bool {
        self.findings.borrow().left_out.contains(&join(&self.path, name))
    }

    /// Adds this node's location to an error without one.
    fn placed(&self, mut error: Error) -> Error {
        if error.path.is_none() {
            let scalar = !matches!(self.node.value, Value::Map(_) | Value::List(_) | Value::Null);
            error.path = Some(self.path.clone());
            error.span = Some(if scalar { self.node.span.clone() } else { self.at.clone() });
        }
        error
    }

    /// Returns the literal text of a number that is meant as a string: a version, a digest of digits only.
    fn written(&self) -> &'a str {
        self.text.get(self.node.span.clone()).unwrap_or_default().trim()
    }

    fn visit<V: Visitor<'a>>(&self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => Err(Error::new("bad-value", "this number is too large".to_owned())),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::List(items) => visitor.visit_seq(List { decoder: self.clone(), items, next: 0 }),
            Value::Map(entries) => visitor.visit_map(Map { decoder: self.clone(), entries, next: 0, known: None }),
        }
    }
}

impl<'a> Deserializer<'a> for Decoder<'a> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit(visitor).map_err(|error| self.placed(error))
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            Value::Integer(_) | Value::Float(_) => visitor.visit_borrowed_str(self.written()),
            _ => self.visit(visitor),
        };
        result.map_err(|error| self.placed(error))
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.value == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == SPANNED {
            return visitor.visit_map(SpannedMap { decoder: self, next: 0 });
        }
        let entries: &[(Key, Node)] = match &self.node.value {
            Value::Map(entries) => entries,
            // An empty section.
            Value::Null => &[],
            // A list is not accepted as a mapping without keys.
            Value::List(_) => return Err(self.placed(de::Error::invalid_type(de::Unexpected::Seq, &visitor))),
            _ => return self.deserialize_any(visitor),
        };
        let map = Map { decoder: self.clone(), entries, next: 0, known: Some(fields) };
        visitor.visit_map(map).map_err(|error| self.placed(error))
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            Value::Text(word) => visitor.visit_enum(Word(word)),
            Value::Boolean(_) | Value::Integer(_) => visitor.visit_enum(Word(self.written())),
            _ => self.visit(visitor),
        };
        result.map_err(|error| self.placed(error))
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct List<'a> {
    decoder: Decoder<'a>,
    items: &'a [Node],
    next: usize,
}

impl<'a> SeqAccess<'a> for List<'a> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        loop {
            let Some(item) = self.items.get(self.next) else { return Ok(None) };
            let index = self.next.to_string();
            self.next += 1;
            if !self.decoder.is_left_out(&index) {
                let child = self.decoder.child(&index, item, item.span.clone());
                return seed.deserialize(child.clone()).map(Some).map_err(|error| child.placed(error));
            }
        }
    }
}

struct Map<'a> {
    decoder: Decoder<'a>,
    entries: &'a [(Key, Node)],
    next: usize,
    /// The known fields, where the keys are fixed.
    known: Option<&'static [&'static str]>,
}

impl<'a> MapAccess<'a> for Map<'a> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        while let Some((key, _)) = self.entries.get(self.next) {
            if self.decoder.is_left_out(&key.text) {
                self.next += 1;
                continue;
            }
            if let Some(known) = self.known.filter(|known| !known.contains(&key.text.as_str())) {
                let mut error = Error::new("unknown-key", format!("`{}` is not a known key", key.text));
                error.hint = suggest::hint(&key.text, known, "known keys");
                error.path = Some(join(&self.decoder.path, &key.text));
                error.span = Some(key.span.clone());
                self.decoder.findings.borrow_mut().add(self.decoder.text, &error);
                self.next += 1;
                continue;
            }
            return seed.deserialize(KeyDecoder { key }).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, node) = &self.entries[self.next];
        self.next += 1;
        let child = self.decoder.child(&key.text, node, key.span.clone());
        seed.deserialize(child.clone()).map_err(|error| child.placed(error))
    }
}

/// A key as a value: a string, with its location on request.
struct KeyDecoder<'a> {
    key: &'a Key,
}

impl<'a> Deserializer<'a> for KeyDecoder<'a> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(&self.key.text)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(KeyMap { key: self.key, next: 0 })
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct KeyMap<'a> {
    key: &'a Key,
    next: usize,
}

impl<'a> MapAccess<'a> for KeyMap<'a> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        spanned_field(self.next, seed)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.next += 1;
        match self.next {
            1 => seed.deserialize(self.key.span.start.into_deserializer()),
            2 => seed.deserialize(self.key.span.end.into_deserializer()),
            _ => seed.deserialize(KeyDecoder { key: self.key }),
        }
    }
}

/// A value with its location: the three fields of [`super::values::Spanned`].
struct SpannedMap<'a> {
    decoder: Decoder<'a>,
    next: usize,
}

fn spanned_field<'de, K: DeserializeSeed<'de>>(index: usize, seed: K) -> Result<Option<K::Value>, Error> {
    match super::values::SPANNED_FIELDS.get(index) {
        Some(field) => seed.deserialize((*field).into_deserializer()).map(Some),
        None => Ok(None),
    }
}

impl<'a> MapAccess<'a> for SpannedMap<'a> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        spanned_field(self.next, seed)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.next += 1;
        let scalar = !matches!(self.decoder.node.value, Value::Map(_) | Value::List(_) | Value::Null);
        let span = if scalar { &self.decoder.node.span } else { &self.decoder.at };
        match self.next {
            1 => seed.deserialize(span.start.into_deserializer()),
            2 => seed.deserialize(span.end.into_deserializer()),
            _ => seed.deserialize(self.decoder.clone()),
        }
    }
}

/// A string that names a variant.
struct Word<'a>(&'a str);

impl<'a> EnumAccess<'a> for Word<'a> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        seed.deserialize(de::value::BorrowedStrDeserializer::new(self.0)).map(|value| (value, self))
    }
}

impl<'a> VariantAccess<'a> for Word<'a> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, _: T) -> Result<T::Value, Error> {
        Err(de::Error::custom("expected a string"))
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("expected a string"))
    }

    fn struct_variant<V: Visitor<'a>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("expected a string"))
    }
}
