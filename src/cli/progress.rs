//! The progress of a pass: one line for each resource, updated in place on a terminal and printed once it is done
//! elsewhere; each call where that is asked for; one JSON object for each event where that is.

use super::color::{color, styled};
use super::printable::printable;
use super::problem;
use crate::apply::Event;
use crate::plan::{Group, Phase};
use crate::resource::Bytes;
use anstyle::AnsiColor;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The interval of reports on a long step where there are no bars.
const EVERY: Duration = Duration::from_secs(10);

/// The detail of what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// One line for each resource.
    Resources,
    /// One line for each call.
    Calls,
    /// One JSON object for each event.
    Json,
}

/// Shows events.
pub(super) struct Progress {
    detail: Detail,
    bars: Option<MultiProgress>,
    works: Mutex<Vec<Work>>,
}

/// What is done to one resource, or one call.
struct Work {
    title: String,
    /// The calls that are not done yet, each with its words.
    left: Vec<(String, &'static str)>,
    /// The number of all calls.
    calls: usize,
    begun: Option<Begun>,
}

/// What has begun.
struct Begun {
    bar: Option<ProgressBar>,
    at: Instant,
    reported: Instant,
}

impl Progress {
    pub(super) fn new(detail: Detail) -> Self {
        let terminal = std::io::stderr().is_terminal() && detail != Detail::Json;
        let bars = terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self { detail, bars, works: Mutex::new(Vec::new()) }
    }

    /// Shows one event.
    pub(super) fn show(&self, event: Event) {
        if self.detail == Detail::Json {
            // A reader that went away does not stop the pass.
            let _ = problem::print(&format!("{}\n", serde_json::to_string(&event).unwrap_or_default()));
            return;
        }
        match event {
            Event::Phase { phase, groups, .. } => {
                let title = match phase {
                    Phase::Stage => "Staging",
                    Phase::Canary => "Changing one route",
                    Phase::Switch => "Switching",
                    Phase::Prune => "Pruning",
                    Phase::Purge => "Removing records",
                };
                self.expect(groups);
                self.print(&styled(anstyle::Style::new().bold(), title));
            }
            Event::Started { step, .. } => self.begin(&step),
            Event::Progress { step, done, total, note } => self.advance(&step, done, total, note.as_deref()),
            Event::Done { step, .. } => {
                if let Some((title, took)) = self.done(&step) {
                    let took = if took.as_secs() > 0 { format!(" in {} s", took.as_secs()) } else { String::new() };
                    self.print(&format!("  {} {title}{took}", styled(color(AnsiColor::Green), "done")));
                }
            }
            Event::Failed { step, why } => {
                self.fail(&step);
                let why = why.lines().next().unwrap_or_default().to_owned();
                self.print(&format!("  {} {step}: {why}", styled(color(AnsiColor::Red), "failed")));
            }
            Event::StartedAgain { on } => {
                self.print(&format!("{on} ended meanwhile and was started again; waiting until it is healthy"));
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
                self.expect(Vec::new());
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

    /// Expects the steps of a phase. What an earlier one did not come to is forgotten.
    fn expect(&self, groups: Vec<Group>) {
        let mut works = self.works();
        works.iter().for_each(Work::clear);
        *works = match self.detail {
            Detail::Calls => Vec::new(),
            _ => groups.into_iter().map(Work::of).collect(),
        };
    }

    fn begin(&self, step: &str) {
        let mut works = self.works();
        let index = works.iter().position(|work| work.expects(step));
        let index = match index {
            Some(index) => index,
            // It needs no line of its own.
            None if self.detail != Detail::Calls => return,
            None => {
                let (title, left) = (step.to_owned(), vec![(step.to_owned(), "")]);
                works.push(Work { title, left, calls: 1, begun: None });
                works.len() - 1
            }
        };
        let work = &mut works[index];
        let begun = work.begun.get_or_insert_with(|| {
            let now = Instant::now();
            Begun { bar: self.bars.as_ref().map(|bars| bar(bars, &work.title)), at: now, reported: now }
        });
        if let Some(bar) = &begun.bar {
            // Bytes of an earlier call are none of this one.
            bar.set_style(spinner());
        }
        work.show(step, "");
    }

    fn advance(&self, step: &str, done: Option<u64>, total: Option<u64>, note: Option<&str>) {
        let mut line = None;
        let mut works = self.works();
        if let Some(work) = works.iter_mut().find(|work| work.expects(step))
            && let Some(known) = &mut work.begun
        {
            match (&known.bar, done, total) {
                (Some(bar), Some(done), Some(total)) => {
                    if bar.length() != Some(total) {
                        bar.set_length(total);
                        bar.set_style(bytes());
                    }
                    bar.set_position(done);
                }
                (Some(bar), Some(done), None) => bar.set_message(Bytes(done).to_string()),
                (Some(_), None, _) => work.show(step, note.unwrap_or_default()),
                (None, ..) if known.reported.elapsed() >= EVERY => {
                    known.reported = Instant::now();
                    line = Some(status_line(step, done, total, note, known.at.elapsed()));
                }
                (None, ..) => {}
            }
        }
        drop(works);
        if let Some(line) = line {
            self.print(&line);
        }
    }

    /// Notes that a call is done; returns what is done with it, and how long that took.
    fn done(&self, step: &str) -> Option<(String, Duration)> {
        let mut works = self.works();
        let index = works.iter().position(|work| work.expects(step))?;
        works[index].left.retain(|(call, _)| call != step);
        if !works[index].left.is_empty() {
            return None;
        }
        let work = works.remove(index);
        work.clear();
        Some((work.title, work.begun.map(|begun| begun.at.elapsed()).unwrap_or_default()))
    }

    /// Notes that a call failed: what it was part of will not be done.
    fn fail(&self, step: &str) {
        let mut works = self.works();
        if let Some(index) = works.iter().position(|work| work.expects(step)) {
            works.remove(index).clear();
        }
    }

    fn works(&self) -> std::sync::MutexGuard<'_, Vec<Work>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn of(group: Group) -> Self {
        Self { title: group.title, calls: group.calls.len(), left: group.calls, begun: None }
    }

    fn expects(&self, step: &str) -> bool {
        self.left.iter().any(|(call, _)| call == step)
    }

    /// Shows which of several calls is made, and its note.
    fn show(&self, step: &str, note: &str) {
        let Some(bar) = self.begun.as_ref().and_then(|begun| begun.bar.as_ref()) else { return };
        let words = self.left.iter().find(|(call, _)| call == step).map(|(_, words)| *words).unwrap_or_default();
        let place = format!("{} of {}, {words}", self.calls - self.left.len() + 1, self.calls);
        let text = match (self.calls, note.is_empty()) {
            (1, _) => note.to_owned(),
            (_, true) => place,
            (_, false) => format!("{place}: {note}"),
        };
        bar.set_message(printable(&shortened(&text)).into_owned());
    }

    fn clear(&self) {
        if let Some(Begun { bar: Some(bar), .. }) = &self.begun {
            bar.finish_and_clear();
        }
    }
}

fn bar(bars: &MultiProgress, title: &str) -> ProgressBar {
    let bar = bars.add(ProgressBar::new_spinner());
    bar.set_style(spinner());
    bar.set_prefix(printable(title).into_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
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
    ProgressStyle::with_template("  {spinner} {prefix}  {elapsed}  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bytes() -> ProgressStyle {
    let template = "  {spinner} {prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {eta}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
