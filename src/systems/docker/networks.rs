//! Networks and volumes of one stack.

use super::client::checked;
use super::{Error, STACK_LABEL, Stack};
use bollard::models::{NetworkCreateRequest, NetworkInspect, VolumeCreateRequest};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptions, ListVolumesOptions, RemoveVolumeOptions};
use std::collections::HashMap;

impl Stack<'_> {
    /// Makes a network with the stack's mark where it is missing; returns whether it was made. One without the mark is
    /// an error: whoever made it may remove it.
    pub async fn ensure_network(self, name: &str) -> Result<bool, Error> {
        let what = format!("make the network `{name}`");
        if self.network(&what, name).await?.is_some() {
            return Ok(false);
        }
        let labels = HashMap::from([(STACK_LABEL.to_owned(), self.name.to_owned())]);
        let request =
            NetworkCreateRequest { name: name.to_owned(), labels: Some(labels), ..NetworkCreateRequest::default() };
        let call = self.docker.api.create_network(request);
        self.docker.within(&what, self.docker.deadlines.change, call).await.map(|_| true)
    }

    /// Returns the names of the networks with the stack's mark.
    pub async fn networks(self) -> Result<Vec<String>, Error> {
        let options = ListNetworksOptions { filters: Some(self.filter()) };
        let call = self.docker.api.list_networks(Some(options));
        let listed = self.docker.within("list the networks", self.docker.deadlines.call, call).await?;
        let mut names: Vec<String> = listed.into_iter().filter_map(|network| network.name).collect();
        names.sort();
        Ok(names)
    }

    /// Returns whether there is a volume of a name, whosever it is.
    pub async fn has_volume(self, name: &str) -> Result<bool, Error> {
        let what = format!("read the volume `{name}`");
        let call = self.docker.api.inspect_volume(checked("volume", name)?);
        match self.docker.within(&what, self.docker.deadlines.call, call).await {
            Err(Error::NotFound { .. }) => Ok(false),
            live => live.map(|_| true),
        }
    }

    /// Removes a network with the stack's mark; returns whether there was one.
    pub async fn remove_network(self, name: &str) -> Result<bool, Error> {
        let what = format!("remove the network `{name}`");
        let Some(id) = self.network(&what, name).await?.and_then(|live| live.id) else { return Ok(false) };
        let call = self.docker.api.remove_network(&id);
        match self.docker.within(&what, self.docker.deadlines.change, call).await {
            Err(Error::NotFound { .. }) => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    /// Returns a network if it is there; one without the stack's mark is an error.
    async fn network(self, what: &str, name: &str) -> Result<Option<NetworkInspect>, Error> {
        let call = self.docker.api.inspect_network(checked("network", name)?, None::<InspectNetworkOptions>);
        let live = match self.docker.within(what, self.docker.deadlines.call, call).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            live => live?,
        };
        // The engine also takes the beginning of an id for a name.
        if live.name.as_deref() != Some(name) {
            return Ok(None);
        }
        self.must_own(what, live.labels.as_ref())?;
        Ok(Some(live))
    }

    /// Makes a volume with the stack's mark where it is missing; returns whether it was made. One without the mark is
    /// used as it is, and stays its owner's.
    ///
    /// Both engines would make it on the way to a container, but Podman then leaves out the mark.
    pub async fn ensure_volume(self, name: &str) -> Result<bool, Error> {
        let what = format!("make the volume `{name}`");
        if self.has_volume(name).await? {
            return Ok(false);
        }
        let labels = HashMap::from([(STACK_LABEL.to_owned(), self.name.to_owned())]);
        let request =
            VolumeCreateRequest { name: Some(name.to_owned()), labels: Some(labels), ..VolumeCreateRequest::default() };
        let call = self.docker.api.create_volume(request);
        self.docker.within(&what, self.docker.deadlines.change, call).await.map(|_| true)
    }

    /// Returns the names of the volumes with the stack's mark.
    pub async fn volumes(self) -> Result<Vec<String>, Error> {
        let options = ListVolumesOptions { filters: Some(self.filter()) };
        let call = self.docker.api.list_volumes(Some(options));
        let listed = self.docker.within("list the volumes", self.docker.deadlines.call, call).await?;
        let mut names: Vec<String> = listed.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect();
        names.sort();
        Ok(names)
    }

    /// Removes a volume with the stack's mark and all that is in it; returns whether there was one. One that a
    /// container uses is a conflict.
    pub async fn remove_volume(self, name: &str) -> Result<bool, Error> {
        let what = format!("remove the volume `{name}`");
        let call = self.docker.api.inspect_volume(checked("volume", name)?);
        let live = match self.docker.within(&what, self.docker.deadlines.call, call).await {
            Err(Error::NotFound { .. }) => return Ok(false),
            live => live?,
        };
        self.must_own(&what, Some(&live.labels))?;
        let call = self.docker.api.remove_volume(name, None::<RemoveVolumeOptions>);
        match self.docker.within(&what, self.docker.deadlines.change, call).await {
            Err(Error::NotFound { .. }) => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    fn must_own(self, what: &str, labels: Option<&HashMap<String, String>>) -> Result<(), Error> {
        let mark = labels.and_then(|labels| labels.get(STACK_LABEL));
        if mark.is_some_and(|stack| stack == self.name) {
            return Ok(());
        }
        Err(Error::NotOurs { what: what.to_owned(), stack: self.name.to_owned() })
    }
}
