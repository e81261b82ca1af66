//! Wakes idle sessions when mail comes: the one task of a hub that does so.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::hub::Hub;
use crate::integrations::wake::{self, BegunWake, CommandWait, Decision, PassEnd, Request, Waker};
use crate::protocol::now_ms;

/// Minimum time between two looks at new rows.
const MIN_INTERVAL: Duration = Duration::from_millis(20);
/// Maximum time between two looks.
const MAX_INTERVAL: Duration = Duration::from_secs(2);
/// Time until the next look after the database could not be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Wakes sessions until `stop`.
pub(super) async fn run(hub: Arc<Hub>, stop: CancellationToken) {
    let mut signal = hub.signal();
    let mut waker = Waker::default();
    // A failure is logged once.
    let mut is_failing = false;
    loop {
        let pause = match pass(&hub, &mut waker).await {
            Ok(end) => {
                is_failing = false;
                until(end.next)
            }
            Err(error) => {
                if !is_failing {
                    tracing::warn!("cannot look for agents to wake: {error}");
                }
                is_failing = true;
                RETRY_INTERVAL
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            changed = signal.changed() => if changed.is_err() { return },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(MIN_INTERVAL) => {}
        }
    }
}

/// Returns the time until `next` (Unix milliseconds), within the limits.
fn until(next: Option<i64>) -> Duration {
    let wait = next.map_or(MAX_INTERVAL, |at| {
        Duration::from_millis((at - now_ms()).max(0).unsigned_abs())
    });
    wait.clamp(MIN_INTERVAL, MAX_INTERVAL)
}

async fn pass(hub: &Arc<Hub>, waker: &mut Waker) -> Result<PassEnd> {
    let mut taken = std::mem::take(waker);
    let (taken, end) = hub
        .read(move |reader| {
            let end = taken.pass(reader, now_ms());
            Ok((taken, end))
        })
        .await?;
    *waker = taken;
    let end = end?;
    if end.has_overdue {
        hub.write(|writer| wake::fail_overdue(writer, now_ms())).await?;
    }
    for agent in &end.agents {
        // What came between is decided again: another process may have woken the agent.
        drop(wake_agent(hub, agent, Request::Mail).await?);
    }
    Ok(end)
}

/// Wakes an agent, if that is allowed now. Returns what was decided otherwise.
pub(super) async fn wake_agent(
    hub: &Arc<Hub>,
    agent: &str,
    request: Request,
) -> Result<std::result::Result<(), Decision>> {
    let name = agent.to_owned();
    let begun = hub
        .write(move |writer| wake::begin(writer, &name, request, now_ms()))
        .await?;
    match begun {
        Ok(begun) => {
            // A tool's command may take seconds.
            #[expect(clippy::disallowed_methods, reason = "shutdown does not wait for a tool's command")]
            tokio::spawn(start(Arc::clone(hub), begun));
            Ok(Ok(()))
        }
        Err(other) => Ok(Err(other)),
    }
}

async fn start(hub: Arc<Hub>, begun: BegunWake) {
    let (n, db) = (begun.number(), hub.store().path().to_owned());
    let started = tokio::task::spawn_blocking(move || begun.start(&db, CommandWait::UntilItEnds)).await;
    let reason = match started {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.message().to_owned(),
        Err(_) => "an internal error".to_owned(),
    };
    // If this fails, the wake fails later because no turn begins.
    drop(hub.write(move |writer| writer.fail_wake(n, &reason, now_ms())).await);
}
