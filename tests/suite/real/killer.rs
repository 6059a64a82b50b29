//! Kills an apply at random instants of its work, however fast the machine is just then.

use super::home::Home;
use crate::clock;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How an apply was killed.
pub(super) struct Kill {
    /// The events that it had reported, one a line.
    pub(super) events: String,
    /// Whether it was still at work.
    pub(super) interrupted: bool,
}

/// Picks the instants.
pub(super) struct Killer {
    /// The time before each event of an apply that ended.
    gaps: Vec<Duration>,
    state: u64,
}

impl Killer {
    /// Measures an apply that changes something; it must succeed.
    #[track_caller]
    pub(super) fn measure(home: &Home) -> Self {
        let mut last = Instant::now();
        let mut apply = start(home);
        let mut gaps = Vec::new();
        let mut events = Vec::new();
        for line in BufReader::new(apply.stdout.take().expect("a pipe")).lines() {
            gaps.push(last.elapsed());
            last = Instant::now();
            events.push(line.expect("text"));
        }
        assert!(apply.wait().expect("waited for").success(), "{}", events.join("\n"));
        Self { gaps, state: 0x11a_3e40 }
    }

    /// Starts an apply and kills it.
    ///
    /// The instant is taken from the measured apply, and counted from the event before it: a machine that is faster or
    /// slower by now shifts it within one step, not past the end.
    pub(super) fn kill(&mut self, home: &Home) -> Kill {
        let mut rest = self.gaps.iter().sum::<Duration>().mul_f64(chance(&mut self.state));
        let mut before = 0;
        while let Some(left) = self.gaps.get(before).and_then(|gap| rest.checked_sub(*gap)) {
            (before, rest) = (before + 1, left);
        }
        let mut apply = start(home);
        let mut output = BufReader::new(apply.stdout.take().expect("a pipe"));
        let mut events = String::new();
        for _ in 0..before {
            output.read_line(&mut events).expect("text");
        }
        clock::pause(rest);
        apply.kill().expect("killed");
        let interrupted = apply.wait().expect("waited for").signal().is_some();
        while output.read_line(&mut events).expect("text") > 0 {}
        Kill { events, interrupted }
    }
}

fn start(home: &Home) -> std::process::Child {
    let mut apply: Command = home.command(&["apply", "--yes", "--json"]);
    apply.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("llamero runs")
}

/// Returns numbers that look as if by chance, the same at every run.
fn chance(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    f64::from(u32::try_from(*state >> 33).expect("31 bits")) / f64::from(1_u32 << 31)
}
