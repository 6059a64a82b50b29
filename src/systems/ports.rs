//! Who listens on which loopback port, from `/proc/net/tcp` and `/proc/net/tcp6`.
//!
//! Nothing is connected to. A listener on another address than loopback or all of them is not in the way and not seen.

use super::{files, proc};
use crate::resource::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const LIMIT: Bytes = Bytes(64 << 20);
const LISTENING: &str = "0A";

/// Who holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The oldest process that has the listening socket open; unknown when it belongs to another user.
    pub pid: Option<u32>,
    /// The other processes that have it open: forked workers, or who handed the socket over.
    pub shared_with: Vec<u32>,
    /// The command line of `pid`.
    pub command: Option<String>,
    /// The number of the user who opened it.
    pub user: u32,
}

impl Holder {
    /// Returns whether it is a process of this user that is about to end, and its port with it: first it has no command
    /// line any more, then no files.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.command.is_none() && self.user == rustix::process::geteuid().as_raw()
    }
}

/// Returns who listens on the loopback port `port`.
#[must_use]
pub fn holder(port: u16) -> Option<Holder> {
    holders(&BTreeSet::from([port])).remove(&port)
}

/// Returns who listens on each of the loopback ports `ports`, in one look; a free port is not in the answer.
#[must_use]
pub fn holders(ports: &BTreeSet<u16>) -> BTreeMap<u16, Holder> {
    let mut listeners = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = files::read_text(Path::new(table), LIMIT).ok().flatten().unwrap_or_default();
        listeners.extend(text.lines().filter_map(listener).filter(|listener| ports.contains(&listener.port)));
    }
    let mut owners = owners(&listeners.iter().map(|listener| listener.socket).collect());
    let mut holders = BTreeMap::new();
    for Listener { port, user, socket } in listeners {
        let mut pids = owners.remove(&socket).unwrap_or_default().into_iter();
        let pid = pids.next();
        let holder = Holder { pid, shared_with: pids.collect(), command: pid.and_then(proc::command), user };
        // IPv4 and IPv6 may have one listener each; the one that is known says more.
        if holders.get(&port).is_none_or(|known: &Holder| known.pid.is_none()) {
            holders.insert(port, holder);
        }
    }
    holders
}

struct Listener {
    port: u16,
    user: u32,
    socket: u64,
}

/// Reads a line of the table in `proc_pid_net(5)`: slot, local, remote, state, queues, timer, retries, user, timeout,
/// inode.
fn listener(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let listening = fields.get(3) == Some(&LISTENING) && is_local(address);
    listening.then_some(())?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listener { port, user: fields.get(7)?.parse().ok()?, socket: fields.get(9)?.parse().ok()? })
}

/// Returns whether the address is loopback or all addresses. The kernel prints each 32-bit word in the order of the
/// machine's bytes.
fn is_local(address: &str) -> bool {
    let words: Vec<u32> = address
        .as_bytes()
        .chunks(8)
        .filter_map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .map(|word| u32::from_be_bytes(word.to_ne_bytes()))
        .collect();
    let is_local_4 = |word: u32| word == 0 || word >> 24 == 127;
    match words.as_slice() {
        [0, 0, 0, 0 | 1] => true,
        [word] | [0, 0, 0xffff, word] => is_local_4(*word),
        _ => false,
    }
}

/// Returns the processes that have each socket open, the oldest first.
fn owners(sockets: &BTreeSet<u64>) -> BTreeMap<u64, Vec<u32>> {
    let mut owners: BTreeMap<u64, Vec<(u64, u32)>> = BTreeMap::new();
    if sockets.is_empty() {
        return BTreeMap::new();
    }
    let pids = files::names(Path::new("/proc")).unwrap_or_default();
    for (name, pid) in pids.iter().filter_map(|name| Some((name, name.parse::<u32>().ok()?))) {
        let Ok(descriptors) = fs::read_dir(Path::new("/proc").join(name).join("fd")) else { continue };
        let links = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        let opened: BTreeSet<u64> = links
            .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
            .filter(|socket| sockets.contains(socket))
            .collect();
        if opened.is_empty() {
            continue;
        }
        let start = proc::status(pid).map_or(u64::MAX, |status| status.identity.start);
        for socket in opened {
            owners.entry(socket).or_default().push((start, pid));
        }
    }
    owners
        .into_iter()
        .map(|(socket, mut owners)| {
            owners.sort_unstable();
            (socket, owners.into_iter().map(|(_, pid)| pid).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{holder, holders, is_local};
    use std::collections::BTreeSet;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    #[test]
    fn listeners_are_found_on_every_local_address() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(socket) = TcpListener::bind(address) else { continue };
            let port = socket.local_addr().expect("an address").port();
            let live = holder(port).expect("a holder");
            assert_eq!(live.pid, Some(std::process::id()), "{address}");
            assert!(live.command.is_some_and(|command| command.contains("suite") || command.contains("llamero")));
            drop(socket);
            // A child that another test is about to start holds everything of this process until its program runs.
            let free = (0..100).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                holder(port).is_none()
            });
            assert!(free, "{address}");
        }
    }

    #[test]
    fn a_look_at_many_ports_costs_little_more_than_one_at_one() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        let quickest = |ports: &BTreeSet<u16>| {
            let once = || {
                let started = Instant::now();
                assert!(holders(ports).contains_key(&port));
                started.elapsed()
            };
            (0..5).map(|_| once()).min().expect("it was done")
        };
        let (one, all) = (quickest(&BTreeSet::from([port])), quickest(&(1..=u16::MAX).collect()));
        assert!(all < one * 8 + Duration::from_millis(50), "{all:?} for all, {one:?} for one");
    }

    #[test]
    fn only_local_addresses_are_in_the_way() {
        let words = |words: &[u32]| -> String {
            let shown: Vec<_> = words.iter().map(|word| u32::from_ne_bytes(word.to_be_bytes())).collect();
            shown.iter().fold(String::new(), |text, word| text + &format!("{word:08X}"))
        };
        for local in [&[0][..], &[0x7f00_0001], &[0x7f01_0203], &[0; 4], &[0, 0, 0, 1], &[0, 0, 0xffff, 0x7f00_0001]] {
            assert!(is_local(&words(local)), "{local:x?}");
        }
        for other in [&[0xc0a8_0001][..], &[0xfe80_0000, 0, 0, 1], &[0, 0, 0xffff, 0xc0a8_0001], &[]] {
            assert!(!is_local(&words(other)), "{other:x?}");
        }
    }
}
