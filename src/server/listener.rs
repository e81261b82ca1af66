//! Accepts connections, and passes each request through the access checks to its route.
//!
//! Each connection has limits: [`HEADER_TIMEOUT`] for a request's head, [`BODY_TIMEOUT`] for its
//! body, [`MAX_HEAD`] and [`MAX_BODY`] for their sizes, and the write timeout of
//! [`ProgressStream`] for its responses. The access rules themselves are in `auth`, the limit for
//! connections without an authenticated request in `unauthenticated`.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper::{Request, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::auth::{self, AccessPolicy, AuthRequirement};
use super::cors;
use super::credentials;
use super::peer_owner::{self, Ends};
use super::progress_stream::ProgressStream;
use super::request::Access;
use super::response;
use super::router::{self, RouteMatch};
use super::state::Server;
use super::unauthenticated::{
    ConnectionAdmission, Expiry, MAX_UNAUTHENTICATED_CONNECTIONS, UnauthenticatedConnections,
};
use crate::error::{Code, Error, Result};
use crate::fs::private_file::Owner;
use crate::protocol::now_ms;
use crate::text::quantity::count;

/// Maximum number of connections that the kernel queues until they are accepted. After a restart of the
/// hub all clients reconnect at once; connections beyond the backlog wait about 1 s for the SYN retry.
const BACKLOG: u32 = 1024;
/// Maximum bytes of a body: the largest column, and the rest of its JSON.
const MAX_BODY: usize = (1 << 20) + (64 << 10);
/// Maximum bytes of a request's head.
const MAX_HEAD: usize = 32 << 10;
/// Maximum time a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time a client may take to send a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Delay after the first failed accept. It doubles with each further failure.
const MIN_ACCEPT_DELAY: Duration = Duration::from_millis(5);
/// Maximum delay after a failed accept.
const MAX_ACCEPT_DELAY: Duration = Duration::from_secs(1);

/// Binds `address`, and for 127.0.0.1 also `[::1]` on the same port if the machine has IPv6.
///
/// # Errors
/// [`Code::AddressInUse`] if the port is in use, [`Code::Internal`] if it cannot be bound for
/// another reason.
pub async fn bind(address: SocketAddr) -> Result<Vec<TcpListener>> {
    let first = listen(address).map_err(|e| {
        let (code, advice) = if e.kind() == std::io::ErrorKind::AddrInUse {
            let port = address.port();
            (
                Code::AddressInUse,
                format!(
                    "another program uses this port (find it with ss -ltnp 'sport = :{port}' or lsof -i :{port}); \
                     stop it, or pass --listen 127.0.0.1:0 to use any free port"
                ),
            )
        } else {
            (Code::Internal, "pass another address with --listen".to_owned())
        };
        Error::new(code, format!("cannot listen on {address}: {e}; {advice}")).because(e)
    })?;
    let mut listeners = vec![first];
    if address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST)
        && let Ok(bound) = listeners[0].local_addr()
    {
        let second = SocketAddr::from((Ipv6Addr::LOCALHOST, bound.port()));
        match listen(second) {
            Ok(socket) => listeners.push(socket),
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => tracing::warn!(
                "another program listens at {second}, and browsers may connect to it at localhost:{}; \
                 use the address {bound}",
                bound.port()
            ),
            // The machine has no IPv6.
            Err(_) => {}
        }
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections of a hub that has just ended may still be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves the connections of one listening socket.
#[derive(Clone)]
pub(super) struct Listener {
    pub(super) server: Arc<Server>,
    pub(super) routes: BoxedFilter<(Response,)>,
    pub(super) policy: Arc<AccessPolicy>,
    /// One permit per connection allowed.
    pub(super) permits: Arc<Semaphore>,
    /// The connections that have no permit yet.
    pub(super) unauthenticated: Arc<UnauthenticatedConnections>,
}

impl Listener {
    /// Accepts connections until the server shuts down.
    pub(super) async fn run(self, socket: TcpListener) {
        let mut delay = MIN_ACCEPT_DELAY;
        while let Some(accepted) = self.server.shutdown.run_until_cancelled(socket.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    delay = MIN_ACCEPT_DELAY;
                    self.accept(stream).await;
                }
                Err(e) => {
                    // Most likely the process is out of file descriptors: other connections must end first.
                    tracing::warn!("cannot accept a connection: {e}; retrying in {} ms", delay.as_millis());
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(MAX_ACCEPT_DELAY);
                }
            }
        }
    }

    /// Starts the task that serves the connection.
    async fn accept(&self, stream: TcpStream) {
        // Send each frame at once instead of waiting for more to fill a packet. If the socket is
        // closed already, the first read reports it.
        drop(stream.set_nodelay(true));
        if self.unauthenticated.is_full() {
            // First serve the requests that have arrived: their connections may leave the set.
            tokio::task::yield_now().await;
        }
        let admission = self.unauthenticated.add();
        self.server.tasks.spawn(self.clone().serve(stream, admission));
    }

    /// Serves the requests of one connection.
    async fn serve(self, stream: TcpStream, admission: ConnectionAdmission) {
        let shutdown = self.server.shutdown.clone();
        let ends = stream.local_addr().and_then(|local| {
            let peer = stream.peer_addr()?;
            Ok(Ends { local, peer })
        });
        // If the client has disconnected already, no request follows.
        let Ok(ends) = ends else {
            return;
        };
        let admission = Arc::new(admission);
        let (server, has_request) = (Arc::clone(&self.server), AtomicBool::new(false));
        let service = hyper::service::service_fn(|request| {
            has_request.store(true, Ordering::Relaxed);
            let listener = self.clone();
            let admission = Arc::clone(&admission);
            async move { Ok::<_, Infallible>(listener.respond(request, &admission, ends).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD);
        let write_timeout = self.server.settings.limits.write_wait;
        let socket = TokioIo::new(ProgressStream::with_write_timeout(stream, write_timeout));
        let connection = http.serve_connection(socket, service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let mut expired = std::pin::pin!(admission.expired());
        let outcome = loop {
            tokio::select! {
                // The connection first: if its authenticated request has arrived, it stays open.
                biased;
                outcome = connection.as_mut() => break outcome,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    break connection.await;
                }
                expiry = expired.as_mut(), if admission.permit().is_none() => {
                    if admission.permit().is_some() {
                        continue;
                    }
                    if expiry == Expiry::Evicted {
                        server.record_refusal(
                            "UNAUTHENTICATED_LIMIT",
                            "a connection",
                            format_args!(
                                "{MAX_UNAUTHENTICATED_CONNECTIONS} newer connections without a token are open, \
                                 which is the limit"
                            ),
                        );
                    }
                    return;
                }
            }
        };
        // A client that disconnects and a keep-alive connection that times out are not counted as
        // refusals.
        match outcome {
            Err(e) if e.is_parse() => server.record_refusal(
                "BAD_REQUEST",
                "a connection",
                format_args!("its request is not HTTP/1.1 ({e})"),
            ),
            Err(e) if e.is_timeout() && !has_request.load(Ordering::Relaxed) => server.record_refusal(
                "NO_REQUEST",
                "a connection",
                format_args!("no request came within {} s", HEADER_TIMEOUT.as_secs()),
            ),
            Err(e) if is_write_timeout(&e) => server.record_refusal(
                "NOT_READING",
                "a connection",
                format_args!(
                    "the client read nothing of its responses for {} s",
                    write_timeout.as_secs()
                ),
            ),
            _ => {}
        }
    }

    /// Responds to a request.
    async fn respond(&self, request: Request<Incoming>, admission: &ConnectionAdmission, ends: Ends) -> Response {
        // An error, too, must be readable by the page that gets it.
        let allowed_origin = self.policy.allowed_origin(request.headers());
        let mut response = self.check_and_route(request, admission, ends).await;
        if let Some(origin) = allowed_origin {
            cors::add_headers(response.headers_mut(), origin);
        }
        if admission.is_last_response() {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Checks a request, reads its body and passes it to its route.
    async fn check_and_route(
        &self,
        request: Request<Incoming>,
        admission: &ConnectionAdmission,
        ends: Ends,
    ) -> Response {
        let (parts, body) = request.into_parts();
        if cors::is_preflight(&parts) && self.policy.allowed_origin(&parts.headers).is_some() {
            return match self.policy.check_head(&parts) {
                Ok(()) => cors::preflight(&parts.headers),
                Err(error) => self.refuse(&parts, &error),
            };
        }
        let found = router::find(&parts.method, parts.uri.path());
        let access = match self.authorize(&parts, &found, ends) {
            Ok(access) => access,
            Err(error) => return self.refuse(&parts, &error),
        };
        let is_authenticated =
            found.auth_requirement() != AuthRequirement::Open || self.server.credentials.needs_no_token();
        if is_authenticated && !self.admit(admission) {
            return response::too_many_connections();
        }
        let body = match read_body(&parts, body).await {
            // The secret may have been replaced while the body arrived.
            Ok(body) if !body.is_empty() => self.authorize(&parts, &found, ends).map(|_| body),
            outcome => outcome,
        };
        match body {
            Err(error) => self.refuse(&parts, &error),
            Ok(body) => {
                let mut request = Request::from_parts(parts, Full::new(body));
                request.extensions_mut().insert(found);
                request.extensions_mut().insert(access);
                if let Some(permit) = admission.permit() {
                    request.extensions_mut().insert(Arc::clone(permit));
                }
                let service = TowerToHyperService::new(warp::service(self.routes.clone()));
                service.call(request).await.unwrap_or_else(|never| match never {})
            }
        }
    }

    /// Checks a request's head and its secrets.
    fn authorize(&self, parts: &Parts, found: &RouteMatch, ends: Ends) -> Result<Access> {
        self.policy.check_head(parts)?;
        let (given, now) = (auth::given_secrets(parts)?, now_ms());
        let (credentials, requirement) = (&self.server.credentials, found.auth_requirement());
        if requirement == AuthRequirement::Code {
            if !credentials.has_valid_code(&given, &self.server.run_id(), now) {
                return Err(credentials::invalid_code());
            }
            if peer_owner::is_another_user(ends, Owner::of(self.server.hub.store().path()).uid()) {
                return Err(Error::new(
                    Code::Forbidden,
                    "this link belongs to another user of this machine; open the page as that user with agenthub open",
                ));
            }
        }
        let port = self.policy.port();
        let credential = credentials.authorize(requirement, &given, port, now)?;
        Ok(Access {
            credential,
            given,
            port,
        })
    }

    /// Gives a connection with an authenticated request its permit. Returns whether it has one.
    fn admit(&self, admission: &ConnectionAdmission) -> bool {
        if admission.permit().is_some() {
            return true;
        }
        let limit = self.server.settings.limits.max_connections;
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            // A tenth must be free before this is logged, so that the two messages do not
            // alternate.
            if self.permits.available_permits() * 10 > limit
                && self.server.at_connection_limit.swap(false, Ordering::Relaxed)
            {
                tracing::info!("below the connection limit again");
            }
            admission.authenticate(permit);
            return true;
        }
        self.server.refused.increment("TOO_MANY_CONNECTIONS");
        if !self.server.at_connection_limit.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "{} open, which is the limit: new ones are refused; close some, or raise --max-connections",
                count(limit, "connection")
            );
        }
        false
    }

    fn refuse(&self, parts: &Parts, error: &Error) -> Response {
        // The path is logged without its query, which may contain a token.
        let subject = format_args!("{} {}", parts.method, auth::quoted(parts.uri.path()));
        self.server.record_refusal(error.code().name(), subject, error);
        response::error(error)
    }
}

/// Returns whether a connection ended because of its write timeout.
fn is_write_timeout(e: &hyper::Error) -> bool {
    std::error::Error::source(e)
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut)
}

/// Reads a body. A body whose declared length is over the limit is not read at all.
async fn read_body(parts: &Parts, body: Incoming) -> Result<Bytes> {
    let too_large = || {
        Error::new(
            Code::TooLarge,
            format!("the body is larger than {MAX_BODY} bytes; send less"),
        )
    };
    let length = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(e)) => Err(Error::new(Code::Invalid, "the body ended early; send it whole").because(e)),
        Err(_) => Err(Error::new(
            Code::Invalid,
            format!("the body took longer than {} s; send it faster", BODY_TIMEOUT.as_secs()),
        )),
    }
}
