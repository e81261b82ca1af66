//! The HTTP and WebSocket server: the only module that uses warp, hyper and tungstenite.
//!
//! The accept loop is part of this module, around one warp filter: warp 0.4's server has no connection
//! limit and no header timeout, and accepts HTTP/2.
//!
//! 1. `listener` accepts a connection. `unauthenticated` limits how many wait for their first
//!    authenticated request, and how long.
//! 2. For each request, `router` finds the route once.
//! 3. `auth` checks the request's head with the route's requirement. With its first authenticated
//!    request, a connection counts against the maximum of connections. Then the body is read, up to its
//!    limit.
//! 4. The route's handler in `routes` or `websocket` returns the response. `response_budget` limits the memory
//!    of responses that clients have not read.
//! 5. On shutdown, the listener stops accepting, WebSocket clients are sent a close, open requests
//!    finish, and acks are stored, within 2 s.

mod allowed_origin;
mod auth;
mod background_tasks;
mod cors;
mod credential_watch;
mod credentials;
mod labeled_counter;
mod library_api;
mod listener;
mod peer_owner;
mod progress_stream;
mod refusal_log;
mod repositories;
mod request;
mod response;
mod response_budget;
mod router;
mod routes;
mod state;
mod unauthenticated;
mod waking;
mod websocket;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::error::{Code, Error, Result};

pub use allowed_origin::AllowedOrigin;
use auth::AccessPolicy;
pub use auth::{AuthMode, check_embedded_request};
use listener::Listener;
pub use listener::bind;
pub use router::routes;
pub use state::{Server, Settings};
pub use unauthenticated::MAX_UNAUTHENTICATED_CONNECTIONS;
use unauthenticated::UnauthenticatedConnections;

/// Maximum time [`Server::run`] waits for its tasks after the shutdown signal.
const SHUTDOWN_WAIT: Duration = Duration::from_millis(1500);

impl Server {
    /// Returns the route `GET /ws` alone, to embed in another warp server (AILANG's
    /// `HandleWebSocket`). It responds to the upgrade and makes no access checks: the embedding server
    /// calls [`check_embedded_request`] before it.
    pub fn websocket(self: &Arc<Self>) -> BoxedFilter<(Response,)> {
        router::websocket_filter(self)
    }

    /// Serves on `listeners`, which [`bind`] returned, until `shutdown` completes (AILANG's `Run`).
    ///
    /// # Errors
    /// [`Code::Internal`] if `listeners` is empty, or the first has no address.
    pub async fn run(self: Arc<Self>, listeners: Vec<TcpListener>, shutdown: impl Future<Output = ()>) -> Result<()> {
        let address = listeners
            .first()
            .ok_or_else(|| Error::new(Code::Internal, "no listener was given"))?
            .local_addr()
            .map_err(|e| Error::new(Code::Internal, "the listener has no address").because(e))?;
        let loopback = [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED].map(IpAddr::V4);
        self.reachable_at_loopback
            .store(loopback.contains(&address.ip()), Ordering::Relaxed);
        let permits = Arc::new(Semaphore::new(self.settings.limits.max_connections));
        let unauthenticated = Arc::new(UnauthenticatedConnections::default());
        let routes = router::filter(&self);
        let policy = Arc::new(AccessPolicy::new(
            address,
            &self.settings.allowed_hosts,
            &self.settings.allowed_origins,
        ));
        for socket in listeners {
            let listener = Listener {
                server: Arc::clone(&self),
                routes: routes.clone(),
                policy: Arc::clone(&policy),
                permits: Arc::clone(&permits),
                unauthenticated: Arc::clone(&unauthenticated),
            };
            self.tasks.spawn(listener.run(socket));
        }
        self.start_background_tasks();
        shutdown.await;
        self.shutdown.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_WAIT, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                "some connections did not end within {} ms; closing them",
                SHUTDOWN_WAIT.as_millis()
            );
        }
        if let Some(change_reader) = self.take_change_reader() {
            // The thread may be in the middle of a read: wait for it on a blocking thread.
            let _ = tokio::task::spawn_blocking(move || change_reader.stop()).await;
        }
        Ok(())
    }
}
