//! Text for a terminal: whatever it comes from, it can move no cursor, erase no line and turn no reading direction.
//!
//! Everything that llamero prints passes through here once, where it is written. Control characters, and characters
//! that change the order or hide the presence of others (Unicode 15, bidirectional controls and format characters of
//! general use), are shown as `\u001b`, which is also how JSON writes them. Of escape sequences only the styles that
//! llamero itself uses remain.

use std::borrow::Cow;

/// Returns a text with everything escaped that is not printed as itself.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(is_hidden) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let style = style(rest);
        if style > 0 {
            shown.push_str(&rest[..style]);
            rest = &rest[style..];
        } else if let Some(hidden) = rest.chars().next() {
            let mut units = [0; 2];
            for unit in hidden.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
            rest = &rest[hidden.len_utf8()..];
        }
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Marks, embeddings, overrides and isolates of direction; separators; what has no width; tags.
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => c.is_control(),
    }
}

/// The parts of a style: none, weights, underlined, and foreground colours. ECMA-48, 8.3.117.
const STYLES: [&str; 18] =
    ["", "0", "1", "2", "4", "22", "31", "32", "33", "34", "35", "36", "91", "92", "93", "94", "95", "96"];

/// Returns the length of the style that a text begins with, 0 where it begins with none: `ESC [ NUMBER ; … m`.
/// Hidden and blinking text, backgrounds and all other sequences are no style.
fn style(text: &str) -> usize {
    let Some(body) = text.strip_prefix("\u{1b}[") else { return 0 };
    let Some(end) = body.find(|c: char| !c.is_ascii_digit() && c != ';').filter(|end| body[*end..].starts_with('m'))
    else {
        return 0;
    };
    if body[..end].split(';').all(|number| STYLES.contains(&number)) { "\u{1b}[".len() + end + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_cannot_steer_the_terminal() {
        for (text, shown) in [
            ("plain, with\ttab and\nline", "plain, with\ttab and\nline"),
            ("\u{1b}[2K\rPlan: nothing", "\\u001b[2K\\u000dPlan: nothing"),
            ("\u{9b}31mred", "\\u009b31mred"),
            ("\u{1b}]0;title\u{7}", "\\u001b]0;title\\u0007"),
            ("gpj.\u{202e}exe", "gpj.\\u202eexe"),
            ("a\u{200b}b\u{e0041}", "a\\u200bb\\udb40\\udc41"),
            ("\u{1b}[8mhidden\u{1b}[0m", "\\u001b[8mhidden\u{1b}[0m"),
            ("\u{1b}[1;31merror:\u{1b}[0m é 模型 🦙", "\u{1b}[1;31merror:\u{1b}[0m é 模型 🦙"),
            ("\u{1b}[", "\\u001b["),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_hidden_remains_but_styles(text in "(\\PC|\\p{C}|\u{1b}\\[[0-9;]{0,5}[a-zA-Z])*") {
            let shown = printable(&text).into_owned();
            let mut rest = shown.as_str();
            while let Some(at) = rest.find(is_hidden) {
                let style = style(&rest[at..]);
                prop_assert!(style > 0, "{rest:?}");
                rest = &rest[at + style..];
            }
            prop_assert_eq!(printable(&shown), shown.as_str(), "printing it twice is printing it once");
        }
    }
}
