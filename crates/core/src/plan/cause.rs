//! Causes of a change: the settings of the manifest, and the rendered fields that differ.

use crate::resource::{Field, Fields, ManifestPath, ResourceId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

/// The name of the field for a file's content.
const CONTENT: &str = "content";

/// A rendered field that differs. A digest has an empty value, because it is meaningless to a reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field's name.
    pub name: String,
    /// The previous value, if it had one.
    pub before: Option<String>,
    /// The next value, if it has one.
    pub after: Option<String>,
}

/// The cause of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It is declared and missing.
    Declared,
    /// It exists and is no longer declared.
    Undeclared,
    /// A setting of the manifest has another value.
    Setting {
        /// The setting's path.
        path: ManifestPath,
        /// The previous value as written in the manifest; empty if it is not a single line.
        before: Option<String>,
        /// The next value as written in the manifest; empty if it is not a single line.
        after: Option<String>,
        /// The rendered fields that differ because of it.
        fields: Vec<FieldChange>,
    },
    /// A rendered field differs, though none of its settings does.
    Field(FieldChange),
    /// The content of a resource that it contains or reads changes.
    Content {
        /// That resource.
        of: String,
    },
    /// Its fingerprint differs, and its revision has no record.
    Unrecorded,
    /// The machine has drifted.
    Drift(String),
    /// An earlier apply was interrupted.
    Unfinished(String),
    /// A file outside of its definition changes it.
    Overridden {
        /// The file.
        by: PathBuf,
        /// The names of the settings that it makes.
        settings: Vec<String>,
        /// The remedy; llamero never removes a file of the user's.
        remedy: Option<String>,
    },
    /// A setting is in force otherwise than it is declared.
    NotInForce {
        /// The setting's path in the manifest, or the name of the rendered field.
        setting: String,
        /// The declared value, where it can be shown.
        declared: Option<String>,
        /// The value in force, where it can be shown.
        in_force: Option<String>,
    },
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
                let is_empty = |value: &Option<String>| value.as_deref().is_none_or(str::is_empty);
                if is_empty(before) && is_empty(after) {
                    let name = path.to_string();
                    return FieldChange { name, before: before.clone(), after: after.clone() }.fmt(f);
                }
                let name = format!("{path}:");
                let change = FieldChange { name, before: before.clone(), after: after.clone() };
                change.fmt(f)
            }
            Self::Field(change) => change.fmt(f),
            Self::Content { of } => write!(f, "{of} changes"),
            Self::Unrecorded => f.write_str("created by an unrecorded revision"),
            Self::Drift(what) | Self::Unfinished(what) => f.write_str(what),
            Self::Overridden { by, settings, remedy } => {
                write!(f, "changed outside llamero: {} sets {}", by.display(), settings.join(", "))?;
                remedy.as_ref().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
            }
            Self::NotInForce { setting, declared: Some(declared), in_force: Some(in_force) } => {
                write!(f, "{setting}: {declared} declared, {in_force} in force")
            }
            Self::NotInForce { setting, .. } => write!(f, "{setting} is not in force as declared"),
        }
    }
}

impl Cause {
    /// Returns whether the live state differs though nothing else is declared.
    #[must_use]
    pub const fn is_drift(&self) -> bool {
        matches!(self, Self::Drift(_) | Self::Overridden { .. } | Self::NotInForce { .. })
    }

    /// Returns whether a single setting has another value than the declared one, in a server that otherwise runs as it
    /// is declared.
    #[must_use]
    pub const fn is_setting(&self) -> bool {
        matches!(self, Self::Overridden { .. } | Self::NotInForce { .. })
    }

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

/// The previous and next values of a setting in the differing fields.
#[derive(Default)]
struct Values<'a> {
    before: Vec<Option<&'a str>>,
    after: Vec<Option<&'a str>>,
    /// The settings that refer to it.
    through: BTreeSet<Option<&'a ManifestPath>>,
}

impl Values<'_> {
    /// Returns whether it was not there before, or is not there any more.
    fn comes_or_goes(&self) -> bool {
        self.before.is_empty() || self.after.is_empty()
    }

    /// Returns whether the setting itself differs. A value that is not known may.
    fn differ(&self) -> bool {
        self.before != self.after || self.before.contains(&None)
    }
}

/// Returns the causes of differing fields: one per setting of the manifest, sorted, then the fields whose settings
/// are all the same.
pub(super) fn field_causes(before: &Fields, after: &Fields) -> Vec<Cause> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed: Vec<(&String, Option<&Field>, Option<&Field>)> = names
        .into_iter()
        .map(|name| (name, before.get(name), after.get(name)))
        .filter(|(_, before, after)| before != after)
        .collect();
    let settings = settings(&changed);
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

/// Returns the settings that differ among those that fields come from.
fn settings<'a>(changed: &[(&String, Option<&'a Field>, Option<&'a Field>)]) -> BTreeMap<&'a ManifestPath, Values<'a>> {
    let mut settings: BTreeMap<&ManifestPath, Values<'_>> = BTreeMap::new();
    for (_, before, after) in changed {
        for origin in before.iter().flat_map(|field| &field.origins) {
            let values = settings.entry(&origin.path).or_default();
            add(&mut values.before, origin.value.as_deref());
            values.through.insert(origin.through.as_ref());
        }
        for origin in after.iter().flat_map(|field| &field.origins) {
            let values = settings.entry(&origin.path).or_default();
            add(&mut values.after, origin.value.as_deref());
            values.through.insert(origin.through.as_ref());
        }
    }
    settings.retain(|_, values| values.differ());
    // What comes or goes as a whole, or is only referred to from elsewhere, says nothing more.
    let whole: Vec<&ManifestPath> =
        settings.iter().filter(|(_, values)| values.comes_or_goes()).map(|(path, _)| *path).collect();
    let differing: BTreeSet<&ManifestPath> = settings.keys().copied().collect();
    settings.retain(|path, values| {
        let within = whole.iter().any(|part| path.is_within(part));
        let referred = values.through.iter().all(|through| through.is_some_and(|through| differing.contains(through)));
        let elsewhere = values.comes_or_goes() && referred;
        !(within || elsewhere)
    });
    settings
}

fn add<'a>(values: &mut Vec<Option<&'a str>>, value: Option<&'a str>) {
    if !values.contains(&value) {
        values.push(value);
    }
}

/// Returns values as one text; empty if one of them is not a single line.
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
        // A digest is meaningless to a reader; `diff` shows the lines.
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
            let origin = |(path, value): &(&str, Option<&str>)| Origin {
                path: (*path).into(),
                value: value.map(str::to_owned),
                through: None,
            };
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
        assert_eq!(shown(&Fields::new(), &after), ["models.a.template (added) (template bb (added))"]);
    }

    #[test]
    fn of_a_field_with_two_settings_the_one_that_differs_is_the_cause() {
        let origins = |args| [("models.a.context", Some("1")), ("models.a.args", Some(args))];
        let before = fields(&[("--c", "1 2", &origins("--c 2"))]);
        let after = fields(&[("--c", "1 3", &origins("--c 3"))]);
        assert_eq!(shown(&before, &after), ["models.a.args: --c 2 → --c 3 (--c 1 2 → 1 3)"]);
    }

    #[test]
    fn what_comes_as_a_whole_or_is_only_referred_to_says_nothing_more() {
        let route = |model: &str, provider: &str| {
            let path = format!("models.{model}");
            vec![
                Origin::declared(path.clone()),
                Origin::new(format!("{path}.provider"), provider),
                Origin::new(format!("providers.{provider}.port"), 1).through(format!("{path}.provider").into()),
            ]
        };
        let content =
            |value: &str, origins| Fields::from([("content".to_owned(), Field { value: value.to_owned(), origins })]);
        let one = content("a", route("m", "x"));
        let moved = content("b", route("m", "y"));
        let more = content("c", [route("m", "x"), route("n", "y")].concat());
        assert_eq!(shown(&one, &moved), ["models.m.provider: x → y (content changes)"]);
        assert_eq!(shown(&one, &more), ["models.n (added) (content changes)"]);
        assert_eq!(shown(&more, &one), ["models.n (removed) (content changes)"]);
    }
}
