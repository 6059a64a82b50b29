//! Quoting of text for unit files and environment files, so that systemd reads back exactly that text.
//!
//! The rules are those of systemd.service(5), systemd.exec(5) and systemd.unit(5), verified against a real manager.
//! Text that no quoting can express is an error; nothing is dropped or replaced silently.

use crate::resource::ResourceId;
use std::fmt::Write;
use thiserror::Error;

/// A text that cannot be written in a unit or environment file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unrepresentable {
    /// The command is empty.
    #[error("the command is empty")]
    Empty,
    /// systemd does not accept the program's path.
    #[error("the program `{path}` must be an absolute path without control characters, quotes and backslashes")]
    Program {
        /// The path as given.
        path: String,
    },
    /// An unquoted setting cannot hold the path.
    #[error("{subject} `{path}` must be an absolute path on one line, without white space or a backslash at its end")]
    Path {
        /// The path's name, such as `the working directory`.
        subject: String,
        /// The path as given.
        path: String,
    },
    /// The resource is not a server of the systemd user manager.
    #[error("{resource} is not a server run by systemd")]
    NotAUnit {
        /// The resource.
        resource: ResourceId,
    },
    /// A text holds a character that systemd rejects everywhere: NUL, or a Unicode noncharacter.
    #[error("{subject} holds the character U+{code:04X}, which systemd rejects")]
    Character {
        /// Its subject, such as ``the variable `PATH` ``.
        subject: String,
        /// The code point.
        code: u32,
    },
    /// The name is invalid for an environment variable.
    #[error("`{name}` is not a valid name of an environment variable")]
    Name {
        /// The name as given.
        name: String,
    },
}

/// Returns the value of `ExecStart=` that runs exactly `argv`.
///
/// The `:` before the program keeps systemd from expanding `$`, also in the path, where `$$` would stay two characters.
pub fn command(argv: &[String]) -> Result<String, Unrepresentable> {
    let (program, arguments) = argv.split_first().ok_or(Unrepresentable::Empty)?;
    let unsafe_in_path = |c: char| c.is_ascii_control() || matches!(c, '"' | '\'' | '\\');
    if !program.starts_with('/') || program.ends_with('/') || program.contains(unsafe_in_path) {
        return Err(Unrepresentable::Program { path: program.clone() });
    }
    let mut line = format!(":{}", quoted("the program", program)?);
    for (position, argument) in arguments.iter().enumerate() {
        line.push(' ');
        line += &quoted(&format!("argument {}", position + 1), argument)?;
    }
    Ok(line)
}

/// Returns the value of `Environment=` that sets `name` to `value`. `$` is not special there.
pub fn assignment(name: &str, value: &str) -> Result<String, Unrepresentable> {
    check_name(name)?;
    quoted(&format!("the variable `{name}`"), &format!("{name}={value}"))
}

/// Returns the line of an environment file, without its line break, that sets `name` to `value`.
///
/// Control characters are written literally; a quoted value may span several lines.
pub fn environment_line(name: &str, value: &str) -> Result<String, Unrepresentable> {
    check_name(name)?;
    check_characters(&format!("the variable `{name}`"), value)?;
    Ok(format!("{name}=\"{}\"", environment_value(value)))
}

/// Returns the escaped form of `value` between the double quotes of an environment file.
#[must_use]
pub fn environment_value(value: &str) -> String {
    value.chars().fold(String::with_capacity(value.len()), |mut text, c| {
        if matches!(c, '"' | '\\' | '$' | '`') {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

/// Returns text for a descriptive setting such as `Description=`: one line, white space folded, `%` doubled, and
/// characters that systemd rejects replaced by U+FFFD.
#[must_use]
pub fn prose(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line: String = words.join(" ").chars().map(|c| if is_refused(c) { '\u{fffd}' } else { c }).collect();
    // A backslash at the end would continue the line.
    line.trim_end_matches(|c: char| c == '\\' || c.is_whitespace()).replace('%', "%%")
}

/// Returns a path for a setting that takes one unquoted path, such as `WorkingDirectory=` and `EnvironmentFile=`.
pub fn path(subject: &str, path: &str) -> Result<String, Unrepresentable> {
    check_characters(subject, path)?;
    let refused = |c: char| c.is_control();
    let is_absolute = path.starts_with('/');
    // White space at the end would be cut off, a backslash there would continue the line.
    if !is_absolute || path.contains(refused) || path.ends_with(|c: char| c.is_whitespace() || c == '\\') {
        return Err(Unrepresentable::Path { subject: subject.to_owned(), path: path.to_owned() });
    }
    Ok(path.replace('%', "%%"))
}

/// Returns the command argument that names a file of llamero's in the runtime directory.
///
/// `%t` is `$XDG_RUNTIME_DIR` of the manager that reads the unit.
pub fn runtime_path(name: &str) -> Result<String, Unrepresentable> {
    let word = quoted("the name of a file", name)?;
    Ok(word.replacen('"', "\"%t/llamero/", 1))
}

fn quoted(subject: &str, text: &str) -> Result<String, Unrepresentable> {
    check_characters(subject, text)?;
    let mut word = String::with_capacity(text.len() + 2);
    word.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            '%' => word.push_str("%%"),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            c if c.is_ascii_control() => write!(word, "\\x{:02x}", u32::from(c)).expect("a string takes every write"),
            c => word.push(c),
        }
    }
    word.push('"');
    Ok(word)
}

fn check_name(name: &str) -> Result<(), Unrepresentable> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = !name.is_empty() && name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit());
    is_name.then_some(()).ok_or_else(|| Unrepresentable::Name { name: name.to_owned() })
}

fn check_characters(subject: &str, text: &str) -> Result<(), Unrepresentable> {
    match text.chars().find(|c| is_refused(*c)) {
        Some(c) => Err(Unrepresentable::Character { subject: subject.to_owned(), code: u32::from(c) }),
        None => Ok(()),
    }
}

/// systemd's UTF-8 check rejects Unicode noncharacters too: a single one invalidates the whole line, and in an
/// environment file the whole start.
fn is_refused(c: char) -> bool {
    let code = u32::from(c);
    code == 0 || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::{Unrepresentable, assignment, command, environment_line, path, prose, runtime_path};
    use proptest::prelude::*;

    /// Reads words as systemd does: double quotes, C escapes, then `%` specifiers.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![];
        let mut characters = line.chars().peekable();
        while let Some(c) = characters.next() {
            if c == ' ' {
                continue;
            }
            assert_eq!(c, '"', "every word is quoted: {line}");
            let mut word = String::new();
            loop {
                match characters.next().expect("a closing quote") {
                    '"' => break,
                    '%' => {
                        assert_eq!(characters.next(), Some('%'), "a lone `%` is a specifier");
                        word.push('%');
                    }
                    '\\' => match characters.next().expect("an escaped character") {
                        'n' => word.push('\n'),
                        't' => word.push('\t'),
                        'x' => {
                            let digits: String = characters.by_ref().take(2).collect();
                            word.push(char::from(u8::from_str_radix(&digits, 16).expect("two digits")));
                        }
                        c => {
                            assert!(matches!(c, '"' | '\\'), "unknown escape {c}");
                            word.push(c);
                        }
                    },
                    c => word.push(c),
                }
            }
            words.push(word);
        }
        words
    }

    /// Reads one line of an environment file as systemd does.
    fn file_value(line: &str) -> String {
        let inner = line.strip_prefix("N=\"").and_then(|rest| rest.strip_suffix('"')).expect("a quoted value");
        let mut value = String::new();
        let mut characters = inner.chars();
        while let Some(c) = characters.next() {
            assert_ne!(c, '"', "a quote inside ends the value");
            value.push(if c == '\\' { characters.next().expect("an escaped character") } else { c });
        }
        value
    }

    proptest! {
        #[test]
        fn words_are_read_back(arguments in prop::collection::vec("([ -~]|[\\x01-\\x1f\\x7f]|[äß→😀]){0,12}", 0..6)) {
            let mut argv = vec!["/opt/a b%c$d/run".to_owned()];
            argv.extend(arguments);
            let line = command(&argv).expect("expressible");
            prop_assert!(!line.contains(|c: char| c.is_ascii_control()), "one line: {line:?}");
            prop_assert_eq!(words(line.strip_prefix(':').expect("a colon")), argv.clone());
            for value in &argv {
                let text = assignment("N", value).expect("expressible");
                prop_assert_eq!(words(&text), vec![format!("N={value}")]);
                prop_assert_eq!(&file_value(&environment_line("N", value).expect("expressible")), value);
            }
        }

        #[test]
        fn prose_stays_on_its_line(text in "\\PC*|[\\x00-\\x7f]*") {
            let line = prose(&text);
            prop_assert!(!line.contains(|c: char| c.is_control()) && !line.ends_with('\\'));
            prop_assert!(line.replace("%%", "").find('%').is_none());
        }
    }

    #[test]
    fn only_the_folder_is_a_specifier() {
        assert_eq!(runtime_path("a%t\".sock").as_deref(), Ok(r#""%t/llamero/a%%t\".sock""#));
    }

    #[test]
    fn text_that_systemd_rejects_is_an_error() {
        let argv = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
        assert_eq!(command(&[]), Err(Unrepresentable::Empty));
        for program in ["", "run", "./run", "/opt/", "/o\"x", "/o'x", "/o\\x", "/o\nx"] {
            assert!(matches!(command(&argv(&[program])), Err(Unrepresentable::Program { .. })), "{program}");
        }
        for text in ["\0", "\u{fdd0}", "\u{ffff}", "\u{1fffe}"] {
            assert!(matches!(command(&argv(&["/run", text])), Err(Unrepresentable::Character { .. })));
            assert!(assignment("N", text).is_err() && environment_line("N", text).is_err());
        }
        for name in ["", "1A", "A B", "A=B", "Ä", "A-B"] {
            assert!(assignment(name, "").is_err() && environment_line(name, "").is_err(), "{name}");
        }
        for bad in ["relative", "/ends ", "/ends\\", "/two\nlines"] {
            assert!(path("the folder", bad).is_err(), "{bad}");
        }
        assert_eq!(path("the folder", "/a b/100%"), Ok("/a b/100%%".to_owned()));
    }
}
