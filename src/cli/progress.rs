//! The progress of a pass: bars on a terminal, plain lines elsewhere, one JSON object a line when asked.

use super::color::{color, styled};
use super::printable::printable;
use super::problem;
use crate::apply::Event;
use crate::plan::Phase;
use crate::resource::Bytes;
use anstyle::AnsiColor;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The interval of reports on a long step where there are no bars.
const EVERY: Duration = Duration::from_secs(10);

/// Shows events.
pub(super) struct Progress {
    json: bool,
    bars: Option<MultiProgress>,
    steps: Mutex<BTreeMap<String, Step>>,
}

struct Step {
    bar: Option<ProgressBar>,
    reported: Instant,
    begun: Instant,
}

impl Progress {
    pub(super) fn new(json: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !json;
        let bars = terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self { json, bars, steps: Mutex::new(BTreeMap::new()) }
    }

    /// Shows one event.
    pub(super) fn show(&self, event: Event) {
        if self.json {
            // A reader that went away does not stop the pass.
            let _ = problem::print(&format!("{}\n", serde_json::to_string(&event).unwrap_or_default()));
            return;
        }
        match event {
            Event::Phase { phase, .. } => {
                let title = match phase {
                    Phase::Stage => "Staging",
                    Phase::Canary => "Changing one route",
                    Phase::Switch => "Switching",
                    Phase::Prune => "Pruning",
                    Phase::Purge => "Removing records",
                };
                self.print(&styled(anstyle::Style::new().bold(), title));
            }
            Event::Started { step, .. } => self.begin(step),
            Event::Progress { step, done, total, note } => self.advance(&step, done, total, note.as_deref()),
            Event::Done { step, took_ms } => {
                self.end(&step);
                let took = if took_ms >= 1000 { format!(" in {} s", took_ms.div_ceil(1000)) } else { String::new() };
                self.print(&format!("  {} {step}{took}", styled(color(AnsiColor::Green), "done")));
            }
            Event::Failed { step, why } => {
                self.end(&step);
                let why = why.lines().next().unwrap_or_default().to_owned();
                self.print(&format!("  {} {step}: {why}", styled(color(AnsiColor::Red), "failed")));
            }
            Event::Settling { for_ms } => {
                self.print(&format!("Verifying stability for {} s", for_ms.div_ceil(1000)));
            }
            Event::AwaitingConfirmation { within_ms, command, .. } => {
                let within = within_ms.div_ceil(1000);
                let text = format!("Healthy. Run `{command}` within {within} s or this change is rolled back");
                self.print(&styled(color(AnsiColor::Yellow).bold(), &text));
            }
            Event::RollingBack { to } => {
                let to = to.map_or_else(|| "to the empty state".to_owned(), |number| format!("to generation {number}"));
                self.print(&styled(color(AnsiColor::Yellow).bold(), &format!("Rolling back {to}")));
            }
            Event::Committed { .. } => {}
        }
    }

    fn print(&self, text: &str) {
        match &self.bars {
            Some(bars) => {
                let text = if super::color::on_errors() { text.to_owned() } else { plain(text) };
                // A terminal that went away does not stop the pass.
                let _ = bars.println(printable(&text));
            }
            None => problem::to_stderr(text),
        }
    }

    fn begin(&self, step: String) {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(spinner());
            bar.set_prefix(printable(&step).into_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let now = Instant::now();
        self.steps().insert(step, Step { bar, reported: now, begun: now });
    }

    fn advance(&self, step: &str, done: Option<u64>, total: Option<u64>, note: Option<&str>) {
        let mut line = None;
        if let Some(known) = self.steps().get_mut(step) {
            match (&known.bar, done, total) {
                (Some(bar), Some(done), Some(total)) => {
                    if bar.length() != Some(total) {
                        bar.set_length(total);
                        bar.set_style(bytes());
                    }
                    bar.set_position(done);
                }
                (Some(bar), Some(done), None) => bar.set_message(Bytes(done).to_string()),
                (Some(bar), None, _) => bar.set_message(printable(&shortened(note.unwrap_or_default())).into_owned()),
                (None, ..) if known.reported.elapsed() >= EVERY => {
                    known.reported = Instant::now();
                    line = Some(status_line(step, done, total, note, known.begun.elapsed()));
                }
                (None, ..) => {}
            }
        }
        if let Some(line) = line {
            self.print(&line);
        }
    }

    fn end(&self, step: &str) {
        if let Some(Step { bar: Some(bar), .. }) = self.steps().remove(step) {
            bar.finish_and_clear();
        }
    }

    fn steps(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Step>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status_line(step: &str, done: Option<u64>, total: Option<u64>, note: Option<&str>, since: Duration) -> String {
    let how_far = match (done, total) {
        (Some(done), Some(total)) => format!("{} of {}", Bytes(done), Bytes(total)),
        (Some(done), None) => Bytes(done).to_string(),
        _ => shortened(note.unwrap_or("in progress")),
    };
    format!("  … {step}, {} s: {how_far}", since.as_secs())
}

fn shortened(text: &str) -> String {
    let line = text.trim();
    if line.chars().count() <= 44 {
        return line.to_owned();
    }
    format!("{}…", line.chars().take(43).collect::<String>())
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("  {spinner} {prefix} {elapsed} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bytes() -> ProgressStyle {
    let template = "  {spinner} {prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {eta}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
