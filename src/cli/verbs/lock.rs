//! `llamero lock`: holds every model to what its source leads to now. What is held already stays as it is.

use super::super::ManifestArgument;
use super::super::exit::Exit;
use super::super::load::{self, Loaded};
use super::super::problem::{Problem, print};
use super::super::progress::Progress;
use crate::apply::Event;
use crate::lockfile::{LIMIT, LockFile, Pin, Source};
use crate::observe;
use crate::resource::Bytes;
use crate::systems::output::{Format, Output};
use crate::systems::{downloads, http::Client};
use futures_util::stream::{StreamExt as _, iter};
use tokio_util::sync::CancellationToken;

/// How many sources are asked about at once.
const AT_ONCE: usize = 8;

/// The lock file. Everyone may read it: it goes into git.
const FORMAT: Format =
    Format { name: "a lock file", recognizes: LockFile::recognizes, limit: Bytes(LIMIT as u64), mode: 0o644 };

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ManifestArgument,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let loaded = load::manifest(&arguments.manifest)?;
    let output = output(&loaded).await?;
    let before = loaded.lock.clone().unwrap_or_default();
    let unused = before.unused(&loaded.manifest);
    let mut lock = before.clone();
    lock.pins.retain(|key, _| !unused.contains(key));
    let mut text = String::new();
    for (source, pin) in pins(&loaded, before.missing(&loaded.manifest)).await? {
        text.push_str(&format!("+ {}\n", line(&source.key, &pin)));
        lock.pins.insert(source.key, pin);
    }
    for key in &unused {
        text.push_str(&format!("- {key}\n"));
    }
    let path = loaded.lock_path.display();
    let count = lock.pins.len();
    let sources = if count == 1 { "1 source".to_owned() } else { format!("{count} sources") };
    if loaded.lock.as_ref() == Some(&lock) {
        print(&format!("{path} is up to date: {sources}\n"))?;
        return Ok(Exit::Done);
    }
    output.write(&lock.text())?;
    print(&format!("{text}{path} holds {sources}\n"))?;
    Ok(Exit::Done)
}

/// Opens the lock file, before anything is asked of a source.
pub(super) async fn output(loaded: &Loaded) -> Result<Output, Problem> {
    Ok(Output::open(&loaded.lock_path, FORMAT).await?)
}

/// Returns a source with what it is held to, as one line.
pub(super) fn line(key: &str, pin: &Pin) -> String {
    let size = pin.size.map(|size| format!("  {}", Bytes(size))).unwrap_or_default();
    format!("{key}  {}{size}", pin.sha256.short())
}

/// Returns what each source would be held to now; a source that does not tell ends it, and nothing is written.
pub(super) async fn pins(loaded: &Loaded, sources: Vec<Source>) -> Result<Vec<(Source, Pin)>, Problem> {
    let client = Client::new().map_err(|error| Problem::of(&error))?;
    let facts = load::known(loaded).await;
    let progress = Progress::new(false);
    let cancel = CancellationToken::new();
    let asked = iter(sources).map(|source| {
        let (client, facts, progress, cancel) = (&client, &facts, &progress, &cancel);
        async move {
            let step = format!("read {}", source.key);
            let tell = |downloads::Progress { received, total }: downloads::Progress| {
                progress.tell(Event::Progress { step: step.clone(), done: Some(received), total, note: None });
            };
            let pin = observe::pin(client, &source, facts, &tell, cancel).await;
            let pin = pin.map_err(|error| {
                let problem = Problem::of(&error);
                Problem { message: format!("{}: {}; nothing was changed", source.key, problem.message), ..problem }
            })?;
            Ok((source, pin))
        }
    });
    asked.buffered(AT_ONCE).collect::<Vec<Result<_, Problem>>>().await.into_iter().collect()
}
