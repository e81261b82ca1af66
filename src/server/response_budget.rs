//! Bounds the memory of responses that clients do not read.
//!
//! A list can have 8 MiB and more, and stays in memory until its client has read it or the write timeout ends
//! the connection. The budget limits them over all connections:
//!
//! 1. [`ResponseBudget::run`] limits how many responses are made at the same time: 4 lists and one search, because
//!    the first search may index the whole database. Each is made in a separate task: hyper does not poll a
//!    request's handler while the client reads nothing of the previous response, and a handler that stops in
//!    between would keep what it has read, and its place. A request whose client leaves gives up waiting for a place.
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
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use warp::reply::Response;

use crate::error::{Code, Error, Result};

/// Maximum size of a body that is not counted.
const SMALL_BYTES: usize = 64 << 10;
/// Maximum size of all other bodies together.
const MAX_KIB: usize = 64 << 10;
/// Maximum number of lists that are made at the same time: as many as reads run at the same time.
const LISTS: usize = 4;
/// Maximum number of searches that run at the same time.
const SEARCHES: usize = 1;

/// A kind of response that can be large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LargeResponse {
    List,
    Search,
}

/// The budget of one server.
#[derive(Debug)]
pub(super) struct ResponseBudget {
    lists: Arc<Semaphore>,
    searches: Arc<Semaphore>,
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
            lists: Arc::new(Semaphore::new(LISTS)),
            searches: Arc::new(Semaphore::new(SEARCHES)),
            free: Arc::new(Semaphore::new(MAX_KIB)),
        }
    }
}

impl ResponseBudget {
    /// Runs the handler of a request in a task of `tasks`, once there is a place for it. Returns its response, counted
    /// until it is written. If the returned future is dropped, a handler that waits for a place does not run; one
    /// that runs keeps its place to its end.
    ///
    /// # Errors
    /// The error of the handler; [`Code::Overloaded`] if no budget is left; [`Code::Internal`] if the handler panics.
    pub(super) async fn run(
        &self,
        kind: LargeResponse,
        tasks: &TaskTracker,
        handler: impl Future<Output = Result<Response>> + Send + 'static,
    ) -> Result<Response> {
        let failed =
            |e: &dyn std::fmt::Display| Error::new(Code::Internal, format!("the response could not be made: {e}"));
        let places = match kind {
            LargeResponse::List => &self.lists,
            LargeResponse::Search => &self.searches,
        };
        let (places, free, running) = (Arc::clone(places), Arc::clone(&self.free), tasks.clone());
        let made = tasks.spawn(async move {
            let place = places.acquire_owned().await.map_err(|e| failed(&e))?;
            let made = running.spawn(async move {
                let _place = place;
                hold(handler.await?, free).await
            });
            made.await.map_err(|e| failed(&e))?
        });
        AbortOnDropHandle::new(made).await.map_err(|e| failed(&e))?
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;

    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;

    /// A handler that reports its number and ends when the semaphore has a permit for it.
    async fn handler(number: usize, started: UnboundedSender<usize>, end: Arc<Semaphore>) -> Result<Response> {
        started.send(number).unwrap();
        end.acquire().await.unwrap().forget();
        Ok(Response::default())
    }

    /// Polls a future once, and returns whether it waits.
    async fn waits<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> bool {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn a_request_whose_client_leaves_gives_up_its_place_in_the_queue() {
        let (budget, tasks) = (ResponseBudget::default(), TaskTracker::new());
        let (sender, mut started) = unbounded_channel();
        let end = Arc::new(Semaphore::new(0));
        let run = |kind, number| Box::pin(budget.run(kind, &tasks, handler(number, sender.clone(), Arc::clone(&end))));
        let mut running: Vec<_> = (0..LISTS).map(|n| run(LargeResponse::List, n)).collect();
        for list in &mut running {
            assert!(waits(list).await);
            started.recv().await.unwrap();
        }
        let mut left = run(LargeResponse::List, 10);
        assert!(waits(&mut left).await);
        let mut next = run(LargeResponse::List, 11);
        assert!(waits(&mut next).await);
        // A search does not wait for lists.
        let mut search = run(LargeResponse::Search, 12);
        assert!(waits(&mut search).await);
        assert_eq!(started.recv().await, Some(12));
        drop(left);
        // A handler that runs keeps its place, also without a client.
        drop(running);
        end.add_permits(LISTS + 2);
        next.await.unwrap();
        search.await.unwrap();
        assert_eq!(started.recv().await, Some(11));
        tasks.close();
        tasks.wait().await;
        drop(sender);
        assert!(started.try_recv().is_err());
    }
}
