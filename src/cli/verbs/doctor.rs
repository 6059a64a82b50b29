//! `llamero doctor`: checks the records of a stack, and repairs what is damaged.

use super::super::arguments::StackArgument;
use super::super::color::{color, styled};
use super::super::exit::Exit;
use super::super::input;
use super::super::problem::{Problem, print, print_json};
use crate::doctor::{Finding, Repair, Repaired, check, repair};
use crate::observe::directories;
use anstyle::AnsiColor;
use serde::Serialize;
use std::path::Path;

/// The version of the JSON form.
const SCHEMA: u32 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stack: StackArgument,
    /// Move damaged records aside and rebuild what can be recovered from live resources
    #[arg(long)]
    repair: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    stack: String,
    findings: Vec<Finding>,
    repairs: Vec<Repair>,
    left: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let stack = input::stack(&arguments.stack)?;
    let Repaired { repairs, left } = if arguments.repair {
        let lock = stack.history.lock(&input::command())?;
        repair(&stack, &directories(Path::new("/")), &lock).await?
    } else {
        Repaired::default()
    };
    let findings = check(&stack).await?;
    let exit = if findings.is_empty() { Exit::Done } else { Exit::Changes };
    let document = Document { schema: SCHEMA, stack: stack.name, findings, repairs, left };
    if arguments.json {
        print_json(&document)?;
    } else {
        print(&lines(&document))?;
    }
    Ok(exit)
}

fn lines(document: &Document) -> String {
    let mut text = String::new();
    for repair in &document.repairs {
        text.push_str(&format!("{} {}\n", styled(color(AnsiColor::Green), "repaired"), repair.message));
    }
    for left in &document.left {
        text.push_str(&format!("{} {left}\n", styled(color(AnsiColor::Yellow), "note:")));
    }
    for finding in &document.findings {
        let code = styled(color(AnsiColor::Red), finding.code.as_str());
        text.push_str(&format!("{code} {}\n", finding.message));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("    {remedy}\n"));
        }
    }
    text.push_str(&match document.findings.len() {
        0 => format!("{}: every record is intact\n", document.stack),
        1 => format!("{}: 1 finding\n", document.stack),
        several => format!("{}: {several} findings\n", document.stack),
    });
    text
}
