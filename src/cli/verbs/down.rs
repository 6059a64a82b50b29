//! `llamero down`: the wish for nothing, by the same way as every other.

use super::super::exit::Exit;
use super::super::problem::{Problem, note};
use super::super::{StackArgument, load};
use super::apply::{OutputMode, carry_out, command};
use crate::history::Revision;
use crate::observe::Depth;
use crate::reconcile::{Options, prepare};
use crate::resolve::{Desired, Drift, Policy};
use crate::resource::{ArtifactSource, Digest, Kind, Spec};
use crate::systems::{artifacts, clock, downloads, files, pulled};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stack: StackArgument,
    /// Remove models, environments and the history too
    #[arg(long)]
    purge: bool,
    /// Agree to the changes beforehand
    #[arg(short, long)]
    yes: bool,
    /// Print what happens as one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let stack = load::stack_of(&arguments.stack)?;
    let _lock = stack.history.lock(&command())?;
    let policy = Policy { drift: Drift::Correct, prune: true, rollback: false };
    let revision = Revision {
        begun: clock::now(),
        llamero: env!("CARGO_PKG_VERSION").to_owned(),
        manifest: PathBuf::new(),
        manifest_digest: Digest::of(""),
        lock_digest: None,
        manifest_text: String::new(),
        origin: Some("down".to_owned()),
        desired: Desired::nothing(stack.name.clone(), policy),
        orphans: Vec::new(),
    };
    let options = Options { purge: arguments.purge, ..Options::default() };
    let inventory = stack.history.memory()?.inventory;
    let prepared = prepare(&stack, revision, Depth::State, options).await?;
    let nothing = prepared.plan.is_empty() && prepared.plan.refusals.is_empty() && stack.history.current()?.is_none();
    let exit = if nothing {
        note(&format!("nothing of `{}` runs here", stack.name));
        Exit::Done
    } else {
        let mode = OutputMode { yes: arguments.yes, json: arguments.json, down: true, prune_anyway: true };
        carry_out(&stack, prepared, options, &mode).await?
    };
    if exit != Exit::Done {
        return Ok(exit);
    }
    files::clear_folder(&stack.history.folder().join("secrets"));
    let secrets = inventory.iter().filter_map(|resource| match &resource.spec {
        Spec::Secret(secret) => Some(secret.path.display().to_string()),
        _ => None,
    });
    let secrets: Vec<String> = secrets.collect();
    if arguments.purge {
        for resource in &inventory {
            if let Spec::Artifact(artifact) = &resource.spec {
                artifacts::forget(&stack.systems.records, &artifact.path)?;
                if artifact.source != ArtifactSource::File {
                    downloads::discard(&artifact.path)?;
                }
            }
        }
        let left = pulled::all(&stack.systems.pulled, Kind::Model).unwrap_or_default();
        let left: Vec<String> = left.into_iter().map(|(_, record)| record.name).collect();
        if !left.is_empty() {
            let names = left.join(" ");
            note(&format!("models stay with a server that does not answer; `ollama rm {names}` removes them there"));
        }
        // Records of what somebody else has removed before.
        for records in [&stack.systems.pulled, &stack.systems.images] {
            files::remove_folder(records)?;
        }
        stack.history.forget()?;
    } else if inventory.iter().any(|resource| resource.id.kind.lasts()) {
        note("models, images, environments and the history are kept; `llamero down --purge` removes them too");
    }
    if !secrets.is_empty() {
        note(&format!("kept, for it may be known to others: {}", secrets.join(", ")));
    }
    Ok(exit)
}
