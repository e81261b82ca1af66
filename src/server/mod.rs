//! The server: the only place that knows warp and hyper.
//!
//! For: accepting connections, letting requests in or not, and running the hub behind
//! them until it is told to stop.
//! Not for: what the hub does (`hub`), or one route's business (`api`, `ws`, `dashboard`).
//!
//! The accept loop is our own around warp's routes: warp's has no limit on connections, no
//! time limit on headers, and speaks HTTP/2 to whoever asks.
//!
//! 1. A connection takes a permit; over the limit it is told so and closed.
//! 2. `auth` judges each request's head; a body is read whole, within its limit.
//! 3. warp finds the route.
//! 4. On shutdown: stop accepting, tell every WebSocket, let open requests end, store the
//!    acks, within 2 s.

mod api;
mod auth;
mod broadcast;
mod commands;
mod dashboard;
#[cfg(feature = "echo")]
mod echo;
mod gate;
mod handshake;
mod metered;
mod metrics;
mod patient;
mod pulse;
mod renewal;
mod reports;
mod routes;
mod search;
mod states;
mod ws;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::config::Limits;
use crate::error::{Code, Error, Result};
use crate::hub::Hub;
use crate::store::{Record, Store, Token};
use crate::watcher::WatchMode;

use auth::Policy;
pub use auth::{Guard, admit};
use gate::Gate;
use metrics::Tally;
pub use routes::routes;

/// The port unless another is asked for.
pub const DEFAULT_PORT: u16 = 4820;
/// Connections the system keeps until they are accepted. When a hub comes back all its clients
/// do: whoever does not fit in waits for a second or longer until it knocks again.
const BACKLOG: u32 = 1024;
/// Time everything has to end after the signal to stop.
const SHUTDOWN_WAIT: Duration = Duration::from_millis(1500);

/// How a server is to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The protocol's constants.
    pub limits: Limits,
    /// How commits are noticed.
    pub watch: WatchMode,
    /// Hosts beside this machine's own names that requests may be for.
    pub allowed_hosts: Vec<String>,
    /// Where the page's files come from instead of from the binary.
    pub assets: Option<std::path::PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            watch: WatchMode::Auto,
            allowed_hosts: Vec::new(),
            assets: None,
        }
    }
}

/// The hub and its clients (the seed's `Server`).
#[derive(Debug)]
pub struct Server {
    hub: Arc<Hub>,
    looker: Mutex<Option<crate::hub::ChangeReaderHandle>>,
    settings: Settings,
    guard: Mutex<Guard>,
    /// The token in the database's file of it, if that is the one that was given.
    file_token: Option<Token>,
    /// Cancelled, and made anew, when the token changes: ends the clients' sessions.
    sessions: Mutex<CancellationToken>,
    /// WebSocket connections open now.
    clients: AtomicUsize,
    /// Requests and connections not let in, by reason.
    refused: Tally,
    /// WebSocket connections ended, by close code.
    disconnects: Tally,
    /// Who may search now.
    searches: Arc<Semaphore>,
    /// There are as many connections as there may be.
    crowded: AtomicBool,
    started: Instant,
    /// Told by `/healthz`, so that another process knows which run this is.
    run: Mutex<String>,
    /// 127.0.0.1 leads here: the one origin of the page.
    at_home: AtomicBool,
    /// What goes on beside the clients was started.
    kept: Once,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that never ran, or broke off, leaves nothing behind.
        self.stop.cancel();
        if let Some(looker) = lock(&self.looker).take() {
            looker.stop();
        }
    }
}

impl Server {
    /// A server for `store` with the token of its file (the seed's `NewServer`).
    ///
    /// # Errors
    /// A `Store…` code if the file or its token cannot be read, or the file not watched.
    pub fn new(store: Store) -> Result<Arc<Self>> {
        let token = Token::of(store.path())?;
        Self::with(store, Settings::default(), Guard::Token(token))
    }

    /// A server with settings of one's own.
    ///
    /// # Errors
    /// As [`Server::new`].
    pub fn with(store: Store, settings: Settings, guard: Guard) -> Result<Arc<Self>> {
        let file_token = Token::at(store.path()).filter(|t| matches!(&guard, Guard::Token(given) if given == t));
        let (hub, looker) = Hub::start(store, settings.limits.clone(), settings.watch)?;
        Ok(Arc::new(Self {
            hub,
            looker: Mutex::new(Some(looker)),
            settings,
            file_token,
            guard: Mutex::new(guard),
            sessions: Mutex::default(),
            clients: AtomicUsize::new(0),
            refused: Tally::default(),
            disconnects: Tally::default(),
            searches: Arc::new(Semaphore::new(1)),
            crowded: AtomicBool::new(false),
            started: Instant::now(),
            run: Mutex::default(),
            at_home: AtomicBool::new(false),
            kept: Once::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// The token that lets clients in from now on (the seed's `SetToken`).
    pub fn set_token(&self, token: &str) {
        *lock(&self.guard) = Guard::Token(Token::new(token));
    }

    /// WebSocket connections open now (the seed's `GetConnectionCount`).
    pub fn connection_count(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// The hub behind the server.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// What `/healthz` tells of this run.
    pub fn announce(&self, record: &Record) {
        lock(&self.run).clone_from(&record.run);
    }

    /// The route `GET /ws` alone, for a server of one's own (the seed's `HandleWebSocket`).
    /// It answers the upgrade; who may come that far is for the caller to say.
    pub fn websocket(self: &Arc<Self>) -> BoxedFilter<(Response,)> {
        routes::websocket(self)
    }

    /// Starts what goes on beside the clients, once: acks on their way to the file, the tries
    /// while it cannot be written, and a look at its token now and then.
    fn keep(self: &Arc<Self>) {
        self.kept.call_once(|| {
            self.tasks.spawn(Arc::clone(&self.hub).keep_acks(self.stop.clone()));
            self.tasks.spawn(Arc::clone(&self.hub).probe_writing(self.stop.clone()));
            self.tasks
                .spawn(renewal::follow(Arc::downgrade(self), self.stop.clone()));
        });
    }

    /// Serves on `listeners`, which are bound already, until `shutdown` (the seed's `Run`).
    ///
    /// # Errors
    /// [`Code::Internal`] if there is no listener, or one has no address.
    pub async fn run(self: Arc<Self>, listeners: Vec<TcpListener>, shutdown: impl Future<Output = ()>) -> Result<()> {
        let address = listeners
            .first()
            .ok_or_else(|| Error::new(Code::Internal, "there is nothing to listen on"))?
            .local_addr()
            .map_err(|e| Error::new(Code::Internal, "the listener has no address").because(e))?;
        let home = [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED].map(IpAddr::V4);
        self.at_home.store(home.contains(&address.ip()), Ordering::Relaxed);
        let permits = Arc::new(Semaphore::new(self.settings.limits.max_connections));
        let routes = routes::all(&self);
        let policy = Arc::new(Policy::new(address, &self.settings.allowed_hosts));
        for listener in listeners {
            let gate = Gate {
                server: Arc::clone(&self),
                routes: routes.clone(),
                policy: Arc::clone(&policy),
                permits: Arc::clone(&permits),
            };
            self.tasks.spawn(gate.accept(listener));
        }
        self.keep();
        shutdown.await;
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_WAIT, self.tasks.wait()).await.is_err() {
            tracing::warn!("some connections did not end in time; they are cut off");
        }
        let looker = lock(&self.looker).take();
        if let Some(looker) = looker {
            // The looker may be in the middle of a read: wait off the runtime's threads.
            let _ = tokio::task::spawn_blocking(move || looker.stop()).await;
        }
        Ok(())
    }
}

/// Binds `address`, and beside 127.0.0.1 also `[::1]` on the same port where there is one.
///
/// # Errors
/// [`Code::AddressInUse`] if the port is taken, [`Code::Internal`] if it cannot be bound
/// otherwise.
pub async fn bind(address: SocketAddr) -> Result<Vec<TcpListener>> {
    let first = listen(address).map_err(|e| {
        let taken = e.kind() == std::io::ErrorKind::AddrInUse;
        let (code, advice) = if taken {
            (Code::AddressInUse, format!("another program listens there (ss -ltnp 'sport = :{0}' or lsof -i :{0} names it); stop it or pass --listen 127.0.0.1:0", address.port()))
        } else {
            (Code::Internal, "give another address with --listen".to_owned())
        };
        Error::new(code, format!("cannot listen on {address}: {e}; {advice}")).because(e)
    })?;
    let mut listeners = vec![first];
    if address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST)
        && let Ok(bound) = listeners[0].local_addr()
        && let Ok(second) = listen((Ipv6Addr::LOCALHOST, bound.port()).into())
    {
        listeners.push(second);
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections of the hub before may still be closing.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while one of these locks is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
