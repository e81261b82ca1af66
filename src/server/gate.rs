//! The gate of one listener: who comes in, and how many.
//!
//! For: the accept loop, the time and room a connection has, judging each request and
//! reading its body.
//! Not for: the rules themselves (`auth`), or the routes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::auth::Policy;
use super::metrics::refuse;
use super::patient::Patient;
use super::{Server, api, auth, lock, routes};
use crate::error::{Code, Error, Result};

/// Bytes of a body at most: the largest column, and what is around it.
const MAX_BODY: usize = (1 << 20) + (64 << 10);
/// Time a client has for a request's head.
const HEADER_WAIT: Duration = Duration::from_secs(5);
/// Time a client has for a request's body.
const BODY_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a request's head at most.
const MAX_HEAD: usize = 32 << 10;
/// Pauses after a failed accept: the first, and the longest it doubles to.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// One listener's gate: who comes in, and how many.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) server: Arc<Server>,
    pub(super) routes: BoxedFilter<(Response,)>,
    pub(super) policy: Arc<Policy>,
    pub(super) permits: Arc<Semaphore>,
}

impl Gate {
    pub(super) async fn accept(self, listener: TcpListener) {
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
        let wait = self.server.settings.limits.write_wait;
        let socket = TokioIo::new(Patient::new(stream, wait));
        let connection = http.serve_connection(socket, service).with_upgrades();
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
            Err(e) if is_unread(&e) => {
                let why = format_args!("it read nothing of its answers for {} s", wait.as_secs());
                refuse(&server, "NOT_READING", "a connection", why);
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
        // A body may be long on its way: by now the token may be another one.
        let body = body.and_then(|body| {
            if body.is_empty() {
                return Ok(body);
            }
            let guard = lock(&self.server.guard).clone();
            self.policy.admit(&parts, secrecy, &guard).map(|()| body)
        });
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
        // The path goes without its query, which may hold a token.
        let what = format_args!("{} {}", parts.method, auth::quoted(parts.uri.path()));
        refuse(&self.server, error.code().name(), what, error);
        api::refusal(error)
    }
}

/// Whether a connection ended because its peer took none of what it had asked for.
fn is_unread(e: &hyper::Error) -> bool {
    std::error::Error::source(e)
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut)
}

async fn read_body(body: Incoming) -> Result<Bytes> {
    match tokio::time::timeout(BODY_WAIT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(e)) => Err(Error::new(Code::Invalid, "the body broke off; send it whole").because(e)),
        Err(_) => Err(Error::new(
            Code::Invalid,
            format!("the body took longer than {} s; send it at once", BODY_WAIT.as_secs()),
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
