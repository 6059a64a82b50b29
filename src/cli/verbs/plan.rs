//! `llamero plan`: shows what would change. Writes nothing but the file that it is asked to save itself to.

use super::super::arguments::{LockArgument, ManifestArgument};
use super::super::color;
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, note, print, print_json, to_stderr};
use crate::history::Revision;
use crate::observe::Depth;
use crate::plan::{Plan, text};
use crate::reconcile::{Options, SavedPlan, Stack, blocked, check_coverage, plan_against, prepare};
use crate::systems::FailureKind;
use crate::systems::output::Output;
use serde::Serialize;
use std::path::PathBuf;

/// The version of the JSON form.
const SCHEMA: u32 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ManifestArgument,
    /// Save the plan to apply exactly this later; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    lock: LockArgument,
    /// Change this model's route first, and the others once requests for it succeed for a while
    #[arg(long, value_name = "MODEL")]
    canary: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Print every call, and the rendered fields that differ
    #[arg(short, long)]
    verbose: bool,
    /// Exit with 2 when there are changes
    #[arg(long)]
    detailed_exitcode: bool,
    /// Plan against the output of `llamero observe` instead of this machine
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    observed: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    #[serde(flatten)]
    plan: &'a Plan,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let output = match &arguments.output {
        Some(path) => Some(Output::open(path, SavedPlan::FORMAT).await?),
        None => None,
    };
    let shares_stdout = output.as_ref().is_some_and(Output::is_stdout);
    if shares_stdout && arguments.json {
        let message = "`--json` and the saved plan cannot both go to standard output";
        let problem = Problem::new(FailureKind::Error, message);
        return Err(problem.hint("leave out `--json`, or name a file to save the plan to"));
    }
    let is_kept = output.as_ref().is_some_and(Output::is_file);
    let loaded = input::manifest(&arguments.manifest)?;
    check_coverage(&loaded, arguments.lock.locked, &input::notify)?;
    let revision = loaded.resolve_with(arguments.canary.as_deref(), &input::notify).await?;
    let stack = loaded.stack(input::program()?)?;
    if let Some(occupant) = stack.history.occupant() {
        note(&format!("the stack is being changed right now by {occupant}"));
    }
    let plan = match &arguments.observed {
        Some(path) => plan_against(&stack, &revision, path)?,
        None => planned(&stack, revision, output, arguments.canary.clone()).await?,
    };
    if arguments.json {
        print_json(&Document { schema: SCHEMA, plan: &plan })?;
    } else {
        let text = color::text(&text::detailed(&plan, arguments.verbose));
        if shares_stdout {
            to_stderr(text.trim_end());
        } else {
            print(&text)?;
        }
        if let Some(path) = arguments.output.as_ref().filter(|_| is_kept && plan.refusals.is_empty()) {
            note(&format!("saved; `llamero apply {}` applies exactly this", path.display()));
        }
    }
    let blocked = blocked(plan.refusals.iter().map(|refusal| refusal.kind));
    Ok(blocked.map_or_else(|| Exit::differs(arguments.detailed_exitcode && plan.may_differ()), Exit::of))
}

async fn planned(
    stack: &Stack,
    revision: Revision,
    output: Option<Output>,
    canary: Option<String>,
) -> Result<Plan, Problem> {
    let prepared = prepare(stack, revision, Depth::State, Options::default()).await?;
    if let Some(output) = output {
        output.write(&SavedPlan::new(&prepared, stack.history.current()?, canary).text())?;
    }
    Ok(prepared.plan)
}
