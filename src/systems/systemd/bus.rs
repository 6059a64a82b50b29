//! The part of systemd's D-Bus interface that llamero speaks, as org.freedesktop.systemd1(5) has it.
//!
//! Names and types only; what the answers mean is decided elsewhere.

use zbus::{DeserializeDict, OwnedObjectPath, OwnedVariant, Type, Variant, proxy};

/// The interface of every unit.
pub(super) const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// The interface of units that run a program.
pub(super) const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// The interface of units that listen for others.
pub(super) const SOCKET: &str = "org.freedesktop.systemd1.Socket";

/// The settings of a unit that is not in any file.
pub(super) type Settings<'a> = Vec<(&'a str, Variant<'a>)>;

/// A command of a service: its program, its words, whether its failure is ignored, and how it ran last.
pub(super) type Command = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        settings: Settings<'_>,
        others: Vec<(&str, Settings<'_>)>,
    ) -> zbus::Result<OwnedObjectPath>;
    fn get_unit_processes(&self, name: &str) -> zbus::Result<Vec<(String, u32, String)>>;
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
    fn set_unit_properties(&self, name: &str, runtime: bool, settings: Settings<'_>) -> zbus::Result<()>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;

    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}

#[proxy(interface = "org.freedesktop.DBus.Properties", default_service = "org.freedesktop.systemd1")]
pub(super) trait Properties {
    #[zbus(name = "GetAll")]
    fn unit(&self, interface: &str) -> zbus::Result<UnitProperties>;
    #[zbus(name = "GetAll")]
    fn own(&self, interface: &str) -> zbus::Result<ServiceProperties>;
    #[zbus(name = "Get")]
    fn one(&self, interface: &str, name: &str) -> zbus::Result<OwnedVariant>;
}

/// The properties read of a unit; the manager sends many times more.
#[derive(Debug, Default, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "PascalCase")]
pub(super) struct UnitProperties {
    pub(super) load_state: Option<String>,
    pub(super) load_error: Option<(String, String)>,
    pub(super) active_state: Option<String>,
    pub(super) sub_state: Option<String>,
    pub(super) fragment_path: Option<String>,
    pub(super) drop_in_paths: Option<Vec<String>>,
    pub(super) need_daemon_reload: Option<bool>,
    pub(super) condition_result: Option<bool>,
    pub(super) job: Option<(u32, OwnedObjectPath)>,
    #[zbus(rename = "InvocationID")]
    pub(super) invocation_id: Option<Vec<u8>>,
}

/// The properties read of a service, or of a socket, which has some of the same.
#[derive(Debug, Default, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "PascalCase")]
pub(super) struct ServiceProperties {
    pub(super) result: Option<String>,
    #[zbus(rename = "NRestarts")]
    pub(super) restarts: Option<u32>,
    #[zbus(rename = "MainPID")]
    pub(super) main_pid: Option<u32>,
    pub(super) exec_main_code: Option<i32>,
    pub(super) exec_main_status: Option<i32>,
    pub(super) exec_main_start_timestamp: Option<u64>,
    pub(super) memory_current: Option<u64>,
    pub(super) memory_max: Option<u64>,
    #[zbus(rename = "CPUQuotaPerSecUSec")]
    pub(super) cpu_quota: Option<u64>,
    pub(super) status_text: Option<String>,
    pub(super) listen: Option<Vec<(String, String)>>,
    pub(super) exec_start: Option<Vec<Command>>,
    pub(super) environment: Option<Vec<String>>,
}

/// Returns the path of the object that stands for a unit.
///
/// Reading it loads the unit: the manager answers for a unit that it has not met with `not-found`, and needs no
/// `LoadUnit` before.
pub(super) fn unit_path(unit: &str) -> String {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for (position, byte) in unit.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && position > 0);
        if is_plain {
            path.push(char::from(byte));
        } else {
            path.push('_');
            for nibble in [byte >> 4, byte & 15] {
                path.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::unit_path;

    #[test]
    fn paths_are_escaped_as_the_manager_does() {
        assert_eq!(unit_path("t1-é.service"), "/org/freedesktop/systemd1/unit/t1_2d_c3_a9_2eservice");
        assert_eq!(unit_path("1.service"), "/org/freedesktop/systemd1/unit/_31_2eservice");
    }
}
