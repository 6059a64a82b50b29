//! Reads back the settings of models that llamero derived, where another program recreated one under its name.

use crate::live::{Live, Presence};
use crate::resource::{Digest, ResourceId, ServedModel};
use crate::systems::Systems;
use crate::systems::ollama::{Description, Ollama};
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::BTreeMap;

/// Fills in the settings in force of every recreated model; the others are known by their digests, and not asked for.
pub(super) async fn read_back(
    systems: &Systems,
    models: &BTreeMap<&ResourceId, &ServedModel>,
    presences: &mut BTreeMap<ResourceId, Presence>,
) {
    let is_edited = |id: &ResourceId| {
        matches!(presences.get(id), Some(Presence::Present(Live::Model { edited: true, unserved: false, .. })))
    };
    let asked = models.iter().filter(|(id, _)| is_edited(id)).map(|(id, model)| async move {
        let described = Ollama::new(&systems.client, &model.endpoint).show(&model.name).await;
        described.ok().map(|described| ((*id).clone(), settings(model, &described)))
    });
    for (id, settings) in join_all(asked).await.into_iter().flatten() {
        if let Some(Presence::Present(Live::Model { effective, .. })) = presences.get_mut(&id) {
            *effective = settings;
        }
    }
}

/// Returns the values in force of the settings that are declared, as its fields write them.
fn settings(model: &ServedModel, described: &Description) -> BTreeMap<String, String> {
    let values = parameters(&described.parameters);
    let parameters = model.parameters.iter().map(|(name, declared)| {
        let in_force = match values.get(name.as_str()).map(Vec::as_slice) {
            None => "unset".to_owned(),
            Some([only]) if !declared.is_array() => only.to_string(),
            Some(all) => Value::from(all.to_vec()).to_string(),
        };
        (name.clone(), in_force)
    });
    let texts = [
        ("template", model.template.as_ref().map(|_| &described.template)),
        ("system", model.system.as_ref().map(|_| &described.system)),
    ];
    let texts =
        texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Digest::of(text?).short().to_owned())));
    parameters.chain(texts).collect()
}

/// Reads parameters as lines of a Modelfile; one that is there several times has several values.
fn parameters(text: &str) -> BTreeMap<&str, Vec<Value>> {
    let mut values: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for line in text.lines() {
        let Some((name, value)) = line.trim().split_once(char::is_whitespace) else { continue };
        let value = value.trim();
        let read = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        values.entry(name).or_default().push(read);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::parameters;
    use serde_json::json;

    #[test]
    fn parameters_read_as_they_were_declared() {
        let text = "num_ctx                        2048\nstop                           \"<a b>\"\nstop    \"c\"\n\ntemperature 0.7\nodd\nmode on\n";
        let read = parameters(text);
        assert_eq!(read["num_ctx"], [json!(2048)]);
        assert_eq!(read["stop"], [json!("<a b>"), json!("c")]);
        assert_eq!((&read["temperature"], &read["mode"]), (&vec![json!(0.7)], &vec![json!("on")]));
        assert_eq!(read.len(), 4);
    }
}
