//! One thing at every instant: a few applies, each interrupted at each of its ticks in every way.

use crate::drive;
use crate::regressions::declared;
use crate::schedule::{Blow, Confirming, Episode, Schedule};
use crate::stacks::Declaration;
use crate::truth::Behaviour;

fn calm(declaration: Declaration) -> Episode {
    Episode { declaration, timers: true, ..Episode::default() }
}

/// Returns applies that go through every state of a transaction, with their names.
fn bases() -> Vec<(&'static str, Vec<Episode>)> {
    let before = declared(&[(0, 0), (1, 0), (2, 0), (4, 0), (5, 1)]);
    let after = declared(&[(0, 1), (1, 1), (2, 1), (4, 1), (5, 2), (6, 0)]);
    let asleep = [declared(&[(6, 0)]), declared(&[(6, 1)])].map(calm);
    let unhealthy = Behaviour { ready: None, ..Behaviour::HEALTHY };
    let confirming = Some(Confirming { within: 20, comes: Some(12) });
    vec![
        ("a first apply", vec![calm(before.clone())]),
        ("a change", vec![calm(before.clone()), calm(after.clone())]),
        (
            "a rollback",
            vec![calm(before.clone()), Episode { behaviours: vec![(1, unhealthy.clone())], ..calm(after.clone()) }],
        ),
        ("a confirmation", vec![calm(before.clone()), Episode { confirming, ..calm(after.clone()) }]),
        ("a canary", vec![calm(before.clone()), calm(Declaration { canary: true, ..after.clone() })]),
        ("a rehearsal", vec![calm(before.clone()), Episode { rehearse: true, ..calm(after.clone()) }]),
        ("a server that sleeps", asleep.to_vec()),
        ("all that is removed", vec![calm(after), calm(declared(&[(0, 1)]))]),
        ("a sleeping server that is woken", {
            let [first, second] = asleep;
            vec![first, Episode { behaviours: vec![(6, unhealthy)], ..second }]
        }),
    ]
}

/// Returns every schedule of the sweep whose tick is a multiple of `every`.
pub(crate) fn schedules(every: u32) -> Vec<Schedule> {
    let mut all = Vec::new();
    for (_, episodes) in bases() {
        let base = Schedule { seed: 0, episodes };
        let ticks = drive::run(&base).ticks;
        for tick in (1..=ticks).step_by(every as usize) {
            let mut with = |change: &dyn Fn(&mut Episode)| {
                let mut schedule = base.clone();
                change(schedule.episodes.last_mut().expect("there is one"));
                all.push(schedule);
            };
            let other = declared(&[(0, 2), (1, 1), (4, 2)]);
            with(&|episode| episode.kill = Some((tick, false)));
            with(&|episode| episode.kill = Some((tick, true)));
            for blow in [Blow::Cancel, Blow::Second(other.clone()), Blow::Supersede(other), Blow::Suspend(200)] {
                with(&|episode| episode.blow = Some((tick, blow.clone())));
            }
        }
    }
    all
}
