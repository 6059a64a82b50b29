//! The containers of one stack: seen, made, started, stopped, renamed and removed.
//!
//! Every change first checks the ownership marker, and then addresses the container by its id: another container that
//! takes the name in between is not met.

use super::client::{Docker, checked};
use super::error::Error;
use super::live::Live;
use bollard::query_parameters::{
    KillContainerOptions, ListContainersOptions, LogsOptions, RemoveContainerOptions, RenameContainerOptions,
    StopContainerOptions,
};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use llamero_core::targets::docker::lower::STACK_LABEL;
use std::collections::HashMap;
use std::time::Duration;

/// The most of a log that is read, in bytes.
const LARGEST_LOG: usize = 1 << 20;

/// The resources of one stack.
#[derive(Debug, Clone, Copy)]
pub struct Stack<'a> {
    pub(super) docker: &'a Docker,
    pub(super) name: &'a str,
}

impl Stack<'_> {
    /// Returns all containers of the stack, by name.
    pub async fn containers(self) -> Result<Vec<Live>, Error> {
        let options = ListContainersOptions { all: true, filters: Some(self.filter()), ..Default::default() };
        let call = self.docker.api.list_containers(Some(options));
        let listed = self.docker.within("list the containers", self.docker.deadlines.call, call).await?;
        let ids: Vec<String> = listed.into_iter().filter_map(|container| container.id).collect();
        let asked = join_all(ids.iter().map(|id| self.docker.inspect(id))).await;
        // One that has gone meanwhile is `None`, and is left out.
        let mut live: Vec<Live> = asked.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
        live.retain(|live| self.owns(live));
        live.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(live)
    }

    /// Returns the container of a name, whosever it is.
    pub async fn find(self, name: &str) -> Result<Option<Live>, Error> {
        let live = self.docker.inspect(checked("container", name)?).await?;
        // The engine also takes the beginning of an id for a name.
        Ok(live.filter(|live| live.name == name))
    }

    /// Returns whether a container carries the stack's mark.
    #[must_use]
    pub fn owns(self, live: &Live) -> bool {
        live.labels.get(STACK_LABEL).is_some_and(|stack| stack == self.name)
    }

    /// Starts a container; one that runs stays as it is.
    pub async fn start(self, name: &str) -> Result<(), Error> {
        let what = format!("start the container `{name}`");
        let id = self.managed(&what, name).await?.id;
        self.docker.within(&what, self.docker.deadlines.change, self.docker.api.start_container(&id, None)).await
    }

    /// Stops a container, which is killed when it takes longer than `patience`; one that does not run stays as it is.
    pub async fn stop(self, name: &str, patience: Duration) -> Result<(), Error> {
        let what = format!("stop the container `{name}`");
        let id = self.managed(&what, name).await?.id;
        let seconds = patience.as_secs() + u64::from(patience.subsec_nanos() > 0);
        let t = i32::try_from(seconds).unwrap_or(i32::MAX);
        let call = self.docker.api.stop_container(&id, Some(StopContainerOptions { signal: None, t: Some(t) }));
        self.docker.within(&what, patience + self.docker.deadlines.change, call).await
    }

    /// Kills a container; one that does not run is a conflict.
    pub async fn kill(self, name: &str) -> Result<(), Error> {
        let what = format!("kill the container `{name}`");
        let id = self.managed(&what, name).await?.id;
        let call = self.docker.api.kill_container(&id, None::<KillContainerOptions>);
        self.docker.within(&what, self.docker.deadlines.change, call).await
    }

    /// Gives a container another name; a name that is taken is a conflict.
    pub async fn rename(self, name: &str, to: &str) -> Result<(), Error> {
        let what = format!("rename the container `{name}` to `{to}`");
        let id = self.managed(&what, name).await?.id;
        let options = RenameContainerOptions { name: checked("container", to)?.to_owned() };
        self.docker.within(&what, self.docker.deadlines.change, self.docker.api.rename_container(&id, options)).await
    }

    /// Removes a container that does not run, with its nameless volumes; returns whether there was one.
    pub async fn remove(self, name: &str) -> Result<bool, Error> {
        let what = format!("remove the container `{name}`");
        let id = match self.managed(&what, name).await {
            Err(Error::NotFound { .. }) => return Ok(false),
            live => live?.id,
        };
        let options = RemoveContainerOptions { v: true, ..Default::default() };
        let call = self.docker.api.remove_container(&id, Some(options));
        match self.docker.within(&what, self.docker.deadlines.change, call).await {
            Err(Error::NotFound { .. }) => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    /// Returns the last lines that a container wrote, to either stream.
    pub async fn last_lines(self, name: &str, count: usize) -> Result<Vec<String>, Error> {
        let what = format!("read the log of the container `{name}`");
        let options = LogsOptions { stdout: true, stderr: true, tail: count.to_string(), ..Default::default() };
        let mut stream = Box::pin(self.docker.api.logs(checked("container", name)?, Some(options)));
        let read = async {
            let mut bytes = Vec::new();
            while let Some(part) = stream.next().await {
                bytes.extend_from_slice(&part?.into_bytes());
                if bytes.len() > LARGEST_LOG {
                    break;
                }
            }
            Ok(bytes)
        };
        let bytes = self.docker.within(&what, self.docker.deadlines.call, read).await?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
        Ok(lines[lines.len().saturating_sub(count)..].to_vec())
    }

    /// Returns a container if it carries the stack's mark.
    async fn managed(self, what: &str, name: &str) -> Result<Live, Error> {
        let what = what.to_owned();
        match self.find(name).await? {
            Some(live) if self.owns(&live) => Ok(live),
            Some(_) => Err(Error::NotOurs { what, stack: self.name.to_owned() }),
            None => Err(Error::NotFound { what, message: "no such container".to_owned() }),
        }
    }

    /// Returns the filter for what carries the stack's ownership marker.
    pub(super) fn filter(self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{STACK_LABEL}={}", self.name)])])
    }
}

impl Docker {
    /// Returns what belongs to a stack.
    #[must_use]
    pub const fn stack<'a>(&'a self, name: &'a str) -> Stack<'a> {
        Stack { docker: self, name }
    }

    /// Asks about one container by its name or id.
    async fn inspect(&self, name: &str) -> Result<Option<Live>, Error> {
        let what = format!("read the container `{name}`");
        match self.within(&what, self.deadlines.call, self.api.inspect_container(name, None)).await {
            Ok(inspected) => Ok(Some(Live::read(inspected))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
