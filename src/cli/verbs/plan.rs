//! `llamero plan`: shows what would change. Writes nothing but the file that it is asked to save itself to.

use super::super::color;
use super::super::exit::Exit;
use super::super::problem::{Problem, note, print, print_json, say};
use super::super::{LockArgument, ManifestArgument, load};
use crate::live::Observation;
use crate::observe::Depth;
use crate::plan::{Plan, RefusalKind, plan, text};
use crate::reconcile::{Options, Prepared, Stack, prepare};
use crate::resource::{Bytes, Digest};
use crate::systems::files;
use crate::systems::output::{Format, Output};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The version of a saved plan's form.
const SCHEMA: u32 = 1;

/// The largest observation or saved plan that is read, in bytes.
const LIMIT: Bytes = Bytes(256 << 20);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ManifestArgument,
    /// Save the plan to apply exactly this later; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    lock: LockArgument,
    /// Change this model's route first, and the others once requests for it have been answered for a while
    #[arg(long, value_name = "MODEL")]
    canary: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Exit with 2 when there are changes
    #[arg(long)]
    detailed_exitcode: bool,
    /// Plan against what `llamero observe` printed instead of this machine
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    observed: Option<PathBuf>,
}

/// A plan on disk. It is compared and never believed: what is applied is always planned anew.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedPlan {
    /// Also tells a saved plan from a manifest.
    pub(super) llamero_plan: u32,
    /// The llamero that saved it.
    pub(super) llamero: String,
    /// The stack's name.
    pub(super) stack: String,
    /// The manifest's file.
    pub(super) manifest: PathBuf,
    /// The digest of the manifest's text.
    pub(super) manifest_digest: Digest,
    /// The generation that the machine was on.
    pub(super) generation: Option<u64>,
    /// The digest of everything that was wished for, as rendered.
    pub(super) desired: Digest,
    /// The model whose route changes first, if that was said for this plan alone.
    #[serde(default)]
    pub(super) canary: Option<String>,
    /// The plan.
    pub(super) plan: serde_json::Value,
}

impl SavedPlan {
    pub(super) fn new(prepared: &Prepared, generation: Option<u64>, canary: Option<String>) -> Self {
        Self {
            llamero_plan: SCHEMA,
            llamero: env!("CARGO_PKG_VERSION").to_owned(),
            stack: prepared.revision.desired.stack.clone(),
            manifest: prepared.revision.manifest.clone(),
            manifest_digest: prepared.revision.manifest_digest.clone(),
            generation,
            desired: digest(prepared),
            canary,
            plan: serde_json::to_value(&prepared.plan).unwrap_or_default(),
        }
    }

    /// Returns whether a text is a saved plan.
    fn recognizes(text: &str) -> bool {
        #[derive(Deserialize)]
        struct Opening {
            #[serde(rename = "llamero_plan")]
            _schema: u32,
        }
        serde_json::from_str::<Opening>(text).is_ok()
    }

    /// Reads a saved plan; `None` when the file is something else.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Problem> {
        let Some(text) = files::read_text(path, LIMIT)? else { return Ok(None) };
        if !text.trim_start().starts_with('{') || !text.contains("\"llamero_plan\"") {
            return Ok(None);
        }
        let damaged = |error| Problem::new(Exit::Error, format!("{} is a damaged plan: {error}", path.display()));
        serde_json::from_str(&text).map(Some).map_err(damaged)
    }

    /// Returns what moved since it was saved, as far as that can be told before planning anew.
    pub(super) fn moved(&self, digest: &Digest, generation: Option<u64>) -> Option<String> {
        if self.llamero_plan != SCHEMA || self.llamero != env!("CARGO_PKG_VERSION") {
            return Some(format!("it was saved by llamero {}", self.llamero));
        }
        if self.manifest_digest != *digest {
            return Some(format!("{} was changed", self.manifest.display()));
        }
        let shown = |number: Option<u64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
        (self.generation != generation).then(|| {
            format!("the machine was on generation {} and is on {}", shown(self.generation), shown(generation))
        })
    }
}

/// The file of a saved plan.
const FORMAT: Format =
    Format { name: "a saved plan", recognizes: SavedPlan::recognizes, limit: LIMIT, mode: files::PRIVATE };

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let output = match &arguments.output {
        Some(path) => Some(Output::open(path, FORMAT).await?),
        None => None,
    };
    let shares_stdout = output.as_ref().is_some_and(Output::is_stdout);
    if shares_stdout && arguments.json {
        let problem = Problem::new(Exit::Error, "`--json` and the saved plan cannot both go to standard output");
        return Err(problem.hint("leave out `--json`, or name a file to save the plan to"));
    }
    let is_kept = output.as_ref().is_some_and(Output::is_file);
    let loaded = load::manifest(&arguments.manifest)?;
    load::check_lock(&loaded, arguments.lock.locked)?;
    let mut revision = load::revision(&loaded).await?;
    load::canary(&mut revision, &loaded, arguments.canary.as_deref())?;
    let stack = load::stack(&loaded.manifest.stack.value, &loaded.directories)?;
    print_holder(&stack);
    let plan = if let Some(path) = &arguments.observed {
        plan(&revision.desired, &recorded(path)?, &stack.history.memory()?.past)
    } else {
        let prepared = prepare(&stack, revision, Depth::State, Options::default()).await?;
        if let Some(output) = output {
            let saved = SavedPlan::new(&prepared, stack.history.current()?, arguments.canary.clone());
            let saved = serde_json::to_string_pretty(&saved).unwrap_or_default();
            output.write(&(saved + "\n"))?;
        }
        prepared.plan
    };
    if arguments.json {
        print_json(&Document { schema: SCHEMA, plan: &plan })?;
    } else {
        let shown = color::text(&text::lines(&plan));
        if shares_stdout {
            say(shown.trim_end());
        } else {
            print(&shown)?;
        }
        if let Some(path) = arguments.output.as_ref().filter(|_| is_kept && plan.refusals.is_empty()) {
            note(&format!("saved; `llamero apply {}` applies exactly this", path.display()));
        }
    }
    Ok(exit(&plan, arguments.detailed_exitcode))
}

/// Returns the digest of everything that is wished for.
pub(super) fn digest(prepared: &Prepared) -> Digest {
    Digest::of(serde_json::to_string(&prepared.revision.desired).unwrap_or_default())
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    #[serde(flatten)]
    plan: &'a Plan,
}

fn recorded(path: &Path) -> Result<Observation, Problem> {
    let text = files::read_text(path, LIMIT)?;
    let text = text.ok_or_else(|| Problem::new(Exit::Error, format!("there is no file {}", path.display())))?;
    serde_json::from_str(&text)
        .map_err(|error| Problem::new(Exit::Error, format!("{} is not an observation: {error}", path.display())))
}

/// Says who is at work on the stack, if anybody is.
pub(super) fn print_holder(stack: &Stack) {
    if let Some(occupant) = stack.history.occupant() {
        note(&format!("the stack is being changed right now by {occupant}"));
    }
}

/// Returns the exit code that a plan calls for by itself.
pub(super) fn exit(plan: &Plan, detailed: bool) -> Exit {
    let policy = |kind| matches!(kind, RefusalKind::NotOurs | RefusalKind::OverBudget);
    if !plan.refusals.is_empty() {
        return if plan.refusals.iter().all(|refusal| policy(refusal.kind)) { Exit::Refused } else { Exit::Error };
    }
    if detailed && !plan.changes.is_empty() { Exit::Changes } else { Exit::Done }
}
