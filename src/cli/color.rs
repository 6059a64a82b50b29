//! Colour: decoration only. Everything reads the same without it, and `NO_COLOR` is honoured.

use crate::plan::text::{Line, Tone};
use anstyle::{AnsiColor, Style};

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum When {
    /// On a terminal that can.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Chooses for the whole process.
pub(super) fn choose(when: When) {
    match when {
        When::Auto => {}
        When::Always => anstream::ColorChoice::Always.write_global(),
        When::Never => anstream::ColorChoice::Never.write_global(),
    }
}

/// Returns whether what goes to standard error may have colour.
pub(super) fn on_errors() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// Returns a text in a style.
pub(super) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

pub(super) const fn color(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(anstyle::Color::Ansi(color)))
}

/// Returns lines of a plan as text with colour; it is taken off again where it is not wanted.
pub(super) fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { tone, text: line } in lines {
        let style = match tone {
            Tone::Create => color(AnsiColor::Green),
            Tone::Change => color(AnsiColor::Yellow),
            Tone::Remove | Tone::Refusal => color(AnsiColor::Red),
            Tone::Correct | Tone::Unknown => color(AnsiColor::Magenta),
            Tone::Detail => Style::new().dimmed(),
            Tone::Summary => Style::new().bold(),
        };
        if *tone == Tone::Summary && lines.len() > 1 {
            text.push('\n');
        }
        text.push_str(&styled(style, line));
        text.push('\n');
    }
    text
}
