//! The whole command line: every verb, and the threads that they run on.

use super::exit::Exit;
use super::{color, problem, verbs};
use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;

/// Declares a local AI stack in one manifest and makes the machine match it.
#[derive(Debug, Parser)]
#[command(name = "llamero", version, max_term_width = 80, disable_help_subcommand = true)]
struct Arguments {
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide = true)]
    color: color::When,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a manifest and report all problems
    Validate(verbs::validate::Arguments),
    /// Show what would change, why, and what it would cost
    Plan(verbs::plan::Arguments),
    /// Show how rendered files would change, line by line
    Diff(verbs::diff::Arguments),
    /// Make the machine match the manifest, or roll back
    Apply(verbs::apply::Arguments),
    /// Show the status of the stack
    Status(verbs::status::Arguments),
    /// Check the records of a stack, and repair what is damaged
    Doctor(verbs::doctor::Arguments),
    /// List what was applied
    History(verbs::history::Arguments),
    /// Show one generation
    Show(verbs::show::Arguments),
    /// Roll back to an earlier generation
    Rollback(verbs::rollback::Arguments),
    /// Keep what was applied with `--confirm-within`
    Confirm(verbs::confirm::Arguments),
    /// Clear this manifest's failure record
    Retry(verbs::retry::Arguments),
    /// Refuse every apply until `resume`
    Suspend(verbs::suspend::SuspendArguments),
    /// Let the stack be changed again
    Resume(verbs::suspend::ResumeArguments),
    /// Stop and remove everything that the stack created
    Down(verbs::down::Arguments),
    /// Pin every source to its current digest
    Lock(verbs::lock::Arguments),
    /// Show which sources have moved since they were pinned; fetches nothing
    Outdated(verbs::outdated::Arguments),
    /// Pin sources to what they lead to now
    Update(verbs::update::Arguments),
    /// Print the observation of the machine, for a report or for `plan --observed`
    Observe(verbs::observe::Arguments),
    /// Print the JSON Schema of the manifest
    Schema,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Dead-man's switch: roll back a generation whose apply process is gone
    #[command(hide = true)]
    Deadman(verbs::deadman::Arguments),
    /// Keep one server of the process runtime running
    #[command(hide = true)]
    Supervise {
        /// The folder of its records
        folder: PathBuf,
    },
}

/// Runs the command line and returns its exit code.
#[must_use]
pub fn run() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let declared = !error.use_stderr();
            let text = error.render().ansi().to_string();
            if !declared {
                problem::to_stderr(text.trim_end());
                return Exit::Error;
            }
            // A reader that has had enough of the help is no failure.
            let _ = problem::print(&text);
            return Exit::Done;
        }
    };
    color::choose(arguments.color);
    let supervises = matches!(arguments.verb, Verb::Supervise { .. } | Verb::Deadman(_));
    let runtime = match start(supervises) {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    let exit = runtime.block_on(perform(arguments.verb)).unwrap_or_else(|problem| problem.print());
    runtime.shutdown_background();
    exit
}

/// Starts the threads that everything runs on. A supervisor lives as long as its server, and the dead-man's
/// switch mostly sleeps: one thread is enough for them.
fn start(supervises: bool) -> std::io::Result<tokio::runtime::Runtime> {
    if supervises {
        return tokio::runtime::Builder::new_current_thread().enable_all().build();
    }
    // Where a thread is denied, tokio panics, and then waits for ever for the threads that it has.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload().downcast_ref::<String>().map_or("a thread panicked", String::as_str);
        let exit = refuse(&message);
        #[expect(clippy::exit, reason = "nothing was started")]
        std::process::exit(exit as i32);
    }));
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    std::panic::set_hook(usual);
    built
}

fn refuse(why: &dyn std::fmt::Display) -> Exit {
    problem::to_stderr(&format!("error: cannot start: {why}; nothing was changed"));
    Exit::Error
}

async fn perform(verb: Verb) -> Result<Exit, problem::Problem> {
    match verb {
        Verb::Validate(arguments) => verbs::validate::run(&arguments),
        Verb::Plan(arguments) => verbs::plan::run(&arguments).await,
        Verb::Diff(arguments) => verbs::diff::run(&arguments).await,
        Verb::Apply(arguments) => Box::pin(verbs::apply::run(&arguments)).await,
        Verb::Status(arguments) => verbs::status::run(&arguments).await,
        Verb::Doctor(arguments) => verbs::doctor::run(&arguments).await,
        Verb::History(arguments) => verbs::history::run(&arguments),
        Verb::Show(arguments) => verbs::show::run(&arguments),
        Verb::Rollback(arguments) => Box::pin(verbs::rollback::run(&arguments)).await,
        Verb::Confirm(arguments) => verbs::confirm::run(&arguments).await,
        Verb::Retry(arguments) => verbs::retry::run(&arguments),
        Verb::Suspend(arguments) => verbs::suspend::suspend(&arguments),
        Verb::Resume(arguments) => verbs::suspend::resume(&arguments),
        Verb::Deadman(arguments) => verbs::deadman::run(&arguments).await,
        Verb::Down(arguments) => Box::pin(verbs::down::run(&arguments)).await,
        Verb::Lock(arguments) => verbs::lock::run(&arguments).await,
        Verb::Outdated(arguments) => verbs::outdated::run(&arguments).await,
        Verb::Update(arguments) => verbs::update::run(&arguments).await,
        Verb::Observe(arguments) => verbs::observe::run(&arguments).await,
        Verb::Schema => {
            let schema = serde_json::to_string_pretty(&crate::manifest::schema()).unwrap_or_default();
            problem::print(&format!("{schema}\n"))?;
            Ok(Exit::Done)
        }
        Verb::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "llamero", &mut text);
            problem::print(&String::from_utf8_lossy(&text))?;
            Ok(Exit::Done)
        }
        Verb::Supervise { folder } => {
            let code = crate::systems::process::supervise(&folder).await;
            Ok(if code == 0 { Exit::Done } else { Exit::Error })
        }
    }
}
