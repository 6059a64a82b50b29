//! Trying a route: real requests through the gateway, one after another, until they have been answered long enough.

use super::log::with_log;
use super::{Event, Execution, Failure};
use crate::plan::{Action, Trial};
use crate::resource::Run;
use crate::systems::listener::{self, Sockets};
use crate::systems::openai::{self, ModelRequest};
use crate::systems::secrets;
use std::time::{Duration, Instant};

/// The pause between an answer and the next request.
const EVERY: Duration = Duration::from_secs(1);

/// The longest wait for the first answer: the model may have to be loaded for it.
const FIRST: Duration = Duration::from_secs(600);

/// The longest wait for any other.
const NEXT: Duration = Duration::from_secs(120);

/// The fewest requests that show anything.
const FEWEST: u32 = 3;

/// Asks the gateway for a model again and again. The first request that fails ends it.
pub(super) async fn try_out(
    execution: Execution<'_>,
    action: &Action,
    trial: &Trial,
    run: &Run,
) -> Result<(), Failure> {
    let id = &trial.gateway;
    let (Some(api), Some(authorization)) = (&run.gateway, run.probe.authorization()) else {
        return Err(Failure::new(id, "it is no gateway"));
    };
    let token = secrets::resolve(&authorization.0).map_err(|error| Failure::of(Some(id), &error))?;
    let request = ModelRequest { api, model: &trial.model, mode: trial.mode, token: Some(token.reveal()) };
    // The time starts with the first answer, for which the model may have had to be loaded.
    let mut begun: Option<Instant> = None;
    let (mut answered, mut slowest) = (0, Duration::ZERO);
    while answered < FEWEST || begun.is_none_or(|begun| begun.elapsed() < trial.duration.duration()) {
        let asked = Instant::now();
        let patience = if answered == 0 { FIRST } else { NEXT };
        let stack = &execution.desired.stack;
        let gateway = listener::prove(execution.systems, &Sockets::default(), stack, id, &run.probe).await;
        let gateway = gateway.map_err(|unproven| Failure::new(id, unproven.health(&run.probe).to_string()))?;
        let answer = openai::request(&execution.systems.client, gateway, &request, patience);
        let stopped = || Failure { interrupted: true, ..Failure::new(id, "stopped while it was tried") };
        tokio::select! {
            result = answer => {
                if let Err(error) = result {
                    let failure = Failure::of(Some(id), &error);
                    // The answer contains the cause; the server's log has the same at length.
                    let is_lost = matches!(error, openai::Error::Lost { .. });
                    return Err(if is_lost { with_log(execution, failure).await } else { failure });
                }
            }
            () = execution.cancel.cancelled() => return Err(stopped()),
        }
        begun = begun.or_else(|| Some(Instant::now()));
        answered += 1;
        slowest = slowest.max(asked.elapsed());
        let requests = if answered == 1 { "request" } else { "requests" };
        let note = format!("{answered} {requests} answered, the slowest in {:.1} s", slowest.as_secs_f64());
        (execution.report)(Event::Progress { step: action.to_string(), done: None, total: None, note: Some(note) });
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = execution.cancel.cancelled() => return Err(stopped()),
        }
    }
    Ok(())
}
