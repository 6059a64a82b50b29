//! The settings of a unit that are in force, and the drop-ins that make them other than its file says.

use crate::live::{Effective, Override};
use crate::resource::Bytes;
use crate::systems::files;
use crate::systems::systemd::Unit;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The largest drop-in that is read, in bytes.
const LIMIT: Bytes = Bytes(1 << 20);

/// The argument after which an instance's own ones follow.
const OWN_ARGUMENTS: &str = "--private";

/// Returns the settings of a unit that are in force. Its command and environment are read only where something else
/// than its own file has a say in them.
pub(super) fn effective(unit: &Unit) -> Effective {
    let overrides: Vec<Override> =
        unit.drop_ins.iter().map(PathBuf::from).filter(|path| is_own(path) && !is_weight(path)).map(read).collect();
    let none = || Effective::UNLIMITED.to_owned();
    let memory = unit.memory_max.map_or_else(none, |bytes| bytes.to_string());
    let cpus = unit.cpu_quota_per_second.map_or_else(none, |quota| format!("{}%", quota / 10_000));
    let mut values = BTreeMap::from([(Effective::MEMORY.to_owned(), memory), (Effective::CPUS.to_owned(), cpus)]);
    if !overrides.is_empty() {
        let own = unit.command.iter().rposition(|word| word == OWN_ARGUMENTS).unwrap_or(unit.command.len());
        let command = Effective::digested(&unit.command[..own].join("\0"));
        values.insert(Effective::COMMAND.to_owned(), command);
        let variables = unit.environment.iter().filter_map(|variable| variable.split_once('='));
        values.extend(variables.map(|(name, value)| (format!("environment {name}"), Effective::digested(value))));
    }
    Effective { overrides, values }
}

/// Returns whether a drop-in is one of this unit, and not of every service of the machine.
fn is_own(path: &Path) -> bool {
    path.parent().and_then(Path::file_name).is_some_and(|folder| folder != "service.d")
}

/// Returns whether a drop-in is the weight that an instance was given until the next boot.
fn is_weight(path: &Path) -> bool {
    let runtime = path.parent().and_then(Path::parent).is_some_and(|folder| folder.ends_with("user.control"));
    runtime && matches!(path.file_name().and_then(|name| name.to_str()), Some("50-CPUWeight.conf" | "50-IOWeight.conf"))
}

fn read(path: PathBuf) -> Override {
    let settings = match files::read_text(&path, LIMIT) {
        Ok(text) => settings(&text.unwrap_or_default()),
        Err(_) => vec!["settings that cannot be read".to_owned()],
    };
    Override { path, settings }
}

/// Returns the names of the settings in a drop-in (systemd.syntax(7)).
fn settings(text: &str) -> Vec<String> {
    let mut names = BTreeSet::new();
    let mut continues = false;
    for line in text.lines().map(str::trim) {
        let comment = line.starts_with(['#', ';']);
        let is_word =
            |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let name = line.split_once('=').map(|(name, _)| name.trim_end()).filter(is_word);
        names.extend(name.filter(|_| !comment && !continues).map(str::to_owned));
        continues = line.ends_with('\\') || (continues && comment);
    }
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{is_own, is_weight, settings};
    use std::path::Path;

    #[test]
    fn a_drop_in_names_its_settings() {
        let text =
            "# A=1\n[Service]\nMemoryMax=1G\nExecStart=\nExecStart=/bin/a \\\n  --b=c\n Environment = X=1\n;C=2\n=\n";
        assert_eq!(settings(text), ["Environment", "ExecStart", "MemoryMax"]);
    }

    #[test]
    fn the_weight_of_an_instance_is_no_setting_of_a_users() {
        let folder = Path::new("/run/user/1000/systemd/user.control/home-gateway-7.service.d");
        assert!(is_weight(&folder.join("50-CPUWeight.conf")) && is_weight(&folder.join("50-IOWeight.conf")));
        assert!(!is_weight(&folder.join("50-MemoryMax.conf")));
        let by_hand = Path::new("/home/ai/.config/systemd/user/home-gateway.service.d");
        assert!(!is_weight(&by_hand.join("50-CPUWeight.conf")));
    }

    #[test]
    fn what_every_service_has_is_no_drop_in_of_this_one() {
        for (path, own) in [
            ("/home/ai/.config/systemd/user/home-page.service.d/x.conf", true),
            ("/home/ai/.config/systemd/user/home-.service.d/x.conf", true),
            ("/usr/lib/systemd/user/service.d/10-timeout-abort.conf", false),
        ] {
            assert_eq!(is_own(Path::new(path)), own, "{path}");
        }
    }
}
