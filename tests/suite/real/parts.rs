//! The parts that `tests/real/install` made: servers, a model, environments. Its list is the only one that says where
//! they are.

use std::path::PathBuf;

/// Returns the folder of a part; `None` where it could not be made on this machine.
pub(super) fn place(name: &str) -> Option<PathBuf> {
    let list = std::env::var_os("LLAMERO_PARTS").expect("LLAMERO_PARTS names the list of parts: run tests/real/lane");
    let list = std::fs::read_to_string(list).expect("the list of parts");
    let place = list.lines().find_map(|line| line.split_once('\t').filter(|(live, _)| *live == name))?.1;
    Some(PathBuf::from(place))
}

/// Returns the path of something in a part, such as `litellm/bin/python`.
#[track_caller]
pub(super) fn part(path: &str) -> PathBuf {
    let (name, inside) = path.split_once('/').unwrap_or((path, ""));
    let place = place(name).unwrap_or_else(|| panic!("tests/real/install makes no part `{name}`"));
    let live = place.join(inside);
    assert!(live.exists(), "the part `{name}` has no {}", live.display());
    live
}
