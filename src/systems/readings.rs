//! Reads back the values that a server reports of itself, as its engine says where they are.

use super::http::{Answer, Client};
use super::listener::Proven;
use super::openai::at;
use crate::engines::Reading;
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The longest wait for an answer: it says nothing of the server's health, and others wait for it.
const DEADLINE: Duration = Duration::from_secs(3);

/// Returns the values that a server reports, by the options that declare them; each path is asked once. What it does
/// not report is not known.
pub async fn read(client: &Client, proven: Proven<'_>, readings: &[Reading]) -> BTreeMap<String, String> {
    let endpoint = proven.probe().endpoint().unwrap_or_default();
    let paths: BTreeSet<&str> = readings.iter().map(|reading| reading.path).collect();
    let asked = paths.into_iter().map(|path| async move {
        let body = match client.get(&at(endpoint, path), None, DEADLINE).await {
            Answer::Ok(body) => serde_json::from_str::<Value>(&body).ok(),
            _ => None,
        };
        (path, body)
    });
    let answers: BTreeMap<&str, Option<Value>> = join_all(asked).await.into_iter().collect();
    let value = |reading: &Reading| {
        let number = answers.get(reading.path)?.as_ref()?.pointer(reading.pointer)?.as_u64()?;
        Some((reading.option.to_owned(), number.to_string()))
    };
    readings.iter().filter_map(value).collect()
}
