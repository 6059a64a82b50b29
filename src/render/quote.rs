//! Quoting for unit files and environment files, by the rules of systemd.syntax(7), systemd.service(5) and
//! systemd.exec(5).

/// Quotes one argument of `ExecStart=`. `%` and `$` are kept from being expanded.
#[must_use]
pub fn argument(text: &str) -> String {
    quoted(text, |character| match character {
        '$' => Some("$$".to_owned()),
        _ => None,
    })
}

/// Quotes one assignment of `Environment=`, where `$` has no meaning. `None` when the value holds a control character,
/// which systemd refuses there.
#[must_use]
pub fn assignment(name: &str, value: &str) -> Option<String> {
    let plain = !value.chars().any(char::is_control);
    plain.then(|| quoted(&format!("{name}={value}"), |_| None))
}

/// Escapes a value that stands unquoted to the end of its line, such as that of `Description=`.
#[must_use]
pub fn value(text: &str) -> String {
    let line: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    let line = line.trim_end_matches('\\');
    line.replace('%', "%%")
}

/// Returns one line of an environment file, with the value in double quotes: `NAME="value"`.
#[must_use]
pub fn environment_line(name: &str, value: &str) -> String {
    let mut line = format!("{name}=\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\' | '$' | '`') {
            line.push('\\');
        }
        line.push(character);
    }
    line.push('"');
    line
}

fn quoted(text: &str, special: impl Fn(char) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len() + 2);
    result.push('"');
    for character in text.chars() {
        if let Some(escaped) = special(character) {
            result.push_str(&escaped);
            continue;
        }
        match character {
            '\\' => result.push_str("\\\\"),
            '"' => result.push_str("\\\""),
            '%' => result.push_str("%%"),
            '\n' => result.push_str("\\n"),
            '\t' => result.push_str("\\t"),
            control if control.is_ascii_control() => {
                result.push_str("\\x");
                result.push_str(&format!("{:02x}", u32::from(control)));
            }
            other => result.push(other),
        }
    }
    result.push('"');
    result
}

#[cfg(test)]
mod tests {
    use super::{argument, assignment, environment_line, value};

    #[test]
    fn arguments_keep_their_meaning() {
        for (text, expected) in [
            ("", r#""""#),
            ("plain", r#""plain""#),
            (r#"a "b" \c"#, r#""a \"b\" \\c""#),
            ("100% of $HOME", r#""100%% of $$HOME""#),
            ("two\nlines\u{1}", r#""two\nlines\x01""#),
            ("; rm", r#""; rm""#),
        ] {
            assert_eq!(argument(text), expected);
        }
    }

    #[test]
    fn assignments_refuse_what_systemd_refuses() {
        assert_eq!(assignment("A", "$x 5%").as_deref(), Some(r#""A=$x 5%%""#));
        assert_eq!(assignment("A", "two\nlines"), None);
        assert_eq!(value("50% \\"), "50%% ");
        assert_eq!(environment_line("A", r#"$x "y" \"#), r#"A="\$x \"y\" \\""#);
    }
}
