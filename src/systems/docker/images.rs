//! Images: which are there, and what a registry has under a name.

use super::credentials;
use super::{Docker, Engine, Error, Fault};
use crate::resource::{Bytes, Digest, ImageName};
use bollard::auth::DockerCredentials;
use bollard::models::ImageInspect;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions};

/// An image that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id, `sha256:` and 64 digits. It is this machine's own: a registry knows it by another digest.
    pub id: String,
    /// The names that lead to it.
    pub tags: Vec<String>,
    /// The names that pin it at the registries that it came from; none for one that was made here.
    pub digests: Vec<String>,
    /// Its size on disk.
    pub size: Bytes,
    /// The program that it runs and the words that go to it when nothing else is given, where that was asked.
    pub command: (Vec<String>, Vec<String>),
}

impl Image {
    /// Returns the digest by which the registry of `name` knows it.
    #[must_use]
    pub fn digest_at(&self, name: &ImageName) -> Option<Digest> {
        let known = self.digests.iter().filter_map(|text| ImageName::parse(text).ok());
        let mut same = known.filter(|it| (it.registry(), it.repository()) == (name.registry(), name.repository()));
        same.find_map(|it| it.digest().cloned())
    }

    fn read(live: ImageInspect) -> Self {
        Self {
            id: live.id.unwrap_or_default(),
            tags: live.repo_tags.unwrap_or_default(),
            digests: live.repo_digests.unwrap_or_default(),
            size: size(live.size.unwrap_or_default()),
            command: live
                .config
                .map(|config| (config.entrypoint.unwrap_or_default(), config.cmd.unwrap_or_default()))
                .unwrap_or_default(),
        }
    }
}

fn size(bytes: i64) -> Bytes {
    Bytes(u64::try_from(bytes).unwrap_or_default())
}

impl Docker {
    /// Returns an image by its name, or its id; `None` where it is not there. No registry is asked.
    pub async fn image(&self, name: &str) -> Result<Option<Image>, Error> {
        let what = format!("read the image `{name}`");
        let call = self.api.inspect_image(image_path(name)?);
        match self.within(&what, self.deadlines.call, call).await {
            Ok(live) => Ok(Some(Image::read(live))),
            Err(Error::NotFound { .. } | Error::Refused { fault: Fault::Image, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns all images that are there.
    pub async fn images(&self) -> Result<Vec<Image>, Error> {
        let options = ListImagesOptions { digests: true, ..Default::default() };
        let call = self.api.list_images(Some(options));
        let listed = self.within("list the images", self.deadlines.call, call).await?;
        // Docker calls what has no name so.
        let named = |names: Vec<String>| names.into_iter().filter(|name| !name.contains("<none>")).collect();
        let read = |it: bollard::models::ImageSummary| Image {
            id: it.id,
            tags: named(it.repo_tags),
            digests: named(it.repo_digests),
            size: size(it.size),
            command: <(Vec<String>, Vec<String>)>::default(),
        };
        Ok(listed.into_iter().map(read).collect())
    }

    /// Takes a name from an image, and removes the image with its last name; returns whether it was there. One that a
    /// container uses is a conflict.
    pub async fn remove_image(&self, name: &str) -> Result<bool, Error> {
        let what = format!("remove the image `{name}`");
        let call = self.api.remove_image(image_path(name)?, None::<RemoveImageOptions>, None);
        match self.within(&what, self.deadlines.change, call).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. } | Error::Refused { fault: Fault::Image, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the digest that an image's tag has at its registry now; nothing is pulled. Podman has no such call,
    /// which is an error of its own.
    pub async fn remote_digest(&self, name: &ImageName) -> Result<Digest, Error> {
        let what = format!("ask the registry about `{name}`");
        let text = name.to_string();
        let call = self.api.inspect_registry_image(&text, self.credentials(name).await?);
        let live = match self.within(&what, self.deadlines.registry, call).await {
            Err(Error::NotFound { .. }) if self.engine == Engine::Podman => return Err(Error::Unsupported { what }),
            live => live?,
        };
        let digest =
            live.descriptor.digest.as_deref().and_then(|digest| Digest::parse(digest.strip_prefix("sha256:")?));
        let bad = || Error::Refused { what, message: "the answer has no digest".to_owned(), fault: Fault::Other };
        digest.ok_or_else(bad)
    }

    /// Returns what Docker's own configuration has for the registry of an image.
    pub(super) async fn credentials(&self, name: &ImageName) -> Result<Option<DockerCredentials>, Error> {
        match &self.configuration {
            Some(folder) => credentials::of(folder, name.registry()).await,
            None => Ok(None),
        }
    }
}

/// Returns an image's name or id if it can stand in an address.
fn image_path(name: &str) -> Result<&str, Error> {
    let id = name.strip_prefix("sha256:").unwrap_or(name);
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id || ImageName::parse(name).is_ok() {
        return Ok(name);
    }
    Err(Error::Name { kind: "image", name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Digest, Image, ImageName, image_path};

    #[test]
    fn an_image_is_known_to_each_registry_by_its_own_digest() {
        let (one, two) = (Digest::of("1"), Digest::of("2"));
        let digests = vec![format!("redis@sha256:{one}"), format!("r.example/redis@sha256:{two}")];
        let image = Image {
            id: String::new(),
            tags: vec![],
            digests,
            size: Bytes(0),
            command: <(Vec<String>, Vec<String>)>::default(),
        };
        let at = |text: &str| image.digest_at(&ImageName::parse(text).expect("a name"));
        assert_eq!((at("redis:7"), at("r.example/redis:7"), at("x/redis:7")), (Some(one), Some(two), None));
    }

    #[test]
    fn what_is_no_image_never_becomes_an_address() {
        for bad in ["", "../x:1", "a b:1", "x?y:1", "redis"] {
            assert!(image_path(bad).is_err(), "{bad}");
        }
        assert!(image_path("redis:7").is_ok() && image_path(&format!("sha256:{}", Digest::of(""))).is_ok());
    }
}
