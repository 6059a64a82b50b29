//! The processes that listen on loopback ports, from `/proc/net/tcp` and `/proc/net/tcp6`.
//!
//! No connection is made. A listener on an address other than loopback or the wildcard does not conflict and is
//! ignored.

use super::{files, proc};
use crate::resource::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

const LIMIT: Bytes = Bytes(64 << 20);
const LISTENING: &str = "0A";
/// 127.0.0.1, as a number.
const LOOPBACK: u32 = 0x7f00_0001;

/// The process that holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The oldest process that has the listening socket open; unknown when it belongs to another user.
    pub pid: Option<u32>,
    /// The other processes that have it open: forked workers, or a process that passed the socket on.
    pub shared_with: Vec<u32>,
    /// The command line of `pid`.
    pub command: Option<String>,
    /// The id of the user who opened it.
    pub user: u32,
}

impl Holder {
    /// Returns whether it is a process of this user that is just exiting and will free its port: its command line
    /// disappears first, then its files.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.command.is_none() && self.user == rustix::process::geteuid().as_raw()
    }
}

/// Returns the process that listens on the loopback port `port`.
#[must_use]
pub fn holder(port: u16) -> Option<Holder> {
    holders(&BTreeSet::from([port])).remove(&port)
}

/// Returns the holders of the loopback ports `ports`, in one scan; free ports are left out.
#[must_use]
pub fn holders(ports: &BTreeSet<u16>) -> BTreeMap<u16, Holder> {
    let mut listeners = listeners().unwrap_or_default();
    listeners.retain(|listener| ports.contains(&listener.port));
    let mut owners = scan(&listeners.iter().map(|listener| listener.socket).collect()).owners;
    let mut holders = BTreeMap::new();
    for Listener { port, user, socket, .. } in listeners {
        let mut pids = owners.remove(&socket).unwrap_or_default().into_iter();
        let pid = pids.next();
        let holder = Holder { pid, shared_with: pids.collect(), command: pid.and_then(proc::command), user };
        // IPv4 and IPv6 may have one listener each; a known PID is more informative.
        if holders.get(&port).is_none_or(|known: &Holder| known.pid.is_none()) {
            holders.insert(port, holder);
        }
    }
    holders
}

/// Returns every socket that listens on a loopback or wildcard address.
pub(super) fn listeners() -> Result<Vec<Listener>, files::Error> {
    let mut listeners = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // A machine without IPv6 has no second table.
        let text = files::read_text(Path::new(table), LIMIT)?.unwrap_or_default();
        listeners.extend(text.lines().filter_map(listener));
    }
    Ok(listeners)
}

/// A socket that listens on a loopback or wildcard address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) port: u16,
    /// The id of the user who opened it.
    pub(super) user: u32,
    /// Its number in the kernel, or 0 once no process has it open.
    pub(super) socket: u64,
    /// The specificity of its address for 127.0.0.1.
    pub(super) closeness: Closeness,
}

/// The closeness of a listener's address to 127.0.0.1. The kernel routes a connection to the closest listener only:
/// `inet_lookup_listener` tries exact addresses first and prefers IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closeness {
    /// Another loopback address.
    None,
    /// All addresses, IPv6.
    Any6,
    /// All addresses, IPv4.
    Any4,
    /// The address in its IPv6 form.
    Exact6,
    /// The address itself.
    Exact4,
}

/// Reads a line of the table in `proc_pid_net(5)`: slot, local, remote, state, queues, timer, retries, user, timeout,
/// inode.
fn listener(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let closeness = (fields.get(3) == Some(&LISTENING)).then(|| local(address)).flatten()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listener { port, user: fields.get(7)?.parse().ok()?, socket: fields.get(9)?.parse().ok()?, closeness })
}

/// Returns the closeness to 127.0.0.1 of a loopback or wildcard address. The kernel prints each 32-bit word in native
/// byte order.
fn local(address: &str) -> Option<Closeness> {
    let words: Vec<u32> = address
        .as_bytes()
        .chunks(8)
        .filter_map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .map(|word| u32::from_be_bytes(word.to_ne_bytes()))
        .collect();
    match words.as_slice() {
        [LOOPBACK] => Some(Closeness::Exact4),
        [0, 0, 0xffff, LOOPBACK] => Some(Closeness::Exact6),
        [0] => Some(Closeness::Any4),
        [0, 0, 0 | 0xffff, 0] => Some(Closeness::Any6),
        [0, 0, 0, 1] => Some(Closeness::None),
        [word] | [0, 0, 0xffff, word] if word >> 24 == 127 => Some(Closeness::None),
        _ => None,
    }
}

/// The processes of this machine, as far as sockets go.
#[derive(Debug)]
pub(super) struct Scan {
    /// The processes that have each socket open, the oldest first.
    pub(super) owners: BTreeMap<u64, Vec<u32>>,
    /// The processes whose open files cannot be read, with the user that each runs as.
    pub(super) hidden: BTreeMap<u32, u32>,
    /// True if every process is at least visible. With `hidepid` those of other users are not: proc(5).
    pub(super) complete: bool,
}

/// Finds the processes that have `sockets` open, in one scan.
pub(super) fn scan(sockets: &BTreeSet<u64>) -> Scan {
    let mut owners: BTreeMap<u64, Vec<(u64, u32)>> = BTreeMap::new();
    let mut hidden = BTreeMap::new();
    let complete = Path::new("/proc/1").exists();
    if sockets.is_empty() {
        return Scan { owners: BTreeMap::new(), hidden, complete };
    }
    let pids = files::names(Path::new("/proc")).unwrap_or_default();
    for pid in pids.iter().filter_map(|name| name.parse::<u32>().ok()) {
        let Some(mut opened) = opened(pid) else {
            // A process that has ended meanwhile has no user.
            hidden.extend(proc::user(pid).map(|user| (pid, user)));
            continue;
        };
        opened.retain(|socket| sockets.contains(socket));
        if opened.is_empty() {
            continue;
        }
        let start = proc::status(pid).map_or(u64::MAX, |status| status.identity.start);
        for socket in opened {
            owners.entry(socket).or_default().push((start, pid));
        }
    }
    let owners = owners
        .into_iter()
        .map(|(socket, mut owners)| {
            owners.sort_unstable();
            (socket, owners.into_iter().map(|(_, pid)| pid).collect())
        })
        .collect();
    Scan { owners, hidden, complete }
}

/// Returns the sockets that a process has open; `None` where that cannot be read.
pub(super) fn opened(pid: u32) -> Option<BTreeSet<u64>> {
    let descriptors = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).ok()?;
    let mut opened = BTreeSet::new();
    for descriptor in descriptors.flatten() {
        match fs::read_link(descriptor.path()) {
            Ok(link) => {
                let number = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
                opened.extend(number.and_then(|number| number.parse::<u64>().ok()));
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
            // It was closed meanwhile.
            Err(_) => {}
        }
    }
    Some(opened)
}

#[cfg(test)]
mod tests {
    use super::{Closeness, holder, holders, local};
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    #[test]
    fn listeners_are_found_on_every_local_address() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(socket) = TcpListener::bind(address) else { continue };
            let port = socket.local_addr().expect("an address").port();
            let live = holder(port).expect("a holder");
            assert_eq!(live.pid, Some(std::process::id()), "{address}");
            assert!(live.command.is_some_and(|command| command.contains("suite") || command.contains("llamero")));
            drop(socket);
            // A child that another test is just forking holds all of this process's descriptors until it calls exec.
            while holder(port).is_some() {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn one_scan_finds_the_holders_of_all_ports() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        // A child that another test is just forking holds the socket too, and is younger.
        for ports in [BTreeSet::from([port]), (1..=u16::MAX).collect()] {
            assert_eq!(holders(&ports)[&port].pid, Some(std::process::id()), "of {}", ports.len());
        }
    }

    #[test]
    fn only_local_addresses_conflict() {
        let words = |words: &[u32]| -> String {
            let shown: Vec<_> = words.iter().map(|word| u32::from_ne_bytes(word.to_be_bytes())).collect();
            shown.iter().fold(String::new(), |text, word| text + &format!("{word:08X}"))
        };
        let is_local = |address: &[u32]| local(&words(address)).is_some();
        for local in [&[0][..], &[0x7f00_0001], &[0x7f01_0203], &[0; 4], &[0, 0, 0, 1], &[0, 0, 0xffff, 0x7f00_0001]] {
            assert!(is_local(local), "{local:x?}");
        }
        for other in [&[0xc0a8_0001][..], &[0xfe80_0000, 0, 0, 1], &[0, 0, 0xffff, 0xc0a8_0001], &[]] {
            assert!(!is_local(other), "{other:x?}");
        }
        // The closest comes last.
        let closer = [&[0x7f01_0203][..], &[0; 4], &[0], &[0, 0, 0xffff, 0x7f00_0001], &[0x7f00_0001]];
        let matches: Vec<Closeness> = closer.iter().filter_map(|address| local(&words(address))).collect();
        assert_eq!(matches, [Closeness::None, Closeness::Any6, Closeness::Any4, Closeness::Exact6, Closeness::Exact4]);
        assert!(matches.is_sorted());
    }
}
