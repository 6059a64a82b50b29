//! Plain data to YAML text.

use serde_json::Value;

/// Returns data as YAML, its keys in the order that they have.
#[must_use]
pub fn yaml(value: &Value) -> String {
    // Plain JSON data has nothing that YAML could not say; its own form is YAML too.
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
}
