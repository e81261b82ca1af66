//! The connections that have not sent an authenticated request yet.
//!
//! Every program of every user on this machine can connect. So that it cannot occupy the connections of
//! clients with a token, a connection counts against `max_connections` only after its first
//! authenticated request:
//!
//! 1. A new connection is added to [`UnauthenticatedConnections`]. If the set is full, its oldest
//!    connection is evicted.
//! 2. The first authenticated request takes a permit of `max_connections`, and the connection leaves
//!    the set.
//! 3. A connection without an authenticated request is closed after [`LIFETIME`], also if it sends
//!    requests that need no token.
//!
//! The oldest connection is evicted, because a client with a token sends it right after connecting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

/// Maximum number of connections without an authenticated request.
///
/// A client with a token needs its place for a few milliseconds, and a browser opens about six
/// connections at once. With 128 places, a client keeps its place while 127 others connect, and the
/// connections of other users cost at most 128 file descriptors and 4 MiB for the heads of their
/// requests.
pub const MAX_UNAUTHENTICATED_CONNECTIONS: usize = 128;
/// Maximum lifetime of a connection without an authenticated request.
const LIFETIME: Duration = Duration::from_secs(10);
/// Age from which a response is the last of an unauthenticated connection (`Connection: close`), so that
/// [`LIFETIME`] does not end before a response: the pause between two requests is limited to 5 s.
const MAX_AGE_FOR_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The set of connections without an authenticated request, by age.
#[derive(Debug, Default)]
pub(super) struct UnauthenticatedConnections(Mutex<Members>);

#[derive(Debug, Default)]
struct Members {
    next_id: u64,
    /// Ids increase, so the first is the oldest. The token is cancelled when the connection is evicted.
    evictions: BTreeMap<u64, CancellationToken>,
}

impl UnauthenticatedConnections {
    /// Returns whether the next connection evicts another.
    pub(super) fn is_full(&self) -> bool {
        self.lock().evictions.len() >= MAX_UNAUTHENTICATED_CONNECTIONS
    }

    /// Adds a connection. Evicts the oldest if the set is full.
    pub(super) fn add(self: &Arc<Self>) -> ConnectionAdmission {
        let eviction = CancellationToken::new();
        let mut members = self.lock();
        if members.evictions.len() >= MAX_UNAUTHENTICATED_CONNECTIONS
            && let Some((_, oldest)) = members.evictions.pop_first()
        {
            oldest.cancel();
        }
        let id = members.next_id;
        members.next_id += 1;
        members.evictions.insert(id, eviction.clone());
        ConnectionAdmission {
            unauthenticated: Arc::clone(self),
            id,
            eviction,
            accepted_at: Instant::now(),
            permit: OnceLock::new(),
        }
    }

    fn remove(&self, id: u64) {
        self.lock().evictions.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        // No code panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a connection without an authenticated request is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// Newer connections need its place.
    Evicted,
    /// Its lifetime is over.
    TooOld,
}

/// One connection's place: among the unauthenticated ones, or in `max_connections`.
#[derive(Debug)]
pub(super) struct ConnectionAdmission {
    unauthenticated: Arc<UnauthenticatedConnections>,
    id: u64,
    eviction: CancellationToken,
    accepted_at: Instant,
    /// The connection's share of `max_connections`, from its first authenticated request on. Shared,
    /// because a WebSocket keeps it after its request has ended.
    permit: OnceLock<Arc<OwnedSemaphorePermit>>,
}

impl ConnectionAdmission {
    /// Returns the connection's permit, if it has sent an authenticated request.
    pub(super) fn permit(&self) -> Option<&Arc<OwnedSemaphorePermit>> {
        self.permit.get()
    }

    /// Moves the connection, which has sent an authenticated request, out of the set.
    pub(super) fn authenticate(&self, permit: OwnedSemaphorePermit) {
        self.unauthenticated.remove(self.id);
        self.permit.get_or_init(|| Arc::new(permit));
    }

    /// Returns whether the response that is sent now is the connection's last.
    pub(super) fn is_last_response(&self) -> bool {
        self.permit().is_none() && self.accepted_at.elapsed() >= MAX_AGE_FOR_KEEP_ALIVE
    }

    /// Waits until the connection must be closed, unless it is authenticated by then.
    pub(super) async fn expired(&self) -> Expiry {
        let lifetime = LIFETIME.saturating_sub(self.accepted_at.elapsed());
        match tokio::time::timeout(lifetime, self.eviction.cancelled()).await {
            Ok(()) => Expiry::Evicted,
            Err(_) => Expiry::TooOld,
        }
    }
}

impl Drop for ConnectionAdmission {
    fn drop(&mut self) {
        self.unauthenticated.remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    fn is_evicted(connection: &ConnectionAdmission) -> bool {
        connection.eviction.is_cancelled()
    }

    #[test]
    fn evicts_the_oldest_connection() {
        let set = Arc::new(UnauthenticatedConnections::default());
        let mut connections: Vec<_> = (0..MAX_UNAUTHENTICATED_CONNECTIONS).map(|_| set.add()).collect();
        assert!(set.is_full() && !connections.iter().any(is_evicted));
        connections.push(set.add());
        let evicted: Vec<bool> = connections.iter().map(is_evicted).collect();
        assert!(evicted[0] && !evicted[1..].contains(&true));
        // A connection that ends frees its place.
        drop(connections.remove(5));
        assert!(!set.is_full());
        connections.push(set.add());
        assert_eq!(
            connections.iter().filter(|connection| is_evicted(connection)).count(),
            1
        );
    }

    #[test]
    fn authenticated_connections_are_not_evicted() {
        let permits = Arc::new(Semaphore::new(1));
        let set = Arc::new(UnauthenticatedConnections::default());
        let connection = set.add();
        assert!(connection.permit().is_none());
        connection.authenticate(Arc::clone(&permits).try_acquire_owned().unwrap());
        assert!(connection.permit().is_some());
        let others: Vec<_> = (0..MAX_UNAUTHENTICATED_CONNECTIONS).map(|_| set.add()).collect();
        assert!(!is_evicted(&connection) && !others.iter().any(is_evicted));
        drop(connection);
        assert_eq!(permits.available_permits(), 1);
    }
}
