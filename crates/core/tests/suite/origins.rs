//! The settings of a manifest that has everything, and the rendered fields that come from each of them.

use crate::cases::{Since, facts};
use crate::golden;
use llamero_core::lockfile::LockFile;
use llamero_core::manifest;
use llamero_core::resolve::{Desired, resolve};

/// Returns the desired state of a manifest on a machine that has everything.
fn desired(text: &str) -> Desired {
    let (manifest, notes) = manifest::read(text);
    let manifest = manifest.unwrap_or_else(|| panic!("{}", manifest::report("manifest.yaml", text, &notes, false)));
    let (desired, notes) = resolve(&manifest, &LockFile::default(), &facts(&manifest, &Since::with_gpus(&["80GiB"])));
    assert!(!notes.iter().any(|(note, ..)| note.is_error()), "{notes:?}");
    desired
}

/// A field without an origin stands in the expected text as well, so that a new one is seen.
#[test]
fn every_field_has_its_origins() {
    let folder = golden::repository("crates/core/tests/suite/origins");
    let desired = desired(&golden::read(&folder.join("manifest.yaml")));
    let mut text = String::new();
    for resource in desired.resources.values() {
        text.push_str(&format!("{}\n", resource.id));
        for (name, field) in resource.fields() {
            let origins: Vec<String> = field.origins.iter().map(|origin| origin.path.to_string()).collect();
            text.push_str(&format!(
                "  {name:<34} {}\n",
                if origins.is_empty() { "-".to_owned() } else { origins.join(", ") }
            ));
        }
    }
    let problems: Vec<String> = golden::compare(&folder.join("origins.txt"), &text).into_iter().collect();
    golden::all_well(&problems);
}

/// An origin of a field that does not exist is a misspelt one.
#[test]
fn every_origin_is_one_of_a_field() {
    let folder = golden::repository("crates/core/tests/suite/origins");
    for resource in desired(&golden::read(&folder.join("manifest.yaml"))).resources.values() {
        let fields = resource.fields();
        let misspelt: Vec<&String> = resource.origins.0.keys().filter(|name| !fields.contains_key(*name)).collect();
        assert!(misspelt.is_empty(), "{}: {misspelt:?}", resource.id);
    }
}

#[test]
fn origins_change_no_fingerprint() {
    let folder = golden::repository("crates/core/tests/suite/origins");
    for resource in desired(&golden::read(&folder.join("manifest.yaml"))).resources.into_values() {
        let mut fields = resource.fields();
        assert_eq!(llamero_core::resource::Fingerprint::of(&fields), resource.fingerprint());
        for field in fields.values_mut() {
            field.origins.clear();
        }
        assert_eq!(llamero_core::resource::Fingerprint::of(&fields), resource.fingerprint());
    }
}
