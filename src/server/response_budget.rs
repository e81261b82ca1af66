//! Bounds the memory of responses that clients do not read.
//!
//! A list can have 8 MiB and more, and stays in memory until its client has read it or the write timeout ends
//! the connection. The budget limits them over all connections:
//!
//! 1. [`ResponseBudget::run`] limits how many responses are made at the same time. Each is made in a task of its
//!    own: hyper does not poll a request's handler while the client reads nothing of the previous response, and a
//!    handler that stops in between would keep what it has read, and its place.
//! 2. A finished body is counted until its last byte is written, or the connection ends. A body for which no
//!    budget is left is dropped, and the client gets 503 instead. It does not wait with its body in memory.
//!
//! A body of at most [`SMALL_BYTES`] is not counted, so that clients get such responses in any case: their number is
//! limited by the number of connections. HTTP/1.1 has one response at a time, and hyper makes at most one more
//! for a client that sends requests without waiting.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use warp::reply::Response;

use crate::error::{Code, Error, Result};

/// Maximum size of a body that is not counted.
const SMALL_BYTES: usize = 64 << 10;
/// Maximum size of all other bodies together.
const MAX_KIB: usize = 64 << 10;
/// Maximum number of responses that are made at the same time: as many as reads run at the same time.
const MAX_IN_PROGRESS: usize = 4;

/// The budget of one server.
#[derive(Debug)]
pub(super) struct ResponseBudget {
    in_progress: Arc<Semaphore>,
    /// One permit per KiB.
    free: Arc<Semaphore>,
}

/// A body and its share of the budget.
struct Held {
    bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Default for ResponseBudget {
    fn default() -> Self {
        Self {
            in_progress: Arc::new(Semaphore::new(MAX_IN_PROGRESS)),
            free: Arc::new(Semaphore::new(MAX_KIB)),
        }
    }
}

impl ResponseBudget {
    /// Runs the handler of a request in a task of `tasks`. Returns its response, counted until it is written; or the
    /// response to send instead.
    ///
    /// # Errors
    /// The error of the handler; [`Code::Overloaded`] if no budget is left; [`Code::Internal`] if the handler panics.
    pub(super) async fn run(
        &self,
        tasks: &TaskTracker,
        handler: impl Future<Output = Result<Response>> + Send + 'static,
    ) -> Result<Response> {
        let failed =
            |e: &dyn std::fmt::Display| Error::new(Code::Internal, format!("the response could not be made: {e}"));
        let (in_progress, free) = (Arc::clone(&self.in_progress), Arc::clone(&self.free));
        let made = tasks.spawn(async move {
            let _in_progress = in_progress.acquire_owned().await.map_err(|e| failed(&e))?;
            hold(handler.await?, free).await
        });
        made.await.map_err(|e| failed(&e))?
    }

    /// Returns the size of the counted bodies, in KiB.
    pub(super) fn held_kib(&self) -> usize {
        MAX_KIB - self.free.available_permits()
    }
}

/// Returns the response with a body that has its share of `free` until it is written.
async fn hold(response: Response, free: Arc<Semaphore>) -> Result<Response> {
    let (head, body) = response.into_parts();
    // A handler's body is one piece in memory.
    let bytes = body
        .collect()
        .await
        .map_err(|e| Error::new(Code::Internal, format!("the response could not be made: {e}")))?
        .to_bytes();
    if bytes.len() <= SMALL_BYTES {
        return Ok(Response::from_parts(head, bytes.into()));
    }
    // A body that exceeds the whole budget is sent alone.
    let kib = u32::try_from(bytes.len().div_ceil(1 << 10).min(MAX_KIB)).unwrap_or(u32::MAX);
    let share = free.try_acquire_many_owned(kib).map_err(|_| {
        Error::new(
            Code::Overloaded,
            "too many large responses wait for their clients to read them; try again in 1 s, or ask for less with limit",
        )
    })?;
    let held = Held { bytes, _share: share };
    // hyper drops the bytes when the socket has accepted all of them.
    Ok(Response::from_parts(head, Bytes::from_owner(held).into()))
}
