//! The environment of a server: a little of llamero's own, then what was asked for, then its environment file.
//!
//! Most of llamero's environment stays behind, as with a systemd user unit: a server must not run differently because
//! of the shell from which it was started, and must not see that shell's secrets.

use crate::resource::Bytes;
use crate::systems::{files, proc};
use llamero_core::targets::process::lower::Launch;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

/// The variable that marks all processes of a server with the folder that it is kept in.
pub(super) const MARK: &str = "LLAMERO_PROCESS";

const LIMIT: Bytes = Bytes(1 << 20);

/// Variables of the user, the network, its certificates, and libraries. Not which
/// devices to use: that is for the manifest to say.
const INHERITED: [&str; 28] = [
    "ALL_PROXY",
    "CUDA_CACHE_PATH",
    "CUDA_HOME",
    "CUDA_PATH",
    "CURL_CA_BUNDLE",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LANGUAGE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "NIX_SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "NO_PROXY",
    "PATH",
    "REQUESTS_CA_BUNDLE",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "TZDIR",
    "USER",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Returns the part of this process's environment that is passed on.
pub(in crate::systems) fn inherited() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| {
        let name = name.to_str().unwrap_or_default();
        INHERITED.contains(&name) || name.starts_with("LC_") || name.starts_with("XDG_")
    })
}

/// Returns the whole environment of a server.
pub(super) fn of(launch: &Launch, folder: &Path) -> Result<BTreeMap<OsString, OsString>, String> {
    let mut environment: BTreeMap<OsString, OsString> = inherited().collect();
    environment.extend(launch.environment.iter().map(|(name, value)| (name.into(), value.into())));
    if let Some(path) = &launch.environment_file {
        let shown = path.display();
        let text = files::read_text(path, LIMIT).map_err(|error| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })?;
        let text = text.ok_or_else(|| format!("the environment file {shown} is not there"))?;
        let variables = parse(&text).map_err(|line| format!("line {line} of {shown} is not `NAME=\"value\"`"))?;
        environment.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
    environment.insert(MARK.into(), folder.into());
    environment.extend(marks(launch));
    Ok(environment)
}

/// Returns the variables that say what a process was started for.
pub(super) fn marks(launch: &Launch) -> [(OsString, OsString); 2] {
    let fingerprint = launch.fingerprint.to_string();
    let resource = format!("{}/{}", launch.stack, launch.resource);
    [(proc::FINGERPRINT.into(), fingerprint.into()), (proc::RESOURCE.into(), resource.into())]
}

/// Reads variables in the form of `EnvironmentFile=` of systemd.exec(5); fails with the number of a bad line, which
/// itself may be secret.
fn parse(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut variables = Vec::new();
    let mut characters = text.chars().peekable();
    let mut line = 1;
    while let Some(&first) = characters.peek() {
        if first.is_whitespace() {
            line += usize::from(first == '\n');
            characters.next();
            continue;
        }
        if matches!(first, '#' | ';') {
            while characters.next_if(|character| *character != '\n').is_some() {}
            continue;
        }
        let opened = line;
        let mut name = String::new();
        while let Some(character) = characters.next_if(|character| !matches!(character, '=' | '\n')) {
            name.push(character);
        }
        let name = name.trim_end();
        let good = |character: char| character.is_ascii_alphanumeric() || character == '_';
        if characters.next() != Some('=')
            || !name.chars().all(good)
            || name.starts_with(|c: char| !c.is_alphabetic() && c != '_')
        {
            return Err(opened);
        }
        let value = value(&mut characters, &mut line).ok_or(opened)?;
        if name.is_empty() || value.contains('\0') {
            return Err(opened);
        }
        variables.push((name.to_owned(), value));
    }
    Ok(variables)
}

/// Reads a value up to the end of its last line; `None` where a quote is not closed.
fn value(characters: &mut std::iter::Peekable<std::str::Chars<'_>>, line: &mut usize) -> Option<String> {
    let mut value = String::new();
    // White space at the end that was not quoted does not count.
    let mut kept = 0;
    while characters.next_if(|character| matches!(character, ' ' | '\t')).is_some() {}
    while let Some(character) = characters.next_if(|character| *character != '\n') {
        match character {
            '\'' | '"' => {
                loop {
                    let inner = characters.next()?;
                    *line += usize::from(inner == '\n');
                    match inner {
                        inner if inner == character => break,
                        '\\' if character == '"' => match characters.next()? {
                            escaped @ ('"' | '\\' | '`' | '$') => value.push(escaped),
                            '\n' => *line += 1,
                            other => value.extend(['\\', other]),
                        },
                        inner => value.push(inner),
                    }
                }
                kept = value.len();
            }
            '\\' => {
                match characters.next()? {
                    '\n' => *line += 1,
                    escaped => value.push(escaped),
                }
                kept = value.len();
            }
            character => {
                value.push(character);
                if !character.is_whitespace() {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn files_are_read_as_systemd_reads_them() {
        let text = "# KEY=no\n; KEY=no\n\nA=\"a \\\\ \\\" \\$x $y \\n\"\nB='it is \\ $z'\nC= plain text \t\nD=\nE=\"two\nlines\"\n\
                    F=a\"b c\"d\nG=esc\\ aped\\\\\nH=\"no newline at the end\"";
        let shown: Vec<String> =
            parse(text).expect("a good file").iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        assert_eq!(
            shown,
            [
                r#"A="a \\ \" $x $y \\n""#,
                r#"B="it is \\ $z""#,
                r#"C="plain text""#,
                r#"D="""#,
                r#"E="two\nlines""#,
                r#"F="ab cd""#,
                r#"G="esc aped\\""#,
                r#"H="no newline at the end""#,
            ]
        );
    }

    #[test]
    fn a_bad_line_is_named_and_not_shown() {
        for (text, line) in [("A=1\nB", 2), ("A=\"x\ny\"\n\nB=\"open", 4), ("A B=1", 1), ("=x", 1), ("1A=x", 1)] {
            assert_eq!(parse(text), Err(line), "{text}");
        }
    }
}
