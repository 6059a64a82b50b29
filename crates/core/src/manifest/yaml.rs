//! YAML to a tree in which everything knows its place. Bounded: a hostile file is an error, never a hang.

use crate::resource::Note;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned, options};
use std::fmt;
use std::ops::Range;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// The bytes that it stands in.
    pub(super) span: Range<usize>,
    /// What it is.
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

/// A key and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

impl Node {
    /// Returns the entries of a map; of anything else, none.
    pub(super) fn entries(&self) -> &[(Key, Self)] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// Returns the value under a key.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
    }
}

/// Parses one document; `None` when there is nothing in it.
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
            Err(Note::error("yaml", message).at(super::locate(text, "", span)))
        }
    }
}

/// Puts the library's message into the words of somebody who writes a manifest.
fn message(told: &str) -> String {
    let told = told.lines().next().unwrap_or_default();
    // It ends with the place, which the report shows anyway.
    let told = told.split(" at line ").next().unwrap_or_default();
    // It also advises on its own options, which are not the user's.
    let told = told.split(", set ").next().unwrap_or_default();
    if let Some(key) = told.strip_prefix("duplicate mapping key: ") {
        return format!("the key `{key}` stands here a second time");
    }
    let known = [
        ("budget breached: Depth", "this is nested too deeply"),
        ("budget breached", "this holds, with its anchors spelled out, more than any stack needs"),
        ("multiple YAML documents", "a second document begins here, and a manifest is one"),
        ("recursive references", "an anchor cannot hold itself"),
        ("alias references unknown anchor", "there is no anchor of this name"),
        ("tabs disallowed", "a tab cannot indent: YAML wants spaces"),
    ];
    let known = known.iter().find(|(begin, _)| told.starts_with(begin));
    known.map_or(told, |(_, words)| words).to_owned()
}

/// Returns the bytes of an error's place. The scanner's errors know only their line and column.
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
