//! Proof that the process that listens on a server's port is the server's own.
//!
//! A port alone does not identify its process: another program that binds it first would receive the requests and the
//! master key. So every request to a server needs a [`Proven`], which only this module constructs, and which carries
//! the one request that it authorizes. It is constructed right before the request.
//!
//! Of the sockets that listen on the port only those count to which the kernel would route a connection to 127.0.0.1:
//! the closest match, so one on 127.0.0.1 hides one on all addresses. Each of them must belong to the server:
//!
//! | server | its own sockets |
//! |---|---|
//! | unit | open in a process of the unit's control group, as the manager lists them; also the listener of its socket
//! unit, which the current instance receives from the manager |
//! | process | open in the recorded child (by PID and start time), in a descendant of it or of its supervisor, or in
//! a process of this user with the server's ownership marker |
//! | container on the host's network | open in the container's first process or a descendant |
//! | container with forwarded ports | the engine reports that it forwards the port now, and the socket belongs to the
//! engine's user, or there is none because the kernel forwards the port (no userland proxy) |
//! | verification instance | its private socket is in a folder of this user that no other user may write to, so no
//! other user can have bound it |
//!
//! The processes of an engine in a virtual machine, or behind `hidepid`, are invisible here: its containers' ports
//! count as forwarded.
//!
//! Other users' open files can be read only by root. Otherwise a socket is attributed by elimination: it is the
//! server's if, among the processes whose files are hidden and that run as the socket's user, all are the server's.
//! For root's sockets it suffices that the server has a hidden process: so an unprivileged user can prove containers
//! of a root engine, and root could read any secret anyway. An unresolved case is [`Unproven::Unknown`] and does not
//! count as the server's.
//!
//! Trusted are the kernel, the service manager, the engine, root, and the environment of this user's own processes,
//! because every process of this user can read the secrets anyway. A marker in the environment of another user's
//! process is ignored.
//!
//! The cost is one read of the kernel's tables for all ports ([`Sockets`]) and one read of the open files of each
//! server's own processes; all processes are scanned only to identify a foreign listener, once for all ports.

use super::{Systems, files, ports, proc};
use crate::resource::{Kind, Probe, ResourceId};
use llamero_core::targets::systemd::lower::unit_name;
use ports::{Closeness, Listener, Scan};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// The number of attempts before a foreign listener is reported: the server may just be restarting.
const LOOKS: u32 = 3;

/// The pause between two attempts.
const EVERY: Duration = Duration::from_millis(100);

/// The longest command line displayed.
const SHOWN: usize = 80;

/// A request that may be sent: the process that answers it is the server's own.
///
/// It is consumed by the request. Only a proof constructs one.
#[derive(Debug)]
pub struct Proven<'a> {
    probe: &'a Probe,
}

impl<'a> Proven<'a> {
    /// Returns the request.
    #[must_use]
    pub const fn probe(&self) -> &'a Probe {
        self.probe
    }
}

/// A reason why the server's own listener is not proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproven {
    /// No process listens on the port.
    NoListener,
    /// Another process listens.
    Foreign(Foreign),
    /// The listener cannot be identified.
    Unknown(String),
}

/// A process that listens on a server's port and does not belong to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    port: u16,
    pid: Option<u32>,
    command: Option<String>,
    user: u32,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} is held by ", self.port)?;
        match (&self.command, self.pid) {
            (Some(command), Some(pid)) => write!(f, "`{command}` (pid {pid}, user {})", self.user)?,
            (None, Some(pid)) => write!(f, "a process (pid {pid}, user {})", self.user)?,
            (_, None) => write!(f, "a process of the user {}", self.user)?,
        }
        f.write_str(", which is not part of it")
    }
}

impl Foreign {
    /// Returns the remedy.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("stop the process that listens on port {}, or give the server another port", self.port)
    }
}

/// The listening sockets of this machine at one moment: when the first of them is asked for. Reading the kernel's
/// tables takes a millisecond, and a server without a port needs none of it.
#[derive(Debug, Default)]
pub struct Sockets {
    listeners: OnceLock<Result<Vec<Listener>, String>>,
    scan: OnceLock<Scan>,
    processes: OnceLock<Vec<proc::Status>>,
}

impl Sockets {
    fn listeners(&self) -> &Result<Vec<Listener>, String> {
        self.listeners.get_or_init(|| ports::listeners().map_err(|error| error.to_string()))
    }

    /// Returns the sockets to which the kernel routes connections to 127.0.0.1 on `port`.
    fn closest(&self, port: u16) -> Result<Vec<Listener>, Unproven> {
        let all = self.listeners().as_ref().map_err(|why| Unproven::Unknown(why.clone()))?;
        let on_port = || all.iter().filter(|it| it.port == port && it.closeness > Closeness::None);
        let closest = on_port().map(|it| it.closeness).max();
        Ok(on_port().filter(|it| Some(it.closeness) == closest).copied().collect())
    }

    fn scan(&self) -> &Scan {
        let sockets = || self.listeners().iter().flatten().map(|listener| listener.socket).collect();
        self.scan.get_or_init(|| ports::scan(&sockets()))
    }

    fn foreign(&self, listener: &Listener) -> Unproven {
        let pid = self.scan().owners.get(&listener.socket).and_then(|pids| pids.first().copied());
        let command = pid.and_then(proc::command).map(|command| command.chars().take(SHOWN).collect());
        Unproven::Foreign(Foreign { port: listener.port, pid, command, user: listener.user })
    }
}

/// The processes that may answer for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// These processes and their descendants.
    Processes(BTreeSet<u32>),
    /// The container engine, on behalf of a container.
    Engine {
        /// The id of the engine's user.
        user: u32,
        /// True if it reports that it forwards the port now.
        forwards: bool,
    },
}

/// Proves that the server `id` itself would answer `probe`; nothing is sent.
pub async fn prove<'a>(
    systems: &Systems,
    sockets: &Sockets,
    stack: &str,
    id: &ResourceId,
    probe: &'a Probe,
) -> Result<Proven<'a>, Unproven> {
    let mut proven = prove_once(systems, sockets, stack, id, probe).await;
    for _ in 1..LOOKS {
        if matches!(proven, Ok(_) | Err(Unproven::NoListener)) {
            break;
        }
        tokio::time::sleep(EVERY).await;
        proven = prove_once(systems, &Sockets::default(), stack, id, probe).await;
    }
    proven
}

async fn prove_once<'a>(
    systems: &Systems,
    sockets: &Sockets,
    stack: &str,
    id: &ResourceId,
    probe: &'a Probe,
) -> Result<Proven<'a>, Unproven> {
    if *probe == Probe::Running {
        return Ok(Proven { probe });
    }
    let members = members(systems, stack, id, probe).await?;
    match prove_by(sockets, probe, &members) {
        // A process that has left the recorded process's descendants is found by its ownership marker.
        Err(Unproven::Foreign(_)) if id.kind == Kind::Process => {
            prove_by(sockets, probe, &Members::Processes(systems.processes.members(&id.name)))
        }
        proven => proven,
    }
}

async fn members(systems: &Systems, stack: &str, id: &ResourceId, probe: &Probe) -> Result<Members, Unproven> {
    let unknown = |error: &dyn std::error::Error| Unproven::Unknown(error.to_string());
    match id.kind {
        Kind::Unit => {
            let systemd = systems.systemd().await.map_err(|error| unknown(&error))?;
            systemd.processes(&unit_name(id)).await.map(Members::Processes).map_err(|error| unknown(&error))
        }
        Kind::Container => {
            let docker = systems.docker().await.map_err(|error| unknown(&error))?;
            let found = docker.stack(stack).find(&id.name).await.map_err(|error| unknown(&error))?;
            let found = found.ok_or(Unproven::NoListener)?;
            let forwards = probe.port().is_some_and(|port| found.forwarded.contains(&port));
            match found.pid.filter(|pid| !forwards && proc::is_in_group_of(*pid, &found.id)) {
                Some(pid) => Ok(Members::Processes(BTreeSet::from([pid]))),
                None => {
                    let no_socket = || Unproven::Unknown(format!("{} is not visible", docker.socket().display()));
                    docker.user().map(|user| Members::Engine { user, forwards }).ok_or_else(no_socket)
                }
            }
        }
        _ => Ok(Members::Processes(systems.processes.state(&id.name).ok().and_then(|it| it.pid).into_iter().collect())),
    }
}

/// Proves that one of `members` would answer `probe`.
pub fn prove_by<'a>(sockets: &Sockets, probe: &'a Probe, members: &Members) -> Result<Proven<'a>, Unproven> {
    if *probe == Probe::Running {
        return Ok(Proven { probe });
    }
    let elsewhere = || Unproven::Unknown("its probe is not on 127.0.0.1".to_owned());
    let closest = sockets.closest(probe.port().ok_or_else(elsewhere)?)?;
    match members {
        // Where the kernel forwards the port, no process listens.
        Members::Engine { forwards: true, .. } if closest.is_empty() => {}
        _ if closest.is_empty() => return Err(Unproven::NoListener),
        Members::Engine { user, .. } => {
            if let Some(listener) = closest.iter().find(|listener| listener.user != *user) {
                return Err(sockets.foreign(listener));
            }
        }
        Members::Processes(pids) => closest.iter().try_for_each(|listener| judge(sockets, listener, pids))?,
    }
    Ok(Proven { probe })
}

/// Proves that a server is probed on its private socket at `path`: only this user can have created a socket there.
pub fn prove_private<'a>(path: &Path, probe: &'a Probe) -> Result<Proven<'a>, Unproven> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if files::is_written_by_this_user_alone(folder) {
        return Ok(Proven { probe });
    }
    Err(Unproven::Unknown(format!("other users can write in {}", folder.display())))
}

/// Checks that a socket is held by a process of a server.
fn judge(sockets: &Sockets, listener: &Listener, pids: &BTreeSet<u32>) -> Result<(), Unproven> {
    let holds = |pid: &u32| ports::opened(*pid).is_some_and(|opened| opened.contains(&listener.socket));
    if pids.iter().any(holds) {
        return Ok(());
    }
    let roots: Vec<u32> = pids.iter().copied().collect();
    let below = proc::descendants(sockets.processes.get_or_init(proc::all), &roots);
    let members: BTreeSet<u32> = pids.iter().copied().chain(below.into_iter().map(|process| process.pid)).collect();
    if members.iter().any(holds) {
        return Ok(());
    }
    let scan = sockets.scan();
    if scan.owners.contains_key(&listener.socket) {
        return Err(sockets.foreign(listener));
    }
    // No process with readable files has it open.
    let mut suspects = scan.hidden.iter().filter(|(_, user)| **user == listener.user).map(|(pid, _)| pid);
    let is_hidden = members.iter().any(|pid| scan.hidden.contains_key(pid));
    let has_suspect = members.iter().any(|pid| scan.hidden.get(pid) == Some(&listener.user));
    if listener.user == 0 && is_hidden || has_suspect && scan.complete && suspects.all(|pid| members.contains(pid)) {
        return Ok(());
    }
    if scan.complete && !has_suspect {
        return Err(sockets.foreign(listener));
    }
    Err(Unproven::Unknown(format!(
        "port {} belongs to the user {}, whose processes are hidden",
        listener.port, listener.user
    )))
}

#[cfg(test)]
mod tests {
    use super::{Closeness, Listener, Members, OnceLock, Scan, Sockets, Unproven, prove_by, prove_private};
    use crate::resource::{Health, HttpProbe, Probe};
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;

    const PORT: u16 = 4000;

    fn http(endpoint: String) -> Probe {
        Probe::Http(HttpProbe { endpoint, checks: Vec::new(), models: None, authorization: None })
    }

    fn probe(port: u16) -> Probe {
        http(format!("http://127.0.0.1:{port}"))
    }

    fn sockets(listeners: &[(Closeness, u32, u64)], scan: Scan) -> Sockets {
        let listener = |&(closeness, user, socket)| Listener { port: PORT, user, socket, closeness };
        let listeners = Ok(listeners.iter().map(listener).collect());
        Sockets {
            listeners: OnceLock::from(listeners),
            scan: OnceLock::from(scan),
            processes: OnceLock::from(Vec::new()),
        }
    }

    fn scan(owners: &[(u64, u32)], hidden: &[(u32, u32)], complete: bool) -> Scan {
        let owners = owners.iter().map(|(socket, pid)| (*socket, vec![*pid])).collect();
        Scan { owners, hidden: hidden.iter().copied().collect::<BTreeMap<_, _>>(), complete }
    }

    /// Returns the outcome as a letter, for a server with the PID 70000000, which no machine has.
    fn judged(listeners: &[(Closeness, u32, u64)], scan: Scan, members: &Members) -> char {
        match prove_by(&sockets(listeners, scan), &probe(PORT), members) {
            Ok(_) => 'p',
            Err(Unproven::NoListener) => 'n',
            Err(Unproven::Foreign(_)) => 'f',
            Err(Unproven::Unknown(_)) => 'u',
        }
    }

    const ME: u32 = 70_000_000;
    const OTHER: u32 = 70_000_001;

    #[test]
    fn this_process_is_proven_by_its_own_socket_and_no_other_is() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let socket = TcpListener::bind(address).expect("a socket");
            let probe = probe(socket.local_addr().expect("an address").port());
            let of = |pid: u32| prove_by(&Sockets::default(), &probe, &Members::Processes([pid].into())).map(drop);
            assert_eq!(of(std::process::id()), Ok(()));
            let Err(Unproven::Foreign(foreign)) = of(ME) else { panic!("this process listens") };
            assert!(foreign.to_string().contains(&format!("(pid {}, user ", std::process::id())), "{foreign}");
            // A proof for a parent covers its children.
            assert_eq!(of(std::os::unix::process::parent_id()), Ok(()));
        }
    }

    #[test]
    fn only_the_socket_that_gets_the_connection_counts() {
        let forwarded = |user| Members::Engine { user, forwards: true };
        let (foreign, own) = ((Closeness::Exact4, 7, 1), (Closeness::Any4, 0, 2));
        let none = || scan(&[], &[], true);
        assert_eq!(judged(&[foreign, own], none(), &forwarded(0)), 'f');
        assert_eq!(judged(&[foreign, own], none(), &forwarded(7)), 'p');
        assert_eq!(judged(&[(Closeness::Any6, 7, 1), own], none(), &forwarded(0)), 'p');
        // Sockets on the same address share the connections.
        assert_eq!(judged(&[(Closeness::Any4, 7, 1), own], none(), &forwarded(0)), 'f');
        assert_eq!(judged(&[(Closeness::None, 7, 1), own], none(), &forwarded(0)), 'p');
        assert_eq!(judged(&[], none(), &forwarded(0)), 'p');
        assert_eq!(judged(&[], none(), &Members::Engine { user: 0, forwards: false }), 'n');
        assert_eq!(judged(&[], none(), &Members::Processes(BTreeSet::new())), 'n');
    }

    #[test]
    fn hidden_sockets_are_attributed_by_elimination_or_not_at_all() {
        let members = Members::Processes([ME].into());
        let by = |user| [(Closeness::Any4, user, 1)];
        for (user, scan, expected) in [
            (5, scan(&[(1, OTHER)], &[(ME, 5)], true), 'f'),
            (5, scan(&[], &[(ME, 5)], true), 'p'),
            (5, scan(&[], &[(ME, 5), (OTHER, 6)], true), 'p'),
            (5, scan(&[], &[(ME, 5), (OTHER, 5)], true), 'u'),
            (5, scan(&[], &[(OTHER, 5)], true), 'f'),
            (5, scan(&[], &[], true), 'f'),
            // With hidepid no process can be ruled out.
            (5, scan(&[], &[(ME, 5)], false), 'u'),
            (5, scan(&[], &[], false), 'u'),
            // Root has many processes, and is trusted.
            (0, scan(&[], &[(ME, 0), (OTHER, 0)], true), 'p'),
            (0, scan(&[], &[(ME, 999), (OTHER, 0)], true), 'p'),
            (0, scan(&[], &[(OTHER, 0)], true), 'f'),
            (0, scan(&[(1, OTHER)], &[(ME, 0)], true), 'f'),
        ] {
            assert_eq!(judged(&by(user), scan, &members), expected, "user {user}");
        }
    }

    #[test]
    fn unreadable_sockets_do_not_count_as_its_own() {
        let blind = Sockets { listeners: OnceLock::from(Err("no".into())), ..Sockets::default() };
        let members = Members::Processes([ME].into());
        let unproven = prove_by(&blind, &probe(PORT), &members).expect_err("nothing is proven");
        assert!(matches!(unproven.health(&probe(PORT)), Health::Unhealthy { .. }));
        let far = http("http://192.0.2.1:80".to_owned());
        assert!(matches!(prove_by(&Sockets::default(), &far, &members), Err(Unproven::Unknown(_))));
        assert!(prove_by(&blind, &Probe::Running, &members).is_ok(), "no request is sent");
    }

    #[test]
    fn a_private_socket_lies_in_a_folder_writable_by_its_user_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("socket");
        for (mode, proven) in [(0o700, true), (0o755, true), (0o720, false), (0o702, false), (0o777, false)] {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(prove_private(&socket, &Probe::Running).is_ok(), proven, "{mode:o}");
        }
        assert!(prove_private(&folder.path().join("not/there"), &Probe::Running).is_err());
    }
}
