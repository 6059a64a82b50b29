//! A file system as programs see it, and as a power cut may leave it, in the worst ways that POSIX allows: bytes and a
//! mode are kept when their file was synced, and names when their folder was.
//!
//! Only values: where the changes come from, and what is done with what is left, is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What one call did. Paths are those below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A file was opened to be written, and made if it was missing.
    Open { path: PathBuf, mode: u32, emptied: bool, appends: bool },
    /// Bytes were written where the last write of the file ended, or at its end.
    Write { path: PathBuf, bytes: Vec<u8> },
    /// The next bytes come here.
    Seek { path: PathBuf, offset: usize },
    /// A file was cut or extended.
    Resize { path: PathBuf, size: usize },
    /// A file or folder got another mode.
    Mode { path: PathBuf, mode: u32 },
    /// A folder was made.
    Folder { path: PathBuf, mode: u32 },
    /// A symbolic link was made.
    Link { path: PathBuf, target: PathBuf },
    /// A name was given to what had another, in the place of what had it before.
    Rename { from: PathBuf, to: PathBuf },
    /// A name was removed.
    Remove { path: PathBuf },
    /// A file or folder has reached the disk.
    Sync { path: PathBuf },
    /// Everything has.
    SyncAll,
}

/// What there is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Folder { mode: u32 },
    File { mode: u32, bytes: Vec<u8> },
    Link { target: PathBuf },
}

/// Everything below a root. A folder comes before what is in it.
pub(super) type Tree = BTreeMap<PathBuf, Node>;

/// What becomes of bytes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bytes {
    Recovered,
    Halved,
    Kept,
}

type Id = usize;
type Names = BTreeMap<PathBuf, Id>;

#[derive(Debug, Clone)]
struct Stored {
    node: Node,
    /// As a power cut is sure to leave it.
    kept: Node,
    names: Names,
    kept_names: Names,
    position: usize,
    appends: bool,
}

impl Stored {
    /// Returns what is made just now: nothing of it is kept but what it is.
    fn new(node: Node) -> Self {
        let kept = match &node {
            Node::File { mode, .. } => Node::File { mode: *mode, bytes: Vec::new() },
            other => other.clone(),
        };
        Self { node, kept, names: Names::new(), kept_names: Names::new(), position: 0, appends: false }
    }

    fn sync(&mut self) {
        self.kept = self.node.clone();
        self.kept_names = self.names.clone();
    }
}

const ROOT: Id = 0;

/// A file system.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    stored: Vec<Stored>,
}

impl Disk {
    /// Returns a file system on which all of this has been for long.
    pub(super) fn new(tree: &Tree) -> Self {
        let mut disk = Self { stored: vec![Stored::new(Node::Folder { mode: 0o700 })] };
        for (path, node) in tree {
            disk.insert(path, node.clone());
        }
        disk.apply(&Change::SyncAll);
        disk
    }

    /// Does what a call did. What it says of paths that are not there is passed over: they were removed while they were
    /// open.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Open { path, mode, emptied, appends } => {
                if self.find(path).is_none() {
                    self.insert(path, Node::File { mode: *mode, bytes: Vec::new() });
                }
                let Some(file) = self.at(path) else { return };
                (file.position, file.appends) = (0, *appends);
                if let (Node::File { bytes, .. }, true) = (&mut file.node, emptied) {
                    bytes.clear();
                }
            }
            Change::Write { path, bytes: new } => {
                let Some(file) = self.at(path) else { return };
                let Node::File { bytes, .. } = &mut file.node else { return };
                let start = if file.appends { bytes.len() } else { file.position };
                let end = start + new.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[start..end].copy_from_slice(new);
                file.position = end;
            }
            Change::Seek { path, offset } => {
                let Some(file) = self.at(path) else { return };
                file.position = *offset;
            }
            Change::Resize { path, size } => {
                if let Some(Stored { node: Node::File { bytes, .. }, .. }) = self.at(path) {
                    bytes.resize(*size, 0);
                }
            }
            Change::Mode { path, mode: new } => {
                if let Some(Stored { node: Node::File { mode, .. } | Node::Folder { mode }, .. }) = self.at(path) {
                    *mode = *new;
                }
            }
            Change::Folder { path, mode } => self.insert(path, Node::Folder { mode: *mode }),
            Change::Link { path, target } => self.insert(path, Node::Link { target: target.clone() }),
            Change::Rename { from, to } => {
                if let Some(id) = self.find(from) {
                    self.unlink(from);
                    self.name(to, id);
                }
            }
            Change::Remove { path } => self.unlink(path),
            Change::Sync { path } => {
                if let Some(stored) = self.at(path) {
                    stored.sync();
                }
            }
            Change::SyncAll => self.stored.iter_mut().for_each(Stored::sync),
        }
    }

    /// Returns everything as programs see it.
    pub(super) fn now(&self) -> Tree {
        let all: BTreeSet<Id> = (0..self.stored.len()).collect();
        self.left(&all, Bytes::Kept)
    }

    /// Returns all that a power cut now may leave: whatever names of some folders had arrived and those of others had
    /// not, with each fate of the bytes.
    pub(super) fn after_power_cut(&self) -> Vec<Tree> {
        let unsynced = |(_, stored): &(Id, &Stored)| stored.names != stored.kept_names;
        let folders: Vec<Id> = self.stored.iter().enumerate().filter(unsynced).map(|(id, _)| id).collect();
        let mut trees = Vec::new();
        for arrived in subsets(&folders) {
            trees.extend([Bytes::Recovered, Bytes::Halved, Bytes::Kept].map(|bytes| self.left(&arrived, bytes)));
        }
        trees
    }

    fn left(&self, arrived: &BTreeSet<Id>, bytes: Bytes) -> Tree {
        let mut tree = Tree::new();
        let mut folders = vec![(PathBuf::new(), ROOT)];
        while let Some((path, id)) = folders.pop() {
            let folder = &self.stored[id];
            for (name, id) in if arrived.contains(&id) { &folder.names } else { &folder.kept_names } {
                let path = path.join(name);
                tree.insert(path.clone(), fate(&self.stored[*id], bytes));
                folders.push((path, *id));
            }
        }
        tree
    }

    fn find(&self, path: &Path) -> Option<Id> {
        path.iter().try_fold(ROOT, |id, name| self.stored[id].names.get(Path::new(name)).copied())
    }

    fn at(&mut self, path: &Path) -> Option<&mut Stored> {
        self.find(path).map(|id| &mut self.stored[id])
    }

    fn insert(&mut self, path: &Path, node: Node) {
        self.stored.push(Stored::new(node));
        self.name(path, self.stored.len() - 1);
    }

    fn name(&mut self, path: &Path, id: Id) {
        if let (Some(folder), Some(name)) = (path.parent(), path.file_name())
            && let Some(folder) = self.at(folder)
        {
            folder.names.insert(name.into(), id);
        }
    }

    fn unlink(&mut self, path: &Path) {
        if let (Some(folder), Some(name)) = (path.parent(), path.file_name())
            && let Some(folder) = self.at(folder)
        {
            folder.names.remove(Path::new(name));
        }
    }
}

/// Returns what becomes of one thing whose name is there.
fn fate(stored: &Stored, fate: Bytes) -> Node {
    match (&stored.node, &stored.kept, fate) {
        (now, _, Bytes::Kept) => now.clone(),
        (Node::File { bytes: now, .. }, Node::File { bytes: kept, mode }, Bytes::Halved) if now != kept => {
            let whole = if now.starts_with(kept) { kept.len() } else { 0 };
            Node::File { mode: *mode, bytes: now[..usize::midpoint(whole, now.len())].to_vec() }
        }
        (_, kept, _) => kept.clone(),
    }
}

/// Returns every choice among a few, and of many only none, all and each alone.
fn subsets(ids: &[Id]) -> Vec<BTreeSet<Id>> {
    if ids.len() > 4 {
        let alone = ids.iter().map(|id| BTreeSet::from([*id]));
        return alone.chain([BTreeSet::new(), ids.iter().copied().collect()]).collect();
    }
    let chosen = |mask: usize| ids.iter().enumerate().filter(move |(index, _)| mask >> index & 1 == 1);
    (0..1 << ids.len()).map(|mask| chosen(mask).map(|(_, id)| *id).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Change, Disk, Node, Tree};
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn file(text: &str) -> Node {
        Node::File { mode: 0o600, bytes: text.into() }
    }

    fn folder() -> Node {
        Node::Folder { mode: 0o700 }
    }

    fn tree(nodes: &[(&str, Node)]) -> Tree {
        nodes.iter().map(|(path, node)| (PathBuf::from(path), node.clone())).collect()
    }

    fn open(path: &str) -> Change {
        Change::Open { path: path.into(), mode: 0o600, emptied: false, appends: false }
    }

    fn write(path: &str, text: &str) -> Change {
        Change::Write { path: path.into(), bytes: text.into() }
    }

    fn rename(from: &str, to: &str) -> Change {
        Change::Rename { from: from.into(), to: to.into() }
    }

    fn sync(path: &str) -> Change {
        Change::Sync { path: path.into() }
    }

    /// Returns what may be left of a folder `a` with a file `x` that says `old` after these changes.
    #[track_caller]
    fn left(changes: &[Change]) -> Vec<Tree> {
        let mut disk = Disk::new(&tree(&[("a", folder()), ("a/x", file("old"))]));
        for change in changes {
            disk.apply(change);
        }
        let mut left = disk.after_power_cut();
        assert!(left.contains(&disk.now()), "nothing may be lost as well");
        left.sort_by_key(|tree| format!("{tree:?}"));
        left.dedup();
        left
    }

    fn may_leave(changes: &[Change], file_x: Option<&str>) -> bool {
        left(changes).iter().any(|tree| tree.get(&PathBuf::from("a/x")) == file_x.map(file).as_ref())
    }

    #[test]
    fn a_rename_before_the_sync_of_its_file_may_leave_an_empty_one() {
        let careless = [open("a/new"), write("a/new", "text"), rename("a/new", "a/x"), sync("a")];
        assert!(may_leave(&careless, Some("")) && may_leave(&careless, Some("te")));
        assert!(may_leave(&careless, Some("text")) && !may_leave(&careless, Some("old")));
    }

    #[test]
    fn a_rename_after_it_leaves_the_old_or_the_new_and_its_folder_decides() {
        let careful = [open("a/new"), write("a/new", "text"), sync("a/new"), rename("a/new", "a/x"), sync("a")];
        assert!(may_leave(&careful[..4], Some("old")) && may_leave(&careful[..4], Some("text")));
        assert!(!may_leave(&careful[..4], Some("")) && !may_leave(&careful[..4], None));
        assert_eq!(left(&careful), [tree(&[("a", folder()), ("a/x", file("text"))])]);
    }

    #[test]
    fn a_folder_without_a_synced_parent_is_lost_with_its_content() {
        let made = |path: &str| Change::Folder { path: path.into(), mode: 0o700 };
        let deep = [made("b"), made("b/c"), open("b/c/y"), sync("b/c/y"), sync("b/c"), sync("b")];
        let before = tree(&[("a", folder()), ("a/x", file("old"))]);
        assert!(left(&deep).contains(&before));
        assert!(!left(&[&deep[..], &[sync("")]].concat()).contains(&before));
        assert!(!left(&[&deep[..], &[Change::SyncAll]].concat()).contains(&before));
    }

    #[test]
    fn a_removed_name_may_reappear_until_its_folder_is_synced() {
        let removed = [Change::Remove { path: "a/x".into() }, sync("a")];
        assert!(may_leave(&removed[..1], Some("old")) && may_leave(&removed[..1], None));
        assert!(!may_leave(&removed, Some("old")));
    }

    #[test]
    fn files_grow_shrink_and_are_written_over() {
        let mut disk = Disk::new(&tree(&[("x", file("12345"))]));
        let text = |disk: &Disk| disk.now()[&PathBuf::from("x")].clone();
        for (change, expected) in [
            (open("x"), "12345"),
            (write("x", "ab"), "ab345"),
            (write("x", "c"), "abc45"),
            (Change::Resize { path: "x".into(), size: 1 }, "a"),
            (Change::Seek { path: "x".into(), offset: 0 }, "a"),
            (write("x", "xyz"), "xyz"),
            (Change::Open { path: "x".into(), mode: 0o600, emptied: false, appends: true }, "xyz"),
            (write("x", "!"), "xyz!"),
            (Change::Open { path: "x".into(), mode: 0o600, emptied: true, appends: false }, ""),
        ] {
            disk.apply(&change);
            assert_eq!(text(&disk), file(expected), "{change:?}");
        }
        assert_eq!(disk.left(&BTreeSet::new(), Bytes::Recovered), tree(&[("x", file("12345"))]));
        disk.apply(&Change::Mode { path: "x".into(), mode: 0o640 });
        disk.apply(&Change::Link { path: "l".into(), target: "x".into() });
        disk.apply(&Change::SyncAll);
        let Some(Node::File { mode: 0o640, .. }) =
            disk.left(&BTreeSet::new(), Bytes::Recovered).remove(&PathBuf::from("x"))
        else {
            panic!("{disk:?}")
        };
        assert_eq!(disk.now()[&PathBuf::from("l")], Node::Link { target: "x".into() });
    }
}
