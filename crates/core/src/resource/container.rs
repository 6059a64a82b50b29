//! A container: what it has beyond every other server that runs, as plain data.
//!
//! The target's driver turns this into a request.

use super::fingerprint::{Field, Fields};
use super::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// The source of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountSource {
    /// A file or folder of the host; it must be there.
    Path(PathBuf),
    /// A volume by its name, made where it is missing.
    Volume(String),
}

impl fmt::Display for MountSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Volume(name) => write!(f, "volume {name}"),
        }
    }
}

/// Something of the host that a container sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Its source.
    pub source: MountSource,
    /// The path in the container.
    pub target: PathBuf,
    /// True if the container cannot change it.
    #[serde(default)]
    pub read_only: bool,
}

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// A stream.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A container's port that is reached through one of the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The host's address; loopback unless declared.
    #[serde(default = "loopback")]
    pub address: IpAddr,
    /// The host's port.
    pub host: u16,
    /// The container's port.
    pub container: u16,
    /// Its protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

const fn loopback() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

/// The properties of a container beyond those of every server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The image: a name with a tag, or with a digest.
    pub image: String,
    /// The program that the arguments go to; the image's own where there is none.
    pub entrypoint: Option<Vec<String>>,
    /// The mounts from the host.
    pub mounts: Vec<Mount>,
    /// Its ports that the host opens.
    pub publish: Vec<Publish>,
    /// `host`, `bridge`, or a network that is made for it; the engine's default where there is none.
    pub network: Option<String>,
    /// Further host names and their addresses; `host-gateway` is the host's.
    pub extra_hosts: BTreeMap<String, String>,
    /// True if it shares memory segments with the host.
    pub ipc_host: bool,
    /// The size of `/dev/shm`.
    pub shm_size: Option<Bytes>,
    /// The user that it runs as, by name or number; the image's own where there is none.
    pub user: Option<String>,
    /// True if its own file system cannot be written.
    pub read_only: bool,
}

impl Container {
    /// Returns the name under which a container stands aside while another takes its place.
    #[must_use]
    pub fn previous(name: &str) -> String {
        // Live identities keep another server from having this name.
        format!("{name}.previous")
    }

    /// Returns the fields whose change means that the container must be made anew.
    #[must_use]
    pub fn fields(&self) -> Fields {
        let mut fields = Fields::new();
        // What is declared twice of the same thing must not hide behind the first.
        let mut add = |name: String, value: String| {
            fields
                .entry(name)
                .and_modify(|known: &mut Field| {
                    known.value.push_str(", ");
                    known.value.push_str(&value);
                })
                .or_insert_with(|| value.clone().into());
        };
        add("image".to_owned(), self.image.clone());
        if let Some(entrypoint) = &self.entrypoint {
            // As JSON, because words may hold spaces.
            add("entrypoint".to_owned(), serde_json::to_string(entrypoint).unwrap_or_default());
        }
        for Mount { source, target, read_only } in &self.mounts {
            let mode = if *read_only { " (read-only)" } else { "" };
            add(format!("mount {}", target.display()), format!("{source}{mode}"));
        }
        for Publish { address, host, container, protocol } in &self.publish {
            add(format!("publish {container}/{protocol}"), std::net::SocketAddr::new(*address, *host).to_string());
        }
        for (name, address) in &self.extra_hosts {
            add(format!("host {name}"), address.clone());
        }
        let yes = |is_set: bool| is_set.then(|| "yes".to_owned());
        let optional = [
            ("network", self.network.clone()),
            ("ipc", self.ipc_host.then(|| "host".to_owned())),
            ("shm size", self.shm_size.map(Bytes::exact)),
            ("user", self.user.clone()),
            ("read-only", yes(self.read_only)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                add(name.to_owned(), value);
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Container, Mount, MountSource, Protocol, Publish, loopback};
    use crate::resource::Fingerprint;

    fn whole() -> Container {
        let publish = |container, protocol| Publish { address: loopback(), host: 3000, container, protocol };
        Container {
            image: "redis:7".into(),
            entrypoint: Some(vec!["/bin/a b".into(), "c".into()]),
            mounts: vec![
                Mount { source: MountSource::Path("/srv".into()), target: "/data".into(), read_only: true },
                Mount { source: MountSource::Volume("cache".into()), target: "/cache".into(), read_only: false },
            ],
            publish: vec![publish(80, Protocol::Tcp), publish(53, Protocol::Udp)],
            network: Some("llamero".into()),
            extra_hosts: [("host.docker.internal".to_owned(), "host-gateway".to_owned())].into(),
            ipc_host: true,
            shm_size: Some(Bytes(1 << 30)),
            user: Some("1000:1000".into()),
            read_only: true,
        }
    }

    #[test]
    fn a_container_reads_as_fields() {
        let shown: Vec<String> =
            whole().fields().iter().map(|(name, field)| format!("{name}={}", field.value)).collect();
        assert_eq!(
            shown,
            [
                "entrypoint=[\"/bin/a b\",\"c\"]",
                "host host.docker.internal=host-gateway",
                "image=redis:7",
                "ipc=host",
                "mount /cache=volume cache",
                "mount /data=/srv (read-only)",
                "network=llamero",
                "publish 53/udp=127.0.0.1:3000",
                "publish 80/tcp=127.0.0.1:3000",
                "read-only=yes",
                "shm size=1 GiB",
                "user=1000:1000",
            ]
        );
        assert_eq!(Container::default().fields().len(), 1);
    }

    #[test]
    fn every_change_changes_the_fingerprint() {
        let edits: [fn(&mut Container); 13] = [
            |it| it.image.push('1'),
            |it| it.entrypoint = None,
            |it| it.mounts[0].read_only = false,
            |it| it.mounts[0].source = MountSource::Volume("srv".into()),
            |it| it.mounts.push(it.mounts[1].clone()),
            |it| it.publish[0].host = 1,
            |it| it.publish[0].address = [0, 0, 0, 0].into(),
            |it| it.publish[1].protocol = Protocol::Tcp,
            |it| it.network = None,
            |it| it.ipc_host = false,
            |it| it.shm_size = Some(Bytes((1 << 30) + 1)),
            |it| it.user = None,
            |it| it.read_only = false,
        ];
        for (number, edit) in edits.iter().enumerate() {
            let mut edited = whole();
            edit(&mut edited);
            assert_ne!(Fingerprint::of(&edited.fields()), Fingerprint::of(&whole().fields()), "edit {number}");
        }
        assert_eq!((Bytes(1 << 20).exact(), Bytes((1 << 20) + 1).exact()), ("1 MiB".into(), "1048577 B".into()));
    }

    #[test]
    fn unset_fields_have_their_defaults() {
        let text = r#"{"image": "redis:7", "publish": [{"host": 1, "container": 2}]}"#;
        let read: Container = serde_json::from_str(text).expect("a container");
        let expected = Publish { address: loopback(), host: 1, container: 2, protocol: Protocol::Tcp };
        assert_eq!(read.publish, vec![expected]);
        let text = serde_json::to_string(&whole()).expect("text");
        assert_eq!(serde_json::from_str::<Container>(&text).expect("a container"), whole());
    }
}
