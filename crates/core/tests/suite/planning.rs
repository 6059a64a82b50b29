//! Single decisions of the planner that are easily got wrong, each on the smallest stack that shows it.

use crate::sample;
use llamero_core::live::{Live, LiveRun, Observation, Ownership, Part, PortHolder, Presence, RunState, Unseen};
use llamero_core::plan::{Cause, Past, Plan, RefusalKind, foresee_all, plan};
use llamero_core::resolve::{Desired, Drift, Policy};
use llamero_core::resource::{
    Artifact, ArtifactSource, Bytes, Digest, Fingerprint, Health, Kind, Limits, Prerequisite, Resource, ResourceId,
    Run, Runtime, Spec,
};

fn server(kind: Kind, name: &str, port: u16, memory: u64) -> Resource {
    let memory = Some(Bytes(memory));
    let run = Run {
        description: name.to_owned(),
        limits: Limits { memory, cpu_percent: None },
        ports: vec![port],
        memory,
        ..sample::run(
            if kind == Kind::Unit { Runtime::Systemd } else { Runtime::Process },
            &["/bin/serve", &format!("--port={port}")],
        )
    };
    resource(ResourceId::new(kind, name), Spec::Run(Box::new(run)))
}

fn model(sha256: &str) -> Resource {
    let source = ArtifactSource::Url { url: "https://models.example/qwen3".to_owned(), token: None };
    let sha256 = Some(Digest::of(sha256));
    let artifact =
        Artifact { path: "/models/qwen3".into(), source, sha256, keep_free: Bytes(0), origin: "hf:qwen3".to_owned() };
    resource(ResourceId::new(Kind::Artifact, "qwen3"), Spec::Artifact(artifact))
}

fn resource(id: ResourceId, spec: Spec) -> Resource {
    Resource::new(id.clone(), id.name, spec)
}

fn stack(resources: impl IntoIterator<Item = Resource>, policy: Policy) -> Desired {
    let resources = resources.into_iter().map(|resource| (resource.id.clone(), resource)).collect();
    Desired { stack: "home".to_owned(), resources, policy, ..Desired::default() }
}

fn warn() -> Policy {
    Policy { drift: Drift::Warn, ..Policy::default() }
}

/// Returns `resource` defined as it is asked for and in `phase`.
fn live(resource: &Resource, phase: RunState) -> LiveRun {
    let fingerprint = resource.fingerprint();
    let definition = Ownership { stack: "home".to_owned(), fingerprint: fingerprint.clone(), intact: true };
    let memory_limit = resource.run().and_then(|run| run.limits.memory);
    let mut live = LiveRun { definition: Some(definition), phase, memory_limit, ..LiveRun::stopped() };
    live.running = live.is_up().then_some(fingerprint);
    live
}

fn see(observed: &mut Observation, resource: &Resource, live: Live) {
    observed.resources.insert(resource.id.clone(), Presence::Present(live));
}

/// Returns a machine on which `resources` run as they are asked for.
fn running<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Observation {
    let mut observed = Observation::default();
    for resource in resources {
        see(&mut observed, resource, Live::Run(Box::new(live(resource, RunState::Running))));
        for port in resource.run().map(|run| run.ports.as_slice()).unwrap_or_default() {
            let holder = PortHolder { pid: Some(1), command: "serve".to_owned(), resource: Some(resource.id.clone()) };
            observed.ports.insert(*port, holder);
        }
    }
    observed
}

fn past(desired: &Desired) -> Past {
    let committed = desired.resources.iter().map(|(id, resource)| (id.clone(), resource.fields())).collect();
    let mut past = Past { committed, ..Past::default() };
    past.learn(desired.resources.values());
    past
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

#[test]
fn one_changed_server_restarts_alone() {
    let (alpha, beta) = (server(Kind::Unit, "alpha", 8000, 1), server(Kind::Unit, "beta", 8001, 1));
    let observed = running([&alpha, &beta]);
    let before = stack([alpha.clone(), beta], Policy::default());
    let now = stack([alpha, server(Kind::Unit, "beta", 8002, 1)], Policy::default());
    let plan = plan(&now, &observed, &past(&before));
    let expected = [
        "#1 write unit/beta",
        "#2 reload unit files after #1",
        "#3 restart unit/beta after #2",
        "#4 await health of unit/beta after #3",
    ];
    assert_eq!(lines(&plan), expected);
    let ports: Vec<u16> = foresee_all(&now, &observed, &plan).ports.into_keys().collect();
    assert_eq!(ports, [8000, 8002]);
}

#[test]
fn two_servers_swap_their_ports_by_stopping_first() {
    let (alpha, beta) = (server(Kind::Process, "alpha", 8000, 1), server(Kind::Process, "beta", 8001, 1));
    let observed = running([&alpha, &beta]);
    let before = stack([alpha, beta], Policy::default());
    let swapped = [server(Kind::Process, "alpha", 8001, 1), server(Kind::Process, "beta", 8000, 1)];
    let expected = [
        "#1 stop process/alpha",
        "#2 stop process/beta",
        "#3 start process/alpha after #1 #2",
        "#4 await health of process/alpha after #3",
        "#5 start process/beta after #1 #2",
        "#6 await health of process/beta after #5",
    ];
    assert_eq!(lines(&plan(&stack(swapped, Policy::default()), &observed, &past(&before))), expected);
}

#[test]
fn memory_is_counted_by_the_limits_in_force() {
    // The last generation allowed alpha 1, but it still runs as an older one that allowed 6.
    let older = server(Kind::Process, "alpha", 8000, 6);
    let observed = running([&older]);
    let last = stack([server(Kind::Process, "alpha", 8000, 1)], Policy::default());
    let beta = server(Kind::Process, "beta", 8001, 5);
    let mut now = stack([server(Kind::Process, "alpha", 8000, 1), beta.clone()], Policy::default());
    now.memory = Some(Bytes(6));
    let observed = Observation {
        resources: observed.resources.into_iter().chain([(beta.id, Presence::Absent)]).collect(),
        ..observed
    };
    let plan = plan(&now, &observed, &past(&last));
    assert!(lines(&plan).contains(&"#4 start process/beta after #1".to_owned()), "{:?}", lines(&plan));
}

#[test]
fn a_retained_server_keeps_its_port_and_memory() {
    let old = server(Kind::Unit, "alpha", 8000, 4);
    let before = stack([old.clone()], Policy::default());
    let keeps = Policy { prune: false, ..Policy::default() };
    for (port, budget, refusal) in [(8000, 8, RefusalKind::PortTaken), (8001, 7, RefusalKind::OverBudget)] {
        let new = server(Kind::Process, "alpha", port, 4);
        let mut observed = running([&old]);
        observed.resources.insert(new.id.clone(), Presence::Absent);
        let now = Desired { memory: Some(Bytes(budget)), ..stack([new], keeps.clone()) };
        let plan = plan(&now, &observed, &past(&before));
        assert_eq!(plan.refusals.iter().map(|refusal| refusal.kind).collect::<Vec<_>>(), [refusal]);
    }
}

#[test]
fn a_server_that_an_apply_left_down_is_not_drift() {
    let alpha = server(Kind::Unit, "alpha", 8000, 1);
    let mut observed = Observation::default();
    see(&mut observed, &alpha, Live::Run(Box::new(live(&alpha, RunState::Stopped))));
    let now = stack([alpha], warn());
    let cut_off = plan(&now, &observed, &Past::default());
    assert_eq!(lines(&cut_off), ["#1 start unit/alpha", "#2 await health of unit/alpha after #1"]);
    let drifted = plan(&now, &observed, &past(&now));
    assert_eq!(lines(&drifted), [""; 0]);
    assert!(drifted.changes[0].left);
}

#[test]
fn files_written_by_a_failed_apply_are_not_drift() {
    let committed = stack([server(Kind::Unit, "alpha", 8000, 1)], warn());
    let observed = running([&server(Kind::Unit, "alpha", 8001, 1)]);
    let back = plan(&committed, &observed, &past(&committed));
    assert!(matches!(back.changes[0].causes[0], Cause::Unfinished(_)), "{:?}", back.changes);
    assert_eq!(back.steps.len(), 4);
}

#[test]
fn a_users_own_model_file_is_never_overwritten() {
    let model = model("wanted");
    let now = stack([model.clone()], Policy::default());
    let planned = |sha256: Option<Digest>, managed| {
        let mut observed = Observation::default();
        see(&mut observed, &model, Live::Artifact { size: 7, sha256, managed });
        (plan(&now, &observed, &past(&now)), observed)
    };
    let (theirs, _) = planned(Some(Digest::of("other")), false);
    assert_eq!(theirs.refusals[0].kind, RefusalKind::NotOurs);
    let (managed, _) = planned(Some(Digest::of("other")), true);
    assert_eq!(lines(&managed), ["#1 fetch artifact/qwen3"]);
    // To compute its digest does not make it ours.
    let (unverified, observed) = planned(None, false);
    assert_eq!(lines(&unverified), ["#1 verify artifact/qwen3"]);
    let expected = Live::Artifact { size: 7, sha256: Some(Digest::of("wanted")), managed: false };
    assert_eq!(foresee_all(&now, &observed, &unverified).resources[&model.id], Presence::Present(expected));
}

#[test]
fn a_changed_digest_is_a_cause() {
    let before = stack([model("old")], Policy::default());
    let now = stack([model("new")], Policy::default());
    let mut observed = Observation::default();
    see(&mut observed, &model("old"), Live::Artifact { size: 7, sha256: Some(Digest::of("old")), managed: true });
    let plan = plan(&now, &observed, &past(&before));
    assert!(matches!(&plan.changes[0].causes[..], [Cause::Field(change)] if change.name == "sha256"));
    assert_eq!(lines(&plan), ["#1 fetch artifact/qwen3"]);
}

#[test]
fn a_resource_of_another_stack_is_a_conflict() {
    let alpha = server(Kind::Unit, "alpha", 8000, 1);
    let mut theirs = live(&alpha, RunState::Running);
    let fingerprint = Fingerprint::of(&alpha.fields());
    theirs.definition = Some(Ownership { stack: "another".to_owned(), fingerprint, intact: true });
    let mut observed = Observation::default();
    see(&mut observed, &alpha, Live::Run(Box::new(theirs)));
    let plan = plan(&stack([alpha], Policy::default()), &observed, &Past::default());
    assert_eq!(plan.refusals[0].kind, RefusalKind::NotOurs);
    assert!(plan.is_empty());
}

#[test]
fn what_could_not_be_listed_blocks_what_would_prune_or_create_by_it() {
    let web = server(Kind::Unit, "web", 3000, 1 << 20);
    let volume = Part::Prerequisite(Kind::Container, Prerequisite::Volume("data".to_owned()));
    let listed = [Part::Servers(Kind::Container), Part::Networks(Kind::Container)];
    for (part, prune, blocks) in listed
        .into_iter()
        .flat_map(|part| [(part.clone(), true, true), (part, false, false)])
        .chain([(volume.clone(), true, true), (volume, false, true)])
    {
        let desired = stack([web.clone()], Policy { prune, ..Policy::default() });
        let mut observed = Observation::default();
        observed.resources.insert(web.id.clone(), Presence::Absent);
        let unseen = Unseen { why: "no answer".to_owned(), hint: Some("start it".to_owned()) };
        observed.unseen.insert((part.clone(), unseen));
        let planned = plan(&desired, &observed, &Past::default());
        let refusals: Vec<_> = planned.refusals.iter().map(|it| (it.kind, it.hint.as_deref())).collect();
        let expected = if blocks { vec![(RefusalKind::Unseen, Some("start it"))] } else { Vec::new() };
        assert_eq!((refusals, planned.is_empty()), (expected, blocks), "{part}, pruning: {prune}");
    }
}

/// A manager starts a server again for ever. One that no generation committed may crash for want of what the next plan gives
/// it, so that plan starts it; one that is committed is left to its manager.
#[test]
fn a_server_that_crashes_is_started_anew_unless_it_is_committed() {
    let it = server(Kind::Unit, "a", 8000, 1);
    let now = stack([it.clone()], Policy::default());
    let mut observed = running([&it]);
    see(&mut observed, &it, Live::Run(Box::new(live(&it, RunState::BackingOff))));
    let steps = |known: &Past| plan(&now, &observed, known).steps.iter().map(ToString::to_string).collect::<Vec<_>>();
    let crashed = steps(&Past::default());
    assert!(crashed.iter().any(|step| step.contains("restart unit/a")), "{crashed:?}");
    assert_eq!(steps(&past(&now)), Vec::<String>::new());
}

#[test]
fn a_server_that_an_apply_left_loading_is_awaited_and_one_that_keeps_crashing_is_started_anew() {
    let it = server(Kind::Unit, "it", 8080, 0);
    let desired = stack([it.clone()], Policy::default());
    let left = |restarts: u32| {
        let mut observed = running([&it]);
        let loading = LiveRun { health: Some(Health::loading("loading")), restarts, ..live(&it, RunState::Running) };
        see(&mut observed, &it, Live::Run(Box::new(loading)));
        observed
    };
    let lines = |restarts, past: &Past| lines(&plan(&desired, &left(restarts), past));
    assert_eq!(lines(0, &Past::default()), ["#1 await health of unit/it"]);
    assert_eq!(lines(1, &Past::default()), ["#1 restart unit/it", "#2 await health of unit/it after #1"]);
    // One that could not be asked is not known to be unhealthy.
    let mut observed = running([&it]);
    let not_asked = Some(Health::NotAsked { why: "its key cannot be read".to_owned(), hint: None });
    let live = LiveRun { health: not_asked, restarts: 1, ..live(&it, RunState::Running) };
    see(&mut observed, &it, Live::Run(Box::new(live)));
    assert!(plan(&desired, &observed, &Past::default()).steps.is_empty());
    // What was committed loads again by itself.
    assert!(lines(0, &past(&desired)).is_empty() && lines(1, &past(&desired)).is_empty());
}
