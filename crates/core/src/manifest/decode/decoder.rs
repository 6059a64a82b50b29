//! The deserializer of a node of the tree.

use super::error::Error;
use super::findings::{Findings, join};
use super::key::{KeyDecoder, spanned_field};
use super::word::Word;
use crate::manifest::suggest;
use crate::manifest::values::SPANNED;
use crate::manifest::yaml::{Key, Node, Value};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use std::cell::RefCell;
use std::ops::Range;

/// A node of the tree, with what decoding it needs.
#[derive(Clone)]
pub(super) struct Decoder<'a> {
    pub(super) text: &'a str,
    pub(super) node: &'a Node,
    pub(super) path: String,
    /// The location of the node as a whole: its key, if it has one.
    pub(super) at: Range<usize>,
    pub(super) findings: &'a RefCell<Findings>,
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

/// A value with its location: the three fields of [`crate::manifest::values::Spanned`].
struct SpannedMap<'a> {
    decoder: Decoder<'a>,
    next: usize,
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
