//! `llamero diff`: how rendered files would change, line by line. Secrets are numbered masks.

use super::super::arguments::ManifestArgument;
use super::super::color::{self, color, styled};
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, error, print, to_stderr};
use crate::observe::{Depth, RenderedChange};
use crate::plan::text::warning_lines;
use crate::reconcile::{Options, blocked, check_coverage, prepare, rendered_changes};
use anstyle::AnsiColor;
use similar::TextDiff;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ManifestArgument,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = input::manifest(&arguments.manifest)?;
    check_coverage(&loaded, false, &input::notify)?;
    let revision = loaded.resolve(&input::notify).await?;
    let stack = loaded.stack(input::program()?)?;
    let prepared = prepare(&stack, revision, Depth::State, Options::default()).await?;
    let unknown = prepared.plan.undetermined.iter().map(|unknown| format!("{}: unknown, {unknown}\n", unknown.on));
    print(&rendered_changes(&stack, &prepared)?.iter().map(text).chain(unknown).collect::<String>())?;
    let warnings = color::text(&warning_lines(&prepared.plan.warnings));
    if !warnings.is_empty() {
        to_stderr(warnings.trim_end());
    }
    let refusals = &prepared.plan.refusals;
    for refusal in refusals {
        error(&refusal.message, refusal.hint.as_deref());
    }
    let blocked = blocked(refusals.iter().map(|refusal| refusal.kind));
    Ok(blocked.map_or_else(|| Exit::differs(prepared.plan.may_differ()), Exit::of))
}

fn text(change: &RenderedChange) -> String {
    let RenderedChange { on, live, declared, causes } = change;
    let causes = format!("{on}: {}\n", causes.join("; "));
    if live == declared {
        return causes;
    }
    let diff = TextDiff::from_lines(live.as_str(), declared.as_str());
    let header = (format!("{on} (live)"), format!("{on} (declared)"));
    let unified = diff.unified_diff().context_radius(3).header(&header.0, &header.1).to_string();
    // Where all of it comes or goes, the lines say it all.
    let mut text = if live.is_empty() || declared.is_empty() { String::new() } else { causes };
    for line in unified.lines() {
        let style = match line.as_bytes().first() {
            Some(b'+') => color(AnsiColor::Green),
            Some(b'-') => color(AnsiColor::Red),
            Some(b'@') => color(AnsiColor::Cyan),
            _ => anstyle::Style::new(),
        };
        text.push_str(&styled(style, line));
        text.push('\n');
    }
    text
}
