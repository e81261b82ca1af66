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
mod dashboard;
#[cfg(feature = "echo")]
mod echo;
mod handshake;
mod metered;
mod metrics;
mod pulse;
mod reports;
mod routes;
mod search;
mod states;
mod tight;
mod ws;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper::{Request, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::config::Limits;
use crate::error::{Code, Error, Result};
use crate::hub::Hub;
use crate::store::{Record, Store, Token};
use crate::watch::Mode;

use auth::Policy;
pub use auth::{Guard, admit};
use metrics::{Tally, refuse};
pub use routes::routes;

/// The port unless another is asked for.
pub const DEFAULT_PORT: u16 = 4820;
/// Bytes of a body at most: the largest column, and what is around it.
const MAX_BODY: usize = (1 << 20) + (64 << 10);
/// Time a client has for a request's head.
const HEADER_WAIT: Duration = Duration::from_secs(5);
/// Time a client has for a request's body.
const BODY_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a request's head at most.
const MAX_HEAD: usize = 32 << 10;
/// Time everything has to end after the signal to stop.
const SHUTDOWN_WAIT: Duration = Duration::from_millis(1500);
/// Pauses after a failed accept: the first, and the longest it doubles to.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// How a server is to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The protocol's constants.
    pub limits: Limits,
    /// How commits are noticed.
    pub watch: Mode,
    /// Hosts beside this machine's own names that requests may be for.
    pub allowed_hosts: Vec<String>,
    /// Where the page's files come from instead of from the binary.
    pub assets: Option<std::path::PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            watch: Mode::Auto,
            allowed_hosts: Vec::new(),
            assets: None,
        }
    }
}

/// The hub and its clients (the seed's `Server`).
#[derive(Debug)]
pub struct Server {
    hub: Arc<Hub>,
    looker: Mutex<Option<crate::hub::LookerHandle>>,
    settings: Settings,
    guard: Mutex<Guard>,
    /// WebSocket connections open now.
    clients: AtomicUsize,
    /// Requests and connections not let in, by reason.
    refused: Tally,
    /// WebSocket connections ended, by close code.
    disconnects: Tally,
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
        let (hub, looker) = Hub::start(store, settings.limits.clone(), settings.watch)?;
        Ok(Arc::new(Self {
            hub,
            looker: Mutex::new(Some(looker)),
            settings,
            guard: Mutex::new(guard),
            clients: AtomicUsize::new(0),
            refused: Tally::default(),
            disconnects: Tally::default(),
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

    /// Starts what goes on beside the clients, once: acks on their way to the file, and the
    /// tries while it cannot be written.
    fn keep(self: &Arc<Self>) {
        self.kept.call_once(|| {
            self.tasks.spawn(Arc::clone(&self.hub).keep_acks(self.stop.clone()));
            self.tasks.spawn(Arc::clone(&self.hub).probe_writing(self.stop.clone()));
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
    let first = TcpListener::bind(address).await.map_err(|e| {
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
        && let Ok(second) = TcpListener::bind((Ipv6Addr::LOCALHOST, bound.port())).await
    {
        listeners.push(second);
    }
    Ok(listeners)
}

/// One listener's gate: who comes in, and how many.
#[derive(Clone)]
struct Gate {
    server: Arc<Server>,
    routes: BoxedFilter<(Response,)>,
    policy: Arc<Policy>,
    permits: Arc<Semaphore>,
}

impl Gate {
    async fn accept(self, listener: TcpListener) {
        let mut pause = ACCEPT_PAUSE.0;
        while let Some(accepted) = self.server.stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    pause = ACCEPT_PAUSE.0;
                    self.welcome(stream);
                }
                Err(e) => {
                    // Out of file handles, most likely: others have to end first.
                    tracing::warn!(
                        "cannot accept a connection: {e}; trying again in {} ms",
                        pause.as_millis()
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE.1);
                }
            }
        }
    }

    fn welcome(&self, stream: TcpStream) {
        // A frame is a whole thought: it must not wait for the next one to share a packet.
        // A socket that is gone already will tell when it is read.
        drop(stream.set_nodelay(true));
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => {
                // A few have to go before it is worth a line in the log.
                if self.permits.available_permits() * 10 > self.server.settings.limits.max_connections
                    && self.server.crowded.swap(false, Ordering::Relaxed)
                {
                    tracing::info!("there is room for connections again");
                }
                let gate = self.clone();
                self.server.tasks.spawn(async move {
                    gate.serve(stream, permit).await;
                });
            }
            Err(_) => {
                self.server.refused.add("TOO_MANY_CONNECTIONS");
                if !self.server.crowded.swap(true, Ordering::Relaxed) {
                    let most = self.server.settings.limits.max_connections;
                    tracing::warn!(
                        "{most} connections are open: more are turned away; close some, or raise --max-connections"
                    );
                }
                self.server.tasks.spawn(turn_away(stream));
            }
        }
    }

    async fn serve(self, stream: TcpStream, permit: tokio::sync::OwnedSemaphorePermit) {
        let stop = self.server.stop.clone();
        // A WebSocket takes the permit along when its request ends.
        let permit = Arc::new(permit);
        let (server, spoke) = (Arc::clone(&self.server), AtomicBool::new(false));
        let service = hyper::service::service_fn(|request| {
            spoke.store(true, Ordering::Relaxed);
            let gate = self.clone();
            let permit = Arc::clone(&permit);
            async move { Ok::<_, Infallible>(gate.answer(request, permit).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEADER_WAIT)
            .max_buf_size(MAX_HEAD);
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // A client that has gone is its own affair, and so is one that has nothing more to say.
        match outcome {
            Err(e) if e.is_parse() => refuse(
                &server,
                "BAD_REQUEST",
                "a connection",
                format_args!("it does not speak HTTP/1.1 ({e})"),
            ),
            Err(e) if e.is_timeout() && !spoke.load(Ordering::Relaxed) => {
                let why = format_args!("no request came within {} s", HEADER_WAIT.as_secs());
                refuse(&server, "NO_REQUEST", "a connection", why);
            }
            _ => {}
        }
    }

    /// Judges a request, reads its body and hands it to its route.
    async fn answer(&self, request: Request<Incoming>, permit: Arc<tokio::sync::OwnedSemaphorePermit>) -> Response {
        let (parts, body) = request.into_parts();
        let guard = lock(&self.server.guard).clone();
        let secrecy = routes::secrecy(&parts.method, parts.uri.path());
        if let Err(refusal) = self.policy.admit(&parts, secrecy, &guard) {
            return self.refuse(&parts, &refusal);
        }
        let length = parts
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        let body = match length {
            Some(length) if length > MAX_BODY => Err(too_large()),
            _ => read_body(body).await,
        };
        match body {
            Err(error) => self.refuse(&parts, &error),
            Ok(body) => {
                let mut request = Request::from_parts(parts, Full::new(body));
                request.extensions_mut().insert(permit);
                let service = TowerToHyperService::new(warp::service(self.routes.clone()));
                service.call(request).await.unwrap_or_else(|never| match never {})
            }
        }
    }

    fn refuse(&self, parts: &Parts, error: &Error) -> Response {
        // The path without its query: that may hold a token.
        let what = format_args!("{} {:?}", parts.method, parts.uri.path());
        refuse(&self.server, error.code().name(), what, error);
        api::refusal(error)
    }
}

async fn read_body(body: Incoming) -> Result<Bytes> {
    match tokio::time::timeout(BODY_WAIT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(e)) => Err(Error::new(Code::Invalid, "the body broke off").because(e)),
        Err(_) => Err(Error::new(
            Code::Invalid,
            format!("the body took longer than {} s", BODY_WAIT.as_secs()),
        )),
    }
}

fn too_large() -> Error {
    Error::new(Code::TooLarge, format!("the body is over {MAX_BODY} bytes; send less"))
}

/// Tells a connection over the limit so, and closes it.
async fn turn_away(mut stream: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 62\r\n\
        Retry-After: 1\r\nConnection: close\r\n\r\ntoo many connections; close some, or raise --max-connections.\n";
    let _ = tokio::time::timeout(HEADER_WAIT, stream.write_all(ANSWER)).await;
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while one of these locks is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
