//! The engines that a manifest names: each is looked up in its table when it is read.

use crate::engines::{CACHES, Cache, GATEWAYS, Gateway, PROVIDERS, Provider};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::LazyLock;

macro_rules! engine {
    ($about:literal, $name:ident, $schema:literal, $role:ident, $table:ident) => {
        #[doc = $about]
        #[derive(Clone, Copy)]
        pub struct $name(pub &'static dyn $role);

        impl Deref for $name {
            type Target = dyn $role;

            fn deref(&self) -> &Self::Target {
                self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.name() == other.0.name()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.name())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                static NAMES: LazyLock<Vec<&'static str>> =
                    LazyLock::new(|| $table.iter().map(|engine| engine.name()).collect());
                let name = String::deserialize(deserializer)?;
                let engine = $table.iter().find(|engine| engine.name() == name);
                engine.map(|engine| Self(*engine)).ok_or_else(|| de::Error::unknown_variant(&name, &NAMES))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $schema.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let describe = |engine: &&'static dyn $role| {
                    json_schema!({ "type": "string", "const": engine.name(), "description": engine.about() })
                };
                let engines: Vec<Schema> = $table.iter().map(describe).collect();
                json_schema!({ "oneOf": engines, "description": $about })
            }
        }
    };
}

engine! {
    "The engine of a provider.", ProviderEngine, "Engine", Provider, PROVIDERS
}

engine! {
    "The engine of a cache.", CacheEngine, "CacheEngine", Cache, CACHES
}

engine! {
    "The engine of a gateway.", GatewayEngine, "GatewayEngine", Gateway, GATEWAYS
}
