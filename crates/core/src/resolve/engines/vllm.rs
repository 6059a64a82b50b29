//! vLLM: one server for each model, which brings the model itself when it is one of the hub.
//!
//! Without a word it takes its own share of the GPU; a budget becomes that share.

use super::super::build::{Builder, Server};
use super::super::container::{Contained, listen};
use super::super::routes::Route;
use super::{gpus, llama_cpp, port_origin, route};
use crate::manifest::{Entry, Mode, Model, Provider, RuntimeName, Source, VllmFlag, vllm_flags};
use crate::resource::{
    AnswerKind, Command, GpuClaim, HttpProbe, ManifestPath, Meaning, Mount, MountSource, Note, Origin, Origins, Probe,
    Resource, ResourceId, Restart, Seconds, SleepCalls, Spec,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// How long it may load and compile without a sign of getting on, when nobody says otherwise; vLLM's own patience with
/// its engine (`VLLM_ENGINE_READY_TIMEOUT_S`).
const TIMEOUT: Seconds = Seconds::new(600);

/// The flag by which it is told the share of a GPU that it may take.
const SHARE: &str = "--gpu-memory-utilization";

/// Adds the servers of a provider's models; returns the routes to them.
pub(in super::super) fn add(builder: &mut Builder<'_>, provider: &Entry<Provider>) -> Vec<Route> {
    let path = format!("providers.{}", provider.name.value);
    let servers = super::ports(builder.manifest, provider);
    let share = builder.share_of_gpu(provider, servers.len());
    if let (Some(memory), true) = (&provider.value.memory, says_its_share(builder, provider)) {
        let note = Note::error("twice", "`memory` is the share of the GPU that `gpu_memory_utilization` says too");
        builder.note(note.hint("keep one of the two"), format!("{path}.memory"), &memory.span);
    }
    let mut routes = Vec::new();
    for (model, port) in servers {
        if let Some(id) = server(builder, provider, model, port, share.as_deref()) {
            restart_policy(builder, provider, &id, port);
        }
        routes.push(route(provider, model, prefix(model.value.mode), port));
    }
    routes
}

/// Returns the word by which `LiteLLM` knows how to talk to vLLM.
pub(in super::super) const fn prefix(mode: Mode) -> &'static str {
    match mode {
        Mode::Chat | Mode::Embedding => "hosted_vllm",
        Mode::Completion => llama_cpp::prefix(mode),
    }
}

fn server(
    builder: &mut Builder<'_>,
    provider: &Entry<Provider>,
    model: &Entry<Model>,
    port: u16,
    share: Option<&str>,
) -> Option<ResourceId> {
    let name = &model.name.value;
    let settings = &model.value;
    let Some(Source::Text(text)) = settings.source.as_ref().map(|source| &source.value) else { return None };
    // Nobody is told what is served here, and a log is written as it happens.
    let mut environment =
        BTreeMap::from(["VLLM_NO_USAGE_STATS", "PYTHONUNBUFFERED"].map(|name| (name.to_owned(), "1".to_owned())));
    let (source, revision) = match text.strip_prefix("hf:") {
        Some(rest) => {
            environment.insert("HF_ENDPOINT".to_owned(), builder.facts.hub.clone());
            let (repository, revision) =
                rest.split_once('@').map_or((rest, None), |(it, of)| (it, Some(of.to_owned())));
            // What the lock file says of it is the commit that the revision was at.
            let locked = builder.pin(text, model).and_then(|pin| pin.revision.clone());
            (repository.to_owned(), locked.or(revision))
        }
        None => {
            let folder = text.strip_prefix("file:").map_or(text.as_str(), |path| path.trim_start_matches("//"));
            (builder.facts.directories.expand(folder).to_string_lossy().into_owned(), None)
        }
    };
    let in_container = provider.value.runtime.as_ref().is_some_and(|runtime| runtime.value == RuntimeName::Docker);
    let mounts = if in_container { seen_inside(builder, text, &source) } else { Vec::new() };
    let path = ManifestPath::from(format!("models.{name}"));
    let declared = ManifestPath::from(format!("providers.{}", provider.name.value));
    let origin = |key: &str, value: &dyn ToString| Some(Origin::new(path.key(key), value.to_string()));
    let mut arguments = Command::default();
    // The image's own program is `vllm serve`.
    if provider.value.command.is_none() && !in_container {
        arguments.word("serve", None);
    }
    arguments.operand("model", source, origin("source", text));
    arguments.option("--served-model-name", name, Some(Origin::declared(path.clone())));
    arguments.option("--host", listen(provider.value.common()), None);
    arguments.option("--port", port, port_origin(provider, model));
    if let Some(revision) = revision {
        arguments.option("--revision", revision, origin("source", text));
    }
    if let Some(context) = &settings.context {
        arguments.option("--max-model-len", context.value, origin("context", &context.value));
    }
    if let Some(parallel) = &settings.parallel {
        arguments.option("--max-num-seqs", parallel.value, origin("parallel", &parallel.value));
    }
    if let Some(kind) = &settings.kv_cache_type {
        arguments.option("--kv-cache-dtype", &kind.value, origin("kv_cache_type", &kind.value));
    }
    if settings.mode == Mode::Embedding {
        arguments.option("--runner", "pooling", origin("mode", &settings.mode));
    }
    if let Some(share) = share {
        let memory = provider.value.memory.as_ref();
        arguments.option(
            SHARE,
            share,
            memory.map(|memory| Origin::new(declared.key("memory"), memory.value.0.exact())),
        );
    }
    let mut origins = Origins::default();
    if provider.value.sleep.value {
        let sleep = Origin::new(declared.key("sleep"), true);
        // Without the variable vLLM has no address to be sent to sleep by.
        environment.insert("VLLM_SERVER_DEV_MODE".to_owned(), "1".to_owned());
        origins.add("environment VLLM_SERVER_DEV_MODE", [sleep.clone()]);
        arguments.switch("--enable-sleep-mode", Some(sleep));
    }
    for VllmFlag { flag, value, setting, written } in vllm_flags(&provider.value.settings.0).0 {
        let origin = Some(Origin::new(declared.key("settings").key(&setting), written));
        match value {
            Some(value) => arguments.option(&flag, value, origin),
            None => arguments.switch(&flag, origin),
        }
    }
    let endpoint = format!("http://127.0.0.1:{port}");
    let part = if *name == provider.name.value { name.clone() } else { format!("{}-{name}", provider.name.value) };
    builder.server(&Server {
        part,
        role: format!("models.{name}"),
        span: model.name.span.clone(),
        description: format!("{name} on vLLM (llamero, stack {})", builder.manifest.stack.value),
        common: provider.value.common(),
        program: Some("vllm"),
        path: declared,
        arguments,
        environment,
        secrets: Vec::new(),
        ports: vec![port],
        probe: probe(endpoint, name),
        inputs: Vec::new(),
        needs: BTreeSet::new(),
        engine: Some("vllm"),
        last: Some((&settings.args.value.0, path.key("args"))),
        origins,
        working_directory: None,
        gpus: gpus(provider),
        contained: Contained { mounts, ipc_host: true, ..Contained::default() },
    })
}

/// Returns the question whether a server has loaded and offers a model, and its engine lives.
#[must_use]
pub fn probe(endpoint: String, model: &str) -> Probe {
    // It listens when the model is there and not before: whether it loads or is dead, its process shows.
    let meanings = vec![
        Meaning::loading(AnswerKind::Refused, "it does not listen before the model is there"),
        Meaning::unhealthy(AnswerKind::Status(503), "its engine is dead"),
    ];
    Probe::Http(HttpProbe::of_model(endpoint, "/health", meanings, model))
}

/// Returns whether a provider or one of its models says the share of the GPU that its servers take.
fn says_its_share(builder: &Builder<'_>, provider: &Entry<Provider>) -> bool {
    let models = builder.manifest.models.iter().filter(|model| model.value.provider.value == provider.name.value);
    let mut arguments = models.flat_map(|model| &model.value.args.value.0).chain(&provider.value.args.value.0);
    // vLLM takes both spellings of its flags.
    let flag = |word: &String| word.split('=').next().is_some_and(|word| word.replace('_', "-") == SHARE);
    arguments.any(flag) || provider.value.settings.0.get("gpu_memory_utilization").is_some()
}

/// Returns what a container sees of the host: the folder of the model, and what is kept of hub and compiler.
fn seen_inside(builder: &Builder<'_>, text: &str, source: &str) -> Vec<Mount> {
    let cache = builder.facts.directories.home.join(".cache");
    let kept = |name: &str| Mount {
        source: MountSource::Path(cache.join(name)),
        target: PathBuf::from("/root/.cache").join(name),
        read_only: false,
    };
    let mut mounts = vec![kept("huggingface"), kept("vllm")];
    if !text.starts_with("hf:") {
        mounts.push(Mount { source: MountSource::Path(source.into()), target: source.into(), read_only: true });
    }
    mounts
}

/// Returns the share of its GPUs that a command claims. The last word counts, in either spelling.
fn claim(argv: &[String]) -> GpuClaim {
    let is_share = |flag: &str| flag.replace('_', "-") == SHARE;
    let shares = argv.iter().zip(argv.iter().skip(1).map(Some).chain([None])).filter_map(|(word, next)| {
        match word.split_once('=') {
            Some((flag, share)) => is_share(flag).then_some(share),
            None => next.filter(|_| is_share(word)).map(String::as_str),
        }
    });
    shares.last().map_or(GpuClaim::Default, GpuClaim::parse)
}

/// Gives a server what it needs to stay: time to load, and a start whenever it ends.
fn restart_policy(builder: &mut Builder<'_>, provider: &Entry<Provider>, id: &ResourceId, port: u16) {
    let own = provider.value.health.timeout.is_some() || builder.manifest.policy.health.timeout.is_some();
    if let Some(Resource { spec: Spec::Run(run), .. }) = builder.resources.get_mut(id) {
        // It ends with success when its engine has died.
        run.restart = Restart::Always;
        if !own {
            run.timeout = TIMEOUT;
        }
        run.gpu_claim = (!run.gpus.is_none()).then(|| claim(&run.command.argv()));
        run.sleep = provider.value.sleep.value.then(|| SleepCalls {
            endpoint: format!("http://127.0.0.1:{port}"),
            // The weights go to host memory.
            sleep: "/sleep?level=1".to_owned(),
            wake: "/wake_up".to_owned(),
            state: "/is_sleeping".to_owned(),
            key: "is_sleeping".to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::lockfile::LockFile;
    use crate::manifest;
    use crate::resolve::{Desired, Directories, Facts, questions, resolve};
    use crate::resource::{GpuClaim, Restart, Run, Seconds};

    fn desired_of(text: &str) -> Desired {
        let (manifest, notes) = manifest::read(text);
        let manifest = manifest.unwrap_or_else(|| panic!("{notes:?}"));
        let [home, config, state, data] = ["/home/ai", "/c", "/s", "/d"].map(std::path::PathBuf::from);
        let directories = Directories { manifest: home.join("stack"), home, config, state, data };
        let programs = questions(&manifest, &directories).programs;
        let facts = Facts {
            secrets: [].into(),
            programs: programs.into_iter().map(|name| (name.clone(), format!("/usr/bin/{name}").into())).collect(),
            python: None,
            hub: "https://hub.example".to_owned(),
            hub_token: false,
            memory: None,
            pythons: [].into(),
            gpus: None,
            fetched: [].into(),
            directories,
        };
        let (desired, notes) = resolve(&manifest, &LockFile::default(), &facts);
        assert!(notes.is_empty(), "{notes:?}");
        desired
    }

    fn run(provider: &str, model: &str) -> Run {
        let text = format!(
            "version: 1\nstack: home\nproviders:\n  vllm: {{engine: vllm, runtime: systemd, port: 8100{provider}}}\n\
             models:\n  qwen3: {{provider: vllm, {model}}}\n"
        );
        let desired = desired_of(&text);
        let (_, run) = desired.runs().next().expect("a server");
        run.clone()
    }

    #[test]
    fn every_setting_is_in_the_command() {
        let settings = ", settings: {dtype: half, kv_cache_memory_bytes: 1GiB}, args: [--a]";
        let model =
            "source: \"hf:Qwen/Qwen3-8B@9c925d6\", context: 8192, parallel: 16, kv_cache_type: fp8, args: [--b]";
        let run = run(settings, model);
        let expected = "/usr/bin/vllm serve Qwen/Qwen3-8B --served-model-name qwen3 --host 127.0.0.1 --port 8100 \
                        --revision 9c925d6 --max-model-len 8192 --max-num-seqs 16 --kv-cache-dtype fp8 --dtype half \
                        --kv-cache-memory-bytes 1073741824 --a --b";
        assert_eq!(run.command.argv().join(" "), expected);
        assert_eq!(run.environment["HF_ENDPOINT"], "https://hub.example");
        assert_eq!(run.restart, Restart::Always);
    }

    #[test]
    fn a_server_claims_the_last_share_in_its_command() {
        let claim = |provider: &str, args: &str| {
            run(provider, &format!("source: ~/a, args: [{args}]")).gpu_claim.expect("vLLM claims a share")
        };
        assert_eq!(claim("", ""), GpuClaim::Default);
        let settings = ", settings: {gpu_memory_utilization: 0.5}";
        assert_eq!(claim(settings, ""), GpuClaim::Share(500_000));
        assert_eq!(claim(settings, "--gpu_memory_utilization=0.25"), GpuClaim::Share(250_000));
        assert_eq!(claim(settings, "--gpu-memory-utilization, \"0.4267\""), GpuClaim::Share(426_700));
    }

    #[test]
    fn a_folder_resolves_relative_to_the_manifest() {
        for (source, place) in [
            ("file:models/a", "/home/ai/stack/models/a"),
            ("file:///models/a", "/models/a"),
            ("./a", "/home/ai/stack/a"),
            ("~/a", "/home/ai/a"),
        ] {
            let run = run(", command: [vllm, serve]", &format!("source: \"{source}\", mode: embedding"));
            let expected = format!(
                "/usr/bin/vllm serve {place} --served-model-name qwen3 --host 127.0.0.1 --port 8100 --runner pooling"
            );
            assert_eq!(run.command.argv().join(" "), expected);
            assert!(!run.environment.contains_key("HF_ENDPOINT"));
        }
    }

    #[test]
    fn the_load_timeout_is_long_unless_the_manifest_sets_it() {
        assert_eq!(run("", "source: ~/a").timeout, Seconds::new(600));
        assert_eq!(run(", health: {timeout: 90s}", "source: ~/a").timeout, Seconds::new(90));
    }
}
