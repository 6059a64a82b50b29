//! Properties that logs of Python programs share.

/// Returns whether a line is where a Python program names what went wrong: the name of an exception and its message.
#[must_use]
pub fn names_exception(line: &str) -> bool {
    // Of pydantic, about a value that it was given.
    line.contains("Value error, ") || line.split(' ').any(is_exception) && !line.trim_end().ends_with("Error:")
}

/// Returns whether a word is an exception's name with its colon, such as `ValueError:`.
fn is_exception(word: &str) -> bool {
    let is_name = |name: &str| name.split('.').all(|part| part.starts_with(|c: char| c.is_alphabetic() || c == '_'));
    word.strip_suffix(':').is_some_and(|name| name.len() > "Error".len() && name.ends_with("Error") && is_name(name))
}
