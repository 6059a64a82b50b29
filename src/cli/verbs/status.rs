//! `llamero status`: the status of the stack, against the committed generation.

use super::super::arguments::StackArgument;
use super::super::color::{self, color, styled};
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, print, print_json};
use crate::pace::Class;
use crate::plan::{Plan, text};
use crate::reconcile::stack_status;
use crate::status::{Status, Word};
use anstyle::AnsiColor;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stack: StackArgument,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let stack = input::stack(&arguments.stack)?;
    let (status, plan) = stack_status(&stack).await?;
    if arguments.json {
        print_json(&status)?;
    } else {
        print(&lines(&status, &plan))?;
    }
    Ok(Exit::differs(!status.healthy))
}

fn tone(state: Word) -> AnsiColor {
    match state {
        Word::Healthy => AnsiColor::Green,
        Word::Loading => AnsiColor::Yellow,
        Word::Unhealthy | Word::Down | Word::Unknown => AnsiColor::Red,
    }
}

fn lines(status: &Status, plan: &Plan) -> String {
    let mut text = match status.generation {
        Some(number) => format!("{}: generation {number}\n", status.stack),
        None => format!("{}: nothing was applied yet\n", status.stack),
    };
    if let Some(changing) = &status.changing {
        text.push_str(&format!("  being changed right now by {changing}\n"));
    }
    if let Some(number) = status.unconfirmed {
        text.push_str(&format!("  generation {number} awaits `llamero confirm --stack {}`\n", status.stack));
    }
    if let Some(hold) = &status.suspended {
        text.push_str(&format!("  SUSPENDED {hold}; `llamero resume` ends that\n"));
    }
    for bad in status.quarantined.iter().filter(|bad| bad.class == Class::Permanent) {
        let manifest: String = bad.attempt.manifest.as_str().chars().take(12).collect();
        let why = bad.why.lines().next().unwrap_or_default();
        text.push_str(&format!("  quarantined: manifest {manifest} failed on {}: {why}\n", bad.ended));
    }
    let width = status.servers.iter().map(|server| server.id.to_string().len()).max().unwrap_or(0);
    for server in &status.servers {
        let ports: Vec<String> = server.ports.iter().map(|port| format!(":{port}")).collect();
        let memory = server.memory.map(|memory| memory.to_string()).unwrap_or_default();
        let word = styled(color(tone(server.state)), &format!("{:<9}", server.state.as_str()));
        let id = server.id.to_string();
        let line = format!("  {word} {id:<width$}  {:<6} {memory}", ports.join(" "));
        text.push_str(line.trim_end());
        text.push('\n');
        if let Some(why) = &server.why {
            text.push_str(&format!("            {why}\n"));
        }
        if server.restarts > 0 {
            text.push_str(&format!("            restarted {} times by its runtime\n", server.restarts));
        }
    }
    for part in &status.externals {
        let word = styled(color(tone(part.state)), &format!("{:<9}", part.state.as_str()));
        text.push_str(&format!("  {word} {} at {}\n", part.role, part.address));
        if let Some(why) = &part.why {
            text.push_str(&format!("            {why}\n"));
        }
    }
    text.push_str(&color::text(&text::warning_lines(&status.warnings)));
    if !plan.changes.is_empty() || !plan.refusals.is_empty() {
        let from =
            status.generation.map_or_else(|| "the empty state".to_owned(), |number| format!("generation {number}"));
        text.push_str(&format!("\ndrift from {from}:\n"));
        let mut lines = text::lines(plan);
        lines.pop();
        lines.truncate(lines.len() - text::warning_lines(&plan.warnings).len());
        text.push_str(&color::text(&lines));
        if !plan.is_empty() {
            text.push_str("`llamero apply` corrects it\n");
        }
    }
    text
}
