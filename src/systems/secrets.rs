//! Secrets: read as late as possible, digested with a key, written into the one file that needs them.

use super::{Hint, files};
use crate::resource::{Content, Digest, Hasher, Piece, SecretReference};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The longest secret, in bytes.
const LIMIT: u64 = 64 << 10;

/// A secret's value. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the value, for the place that it is meant for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// There is no such file.
    #[error("the secret file {} does not exist", .0.display())]
    Missing(PathBuf),
    /// There is nothing in it.
    #[error("the secret in {0} is empty")]
    Empty(SecretReference),
    /// It has characters that an environment cannot hold.
    #[error("the secret in {0} holds a line break or a control character")]
    Unprintable(SecretReference),
    /// The file cannot be read or written.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// No random bytes could be had.
    #[error("cannot read random bytes from /dev/urandom")]
    Random(#[source] std::io::Error),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unset(name) => Some(format!("set {name} where llamero runs, or refer to a file: `{{file: PATH}}`")),
            Self::Missing(path) => Some(format!("write the secret to {} with mode 0600", path.display())),
            Self::Files(error) => error.hint(),
            Self::Empty(_) | Self::Unprintable(_) | Self::Random(_) => None,
        }
    }
}

/// Reads a secret's value.
pub fn resolve(reference: &SecretReference) -> Result<Secret, Error> {
    let text = match reference {
        SecretReference::Env(name) => std::env::var(name).map_err(|_| Error::Unset(name.clone()))?,
        SecretReference::File(path) => files::read(path, LIMIT)?.ok_or_else(|| Error::Missing(path.clone()))?,
    };
    let text = text.trim_end();
    if text.is_empty() {
        return Err(Error::Empty(reference.clone()));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::Unprintable(reference.clone()));
    }
    Ok(Secret(text.to_owned()))
}

/// Returns the digest of a secret by which its rotation is noticed. It is kept in the history, so it is keyed with this
/// machine's id: a plain digest of a guessable value would give it away.
#[must_use]
pub fn digest(secret: &Secret) -> Digest {
    let machine = files::read(Path::new("/etc/machine-id"), LIMIT).ok().flatten().unwrap_or_default();
    let key = Digest::of(format!("llamero secret {machine}"));
    let mut hasher = Hasher::default();
    for part in [key.as_str(), secret.0.as_str()] {
        hasher.update(part.as_bytes());
    }
    Digest::of(format!("{key}{}", Digest::finish(hasher)))
}

/// Returns the text with every hole filled.
pub fn fill(content: &Content) -> Result<String, Error> {
    let mut text = String::new();
    for piece in &content.0 {
        match piece {
            Piece::Text(part) => text.push_str(part),
            // The holes of an environment file stand between double quotes.
            Piece::Secret { reference, .. } => {
                text.push_str(
                    &resolve(reference)?
                        .0
                        .replace('\\', "\\\\")
                        .replace('"', "\\\"")
                        .replace('`', "\\`")
                        .replace('$', "\\$"),
                );
            }
        }
    }
    Ok(text)
}

/// Makes a secret of 32 random bytes in a file of mode 0600, unless that file is there.
pub fn generate(path: &Path) -> Result<(), Error> {
    let mut bytes = [0_u8; 32];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes)).map_err(Error::Random)?;
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    files::write_new(path, format!("sk-{}\n", digits.concat()).as_bytes(), files::PRIVATE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{digest, fill, generate, resolve};
    use crate::resource::{Content, Digest, Piece, SecretReference};

    #[test]
    fn a_generated_secret_is_kept_and_never_printed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        generate(&path).expect("made");
        let reference = SecretReference::File(path.clone());
        let secret = resolve(&reference).expect("there");
        generate(&path).expect("kept");
        assert_eq!(resolve(&reference).expect("there"), secret);
        assert_eq!(format!("{secret:?}"), "(secret)");
        assert_eq!(digest(&secret), digest(&secret));
        assert_ne!(digest(&secret), Digest::of(secret.expose()));
        let hole = Piece::Secret { reference, digest: digest(&secret) };
        let content = Content(vec![Piece::Text("KEY=\"".into()), hole, Piece::Text("\"\n".into())]);
        assert_eq!(fill(&content).expect("filled"), format!("KEY=\"{}\"\n", secret.expose()));
    }

    #[test]
    fn a_secret_that_cannot_be_had_says_where_it_was_looked_for() {
        let missing = resolve(&SecretReference::Env("LLAMERO_NO_SUCH_VARIABLE".into())).expect_err("unset");
        assert!(missing.to_string().contains("LLAMERO_NO_SUCH_VARIABLE"));
        let folder = tempfile::tempdir().expect("a folder");
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "\n").expect("written");
        assert!(resolve(&SecretReference::File(empty)).is_err());
    }
}
