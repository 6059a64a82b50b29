//! YAML parsed to a tree in which every node has its location. Bounded: a hostile file is an error, never a hang.

use super::locate::locate;
use crate::resource::Note;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned, options};
use std::fmt;
use std::ops::Range;

/// A value with its location.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// The byte range of the value.
    pub(super) span: Range<usize>,
    /// The value.
    pub(super) value: Value,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key with its location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

impl Node {
    /// Returns the entries of a map; empty for any other value.
    pub(super) fn entries(&self) -> &[(Key, Self)] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// Returns the value under a key.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
    }
}

/// Parses one document; `None` when it is empty.
pub(super) fn parse(text: &str) -> Result<Option<Node>, Note> {
    let options = options! {
        budget: serde_saphyr::budget! {
            max_events: 400_000,
            max_aliases: 64,
            max_anchors: 64,
            max_depth: 32,
            max_nodes: 200_000,
        },
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(Spanned { value: Raw(Value::Null), .. }) => Ok(None),
        Ok(spanned) => Ok(Some(node(spanned))),
        Err(error) => {
            let span = error.location().map_or(0..0, |location| place(text, &location));
            let message = message(&error.without_snippet().to_string());
            Err(Note::error("yaml", message).at(locate(text, "", span)))
        }
    }
}

/// Rewrites the library's message for the author of a manifest.
fn message(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    // It ends with the location, which the report shows anyway.
    let message = message.split(" at line ").next().unwrap_or_default();
    // It also suggests options of the library, which are not available to the user.
    let message = message.split(", set ").next().unwrap_or_default();
    if let Some(key) = message.strip_prefix("duplicate mapping key: ") {
        return format!("the key `{key}` is repeated");
    }
    let known = [
        ("budget breached: Depth", "this is nested too deeply"),
        ("budget breached", "with its anchors expanded, this exceeds the size limit"),
        ("multiple YAML documents", "a second document begins here, but a manifest is a single document"),
        ("recursive references", "an anchor must not contain itself"),
        ("alias references unknown anchor", "unknown anchor"),
        ("tabs disallowed", "tabs are not allowed for indentation: use spaces"),
    ];
    let known = known.iter().find(|(begin, _)| message.starts_with(begin));
    known.map_or(message, |(_, words)| words).to_owned()
}

/// Returns the byte range of an error. The scanner's errors have only a line and a column.
fn place(text: &str, location: &Location) -> Range<usize> {
    if location.span().byte_offset().is_some() {
        return span(location);
    }
    let count = |number: u64| usize::try_from(number).unwrap_or_default().saturating_sub(1);
    let before = count(location.line());
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let rest = text[start..].lines().next().unwrap_or_default();
    let column = rest.char_indices().nth(count(location.column())).map_or(rest.len(), |(index, _)| index);
    let length = rest[column..].chars().next().map_or(0, char::len_utf8);
    start + column..start + column + length
}

fn span(location: &Location) -> Range<usize> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset().unwrap_or_default()).unwrap_or_default();
    start..start + usize::try_from(span.byte_len().unwrap_or_default()).unwrap_or_default()
}

fn node(spanned: Spanned<Raw>) -> Node {
    Node { span: span(&spanned.referenced), value: spanned.value.0 }
}

struct Raw(Value);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor).map(Self)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        i128::try_from(value).map(Value::Integer).map_err(|_| E::custom("this number is too large"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Raw>>()? {
            nodes.push(node(item));
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key { span: span(&key.referenced), text: key.value };
            entries.push((key, node(map.next_value::<Spanned<Raw>>()?)));
        }
        Ok(Value::Map(entries))
    }
}
