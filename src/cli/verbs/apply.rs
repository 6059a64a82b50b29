//! `llamero apply`: makes the machine match the manifest, or a saved plan.

use super::super::arguments::{LockArgument, ManifestArgument, PassArguments};
use super::super::exit::Exit;
use super::super::input;
use super::super::pass::{OutputMode, carry_out};
use super::super::problem::Problem;
use crate::reconcile::{Options, Request, Source, open};
use crate::resource::Seconds;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The manifest, or a saved plan
    #[command(flatten)]
    manifest: ManifestArgument,
    #[command(flatten)]
    pass: PassArguments,
    /// Download everything and verify the new gateway off-line; do not switch
    #[arg(long, conflicts_with = "confirm_within")]
    rehearse: bool,
    /// Change this model's route first, and the others once requests for it succeed for a while
    #[arg(long, value_name = "MODEL", conflicts_with = "rehearse")]
    canary: Option<String>,
    /// Allow the removal of more than half of the managed resources
    #[arg(long)]
    prune_anyway: bool,
    /// Stop at the first failure instead of continuing with what does not depend on it
    #[arg(long)]
    fail_fast: bool,
    #[command(flatten)]
    lock: LockArgument,
    /// Roll back unless `llamero confirm` is run within TIME
    #[arg(long, value_name = "TIME")]
    confirm_within: Option<Seconds>,
    /// Roll back when this process has sent no heartbeat for so long
    #[arg(long, value_name = "DURATION", hide = true)]
    fire_after: Option<Seconds>,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let source = Source::read(arguments.manifest.manifest.as_deref(), &input::notify)?;
    let default = Options::default();
    let request = Request {
        options: Options {
            fail_fast: arguments.fail_fast,
            rehearse: arguments.rehearse,
            confirm_within: arguments.confirm_within,
            fire_after: arguments.fire_after.map_or(default.fire_after, Seconds::duration),
            ..default
        },
        canary: arguments.canary.clone(),
        locked: arguments.lock.locked,
        prune_anyway: arguments.prune_anyway,
        ..Request::new(source, input::program()?, input::command())
    };
    let pending = open(request, &input::notify).await?;
    carry_out(pending, OutputMode { pass: arguments.pass, down: false, dry_run: false }).await
}
