//! The trace of a program by strace, as changes of the files below one folder and as its printed output.
//!
//! Strings are in hexadecimal (`-xx`) and descriptors with their paths (`-y`): strace(1).

use super::disk::Change;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The calls that change files or print.
pub(super) const CALLS: &str = "open,openat,creat,write,pwrite64,writev,lseek,ftruncate,truncate,\
    fchmod,fchmodat,chmod,mkdir,mkdirat,symlink,symlinkat,link,linkat,rename,renameat,renameat2,unlink,unlinkat,rmdir,\
    fsync,fdatasync,syncfs,sync,fallocate,copy_file_range,sendfile,splice";

/// An event of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A file below the folder changed.
    Changed(Change),
    /// The program was about to print this.
    Said(String),
}

/// Returns what happened, in order: a change when its call had returned, words before they were out.
pub(super) fn events(trace: &str, folder: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, line)) = line.split_once(' ') else { continue };
        let line = line.trim_start();
        if let Some(rest) = line.strip_prefix("<... ") {
            let Some((_, end)) = rest.split_once(" resumed>") else { continue };
            let start = begun.remove(thread).unwrap_or_default();
            events.extend(change(&format!("{start}{end}"), folder).map(Event::Changed));
        } else if let Some(start) = line.strip_suffix(" <unfinished ...>") {
            events.extend(said(start).map(Event::Said));
            begun.insert(thread, start);
        } else {
            events.extend(said(line).map(Event::Said));
            events.extend(change(line, folder).map(Event::Changed));
        }
    }
    events
}

/// Returns the text that a call prints on a standard stream.
fn said(call: &str) -> Option<String> {
    let call = call.strip_prefix("write(")?;
    let spoken = call.starts_with("1<") || call.starts_with("2<");
    spoken.then(|| String::from_utf8_lossy(&strings(call).concat()).into_owned())
}

/// Returns what a whole call changed below the folder.
fn change(call: &str, folder: &Path) -> Option<Change> {
    let (call, result) = call.rsplit_once(" = ")?;
    let result: usize = result.split(['<', ' ']).next()?.parse().ok()?;
    let (name, arguments) = call.trim_end().strip_suffix(')')?.split_once('(')?;
    let arguments: Vec<&str> = arguments.split(", ").collect();
    let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
    let below = |path: PathBuf| path.strip_prefix(folder).ok().map(Path::to_owned);
    let open = |index: usize| below(opened(argument(index))?);
    let named = |index: usize| below(PathBuf::from(string(argument(index))?));
    let named_at = |index: usize| below(opened(argument(index))?.join(string(argument(index + 1))?));
    let opening = |path: PathBuf, flags: &str, mode: &str| {
        let has = |flag: &str| flags.split('|').any(|one| one == flag);
        let mode = octal(mode).unwrap_or(0o600) & 0o755;
        let writes = has("O_WRONLY") || has("O_RDWR");
        writes.then(|| Change::Open { path, mode, emptied: has("O_TRUNC"), appends: has("O_APPEND") })
    };
    Some(match name {
        "open" => opening(named(0)?, argument(1), argument(2))?,
        "openat" => opening(named_at(0)?, argument(2), argument(3))?,
        "write" | "writev" => {
            let mut bytes = strings(call).concat();
            bytes.truncate(result);
            Change::Write { path: open(0)?, bytes }
        }
        "lseek" => Change::Seek { path: open(0)?, offset: result },
        "ftruncate" => Change::Resize { path: open(0)?, size: argument(1).parse().ok()? },
        "fchmod" => Change::Mode { path: open(0)?, mode: octal(argument(1))? },
        "chmod" => Change::Mode { path: named(0)?, mode: octal(argument(1))? },
        "fchmodat" => Change::Mode { path: named_at(0)?, mode: octal(argument(2))? },
        "mkdir" => Change::Folder { path: named(0)?, mode: octal(argument(1))? & 0o755 },
        "mkdirat" => Change::Folder { path: named_at(0)?, mode: octal(argument(2))? & 0o755 },
        "symlink" => Change::Link { target: string(argument(0))?.into(), path: named(1)? },
        "symlinkat" => Change::Link { target: string(argument(0))?.into(), path: named_at(1)? },
        "rename" => Change::Rename { from: named(0)?, to: named(1)? },
        "renameat" | "renameat2" => Change::Rename { from: named_at(0)?, to: named_at(2)? },
        "unlink" | "rmdir" => Change::Remove { path: named(0)? },
        "unlinkat" => Change::Remove { path: named_at(0)? },
        "fsync" | "fdatasync" => Change::Sync { path: open(0)? },
        "syncfs" | "sync" => Change::SyncAll,
        // None of the others is made on these files; if one ever is, the tree at the end of the trace is not the real
        // one.
        _ => return None,
    })
}

/// Returns the path behind a descriptor, which is written as `7<\x2f\x61>`.
fn opened(argument: &str) -> Option<PathBuf> {
    let (_, path) = argument.split_once('<')?;
    path.strip_suffix('>').map(bytes).and_then(|path| String::from_utf8(path).ok()).map(PathBuf::from)
}

fn string(argument: &str) -> Option<String> {
    String::from_utf8(bytes(argument.strip_prefix('"')?.strip_suffix('"')?)).ok()
}

/// Returns every string in a call.
fn strings(call: &str) -> Vec<Vec<u8>> {
    call.split('"').skip(1).step_by(2).map(bytes).collect()
}

fn bytes(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|digits| u8::from_str_radix(digits, 16).ok()).collect()
}

fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::{Event, events};
    use crate::bad::power::disk::Change;
    use std::path::Path;

    #[test]
    fn calls_of_several_threads_are_ordered_by_their_return() {
        // The folder is `/h`, and the names in it are `a` and `b`.
        let trace = r#"7  openat(AT_FDCWD<\x2f>, "\x2f\x68\x2f\x61", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 9<\x2f\x68\x2f\x61>
7  write(9<\x2f\x68\x2f\x61>, "\x68\x69"..., 3 <unfinished ...>
8  write(2<\x70\x69\x70\x65>, "\x6f\x6b", 2 <unfinished ...>
8  <... write resumed>)                    = 2
7  <... write resumed>)                    = 2
7  fsync(9<\x2f\x68\x2f\x61>)              = 0
8  rename("\x2f\x68\x2f\x61", "\x2f\x68\x2f\x62") = 0
8  rename("\x2f\x68\x2f\x61", "\x2f\x68\x2f\x62") = -1 ENOENT (No such file or directory)
8  unlinkat(3<\x2f\x68>, "\x62", 0)        = 0
8  mkdir("\x2f\x78", 0700)                 = 0
8  +++ exited with 0 +++
"#;
        let changed = [
            Change::Open { path: "a".into(), mode: 0o600, emptied: false, appends: false },
            Change::Write { path: "a".into(), bytes: b"hi".to_vec() },
            Change::Sync { path: "a".into() },
            Change::Rename { from: "a".into(), to: "b".into() },
            Change::Remove { path: "b".into() },
        ];
        let mut expected: Vec<Event> = changed.map(Event::Changed).to_vec();
        expected.insert(1, Event::Said("ok".to_owned()));
        assert_eq!(events(trace, Path::new("/h")), expected);
    }
}
