//! The last lines that a unit wrote, for people who must find out why it failed.

use super::bus::PropertiesProxy;
use super::client::Systemd;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use zbus::proxy::CacheProperties;

/// The deadline of `journalctl`.
const READ: Duration = Duration::from_secs(3);

impl Systemd {
    /// Returns the last lines of a unit's journal since its last start, oldest first; none where the journal cannot be
    /// read.
    pub async fn last_lines(&self, unit: &str, count: usize) -> Vec<String> {
        let read = async {
            let since = self.since(unit).await;
            let lines = journal(&since, &["--user".to_owned(), format!("--unit={unit}")], count).await;
            if !lines.is_empty() {
                return lines;
            }
            // Where the user has no journal of its own, the lines lie in the common one; and where the manager is not
            // that of a login session, journald knows of the unit by its control group alone.
            let mut which = vec![format!("_SYSTEMD_USER_UNIT={unit}")];
            which.extend(std::fs::metadata("/proc/self").map(|myself| format!("_UID={}", myself.uid())).ok());
            if let Ok(group) = self.control_group().await {
                which.extend(["+".to_owned(), format!("_SYSTEMD_CGROUP={group}/app.slice/{unit}")]);
            }
            journal(&since, &which, count).await
        };
        tokio::time::timeout(READ, read).await.unwrap_or_default()
    }

    /// Returns the option that leaves out what a unit wrote before its last start: it belongs to an earlier run.
    async fn since(&self, unit: &str) -> Vec<String> {
        let live = self.units(&[unit.to_owned()]).await.remove(unit).and_then(Result::ok);
        let started = live.map(|unit| unit.exec_main_start).filter(|started| *started > 0);
        // systemd.time(7): seconds since the epoch.
        let option = |at: u64| format!("--since=@{}.{:06}", at / 1_000_000, at % 1_000_000);
        started.map(option).into_iter().collect()
    }

    /// Returns the control group in which the manager keeps its units.
    async fn control_group(&self) -> zbus::Result<String> {
        let manager = self.manager.inner();
        let properties = PropertiesProxy::builder(&self.connection).path(manager.path().to_owned());
        let properties = properties.cache_properties(CacheProperties::No).build().await?;
        properties.one(manager.interface(), "ControlGroup").await?.try_into()
    }
}

async fn journal(since: &[String], which: &[String], count: usize) -> Vec<String> {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=cat", &format!("--lines={count}")]).args(since).args(which);
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let Ok(output) = command.output().await else { return vec![] };
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
