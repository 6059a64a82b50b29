//! How often a manager starts a server again that dies, and how long it waits before: as what llamero writes asks it to.

use llamero::resource::{Command, Container, Kind, Resource, ResourceId, Run, Runtime, Spec};
use llamero::targets::unit::unit;
use llamero_core::targets::docker::lower::{Engine, ImageCommand, NewContainer, request};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

/// The longest pause of a manager.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Returns after how many restarts a manager gives a server up, if it ever does.
pub(crate) fn gives_up_after(kind: Kind) -> Option<u32> {
    static UNIT: OnceLock<Option<u32>> = OnceLock::new();
    static CONTAINER: OnceLock<Option<u32>> = OnceLock::new();
    match kind {
        Kind::Unit => *UNIT.get_or_init(of_unit),
        Kind::Container => *CONTAINER.get_or_init(of_container),
        // The supervisor is llamero's own: `process::a_server_that_crashes_is_started_again_and_again`.
        _ => None,
    }
}

/// Returns the pause after so many restarts.
pub(crate) fn pause(restarts: u32) -> Duration {
    Duration::from_secs(1 << restarts.min(5)).min(LONGEST_PAUSE)
}

fn of_unit() -> Option<u32> {
    let run = Run::plain(Runtime::Systemd, Command::words(["/bin/serve"]));
    let resource = Resource::new(ResourceId::new(Kind::Unit, "it"), "it", Spec::Run(Box::new(run)));
    let text = unit("sim", &resource).expect("it can be written");
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.parse::<u32>().ok());
    // systemd's own are five starts in ten seconds, and no interval is no limit.
    let interval = value("StartLimitIntervalSec=").unwrap_or(10);
    (interval > 0).then(|| value("StartLimitBurst=").unwrap_or(5))
}

fn of_container() -> Option<u32> {
    let run = Run::plain(Runtime::Docker, Command::words(["serve"]));
    let (container, labels) = (Container::default(), BTreeMap::new());
    let new = NewContainer { name: "it", run: &run, container: &container, labels: &labels };
    let body = request(Engine::Docker, "sim", &new, &ImageCommand::default());
    let policy = &body["HostConfig"]["RestartPolicy"];
    assert_eq!(policy["Name"], "on-failure");
    let most = policy["MaximumRetryCount"].as_u64().unwrap_or_default();
    u32::try_from(most).ok().filter(|most| *most > 0)
}
