//! Processes as the kernel shows them in `/proc`: liveness, parents and environment.
//!
//! A PID alone never identifies a process here, because PIDs are reused: it is always paired with the start time.
//! Other users' processes show less; an unreadable value is `None`.

use super::files;
use crate::render::marker;
use crate::resource::{Bytes, Fingerprint};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The variable in a server's environment that holds its fingerprint.
pub const FINGERPRINT: &str = marker::FINGERPRINT_VARIABLE;
/// The variable in a server's environment that holds its resource's id.
pub const RESOURCE: &str = marker::RESOURCE_VARIABLE;

const LIMIT: Bytes = Bytes(4 << 20);

/// The identity of one process, unique within a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// The time of its start, in clock ticks since the boot.
    pub start: u64,
}

/// The state of a process from `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Its identity.
    pub identity: Identity,
    /// The number of its parent.
    pub parent: u32,
    /// The number of its process group.
    pub group: u32,
    /// True if it is dead and not yet reaped.
    pub zombie: bool,
}

impl Identity {
    /// Returns the process with the PID `pid`, unless it is dead.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        status(pid).filter(|status| !status.zombie).map(|status| status.identity)
    }

    /// Returns whether this process still runs.
    #[must_use]
    pub fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends `signal` to this process; returns whether it was there to receive it.
    #[must_use]
    pub fn signal(self, signal: Signal) -> bool {
        // The descriptor is bound to one process, so the PID cannot be reused between check and signal.
        let descriptor =
            i32::try_from(self.pid).ok().and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        matches!(descriptor, Some(Ok(descriptor)) if self.alive() && pidfd_send_signal(&descriptor, signal).is_ok())
    }
}

/// Returns the id of this boot; no process outlives it.
#[must_use]
pub fn boot() -> Option<String> {
    let text = files::read_text(Path::new("/proc/sys/kernel/random/boot_id"), LIMIT).ok()??;
    Some(text.trim().to_owned())
}

/// Returns the status of the process with the PID `pid`.
#[must_use]
pub fn status(pid: u32) -> Option<Status> {
    let bytes = files::read(&file(pid, "stat"), LIMIT).ok()??;
    parse(&String::from_utf8_lossy(&bytes))
}

/// Returns every visible process.
#[must_use]
pub fn all() -> Vec<Status> {
    let names = files::names(Path::new("/proc")).unwrap_or_default();
    names.iter().filter_map(|name| status(name.parse().ok()?)).collect()
}

/// Returns the living descendants of the processes with the PIDs `roots`, without the roots.
#[must_use]
pub fn descendants(all: &[Status], roots: &[u32]) -> BTreeSet<Identity> {
    let mut live = BTreeSet::new();
    let mut parents: BTreeSet<u32> = roots.iter().copied().collect();
    loop {
        let more: Vec<&Status> = all
            .iter()
            .filter(|process| parents.contains(&process.parent) && !parents.contains(&process.identity.pid))
            .collect();
        if more.is_empty() {
            return live;
        }
        for process in more {
            parents.insert(process.identity.pid);
            if !process.zombie {
                live.insert(process.identity);
            }
        }
    }
}

/// Returns the value of the variable `name` in the process's initial environment.
#[must_use]
pub fn variable(pid: u32, name: &str) -> Option<String> {
    let environment = files::read(&file(pid, "environ"), LIMIT).ok()??;
    environment.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

/// Returns the effective user id of the process: the line `Uid:` of `proc_pid_status(5)`.
#[must_use]
pub fn user(pid: u32) -> Option<u32> {
    let text = files::read_text(&file(pid, "status"), LIMIT).ok()??;
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Returns whether the process runs as this user. An ownership marker in the environment is believed only for this
/// user's processes: root can read the environment of other users' processes, and they can set it as they like.
#[must_use]
pub fn is_of_this_user(pid: u32) -> bool {
    user(pid) == Some(rustix::process::geteuid().as_raw())
}

/// Returns the fingerprint in the process's initial environment.
#[must_use]
pub fn fingerprint_of(pid: u32) -> Option<Fingerprint> {
    Fingerprint::parse(&variable(pid, FINGERPRINT)?)
}

/// Returns the systemd unit that the process belongs to, by its control group (cgroups(7)).
#[must_use]
pub fn unit_of(pid: u32) -> Option<String> {
    let text = files::read_text(&file(pid, "cgroup"), LIMIT).ok()??;
    let names = text.lines().filter_map(|line| line.rsplit_once(':')).flat_map(|(_, path)| path.split('/'));
    names.filter_map(|name| name.strip_suffix(".service")).next_back().map(str::to_owned)
}

/// Returns whether the process is in a control group whose name holds `name`.
#[must_use]
pub fn is_in_group_of(pid: u32, name: &str) -> bool {
    let text = files::read_text(&file(pid, "cgroup"), LIMIT).ok().flatten();
    !name.is_empty() && text.is_some_and(|text| text.contains(name))
}

/// Returns the resident memory of the process, in bytes (`statm`, proc(5)).
#[must_use]
pub fn memory(pid: u32) -> Option<Bytes> {
    let text = files::read_text(&file(pid, "statm"), LIMIT).ok()??;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(Bytes(pages * rustix::param::page_size() as u64))
}

/// Returns the command line of the process, its arguments separated by spaces.
#[must_use]
pub fn command(pid: u32) -> Option<String> {
    let words: Vec<String> = argv(pid)?.into_iter().filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Returns the arguments of the process's command line.
#[must_use]
pub fn argv(pid: u32) -> Option<Vec<String>> {
    let bytes = files::read(&file(pid, "cmdline"), LIMIT).ok()??;
    let words = bytes.strip_suffix(b"\0").unwrap_or(&bytes).split(|byte| *byte == 0);
    Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

fn file(pid: u32, name: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(OsStr::from_bytes(name.as_bytes()))
}

/// Reads a line of `proc_pid_stat(5)`. The second field is the command's name in brackets, which may itself hold
/// brackets and spaces.
fn parse(line: &str) -> Option<Status> {
    let pid = line.split_once(' ')?.0.parse().ok()?;
    let mut fields = line.rsplit_once(") ")?.1.split(' ');
    let zombie = matches!(fields.next()?, "Z" | "X" | "x");
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let start = fields.nth(16)?.parse().ok()?;
    Some(Status { identity: Identity { pid, start }, parent, group, zombie })
}

#[cfg(test)]
mod tests {
    use super::{Identity, all, boot, command, descendants, parse, status, variable};
    use rustix::process::Signal;
    use std::process::Command;

    #[test]
    fn a_name_with_brackets_is_parsed() {
        let line = "42 (a) Z 1 (b) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let status = parse(line).expect("a status");
        assert_eq!((status.identity, status.parent, status.group), (Identity { pid: 42, start: 98765 }, 7, 42));
        assert!(!status.zombie);
    }

    #[test]
    fn a_child_is_found_until_it_dies_and_a_reused_pid_is_not_signalled() {
        let mut child = Command::new("sleep").arg("60").env("LLAMERO_X", "a=b").spawn().expect("a child");
        let identity = Identity::of(child.id()).expect("it lives");
        assert!(descendants(&all(), &[std::process::id()]).contains(&identity));
        // A parent continues a moment before the new program's environment is set up.
        while command(child.id()).is_none() {
            std::thread::yield_now();
        }
        assert_eq!(variable(child.id(), "LLAMERO_X").as_deref(), Some("a=b"));
        assert_eq!(command(child.id()).as_deref(), Some("sleep 60"));
        let other = Identity { start: identity.start + 1, ..identity };
        assert!(!other.alive() && !other.signal(Signal::KILL));
        assert!(identity.alive() && identity.signal(Signal::KILL));
        while !status(child.id()).is_none_or(|status| status.zombie) {
            std::thread::yield_now();
        }
        assert!(!identity.alive());
        child.wait().expect("reaped");
        assert_eq!(boot().map(|boot| boot.len()), Some(36));
    }
}
