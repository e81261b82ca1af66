//! A connection that counts the bytes its peer accepts and can give up on a peer that accepts none.
//!
//! A client that sends requests and reads no responses would otherwise occupy a connection forever,
//! even without a token. HTTP connections therefore have a write timeout:
//!
//! 1. The timer starts when the socket does not accept a whole write.
//! 2. It restarts with every [`MIN_PROGRESS`] bytes accepted, and stops when a whole write is accepted.
//! 3. When it expires, the write fails with `TimedOut` and hyper drops the connection.
//!
//! A WebSocket connection has no write timeout here: `websocket/keepalive.rs` uses the count, so
//! that the client gets a close code. A client that sends nothing is limited by the header timeout.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Bytes that count as progress: a peer that accepts a few bytes at a time is not reading.
const MIN_PROGRESS: usize = 16 << 10;

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A connection and its write progress.
pub(super) struct ProgressStream {
    transport: Box<dyn Transport>,
    /// Bytes the transport has accepted.
    written: Arc<AtomicU64>,
    write_timeout: Option<Duration>,
    stall: Option<Stall>,
}

/// A write of which the socket accepted only a part.
struct Stall {
    deadline: Pin<Box<Sleep>>,
    /// Bytes accepted since the deadline was set.
    accepted: usize,
}

impl ProgressStream {
    /// Returns a stream whose peer may make no progress for `write_timeout`.
    pub(super) fn with_write_timeout(socket: TcpStream, write_timeout: Duration) -> Self {
        Self {
            write_timeout: Some(write_timeout),
            ..Self::new(socket)
        }
    }

    /// Returns the stream of an upgraded connection, without a write timeout, and the bytes that hyper
    /// has already read from it.
    ///
    /// A connection of this crate's listener is taken out of hyper's layers, which frees what they keep
    /// of the request. A connection of an embedding server stays inside its layers.
    pub(super) fn from_upgraded(upgraded: Upgraded) -> (Self, Vec<u8>) {
        match upgraded.downcast::<TokioIo<Self>>() {
            Ok(parts) => {
                let stream = Self {
                    write_timeout: None,
                    stall: None,
                    ..parts.io.into_inner()
                };
                (stream, parts.read_buf.to_vec())
            }
            Err(upgraded) => (Self::new(TokioIo::new(upgraded)), Vec::new()),
        }
    }

    fn new(transport: impl Transport + 'static) -> Self {
        Self {
            transport: Box::new(transport),
            written: Arc::default(),
            write_timeout: None,
            stall: None,
        }
    }

    /// Returns the counter of accepted bytes.
    pub(super) fn written(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.written)
    }

    /// Records the outcome of a write of `length` bytes, and fails it if the write timeout has expired.
    fn record_write(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let accepted = match &outcome {
            Poll::Ready(Ok(accepted)) => *accepted,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.written
            .fetch_add(u64::try_from(accepted).unwrap_or(0), Ordering::Relaxed);
        let Some(timeout) = self.write_timeout else {
            return outcome;
        };
        match outcome {
            Poll::Ready(Ok(_)) if accepted < length => {
                let stall = self.stall.get_or_insert_with(|| Stall::new(timeout));
                stall.accepted += accepted;
                if stall.accepted >= MIN_PROGRESS {
                    *stall = Stall::new(timeout);
                }
                outcome
            }
            Poll::Ready(_) => {
                self.stall = None;
                outcome
            }
            Poll::Pending => {
                let stall = self.stall.get_or_insert_with(|| Stall::new(timeout));
                stall.deadline.as_mut().poll(cx).map(|()| Err(timed_out()))
            }
        }
    }
}

impl Stall {
    fn new(timeout: Duration) -> Self {
        Self {
            deadline: Box::pin(tokio::time::sleep(timeout)),
            accepted: 0,
        }
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client does not read its responses")
}

impl AsyncRead for ProgressStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(cx, buf)
    }
}

impl AsyncWrite for ProgressStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.transport).poll_write(cx, buf);
        self.record_write(cx, buf.len(), outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        let length = bufs.iter().map(|buf| buf.len()).sum();
        self.record_write(cx, length, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
