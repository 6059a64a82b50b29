//! Processes as the kernel shows them under `/proc` (proc(5)): who lives, since when, with what in its environment, and
//! who listens on a port.

use crate::resource::Fingerprint;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

/// The variable by which a process says what it was asked for with.
pub const FINGERPRINT: &str = "LLAMERO_FINGERPRINT";

/// The variable by which a process says which resource it is, as `stack/kind/name`.
pub const RESOURCE: &str = "LLAMERO_RESOURCE";

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
    /// The boot in which it started.
    pub boot: String,
}

impl Identity {
    /// Returns the identity of the process that now has the number `pid`.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields = after_name(&stat)?;
        let (state, start) = (*fields.first()?, fields.get(19)?);
        // A zombie has ended; it only waits to be noticed.
        if matches!(state, "Z" | "X") {
            return None;
        }
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(Self { pid, start: start.parse().ok()?, boot: boot.trim().to_owned() })
    }

    /// Returns whether the process still lives.
    #[must_use]
    pub fn lives(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }
}

/// Splits a `stat` line behind the command's name, which may itself hold spaces and brackets.
fn after_name(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}

/// Returns every process with the number of its parent.
#[must_use]
pub fn parents() -> BTreeMap<u32, u32> {
    let mut parents = BTreeMap::new();
    for pid in pids() {
        if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            && let Some(parent) = after_name(&stat).and_then(|fields| fields.get(1)?.parse().ok())
        {
            parents.insert(pid, parent);
        }
    }
    parents
}

/// Returns all processes that descend from `pid`, without itself.
#[must_use]
pub fn descendants(pid: u32) -> BTreeSet<u32> {
    let parents = parents();
    let mut found = BTreeSet::from([pid]);
    loop {
        let before = found.len();
        found.extend(
            parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
        );
        if found.len() == before {
            found.remove(&pid);
            return found;
        }
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Returns a variable of a process's environment as it was when it started.
#[must_use]
pub fn variable(pid: u32, name: &str) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|entry| {
        let text = std::str::from_utf8(entry).ok()?;
        text.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
    })
}

/// Returns the fingerprint that a process carries.
#[must_use]
pub fn fingerprint(pid: u32) -> Option<Fingerprint> {
    Fingerprint::parse(&variable(pid, FINGERPRINT)?)
}

/// Returns the memory that a process and its descendants take, in bytes.
#[must_use]
pub fn memory(pid: u32) -> u64 {
    let resident = |pid: &u32| -> Option<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        Some(statm.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4096)
    };
    descendants(pid).iter().chain([&pid]).filter_map(resident).sum()
}

/// Who listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The process, when it belongs to somebody whose processes can be seen.
    pub pid: Option<u32>,
    /// Its command, or what can be said instead.
    pub command: String,
    /// Which resource it says that it is, as `stack/kind/name`.
    pub resource: Option<String>,
}

/// Returns who listens on each of `ports` on this machine's own addresses.
#[must_use]
pub fn listeners(ports: &BTreeSet<u16>) -> BTreeMap<u16, Listener> {
    let mut sockets: HashMap<u64, u16> = HashMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        for (port, inode) in text.lines().skip(1).filter_map(listening) {
            if ports.contains(&port) {
                sockets.insert(inode, port);
            }
        }
    }
    let mut found: BTreeMap<u16, Listener> = BTreeMap::new();
    if sockets.is_empty() {
        return found;
    }
    for pid in pids() {
        for inode in sockets_of(pid) {
            if let Some(port) = sockets.get(&inode) {
                found.entry(*port).or_insert_with(|| listener(pid));
            }
        }
        if found.len() == ports.len() {
            break;
        }
    }
    for port in sockets.values() {
        let unseen = Listener { pid: None, command: "a process of another user".to_owned(), resource: None };
        found.entry(*port).or_insert(unseen);
    }
    found
}

/// Reads a line of `/proc/net/tcp`: the port and the inode of a listening socket (state `0A`).
fn listening(line: &str) -> Option<(u16, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != "0A" {
        return None;
    }
    let port = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
    Some((port, fields.get(9)?.parse().ok()?))
}

fn sockets_of(pid: u32) -> Vec<u64> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let target = |path: PathBuf| std::fs::read_link(path).ok()?.to_str().map(str::to_owned);
    entries
        .filter_map(|entry| target(entry.path())?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

fn listener(pid: u32) -> Listener {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).filter(|word| !word.is_empty());
    let program = words.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    let rest: Vec<_> = words.take(3).collect();
    let command = format!("`{} {}`", name, rest.join(" ")).replace(" `", "`");
    Listener { pid: Some(pid), command, resource: variable(pid, RESOURCE) }
}

#[cfg(test)]
mod tests {
    use super::{Identity, listeners};
    use std::collections::BTreeSet;

    #[test]
    fn a_listener_is_named() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = socket.local_addr().expect("an address").port();
        let found = listeners(&BTreeSet::from([port, 1]));
        assert_eq!(found.get(&port).and_then(|listener| listener.pid), Some(std::process::id()));
        assert!(!found.contains_key(&1));
    }

    #[test]
    fn an_identity_is_of_one_process_only() {
        let own = Identity::of(std::process::id()).expect("this process");
        assert!(own.lives());
        assert!(!Identity { start: own.start + 1, ..own.clone() }.lives());
        assert!(!Identity { boot: "another".to_owned(), ..own }.lives());
    }
}
