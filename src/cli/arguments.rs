//! Arguments that several verbs have.

use clap::Args;
use std::path::PathBuf;

/// The manifest that a verb is about.
#[derive(Debug, Args)]
pub(super) struct ManifestArgument {
    /// The manifest [default: llamero.yaml here, then ~/.config/llamero/llamero.yaml]
    #[arg(value_name = "MANIFEST")]
    pub(super) manifest: Option<PathBuf>,
}

/// True if the lock file must cover the manifest.
#[derive(Debug, Args)]
pub(super) struct LockArgument {
    /// Refuse a manifest that its lock file does not cover
    #[arg(long)]
    pub(super) locked: bool,
}

/// The stack that a verb is about.
#[derive(Debug, Args)]
pub(super) struct StackArgument {
    #[command(flatten)]
    pub(super) manifest: ManifestArgument,
    /// Name the stack instead of pointing to its manifest
    #[arg(long, value_name = "NAME", conflicts_with = "manifest")]
    pub(super) stack: Option<String>,
}

/// How a pass asks and reports.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct PassArguments {
    /// Apply without asking for confirmation
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Print every call, and the rendered fields that differ
    #[arg(short, long, conflicts_with = "json")]
    pub(super) verbose: bool,
    /// Print events as one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}
