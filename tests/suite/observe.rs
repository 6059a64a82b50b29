//! Observation: the systems of a machine are asked side by side, one that hangs delays no other, and one that went away and
//! came back is found again.

use crate::fakes::machine::{FakeMachine, Wires};
use crate::sample;
use llamero::live::{Live, Observation, Presence, RunState};
use llamero::observe::{Depth, observe};
use llamero::resolve::{Desired, Policy};
use llamero::resource::{Bytes, Kind, OllamaName, Resource, ResourceId, Runtime, ServedModel, Spec};

fn unit() -> ResourceId {
    ResourceId::new(Kind::Unit, "home-page")
}

fn container() -> ResourceId {
    ResourceId::new(Kind::Container, "home-page")
}

fn model() -> ResourceId {
    ResourceId::new(Kind::Model, "tiny")
}

/// Returns a stack with something on each system.
fn desired(ollama: &str) -> Desired {
    let name = OllamaName::parse("tiny").expect("a name");
    let model_of = ServedModel {
        endpoint: ollama.to_owned(),
        name: name.clone(),
        source: name,
        insecure: false,
        sha256: None,
        keep_free: Bytes(0),
        parameters: serde_json::Map::new(),
        template: None,
        system: None,
        pinned: false,
        embedding: false,
        manifest: None,
    };
    let run = |runtime| Spec::Run(Box::new(sample::run(runtime, &["/bin/page"])));
    let resources = [
        Resource::new(unit(), "services.page", run(Runtime::Systemd)),
        Resource::new(container(), "services.other", run(Runtime::Docker)),
        Resource::new(model(), "models.tiny", Spec::Model(Box::new(model_of))),
    ];
    Desired {
        resources: resources.into_iter().map(|resource| (resource.id.clone(), resource)).collect(),
        ..Desired::nothing("home", Policy::default())
    }
}

async fn look(machine: &FakeMachine) -> Observation {
    observe(&machine.systems, &desired(&machine.ollama), &[], Depth::State).await
}

fn runs(observed: &Observation) -> bool {
    matches!(&observed.resources[&unit()], Presence::Present(Live::Run(run)) if run.phase == RunState::Running)
}

#[tokio::test]
async fn no_system_waits_for_another() {
    // Each answers only once the others have been asked too.
    let all: &[&str] = &["systemd", "docker", "ollama"];
    let machine = FakeMachine::start(Wires::new(&[("systemd", all), ("docker", all), ("ollama", all)]), "1.41").await;
    let observed = look(&machine).await;
    assert!(runs(&observed), "{observed:?}");
    assert_eq!(observed.resources[&container()], Presence::Absent);
    // Nothing could be pulled for it: its registry is nowhere.
    assert_eq!(observed.resources[&model()], Presence::Absent);
    assert_eq!(machine.wires.calls("systemd"), ["Subscribe", "ActiveState"]);
    let mut engine = machine.wires.calls("docker");
    engine.sort();
    let expected = ["/containers/home-page/json", "/containers/json", "/info", "/networks"];
    let expected: Vec<String> = expected.iter().map(|path| format!("GET /v1.41{path}")).collect();
    assert_eq!(engine, [expected, vec!["GET /version".to_owned()]].concat());
    let mut ollama = machine.wires.calls("ollama");
    ollama.sort();
    assert_eq!(ollama, ["GET /api/ps", "GET /api/tags"]);
}

#[tokio::test]
async fn a_system_that_hangs_is_unknown_and_the_others_are_reported() {
    for (hung, deadline) in [("ollama", 15), ("docker", 15), ("systemd", 10)] {
        let machine = FakeMachine::start(Wires::new(&[(hung, &["never"])]), "1.41").await;
        let asked_all = machine.wires.until(|asked| {
            let count = |system| asked.get(system).map_or(0, Vec::len);
            let counts = [("systemd", 2), ("docker", 5), ("ollama", 2)]
                .map(|(system, most)| (system == hung, count(system), most));
            counts.iter().all(|(hangs, count, most)| if *hangs { *count > 0 } else { count == most })
        });
        let observation = async {
            // From here on only deadlines are waited for: the others have been asked all they are asked, and answer.
            let (observed, ()) = tokio::join!(look(&machine), async {
                asked_all.await;
                tokio::time::pause();
            });
            observed
        };
        let observed = observation.await;
        let of = [("systemd", unit()), ("docker", container()), ("ollama", model())];
        for (system, id) in of {
            let presence = &observed.resources[&id];
            match presence {
                Presence::Unknown(why) => {
                    assert_eq!(system, hung, "{why}");
                    assert!(why.contains(&format!("{deadline} s")) || hung == "systemd", "{why}");
                }
                _ => assert_ne!(system, hung, "{presence:?}"),
            }
        }
        // It was not asked again and again.
        assert!(machine.wires.calls(hung).len() <= 2, "{:?}", machine.wires.calls(hung));
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_manager_that_comes_back_is_found_again() {
    let machine = FakeMachine::start(Wires::new(&[]), "1.41").await;
    let observed = look(&machine).await;
    assert!(runs(&observed), "{observed:?}");
    let observed = look(&machine).await;
    assert!(runs(&observed), "{observed:?}");
    assert_eq!(machine.managers.lock().expect("no panic").len(), 1, "one connection serves for all");
    let gone = machine.managers.lock().expect("no panic").pop().expect("a connection");
    gone.close().await.expect("closed");
    let observed = look(&machine).await;
    assert!(runs(&observed), "{observed:?}");
    assert_eq!(machine.managers.lock().expect("no panic").len(), 1, "another connection was made");
}

#[tokio::test]
async fn a_manager_that_goes_while_it_is_asked_is_asked_again() {
    let machine = FakeMachine::start(Wires::new(&[("leaves", &[])]), "1.41").await;
    let observed = look(&machine).await;
    assert!(runs(&observed), "{observed:?}");
    let calls = machine.wires.calls("systemd");
    assert_eq!(calls, ["Subscribe", "ActiveState", "Subscribe", "ActiveState"]);
}

#[tokio::test]
async fn an_engine_that_was_restarted_is_found_again_in_its_new_version() {
    let machine = FakeMachine::start(Wires::new(&[]), "1.41").await;
    assert_eq!(look(&machine).await.resources[&container()], Presence::Absent);
    machine.stop_engine().await;
    let Presence::Unknown(why) = &look(&machine).await.resources[&container()] else { panic!("nothing answers") };
    assert!(why.contains("docker.sock"), "{why}");
    machine.start_engine("1.44");
    assert_eq!(look(&machine).await.resources[&container()], Presence::Absent);
    let last = machine.wires.calls("docker").pop().expect("a call");
    assert!(last.starts_with("GET /v1.44/"), "{last}");
}
