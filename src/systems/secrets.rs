//! Secrets: their values, read as late as possible, and the digests that stand for them everywhere else.
//!
//! A value leaves this module only by [`Secret::reveal`] and inside filled content. It is never printed.

use super::{Hint, files};
use crate::render::quote::environment_value;
use crate::resource::{Bytes, Content, Digest, Hasher, Piece, SecretReference};
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

const LIMIT: Bytes = Bytes(64 << 10);

/// The value of a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    value: String,
    exposed: bool,
}

impl Secret {
    /// Returns a secret of which only its owner knows.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self { value, exposed: false }
    }

    /// Returns the value, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.value
    }

    /// Returns whether other users can read the file it came from.
    #[must_use]
    pub fn exposed(&self) -> bool {
        self.exposed
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A failure to obtain a secret's value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variable or file is missing.
    #[error("the secret in {0} is missing")]
    Missing(SecretReference),
    /// It consists of white space only.
    #[error("the secret in {0} is empty")]
    Empty(SecretReference),
    /// It exceeds the size limit.
    #[error("the secret in {0} is larger than {LIMIT}")]
    TooLarge(SecretReference),
    /// It is not UTF-8, or holds a NUL, which no environment can carry.
    #[error("the secret in {0} is not text")]
    NotText(SecretReference),
    /// Its file cannot be read.
    #[error("cannot read the secret in {reference}")]
    Unreadable {
        /// The reference that was resolved.
        reference: SecretReference,
        /// The file error.
        source: files::Error,
    },
    /// A new secret could not be stored.
    #[error("cannot create the secret in file {}", path.display())]
    NotMade {
        /// The file that was to hold it.
        path: PathBuf,
        /// The file error.
        source: files::Error,
    },
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(SecretReference::Env(name)) => {
                Some(format!("set {name} in the environment that llamero runs in, or refer to a file"))
            }
            Self::Missing(SecretReference::File(path)) => {
                Some(format!("write the secret to {} with mode 0600", path.display()))
            }
            Self::Unreadable { source, .. } | Self::NotMade { source, .. } => source.hint(),
            Self::Empty(_) | Self::TooLarge(_) | Self::NotText(_) => None,
        }
    }
}

/// Returns the value of a secret, without trailing white space.
pub fn resolve(reference: &SecretReference) -> Result<Secret, Error> {
    let (value, exposed) = match reference {
        SecretReference::Env(name) => {
            let value = std::env::var_os(name).ok_or_else(|| Error::Missing(reference.clone()))?;
            (value.into_string().map_err(|_| Error::NotText(reference.clone()))?, false)
        }
        SecretReference::File(path) => from_file(reference, path)?,
    };
    let value = value.trim_end();
    if value.is_empty() {
        return Err(Error::Empty(reference.clone()));
    }
    if value.len() as u64 > LIMIT.0 {
        return Err(Error::TooLarge(reference.clone()));
    }
    if value.contains('\0') {
        return Err(Error::NotText(reference.clone()));
    }
    Ok(Secret { value: value.to_owned(), exposed })
}

fn from_file(reference: &SecretReference, path: &Path) -> Result<(String, bool), Error> {
    let failed = |source| match source {
        files::Error::TooLarge { .. } => Error::TooLarge(reference.clone()),
        files::Error::NotText { .. } => Error::NotText(reference.clone()),
        source @ (files::Error::Refused { .. } | files::Error::NotAFile { .. }) => {
            Error::Unreadable { reference: reference.clone(), source }
        }
    };
    let value = files::read_text(path, LIMIT).map_err(failed)?.ok_or_else(|| Error::Missing(reference.clone()))?;
    let mode = files::mode(path).map_err(failed)?.unwrap_or_default();
    Ok((value, mode & 0o077 != 0))
}

/// Returns the digest that stands for a secret in plans and in the history; it reveals only that the value has
/// changed.
///
/// It is keyed with the machine id, twice as in HMAC: users choose guessable secrets, and a plain hash in a history
/// that was copied off this machine would let anyone test guesses.
#[must_use]
pub fn digest(secret: &Secret) -> Digest {
    keyed(&machine(), &secret.value)
}

fn keyed(key: &str, value: &str) -> Digest {
    let layer = |domain: &str, value: &[u8]| {
        let mut hasher = Hasher::default();
        for part in [domain.as_bytes(), key.as_bytes()] {
            hasher.update(part);
            hasher.update(b"\0");
        }
        hasher.update(value);
        Digest::finish(hasher)
    };
    layer("llamero secret outer", layer("llamero secret inner", value.as_bytes()).as_str().as_bytes())
}

/// Returns the machine's identity. A container may have no machine-id(5); its host name lives as long as it does.
fn machine() -> String {
    ["/etc/machine-id", "/var/lib/dbus/machine-id", "/proc/sys/kernel/hostname"]
        .into_iter()
        .filter_map(|path| files::read_text(Path::new(path), LIMIT).ok().flatten())
        .map(|text| text.trim().to_owned())
        .find(|text| !text.is_empty() && text != "uninitialized")
        .unwrap_or_default()
}

/// Returns the text with the current value of every secret: an old revision must be writable after a secret has
/// changed.
pub fn fill(content: &Content) -> Result<String, Error> {
    content.0.iter().try_fold(String::new(), |mut text, piece| {
        match piece {
            Piece::Text(part) => text.push_str(part),
            // A secret stands between the double quotes of an environment file.
            Piece::Secret { reference, .. } => text.push_str(&environment_value(resolve(reference)?.reveal())),
        }
        Ok(text)
    })
}

/// Returns the line of an environment file that sets a variable to a secret, if one line can represent it.
#[must_use]
pub fn environment_line(name: &str, secret: &Secret) -> Option<String> {
    crate::render::quote::environment_line(name, secret.reveal()).ok().map(|line| line + "\n")
}

/// Generates a secret of 32 random bytes, written `sk-…` as clients of a gateway expect, in a new file; returns
/// whether the file was created. An existing file is never touched.
pub fn generate(path: &Path) -> Result<bool, Error> {
    let not_made = |source| Error::NotMade { path: path.to_owned(), source };
    let mut text = String::from("sk-");
    for byte in files::random::<32>().map_err(not_made)? {
        write!(text, "{byte:02x}").expect("a string takes what is written");
    }
    text.push('\n');
    match files::create(path, text.as_bytes(), files::PRIVATE) {
        Err(error) if error.exists() => Ok(false),
        made => made.map(|()| true).map_err(not_made),
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, digest, fill, generate, keyed, resolve};
    use crate::resource::{Content, Digest, Piece, SecretReference};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_generated_secret_is_private_and_never_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys/master");
        assert!(generate(&path).expect("made"));
        let reference = SecretReference::File(path.clone());
        let secret = resolve(&reference).expect("a secret");
        assert_eq!((secret.reveal().len(), &secret.reveal()[..3], secret.exposed()), (67, "sk-", false));
        assert!(!generate(&path).expect("kept"));
        assert_eq!(resolve(&reference).expect("a secret"), secret);
        assert_eq!(format!("{secret:?}"), "(secret)");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("set");
        assert!(resolve(&reference).expect("a secret").exposed());

        let piece = Piece::Secret { reference, digest: digest(&secret) };
        let content = Content(vec![Piece::Text("key: ".to_owned()), piece]);
        assert_eq!(fill(&content).expect("filled"), format!("key: {}", secret.reveal()));
    }

    #[test]
    fn an_invalid_secret_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |text: &[u8]| {
            let path = folder.path().join("secret");
            fs::write(&path, text).expect("written");
            resolve(&SecretReference::File(path))
        };
        assert!(matches!(at(b" \n"), Err(Error::Empty(_))));
        assert!(matches!(at(&vec![b'x'; 65_537]), Err(Error::TooLarge(_))));
        assert!(matches!(at(b"a\0b"), Err(Error::NotText(_))));
        assert!(matches!(at(b"\xff"), Err(Error::NotText(_))));
        assert_eq!(at(b" a b \r\n").expect("a secret").reveal(), " a b");
        let missing = SecretReference::Env("LLAMERO_TEST_NOT_SET".to_owned());
        assert!(matches!(resolve(&missing), Err(Error::Missing(_))));
        assert!(resolve(&SecretReference::Env("PATH".to_owned())).is_ok());
    }

    #[test]
    fn a_digest_depends_on_the_machine_and_on_the_value() {
        assert_eq!(keyed("a", "x"), keyed("a", "x"));
        assert_ne!(keyed("a", "x"), keyed("b", "x"));
        assert_ne!(keyed("a", "x"), keyed("a", "y"));
        assert_ne!(keyed("", "x"), Digest::of("x"));
    }
}
