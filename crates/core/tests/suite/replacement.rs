//! Servers that cannot be changed: which calls replace one, from every state in which an interrupted apply leaves it.

use crate::sample;
use llamero_core::live::{Live, LiveRun, Observation, Ownership, Presence, RunState};
use llamero_core::plan::{Past, Plan, foresee_all, plan};
use llamero_core::resolve::{Desired, Policy};
use llamero_core::resource::{
    Container, Kind, Mount, MountSource, Origins, Prerequisite, Resource, ResourceId, Run, Runtime, Seconds, Spec,
};
use std::collections::{BTreeMap, BTreeSet};

fn server(image: &str) -> Resource {
    let mount = |source, target: &str, read_only| Mount { source, target: target.into(), read_only };
    let container = Container {
        image: image.to_owned(),
        network: Some("llamero-home".to_owned()),
        mounts: vec![
            mount(MountSource::Volume("data".to_owned()), "/data", false),
            mount(MountSource::Path("/srv/page".into()), "/page", false),
            mount(MountSource::Path("/srv/read".into()), "/read", true),
        ],
        ..Container::default()
    };
    let run = Run {
        container: Some(Box::new(container)),
        stop_timeout: Seconds::new(7),
        ..sample::run(Runtime::Docker, &[])
    };
    let id = ResourceId::new(Kind::Container, "page");
    Resource {
        role: "services.page".to_owned(),
        id,
        spec: Spec::Run(Box::new(run)),
        needs: BTreeSet::new(),
        origins: Origins::default(),
    }
}

fn aside() -> ResourceId {
    ResourceId::new(Kind::Container, "page.previous")
}

fn stack(resources: impl IntoIterator<Item = Resource>) -> Desired {
    let resources = resources.into_iter().map(|resource| (resource.id.clone(), resource)).collect();
    Desired { stack: "home".to_owned(), resources, policy: Policy::default(), ..Desired::default() }
}

fn live(resource: &Resource, phase: RunState) -> Presence {
    let fingerprint = resource.fingerprint();
    let definition = Some(Ownership { stack: "home".to_owned(), fingerprint: fingerprint.clone(), intact: true });
    let running = (phase == RunState::Running).then_some(fingerprint);
    Presence::Present(Live::Run(Box::new(LiveRun { definition, running, phase, ..LiveRun::stopped() })))
}

/// Returns a machine with what has the server's name, what stands aside, and all prerequisites.
fn machine(current: Presence, previous: Option<Presence>) -> Observation {
    let mut observed = Observation::default();
    observed.resources.insert(server("").id, current);
    observed.resources.extend(previous.map(|previous| (aside(), previous)));
    observed.networks.insert("llamero-home".to_owned(), Kind::Container);
    observed.prerequisites = [
        Prerequisite::Network("llamero-home".to_owned()),
        Prerequisite::Volume("data".to_owned()),
        Prerequisite::Folder("/srv/page".into()),
    ]
    .into();
    observed
}

fn past(image: &str) -> Past {
    let committed = server(image);
    let mut past = Past { committed: [(committed.id.clone(), committed.fields())].into(), ..Past::default() };
    past.learn([&committed]);
    past
}

fn lines(plan: &Plan) -> Vec<String> {
    let line = |step: &llamero_core::plan::Step| step.action.to_string();
    plan.steps.iter().map(line).collect()
}

/// Asserts the steps to `desired`, and that they leave nothing to do.
fn leads(desired: &Desired, observed: &Observation, past: &Past, expected: &[&str]) -> Plan {
    let planned = plan(desired, observed, past);
    assert_eq!(lines(&planned), expected);
    let done = foresee_all(desired, observed, &planned);
    assert!(plan(desired, &done, past).is_empty(), "{:?}", lines(&plan(desired, &done, past)));
    planned
}

const START: [&str; 2] = ["start container/page", "await health of container/page"];

#[test]
fn what_is_missing_is_created_first() {
    let desired = stack([server("page:1")]);
    let expected = ["create network llamero-home", "create volume data", "create folder /srv/page"];
    let expected = [&expected[..], &["create container/page"], &START].concat();
    let mut observed = machine(Presence::Absent, None);
    (observed.prerequisites, observed.networks) = (BTreeSet::new(), BTreeMap::new());
    leads(&desired, &observed, &Past::default(), &expected);
}

#[test]
fn another_takes_the_place_of_one_that_stands_aside_until_then() {
    let (running, desired) = (live(&server("page:1"), RunState::Running), stack([server("page:2")]));
    let expected = ["stop container/page", "set aside container/page", "create container/page"];
    let expected = [&expected[..], &START, &["remove the previous container/page"]].concat();
    let planned = leads(&desired, &machine(running, None), &past("page:1"), &expected);
    assert_eq!(planned.steps[0].arguments.stop_timeout, Some(Seconds::new(7)));
    let named = |index: usize| planned.steps[index].arguments.name.as_deref();
    assert_eq!((named(1), named(5)), (Some("page.previous"), Some("page.previous")));
}

#[test]
fn the_one_that_stands_aside_comes_back_in_place_of_one_that_was_never_verified() {
    let desired = stack([server("page:1")]);
    let previous = || Some(live(&server("page:1"), RunState::Stopped));
    let unverified = live(&server("page:2"), RunState::Running);
    let expected = ["stop container/page", "discard container/page", "restore container/page"];
    let expected = [&expected[..], &START].concat();
    leads(&desired, &machine(unverified, previous()), &past("page:1"), &expected);

    // Also where the other was not created any more.
    let expected = [&["restore container/page"][..], &START].concat();
    leads(&desired, &machine(Presence::Absent, previous()), &past("page:1"), &expected);
}

#[test]
fn one_that_was_never_verified_is_not_what_one_can_go_back_to() {
    let desired = stack([server("page:3")]);
    let unverified = live(&server("page:2"), RunState::Failed);
    let observed = machine(unverified, Some(live(&server("page:1"), RunState::Stopped)));
    let expected = ["discard container/page", "create container/page"];
    let expected = [&expected[..], &START, &["remove the previous container/page"]].concat();
    leads(&desired, &observed, &past("page:1"), &expected);
}

#[test]
fn what_an_interrupted_prune_left_aside_makes_room_for_the_verified_one() {
    let verified = || live(&server("page:2"), RunState::Running);
    let left = || Some(live(&server("page:1"), RunState::Stopped));
    let expected = [
        "stop container/page",
        "remove the previous container/page",
        "set aside container/page",
        "create container/page",
    ];
    let expected = [&expected[..], &START, &["remove the previous container/page"]].concat();
    leads(&stack([server("page:3")]), &machine(verified(), left()), &past("page:2"), &expected);

    // Without a change it is only removed.
    let expected = ["remove the previous container/page"];
    leads(&stack([server("page:2")]), &machine(verified(), left()), &past("page:2"), &expected);
}

#[test]
fn the_network_goes_with_the_last_that_was_in_it() {
    let running = live(&server("page:1"), RunState::Running);
    let left = Some(live(&server("page:0"), RunState::Stopped));
    let expected = [
        "stop container/page",
        "remove container/page",
        "remove container/page.previous",
        "remove network llamero-home",
    ];
    leads(&stack([]), &machine(running, left), &past("page:1"), &expected);
}
