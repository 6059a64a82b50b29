//! A failed server's log, as evidence in its failure.

use super::excerpt::excerpt;
use super::execution::Execution;
use super::machine::Machine;
use crate::engines;
use crate::resource::Resource;
use crate::systems::Failure;

/// Adds an excerpt of the server's log, its secrets masked, because failures are stored and shown.
pub(super) async fn with_log<M: Machine>(execution: Execution<'_, M>, failure: Failure) -> Failure {
    let Some(id) = &failure.on else { return failure };
    let log = execution.systems.log(&execution.desired.stack, id).await;
    with_lines(execution, Failure { log, ..failure })
}

/// Keeps the lines of a failure's log that show the cause, with secrets masked.
pub(super) fn with_lines<M: Machine>(execution: Execution<'_, M>, failure: Failure) -> Failure {
    let secrets = execution.desired.secrets().filter_map(|reference| execution.systems.secret(reference).ok());
    let secrets: Vec<_> = secrets.collect();
    let run = failure.on.as_ref().and_then(|id| execution.desired.resources.get(id)).and_then(Resource::run);
    let engine = run.and_then(|run| run.engine.as_ref()).and_then(|name| engines::find(name.as_str()));
    let masked = |text: String| secrets.iter().fold(text, |text, secret| text.replace(secret.reveal(), "(secret)"));
    let names_cause = |line: &str| engine.map_or_else(|| engines::names_exception(line), |it| it.names_cause(line));
    let log = excerpt(failure.log, names_cause).into_iter().map(masked).collect();
    Failure { log, why: masked(failure.why), ..failure }
}
