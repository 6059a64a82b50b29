//! The JSON Schema of the manifest, for editors, generated from the types.

use super::types::Manifest;

/// Returns the JSON Schema (draft 2020-12) of the manifest.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Manifest).to_value();
    schema["title"] = "llamero manifest, version 1".into();
    schema
}
