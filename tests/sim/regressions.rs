//! Schedules that broke a statement once, in their simplest form. They run before all others.

use crate::schedule::{Blow, Confirming, Drift, Episode, Fault, Schedule};
use crate::stacks::{Declaration, PARTS};
use crate::truth::Behaviour;
use std::time::Duration;

/// Returns a declaration of some parts, each with its version.
pub(crate) fn declared(parts: &[(usize, u8)]) -> Declaration {
    let mut declaration = Declaration { present: [false; PARTS], ..Declaration::default() };
    for (part, version) in parts {
        declaration.present[*part] = true;
        declaration.versions[*part] = *version;
    }
    declaration
}

/// Returns one whose gateway does not hand its port on.
fn plain(parts: &[(usize, u8)]) -> Declaration {
    Declaration { hands_on: false, ..declared(parts) }
}

fn calm(declaration: Declaration) -> Episode {
    Episode { declaration, timers: true, ..Episode::default() }
}

/// Returns each schedule with what it shows.
pub(crate) fn all() -> Vec<(&'static str, Schedule)> {
    let schedule = |episodes| Schedule { seed: 0, episodes };
    let gateway = [(3, 0), (4, 1)];
    vec![
        (
            "a confirmation that comes after a killed rollback commits nothing that is half removed",
            schedule(vec![
                Episode {
                    cancel: Some((5167, true)),
                    confirming: Some(Confirming { within: 36, comes: Some(36) }),
                    ..calm(declared(&gateway))
                },
                calm(Declaration { warn: true, ..declared(&gateway) }),
            ]),
        ),
        (
            "the source of a removed model stays where another declared model is that source",
            schedule(vec![
                calm(declared(&[(5, 3)])),
                calm(declared(&[(2, 0)])),
                calm(declared(&[(5, 0)])),
                calm(declared(&[(5, 0), (6, 0)])),
            ]),
        ),
        (
            "a model whose making was cut off is made once its server is back",
            schedule(vec![Episode {
                kill: Some((67, false)),
                ..calm(declared(&[(0, 0), (1, 0), (2, 0), (4, 0), (5, 1)]))
            }]),
        ),
        (
            "what crashes for want of what the next apply gives it is started by that apply",
            schedule(vec![
                calm(declared(&[(5, 0), (6, 0)])),
                Episode {
                    drift: vec![Drift::ForeignServer(5)],
                    ..calm(Declaration { prune: false, ..declared(&[(6, 3)]) })
                },
            ]),
        ),
        (
            "a rehearsal that is cancelled is interrupted, and has not failed",
            schedule(vec![
                calm(declared(&[(4, 0)])),
                Episode { rehearse: true, blow: Some((4, Blow::Cancel)), ..calm(declared(&[(4, 0), (6, 0)])) },
            ]),
        ),
        (
            "what was unhealthy before and after was never healthy in between",
            schedule(vec![
                calm(Declaration { hands_on: false, ..declared(&[(4, 0)]) }),
                Episode {
                    drift: vec![Drift::Sicken(4)],
                    behaviours: vec![(
                        4,
                        Behaviour { dies: Some((Duration::from_millis(72), true)), ..Behaviour::HEALTHY },
                    )],
                    ..calm(Declaration { hands_on: false, ..declared(&[(4, 0), (6, 0)]) })
                },
            ]),
        ),
        (
            "a rehearsal leaves what an interrupted apply started as it is",
            schedule(vec![
                Episode { cancel: Some((2110, false)), ..calm(declared(&[(5, 0)])) },
                Episode { rehearse: true, ..calm(declared(&[(5, 0)])) },
            ]),
        ),
        (
            "an instance that an earlier rollback could not remove is no part of a rehearsal",
            schedule(vec![
                calm(declared(&[(0, 3), (4, 3)])),
                Episode {
                    drift: vec![Drift::Disable(0)],
                    confirming: Some(Confirming { within: 16, comes: None }),
                    faults: vec![Fault { step: 25, transient: true, ..Fault::default() }],
                    ..calm(Declaration { hands_on: false, ..declared(&[(0, 0), (4, 0)]) })
                },
                Episode { rehearse: true, ..calm(Declaration { hands_on: false, ..declared(&[(4, 0)]) }) },
            ]),
        ),
        (
            "a server is removed although a model of another cannot be",
            schedule(vec![
                Episode { cancel: Some((2467, false)), ..calm(declared(&[(1, 0), (5, 0)])) },
                Episode { timers: false, unattended: true, ..calm(declared(&[(6, 0)])) },
            ]),
        ),
        (
            "a model whose server is gone makes nothing expire",
            schedule(vec![
                calm(declared(&[(4, 3)])),
                Episode {
                    confirming: Some(Confirming { within: 21, comes: Some(50) }),
                    second: Some((42_980, declared(&[(1, 1), (2, 1), (3, 3), (4, 0), (5, 2), (6, 0)]))),
                    ..calm(declared(&[(6, 0)]))
                },
                Episode {
                    faults: vec![
                        Fault { step: 24, transient: true, ..Fault::default() },
                        Fault { step: 12, ..Fault::default() },
                    ],
                    second: Some((18_327, declared(&[(0, 1), (2, 2), (3, 2), (4, 0), (5, 2), (6, 0)]))),
                    ..calm(declared(&[(0, 0), (2, 0), (3, 2), (6, 0)]))
                },
            ]),
        ),
        (
            "what only a failed generation needs expires with the plan after it, whatever else that changes",
            schedule(vec![Episode {
                full: Some((6, 11, true)),
                second: Some((61_446, declared(&[(0, 1), (2, 2), (3, 1), (4, 3), (5, 3), (6, 2)]))),
                ..calm(Declaration { rollback: false, ..declared(&[(6, 0)]) })
            }]),
        ),
        (
            "what crashes for want of a GPU is started by the apply that frees it, also where it is seen up",
            schedule(vec![
                calm(plain(&[(0, 0), (4, 0), (6, 0)])),
                calm(Declaration { prune: false, ..plain(&[(3, 0), (6, 1)]) }),
                Episode {
                    hung: Some((11, true)),
                    ..calm(Declaration { prune: false, ..plain(&[(0, 3), (3, 0), (4, 0), (6, 1)]) })
                },
            ]),
        ),
        (
            "what ends during an apply and is started again is stable before the commit",
            schedule(vec![
                Episode {
                    behaviours: vec![(
                        2,
                        Behaviour { dies: Some((Duration::from_millis(7_340), true)), ..Behaviour::HEALTHY },
                    )],
                    ..calm(declared(&[(2, 3), (5, 0)]))
                },
                Episode { blow: Some((4, Blow::Suspend(14))), ..calm(declared(&[(2, 3)])) },
            ]),
        ),
        (
            "a server that was unhealthy before does not count, though an apply before died and touched nothing",
            schedule(vec![
                calm(plain(&[(2, 0), (6, 0)])),
                Episode { kill: Some((10, false)), ..calm(plain(&[(2, 2)])) },
                Episode { drift: vec![Drift::Sicken(6)], ..calm(plain(&[(6, 0)])) },
            ]),
        ),
        (
            "nothing is rehearsed between two generations",
            schedule(vec![
                calm(Declaration { rollback: false, ..declared(&[(4, 3)]) }),
                Episode {
                    broken_route: true,
                    ..calm(Declaration { rollback: false, canary: true, ..declared(&[(4, 0)]) })
                },
                Episode { rehearse: true, ..calm(Declaration { rollback: false, ..declared(&[(4, 0)]) }) },
            ]),
        ),
        (
            "a switch that fires ends those before it",
            schedule(vec![
                Episode {
                    confirming: Some(Confirming { within: 12, comes: None }),
                    kill: Some((121, true)),
                    ..calm(declared(&[(2, 0)]))
                },
                Episode { kill: Some((11, false)), ..calm(declared(&[(5, 0)])) },
            ]),
        ),
        (
            "what only the oldest generation and a failed one need expires with the next plan",
            schedule(vec![
                calm(declared(&[(5, 3)])),
                calm(declared(&[(5, 0)])),
                calm(declared(&[(3, 0), (5, 0)])),
                Episode {
                    full: Some((8, 12, false)),
                    blow: Some((15, Blow::Supersede(declared(&[(3, 2), (5, 1), (6, 1)])))),
                    ..calm(declared(&[(5, 0), (6, 0)]))
                },
            ]),
        ),
        (
            "what ends while a confirmation is awaited is not committed as healthy",
            schedule(vec![Episode {
                confirming: Some(Confirming { within: 41, comes: Some(42) }),
                behaviours: vec![(
                    0,
                    Behaviour { dies: Some((Duration::from_millis(6_119), true)), ..Behaviour::HEALTHY },
                )],
                ..calm(declared(&[(0, 0)]))
            }]),
        ),
        (
            "a rollback starts what crashed because of what it takes back",
            schedule(vec![
                calm(declared(&[(6, 3)])),
                Episode {
                    full: Some((7, 13, false)),
                    kill: Some((42, true)),
                    second: Some((70_028, declared(&[(2, 0), (5, 1), (6, 0)]))),
                    ..calm(declared(&[(5, 0), (6, 0)]))
                },
            ]),
        ),
        (
            "a rehearsal corrects nothing that was edited by hand",
            schedule(vec![
                calm(Declaration { rollback: false, ..declared(&[(4, 0)]) }),
                Episode {
                    drift: vec![Drift::EditDefinition(4)],
                    rehearse: true,
                    ..calm(Declaration { rollback: false, ..declared(&[(4, 0)]) })
                },
            ]),
        ),
        (
            "a unit whose file was removed while it crashed is still known to be the stack's",
            schedule(vec![
                calm(declared(&[(6, 3)])),
                Episode {
                    faults: vec![Fault { step: 10, ..Fault::default() }],
                    ..calm(Declaration { prune: false, ..declared(&[(0, 0), (6, 0)]) })
                },
                Episode { drift: vec![Drift::RemoveDefinition(6)], ..calm(declared(&[(6, 0)])) },
            ]),
        ),
        (
            "what ends while another server takes its time to answer is not committed as healthy",
            schedule(vec![Episode {
                behaviours: vec![
                    (
                        6,
                        Behaviour {
                            unhealthy: Some((Duration::from_millis(3_246), Duration::from_millis(6_917))),
                            ..Behaviour::HEALTHY
                        },
                    ),
                    (1, Behaviour { dies: Some((Duration::from_millis(4_737), true)), ..Behaviour::HEALTHY }),
                ],
                ..calm(declared(&[(1, 0), (6, 3)]))
            }]),
        ),
        (
            "a server that was removed by hand and is left so does not count",
            schedule(vec![
                calm(declared(&[(5, 0)])),
                Episode {
                    drift: vec![Drift::ForeignServer(5), Drift::RemoveDefinition(5)],
                    ..calm(Declaration { warn: true, ..declared(&[(5, 0)]) })
                },
            ]),
        ),
        (
            "what crashes since another has its GPU is started once that one is gone, also where it was committed",
            schedule(vec![
                calm(declared(&[(6, 3)])),
                Episode {
                    kill: Some((27, true)),
                    kill_switch: Some(2),
                    second: Some((55_819, declared(&[(0, 0), (1, 0), (2, 0), (3, 2), (4, 0), (5, 3), (6, 0)]))),
                    ..calm(declared(&[(6, 3)]))
                },
            ]),
        ),
    ]
}
