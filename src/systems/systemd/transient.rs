//! A program that the manager runs once, unless it is put off in time: a transient timer with its service, as
//! `systemd-run --on-active` makes them. Both outlive whoever asked for them, and their session, and are gone when they
//! are done.

use super::client::{CALL, Systemd};
use super::error::Error;
use super::unit::ActiveState;
use std::time::Duration;
use zbus::Variant;

/// The accuracy of a timer; the manager's default is a minute (systemd.timer(5)).
const ACCURACY: Duration = Duration::from_millis(100);

/// The wait before a program is run again that was killed.
const AGAIN: Duration = Duration::from_secs(2);

/// The polling interval until a timer runs.
const LOOK: Duration = Duration::from_millis(10);

/// A program, and how long it is put off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    /// The name of both units, without what follows the dot.
    pub name: String,
    /// The description of both.
    pub description: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its environment, as `NAME=value`. Everyone who may ask the manager can read it.
    pub environment: Vec<String>,
    /// A file with the secret part of its environment, which is read when it runs; it may be missing.
    pub environment_file: String,
    /// After how long it runs.
    pub after: Duration,
}

impl Systemd {
    /// Has the manager run a program later. Returns when its time runs.
    pub async fn run_later(&self, later: &Later) -> Result<(), Error> {
        let (timer, service) = (format!("{}.timer", later.name), format!("{}.service", later.name));
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let program = later.argv.first().cloned().unwrap_or_default();
        let of_timer = vec![
            ("Description", Variant::from(later.description.as_str())),
            ("TimersMonotonic", Variant::from(vec![("OnActiveSec", microseconds(later.after))])),
            ("AccuracyUSec", Variant::from(microseconds(ACCURACY))),
            ("RemainAfterElapse", Variant::from(false)),
            // To be put off is to be started again, which a manager otherwise allows a few times in ten seconds.
            ("StartLimitIntervalUSec", Variant::from(0_u64)),
        ];
        let of_service = vec![
            ("Description", Variant::from(later.description.as_str())),
            ("Type", Variant::from("exec")),
            ("ExecStart", Variant::from(vec![(program, later.argv.clone(), false)])),
            ("Environment", Variant::from(later.environment.clone())),
            ("EnvironmentFiles", Variant::from(vec![(later.environment_file.clone(), true)])),
            // What it starts stays: servers of the process runtime are in its control group.
            ("KillMode", Variant::from("process")),
            ("Restart", Variant::from("on-abnormal")),
            ("RestartUSec", Variant::from(microseconds(AGAIN))),
            ("StartLimitIntervalUSec", Variant::from(0_u64)),
            ("CollectMode", Variant::from("inactive-or-failed")),
        ];
        let what = format!("set the timer `{timer}`");
        self.within(
            CALL,
            &what,
            self.manager.start_transient_unit(&timer, "fail", of_timer, vec![(&service, of_service)]),
        )
        .await?;
        let runs = async {
            while self.unit_state(&timer).await? != ActiveState::Active {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        self.within(CALL, &what, runs).await
    }

    /// Has the time of a program that was put off begin anew.
    pub async fn put_off(&self, name: &str) -> Result<(), Error> {
        let timer = format!("{name}.timer");
        self.within(CALL, &format!("put off the timer `{timer}`"), self.manager.restart_unit(&timer, "replace"))
            .await
            .map(drop)
    }

    /// Calls a program off that was put off; one that runs already is stopped if `stop` says so. Where there is none,
    /// that is as it should be.
    pub async fn call_off(&self, name: &str, stop: bool) -> Result<(), Error> {
        for unit in [Some(format!("{name}.timer")), stop.then(|| format!("{name}.service"))].into_iter().flatten() {
            match self.begin_stop(&unit).await {
                Ok(()) | Err(Error::NoSuchUnit { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
