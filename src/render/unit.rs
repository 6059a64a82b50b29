//! A server as the text of a systemd user unit: written whole, with a marker, nothing inherited.

use super::{marker, quote};
use crate::resource::{Kind, Resource, Run};

/// The variable by which a process says what it was asked for with.
pub const FINGERPRINT: &str = "LLAMERO_FINGERPRINT";

/// The variable by which a process says which resource it is, as `stack/kind/name`.
pub const RESOURCE: &str = "LLAMERO_RESOURCE";

/// Returns the text of the unit of a server; of anything else, an empty unit.
#[must_use]
pub fn unit(stack: &str, resource: &Resource) -> String {
    let body = resource.run().map(|run| body(stack, resource, run)).unwrap_or_default();
    marker::mark(stack, &resource.id, &resource.fingerprint(), &body)
}

fn body(stack: &str, resource: &Resource, run: &Run) -> String {
    let mut lines = vec!["[Unit]".to_owned(), format!("Description={}", quote::value(&run.description))];
    // When the machine starts, systemd starts the stack by itself, in this order.
    for need in resource.needs.iter().filter(|need| need.kind == Kind::Unit) {
        lines.push(format!("After={}.service", need.name));
    }
    lines.extend(["StartLimitIntervalSec=60".to_owned(), "StartLimitBurst=5".to_owned(), String::new()]);
    // `exec` and not `simple`: a missing program fails the start instead of passing for one.
    lines.extend(["[Service]".to_owned(), "Type=exec".to_owned()]);
    let argv: Vec<String> = run.argv.iter().map(|word| quote::argument(word)).collect();
    lines.push(format!("ExecStart={}", argv.join(" ")));
    if let Some(folder) = &run.working_directory {
        lines.push(format!("WorkingDirectory={}", quote::value(&folder.display().to_string())));
    }
    let fingerprint = resource.fingerprint().to_string();
    let itself = format!("{stack}/{}", resource.id);
    let own = [(FINGERPRINT, fingerprint.as_str()), (RESOURCE, itself.as_str())];
    let asked = run.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    lines.extend(
        asked.chain(own).filter_map(|(name, value)| Some(format!("Environment={}", quote::assignment(name, value)?))),
    );
    if let Some(file) = &run.environment_file {
        lines.push(format!("EnvironmentFile={}", quote::value(&file.0.display().to_string())));
    }
    if let Some(memory) = run.limits.memory {
        lines.push(format!("MemoryMax={}", memory.0));
    }
    if let Some(percent) = run.limits.cpu_percent {
        lines.push(format!("CPUQuota={percent}%"));
    }
    lines.extend(["Restart=on-failure", "RestartSec=2", "KillMode=mixed", "UMask=0077"].into_iter().map(str::to_owned));
    lines.push(format!("TimeoutStopSec={}", run.stop_timeout.whole()));
    lines.extend([String::new(), "[Install]".to_owned(), "WantedBy=default.target".to_owned(), String::new()]);
    lines.join("\n")
}
