//! The deserializer of a key.

use super::error::Error;
use crate::manifest::values::SPANNED_FIELDS;
use crate::manifest::yaml::Key;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};

/// A key as a value: a string, with its location on request.
pub(super) struct KeyDecoder<'a> {
    pub(super) key: &'a Key,
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

/// Returns the name of the field at `index` of a value with its location.
pub(super) fn spanned_field<'de, K: DeserializeSeed<'de>>(index: usize, seed: K) -> Result<Option<K::Value>, Error> {
    match SPANNED_FIELDS.get(index) {
        Some(field) => seed.deserialize((*field).into_deserializer()).map(Some),
        None => Ok(None),
    }
}
