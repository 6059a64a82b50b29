//! A container as the engine reports it, and what that means for its health.

use crate::resource::{Bytes, Health, Limits};
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum, HostConfig, NetworkSettings,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The state of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was made, and has not run yet.
    Created,
    /// It runs.
    Running,
    /// It is held.
    Paused,
    /// It ended, and the engine starts it again.
    Restarting,
    /// It is on its way out.
    Removing,
    /// It ended.
    Exited,
    /// It ended, and the engine could not clear it away.
    Dead,
    /// The engine does not say.
    Unknown,
}

impl Status {
    const fn read(word: Option<ContainerStateStatusEnum>) -> Self {
        match word {
            Some(ContainerStateStatusEnum::CREATED) => Self::Created,
            Some(ContainerStateStatusEnum::RUNNING) => Self::Running,
            Some(ContainerStateStatusEnum::PAUSED) => Self::Paused,
            Some(ContainerStateStatusEnum::RESTARTING) => Self::Restarting,
            Some(ContainerStateStatusEnum::REMOVING) => Self::Removing,
            Some(ContainerStateStatusEnum::EXITED) => Self::Exited,
            Some(ContainerStateStatusEnum::DEAD) => Self::Dead,
            Some(_) | None => Self::Unknown,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
            Self::Unknown => "in no known state",
        })
    }
}

/// The result of the image's own health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It has not passed yet.
    Starting,
    /// It passes.
    Healthy,
    /// It fails, and with which words it did so last.
    Unhealthy(String),
}

/// A container as the engine reports it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Its id, which no other container ever has.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels; they cannot be changed.
    pub labels: BTreeMap<String, String>,
    /// The id of the image that it was made of.
    pub image_id: String,
    /// The image as it was asked for.
    pub image: String,
    /// Its state.
    pub status: Status,
    /// The exit code of its last run; `None` while it runs and before it has.
    pub exit_code: Option<i64>,
    /// True if its last run was ended because it took more memory than it may.
    pub oom_killed: bool,
    /// The number of restarts by the engine.
    pub restarts: u32,
    /// The time of its last start, as RFC 3339.
    pub started_at: Option<String>,
    /// The process that it runs, as the engine's machine counts.
    pub pid: Option<u32>,
    /// The ports of the host that the engine forwards to it.
    pub forwarded: BTreeSet<u16>,
    /// The result of the image's own health check; `None` where it has none.
    pub check: Option<Check>,
    /// The engine's message about a failed start.
    pub error: Option<String>,
    /// The limits in force.
    pub limits: Limits,
}

impl Live {
    pub(super) fn read(inspected: ContainerInspectResponse) -> Self {
        let text = |value: Option<String>| value.filter(|value| !value.is_empty());
        let state = inspected.state.unwrap_or_default();
        let config = inspected.config.unwrap_or_default();
        let status = Status::read(state.status);
        let has_run = state.started_at.as_ref().is_some_and(|at| !at.starts_with("0001-"));
        let error = text(state.error);
        let is_over = matches!(status, Status::Exited | Status::Dead | Status::Restarting);
        let check = state.health.and_then(|health| match health.status? {
            HealthStatusEnum::STARTING => Some(Check::Starting),
            HealthStatusEnum::HEALTHY => Some(Check::Healthy),
            HealthStatusEnum::UNHEALTHY => {
                let last = health.log.unwrap_or_default().pop().and_then(|last| last.output).unwrap_or_default();
                Some(Check::Unhealthy(last.trim().to_owned()))
            }
            HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
        });
        Self {
            id: inspected.id.unwrap_or_default(),
            name: inspected.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            image_id: inspected.image.unwrap_or_default(),
            image: config.image.unwrap_or_default(),
            exit_code: state.exit_code.filter(|_| is_over || error.is_some()),
            oom_killed: state.oom_killed.unwrap_or_default(),
            restarts: inspected.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
            started_at: state.started_at.filter(|_| has_run),
            pid: state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
            forwarded: inspected.network_settings.map(forwarded).unwrap_or_default(),
            check,
            error,
            limits: limits(&inspected.host_config.unwrap_or_default()),
            status,
        }
    }

    /// Returns what that means for its health, as far as the engine knows. `lines` are the last that it wrote; they
    /// show more of an end than its code does.
    #[must_use]
    pub fn health(&self, lines: &[String]) -> Health {
        let last = lines.iter().rev().find(|line| !line.trim().is_empty());
        let last = last.map(|line| format!(": {}", line.trim())).unwrap_or_default();
        match (&self.status, &self.check) {
            (Status::Running, None | Some(Check::Healthy)) => Health::Healthy,
            (Status::Running, Some(Check::Starting)) => Health::loading("its own check has not passed yet"),
            (Status::Running, Some(Check::Unhealthy(message))) if message.is_empty() => {
                Health::unhealthy("its own check fails")
            }
            (Status::Running, Some(Check::Unhealthy(message))) => Health::unhealthy(format!(
                "its own check fails: {}",
                message.split_whitespace().collect::<Vec<_>>().join(" ")
            )),
            (Status::Created, _) if self.error.is_none() => Health::loading("it was made and not started"),
            _ => Health::unhealthy(format!("{}{last}", self.ended())),
        }
    }

    /// Returns how it ended, or what else keeps it from running.
    #[must_use]
    pub fn ended(&self) -> String {
        if let Some(error) = &self.error {
            return format!("it could not be started: {error}");
        }
        match (self.exit_code, self.limits.memory) {
            (Some(_), Some(limit)) if self.oom_killed => format!("it was killed because it took more than {limit}"),
            (Some(_), None) if self.oom_killed => "it was killed because memory ran out".to_owned(),
            (Some(code), _) => format!("it ended with exit code {code}"),
            (None, _) => format!("it is {}", self.status),
        }
    }
}

/// Returns the ports of the host that lead to a container's TCP ports. While it does not run there are none.
fn forwarded(network: NetworkSettings) -> BTreeSet<u16> {
    let ports = network.ports.unwrap_or_default().into_iter().filter(|(port, _)| port.ends_with("/tcp"));
    let bindings = ports.filter_map(|(_, bindings)| bindings).flatten();
    bindings.filter_map(|binding| binding.host_port?.parse().ok()).collect()
}

/// Returns the limits that the engine says are in force. Podman reports processor time in another form than it takes.
fn limits(host: &HostConfig) -> Limits {
    let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
    let billionths = positive(host.nano_cpus).or_else(|| {
        let (quota, period) = (positive(host.cpu_quota)?, positive(host.cpu_period)?);
        quota.checked_mul(1_000_000_000).map(|quota| quota / period)
    });
    Limits {
        memory: positive(host.memory).map(Bytes),
        cpu_percent: billionths.and_then(|billionths| u32::try_from(billionths / 10_000_000).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Check, Health, HostConfig, Limits, Live, Status, limits};
    use serde_json::json;

    fn live(state: &serde_json::Value) -> Live {
        let whole = json!({"Id": "1", "Name": "/x", "State": state, "HostConfig": {"Memory": 16 << 20},
            "Config": {"Labels": {"a": "b"}, "Image": "redis:7"}, "Image": "sha256:1", "RestartCount": 0});
        Live::read(serde_json::from_value(whole).expect("a container"))
    }

    #[test]
    fn what_the_engine_tells_becomes_health() {
        let running = |health| live(&json!({"Status": "running", "Running": true, "Pid": 7, "Health": health}));
        let log = json!([{"ExitCode": 1, "Output": "old"}, {"ExitCode": 1, "Output": "refused\n again\n"}]);
        for (it, health) in [
            (running(json!(null)), Health::Healthy),
            (running(json!({"Status": ""})), Health::Healthy),
            (running(json!({"Status": "healthy"})), Health::Healthy),
            (running(json!({"Status": "starting"})), Health::loading("its own check has not passed yet")),
            (
                running(json!({"Status": "unhealthy", "Log": log})),
                Health::unhealthy("its own check fails: refused again"),
            ),
            (live(&json!({"Status": "created"})), Health::loading("it was made and not started")),
            (
                live(&json!({"Status": "created", "ExitCode": 128, "Error": "no port"})),
                Health::unhealthy("it could not be started: no port: last words"),
            ),
            (
                live(&json!({"Status": "exited", "ExitCode": 3, "StartedAt": "2026-01-01T00:00:00Z"})),
                Health::unhealthy("it ended with exit code 3: last words"),
            ),
            (
                live(&json!({"Status": "exited", "ExitCode": 137, "OOMKilled": true})),
                Health::unhealthy("it was killed because it took more than 16 MiB: last words"),
            ),
            (live(&json!({"Status": "paused"})), Health::unhealthy("it is paused: last words")),
        ] {
            let lines = ["first".to_owned(), "last words".to_owned(), " ".to_owned()];
            assert_eq!(it.health(&lines), health, "{it:?}");
        }
    }

    #[test]
    fn what_has_not_happened_is_not_told() {
        let fresh = live(&json!({"Status": "created", "ExitCode": 0, "Pid": 0, "StartedAt": "0001-01-01T00:00:00Z"}));
        assert_eq!((fresh.exit_code, fresh.pid, fresh.started_at.as_deref()), (None, None, None));
        assert_eq!((fresh.status, fresh.name.as_str(), fresh.check), (Status::Created, "x", None::<Check>));
        assert_eq!(fresh.limits, Limits { memory: Some(Bytes(16 << 20)), cpu_percent: None });
    }

    #[test]
    fn processor_time_reads_in_both_ways() {
        let docker = HostConfig { nano_cpus: Some(1_500_000_000), ..HostConfig::default() };
        let podman = HostConfig { cpu_quota: Some(150_000), cpu_period: Some(100_000), ..HostConfig::default() };
        assert_eq!(limits(&docker), limits(&podman));
        assert_eq!(limits(&docker).cpu_percent, Some(150));
    }
}
