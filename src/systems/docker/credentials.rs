//! Passwords of registries, from where Docker keeps them: its own configuration, or a program that keeps them for it.
//!
//! They are read for each request and go to the engine alone.

use super::Error;
use super::connect::read;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// The longest time for a program to return a password: it may ask its user to unlock a key ring.
const ANSWER: Duration = Duration::from_secs(20);
/// Under which name Docker keeps the password of Docker Hub.
const HUB: &str = "https://index.docker.io/v1/";
/// The user that stands for a token instead of a password.
const TOKEN_USER: &str = "<token>";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Configuration {
    auths: HashMap<String, Entry>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    #[serde(rename = "credHelpers")]
    programs: HashMap<String, String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Returns what Docker would say to a registry; `None` without a login.
pub(super) async fn of(configuration: &Path, registry: &str) -> Result<Option<DockerCredentials>, Error> {
    let Some(live) = read::<Configuration>(&configuration.join("config.json"))? else { return Ok(None) };
    let server = if registry == "docker.io" { HUB } else { registry };
    let program = live.programs.get(registry).or_else(|| live.programs.get(server)).or(live.store.as_ref());
    if let Some(program) = program.filter(|program| !program.is_empty()) {
        return ask(program, server).await;
    }
    let entry = live
        .auths
        .get(server)
        .or_else(|| live.auths.iter().find(|(key, _)| host_of(key) == host_of(server)).map(|(_, entry)| entry));
    let Some(entry) = entry else { return Ok(None) };
    let (username, password) = match entry.auth.as_deref().filter(|auth| !auth.is_empty()) {
        None => (entry.username.clone(), entry.password.clone()),
        Some(auth) => {
            let path = configuration.join("config.json");
            let bad = || Error::Configuration { path, why: format!("the password for {registry} is damaged") };
            let text = decoded(auth).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad)?;
            // Docker itself has written passwords with a NUL at their end.
            let (username, password) = text.split_once(':').unwrap_or((&text, ""));
            (Some(username.to_owned()), Some(password.trim_end_matches('\0').to_owned()))
        }
    };
    Ok(Some(DockerCredentials {
        username: username.filter(|text| !text.is_empty()),
        password: password.filter(|text| !text.is_empty()),
        identitytoken: entry.identitytoken.clone(),
        registrytoken: entry.registrytoken.clone(),
        serveraddress: Some(server.to_owned()),
        ..DockerCredentials::default()
    }))
}

/// Returns the host in a key such as `https://registry.example/v1/`.
fn host_of(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    key.split('/').next().unwrap_or(key)
}

/// Asks `docker-credential-NAME get`, as Docker does.
async fn ask(name: &str, server: &str) -> Result<Option<DockerCredentials>, Error> {
    let program = format!("docker-credential-{name}");
    if name.contains(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        let why = "that is no program's name".to_owned();
        return Err(Error::Credentials { program, registry: server.to_owned(), why });
    }
    ask_helper(&program, server).await
}

/// What a helper writes about a server without a login: `errCredentialsNotFoundMessage` of docker-credential-helpers.
const NO_LOGIN: &str = "credentials not found";

/// Runs a credential helper, and returns its answer about a server.
async fn ask_helper(program: &str, server: &str) -> Result<Option<DockerCredentials>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Stored {
        username: String,
        secret: String,
    }
    let failed = |why: String| Error::Credentials { program: program.to_owned(), registry: server.to_owned(), why };
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let run = async {
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // One that does not want to be asked ends, and says so by its status.
            let _ = input.write_all(server.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let late = |_| failed(format!("no answer within {} s", ANSWER.as_secs()));
    let output = tokio::time::timeout(ANSWER, run).await.map_err(late)?.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if answer.contains(NO_LOGIN) {
            return Ok(None);
        }
        return Err(failed(format!("it ends with {}", output.status)));
    }
    let stored: Stored =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("its answer is no JSON".to_owned()))?;
    let mut credentials = DockerCredentials { serveraddress: Some(server.to_owned()), ..DockerCredentials::default() };
    if stored.username == TOKEN_USER {
        credentials.identitytoken = Some(stored.secret);
    } else {
        (credentials.username, credentials.password) = (Some(stored.username), Some(stored.secret));
    }
    Ok(Some(credentials))
}

/// Reads base64, with or without its padding; anything else is `None`.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0_u32);
    for byte in text.trim().trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    (count < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{DockerCredentials, Error, ask, ask_helper, decoded, of};
    use std::os::unix::fs::PermissionsExt as _;

    async fn stored(text: &str, registry: &str) -> Result<Option<DockerCredentials>, Error> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config.json"), text).expect("written");
        of(folder.path(), registry).await
    }

    #[test]
    fn base64_reads() {
        for (text, bytes) in [("", ""), ("YQ==", "a"), ("YWI", "ab"), ("YWJj", "abc"), ("Pz8/Pj4+", "???>>>")] {
            assert_eq!(decoded(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!((decoded("Y"), decoded("YW J")), (None, None));
    }

    #[tokio::test]
    async fn passwords_are_found_as_docker_keeps_them() {
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "bWU6YTpi"},
            "https://r.example:5/v2/": {"auth": "bWU6eA=="},
            "t.example": {"identitytoken": "t", "auth": ""},
            "bad.example": {"auth": "!"}}}"#;
        let pair = |live: DockerCredentials| (live.username.unwrap_or_default(), live.password.unwrap_or_default());
        let live = stored(text, "docker.io").await.expect("read").expect("some");
        assert_eq!(live.serveraddress.as_deref(), Some("https://index.docker.io/v1/"));
        assert_eq!(pair(live), ("me".to_owned(), "a:b".to_owned()));
        let live = stored(text, "r.example:5").await.expect("read").expect("some");
        assert_eq!(pair(live), ("me".to_owned(), "x".to_owned()));
        let live = stored(text, "t.example").await.expect("read").expect("some");
        assert_eq!((live.identitytoken.as_deref(), live.username), (Some("t"), None));
        assert_eq!(stored(text, "other.example").await.expect("read"), None);
        assert!(matches!(stored(text, "bad.example").await, Err(Error::Configuration { .. })));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_or_is_none_is_an_error() {
        let error = stored(r#"{"credsStore": "llamero-none"}"#, "r.example").await.expect_err("no program");
        assert!(error.to_string().starts_with("`docker-credential-llamero-none` returns no password"), "{error}");
        assert!(matches!(ask("../x", "r").await, Err(Error::Credentials { .. })));
    }
    #[tokio::test]
    async fn a_program_is_asked_as_docker_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docker-credential-x");
        let script = r#"#!/bin/sh
[ "$1" = get ] || exit 9
case $(cat) in
  r.example) echo '{"ServerURL": "r.example", "Username": "me", "Secret": "hunter2"}' ;;
  t.example) echo '{"ServerURL": "t.example", "Username": "<token>", "Secret": "t"}' ;;
  odd.example) echo 'hunter2 is not JSON' ;;
  none.example) echo 'credentials not found in native keychain'; exit 1 ;;
  *) echo 'hunter2 is locked'; exit 1 ;;
esac
"#;
        std::fs::write(&path, script).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("set");
        let program = path.display().to_string();
        let live = ask_helper(&program, "r.example").await.expect("returned").expect("some");
        assert_eq!((live.username.as_deref(), live.password.as_deref()), (Some("me"), Some("hunter2")));
        let live = ask_helper(&program, "t.example").await.expect("returned").expect("some");
        assert_eq!((live.identitytoken.as_deref(), live.username), (Some("t"), None));
        assert_eq!(ask_helper(&program, "none.example").await.expect("returned"), None);
        for server in ["odd.example", "locked.example"] {
            let error = ask_helper(&program, server).await.expect_err(server);
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
