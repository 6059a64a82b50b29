//! Causes of a change: the settings of the manifest, and the rendered fields that differ.

use crate::resource::{Field, Fields, ManifestPath, ResourceId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The field of a file's content.
const CONTENT: &str = "content";

/// A rendered field that differs. A digest has an empty value: it says nothing to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The field's name.
    pub name: String,
    /// The former value, if it had one.
    pub before: Option<String>,
    /// The next value, if it has one.
    pub after: Option<String>,
}

/// Why a resource must change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It is declared and not there.
    Declared,
    /// It is there and no longer declared.
    Undeclared,
    /// A setting of the manifest has another value.
    Setting {
        /// The setting's path.
        path: ManifestPath,
        /// The former value as the manifest wrote it; empty where it is not a single line.
        before: Option<String>,
        /// The next value as the manifest writes it; empty where it is not a single line.
        after: Option<String>,
        /// The rendered fields that differ because of it.
        fields: Vec<FieldChange>,
    },
    /// A rendered field differs, and no setting that it comes from does.
    Field(FieldChange),
    /// Something that it holds or reads has another content.
    Content {
        /// What.
        of: String,
    },
    /// It carries another fingerprint, and the revision that it was made for is not on record.
    Unrecorded,
    /// The machine is not as it was left.
    Drift(String),
    /// An earlier apply stopped before it was done.
    Unfinished(String),
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match (self.before.as_deref(), self.after.as_deref()) {
            (None, Some("")) => f.write_str(" (added)"),
            (Some(""), None) => f.write_str(" (removed)"),
            (None, Some(after)) => write!(f, " {after} (added)"),
            (Some(before), None) => write!(f, " {before} (removed)"),
            (Some(""), Some("")) | (None, None) => f.write_str(" changes"),
            (Some(before), Some(after)) => write!(f, " {} → {}", shown(before), shown(after)),
        }
    }
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "\"\"" } else { value }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared => f.write_str("declared"),
            Self::Undeclared => f.write_str("no longer declared"),
            Self::Setting { path, before, after, .. } => {
                let name = format!("{path}:");
                let change = FieldChange { name, before: before.clone(), after: after.clone() };
                if before.as_deref() == Some("") && after.as_deref() == Some("") {
                    return write!(f, "{path} changes");
                }
                change.fmt(f)
            }
            Self::Field(change) => change.fmt(f),
            Self::Content { of } => write!(f, "{of} changes"),
            Self::Unrecorded => f.write_str("created by an unrecorded revision"),
            Self::Drift(what) | Self::Unfinished(what) => f.write_str(what),
        }
    }
}

impl Cause {
    /// Returns the cause with the rendered fields that differ because of it.
    #[must_use]
    pub fn detailed(&self) -> String {
        match self {
            Self::Setting { fields, .. } if !fields.is_empty() => {
                let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
                format!("{self} ({})", fields.join(", "))
            }
            _ => self.to_string(),
        }
    }
}

/// The values that a setting had and has, in the fields that differ.
#[derive(Default)]
struct Values<'a> {
    before: Vec<Option<&'a str>>,
    after: Vec<Option<&'a str>>,
}

impl Values<'_> {
    /// Returns whether the setting itself differs. A value that is not known may.
    fn differ(&self) -> bool {
        self.before != self.after || self.before.contains(&None)
    }
}

/// Returns why fields differ: one cause for each setting of the manifest, sorted, and then the fields that differ while
/// every setting that they come from is the same.
pub(super) fn field_causes(before: &Fields, after: &Fields) -> Vec<Cause> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed: Vec<(&String, Option<&Field>, Option<&Field>)> = names
        .into_iter()
        .map(|name| (name, before.get(name), after.get(name)))
        .filter(|(_, before, after)| before != after)
        .collect();
    let mut settings: BTreeMap<&ManifestPath, Values<'_>> = BTreeMap::new();
    for (_, before, after) in &changed {
        for origin in before.iter().flat_map(|field| &field.origins) {
            add(&mut settings.entry(&origin.path).or_default().before, origin.value.as_deref());
        }
        for origin in after.iter().flat_map(|field| &field.origins) {
            add(&mut settings.entry(&origin.path).or_default().after, origin.value.as_deref());
        }
    }
    settings.retain(|_, values| values.differ());
    let mut fields: BTreeMap<&ManifestPath, Vec<FieldChange>> = BTreeMap::new();
    let mut others = Vec::new();
    for (name, before, after) in changed {
        let origins = before.into_iter().chain(after).flat_map(|field| &field.origins);
        let paths: BTreeSet<&ManifestPath> =
            origins.map(|origin| &origin.path).filter(|path| settings.contains_key(path)).collect();
        let change = rendered(name, before, after);
        for path in &paths {
            fields.entry(path).or_default().push(change.clone());
        }
        if paths.is_empty() {
            others.push(unexplained(change));
        }
    }
    let setting = |(path, values): (&ManifestPath, Values<'_>)| Cause::Setting {
        path: path.clone(),
        before: joined(&values.before),
        after: joined(&values.after),
        fields: fields.remove(path).unwrap_or_default(),
    };
    settings.into_iter().map(setting).chain(others).collect()
}

fn add<'a>(values: &mut Vec<Option<&'a str>>, value: Option<&'a str>) {
    if !values.contains(&value) {
        values.push(value);
    }
}

/// Returns values as one text; empty when one of them is not a single line.
fn joined(values: &[Option<&str>]) -> Option<String> {
    let known: Option<Vec<&str>> = values.iter().copied().collect();
    (!values.is_empty()).then(|| known.unwrap_or_default().join(" "))
}

fn rendered(name: &str, before: Option<&Field>, after: Option<&Field>) -> FieldChange {
    let is_digest = name == CONTENT || is_resource(name);
    let shown = |field: &Field| if is_digest { String::new() } else { field.value.clone() };
    FieldChange { name: name.to_owned(), before: before.map(shown), after: after.map(shown) }
}

/// Returns the cause for a field whose settings are the same.
fn unexplained(change: FieldChange) -> Cause {
    match (&change.before, &change.after) {
        // A digest says nothing to a person; `diff` shows the lines.
        (Some(_), Some(_)) if change.name == CONTENT => Cause::Content { of: "its content".to_owned() },
        (Some(_), Some(_)) if is_resource(&change.name) => Cause::Content { of: change.name },
        _ => Cause::Field(change),
    }
}

fn is_resource(field: &str) -> bool {
    field.parse::<ResourceId>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::field_causes;
    use crate::resource::{Field, Fields, Origin};

    /// A field: its name, its value, and its settings with their values.
    type Written<'a> = (&'a str, &'a str, &'a [(&'a str, Option<&'a str>)]);

    fn fields(list: &[Written<'_>]) -> Fields {
        let field = |(name, value, origins): &Written<'_>| {
            let origin =
                |(path, value): &(&str, Option<&str>)| Origin { path: (*path).into(), value: value.map(str::to_owned) };
            let origins = origins.iter().map(origin).collect();
            ((*name).to_owned(), Field { value: (*value).to_owned(), origins })
        };
        list.iter().map(field).collect()
    }

    fn shown(before: &Fields, after: &Fields) -> Vec<String> {
        field_causes(before, after).iter().map(super::Cause::detailed).collect()
    }

    #[test]
    fn one_setting_is_one_cause() {
        let before = fields(&[
            ("--k", "f16", &[("models.a.kv_cache_type", Some("f16"))]),
            ("--v", "f16", &[("models.a.kv_cache_type", Some("f16"))]),
            ("--x", "1", &[]),
        ]);
        let after = fields(&[
            ("--k", "q8", &[("models.a.kv_cache_type", Some("q8"))]),
            ("--v", "q8", &[("models.a.kv_cache_type", Some("q8"))]),
        ]);
        let expected = ["models.a.kv_cache_type: f16 → q8 (--k f16 → q8, --v f16 → q8)", "--x 1 (removed)"];
        assert_eq!(shown(&before, &after), expected);
    }

    #[test]
    fn a_setting_that_is_the_same_is_no_cause() {
        let before = fields(&[("--share", "0.5", &[("providers.a.memory", Some("40 GiB"))])]);
        let after = fields(&[("--share", "0.4", &[("providers.a.memory", Some("40 GiB"))])]);
        assert_eq!(shown(&before, &after), ["--share 0.5 → 0.4"]);
    }

    #[test]
    fn values_that_are_not_a_single_line_are_not_shown() {
        let before = fields(&[("template", "aa", &[("models.a.template", None)])]);
        let after = fields(&[("template", "bb", &[("models.a.template", None)])]);
        assert_eq!(shown(&before, &after), ["models.a.template changes (template aa → bb)"]);
        assert_eq!(shown(&Fields::new(), &after), ["models.a.template: (added) (template bb (added))"]);
    }

    #[test]
    fn of_a_field_with_two_settings_the_one_that_differs_is_the_cause() {
        let origins = |args| [("models.a.context", Some("1")), ("models.a.args", Some(args))];
        let before = fields(&[("--c", "1 2", &origins("--c 2"))]);
        let after = fields(&[("--c", "1 3", &origins("--c 3"))]);
        assert_eq!(shown(&before, &after), ["models.a.args: --c 2 → --c 3 (--c 1 2 → 1 3)"]);
    }
}
