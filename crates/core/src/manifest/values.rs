//! The building blocks of the manifest's types: values with their location, maps that keep their order, quantities
//! and references.

use crate::resource::{Bytes, Cpus, Seconds, SecretReference};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};

/// The type name by which a decoder recognizes a request for the location.
pub(super) const SPANNED: &str = "$llamero::Spanned";

/// The fields of a value with its location, in decoding order.
pub(super) const SPANNED_FIELDS: [&str; 3] = ["start", "end", "value"];

/// A value and its byte range in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// The byte range; for a mapping or a list, that of its key.
    pub span: Range<usize>,
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpannedVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for SpannedVisitor<T> {
            type Value = Spanned<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its location")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Spanned<T>, A::Error> {
                let absent = || de::Error::custom("a value without its location");
                let (_, start) = map.next_entry::<String, usize>()?.ok_or_else(absent)?;
                let (_, end) = map.next_entry::<String, usize>()?.ok_or_else(absent)?;
                let (_, value) = map.next_entry::<String, T>()?.ok_or_else(absent)?;
                Ok(Spanned { value, span: start..end })
            }
        }
        deserializer.deserialize_struct(SPANNED, &SPANNED_FIELDS, SpannedVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// One entry of a mapping whose keys are names.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<T> {
    /// The name.
    pub name: Spanned<String>,
    /// The value.
    pub value: T,
}

/// A mapping whose keys are names, in the order of the manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Entries<T>(pub Vec<Entry<T>>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Entries<T> {
    /// Returns the value under a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|entry| entry.name.value == name).map(|entry| &entry.value)
    }

    /// Returns the entries in the order of the manifest.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry<T>> {
        self.0.iter()
    }
}

impl<'a, T> IntoIterator for &'a Entries<T> {
    type Item = &'a Entry<T>;
    type IntoIter = std::slice::Iter<'a, Entry<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of names")
            }

            fn visit_unit<E>(self) -> Result<Entries<T>, E> {
                Ok(Entries::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key()? {
                    entries.push(Entry { name, value: map.next_value()? });
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Entries_of_{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($inner:ty), $pattern:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map(Self).map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["string", "integer"], "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

quantity! {
    /// A size, such as `512MiB`.
    Size(Bytes), r"^[0-9]+(\.[0-9]+)? ?(B|[KMGT]iB|kB|[MGT]B)?$", "512MiB"
}

quantity! {
    /// A duration, such as `1h30m`.
    Time(Seconds), r"^([0-9]+(d|h|ms|m|s))+$", "30s"
}

/// A number of processor cores, such as `1.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores(pub Cpus);

impl<'de> Deserialize<'de> for Cores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(de::Error::custom)
    }
}

impl JsonSchema for Cores {
    fn schema_name() -> Cow<'static, str> {
        "Cores".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0.01, "maximum": 4096, "examples": [1.5] })
    }
}

/// A reference to a secret: `{env: NAME}` or `{file: PATH}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSource {
    /// The reference.
    pub reference: SecretReference,
    /// True if llamero generates the file when it is missing.
    pub generate: bool,
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            SecretReference::Env(name) => write!(f, "{{env: {name}}}"),
            SecretReference::File(path) => write!(f, "{{file: {}}}", path.display()),
        }
    }
}

/// The message about a plaintext secret in a manifest.
pub(super) const SECRET_IN_CLEAR: &str = "this is a plaintext secret";

const SECRET_HINT: &str = "write `{env: NAME}` or `{file: PATH}`: a manifest contains no secrets";

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecretVisitor;
        impl<'de> Visitor<'de> for SecretVisitor {
            type Value = SecretSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`{env: NAME}` or `{file: PATH}`")
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<SecretSource, E> {
                Err(E::custom(format!("{SECRET_IN_CLEAR}\n{SECRET_HINT}")))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretSource, E> {
                self.visit_str("")
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretSource, E> {
                self.visit_str("")
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretSource, E> {
                self.visit_str("")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<SecretSource, A::Error> {
                self.visit_str("")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
                let (mut reference, mut generate) = (None, false);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "env" if reference.is_none() => reference = Some(SecretReference::Env(map.next_value()?)),
                        "file" if reference.is_none() => {
                            reference = Some(SecretReference::File(map.next_value::<String>()?.into()));
                        }
                        "generate" => generate = map.next_value()?,
                        other => return Err(de::Error::custom(format!("`{other}` is not a known key\n{SECRET_HINT}"))),
                    }
                }
                let reference =
                    reference.ok_or_else(|| de::Error::custom(format!("the reference is empty\n{SECRET_HINT}")))?;
                if generate && matches!(reference, SecretReference::Env(_)) {
                    let message = "only a file can be generated\nwrite `{file: PATH, generate: true}`";
                    return Err(de::Error::custom(message));
                }
                Ok(SecretSource { reference, generate })
            }
        }
        deserializer.deserialize_any(SecretVisitor)
    }
}

impl JsonSchema for SecretSource {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A reference to a secret. The manifest never contains the secret itself.",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "env": { "type": "string", "description": "An environment variable of the llamero process." },
                "file": { "type": "string", "description": "A file that contains only the secret." },
                "generate": { "type": "boolean", "description": "Generate the file with a random secret if it is missing." }
            },
            "oneOf": [{ "required": ["env"] }, { "required": ["file"] }]
        })
    }
}

/// A value of any shape that is merged into a program's own configuration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RawSettings(pub serde_json::Value);

impl<'de> Deserialize<'de> for RawSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for RawSettings {
    fn schema_name() -> Cow<'static, str> {
        "Free".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

/// Decodes an integer of at least 1.
pub(super) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Spanned<u64>>, D::Error> {
    let value = Option::<Spanned<u64>>::deserialize(deserializer)?;
    match value {
        Some(Spanned { value: 0, .. }) => Err(de::Error::custom("it must be at least 1")),
        value => Ok(value),
    }
}

/// A list of arguments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Argv(pub Vec<String>);

impl<'de> Deserialize<'de> for Argv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ArgvVisitor;
        impl<'de> Visitor<'de> for ArgvVisitor {
            type Value = Argv;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Argv, E> {
                let words: Vec<String> = text.split_whitespace().map(|word| format!("{word:?}")).collect();
                Err(E::custom(format!("expected a list of strings, found a string\nwrite `[{}]`", words.join(", "))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Argv, A::Error> {
                let mut words: Vec<String> = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                if words.iter().any(|word| word.contains('\0')) {
                    return Err(de::Error::custom("no word of a command can hold the character U+0000"));
                }
                Ok(Argv(words))
            }
        }
        deserializer.deserialize_any(ArgvVisitor)
    }
}

impl JsonSchema for Argv {
    fn schema_name() -> Cow<'static, str> {
        "Words".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" } })
    }
}
