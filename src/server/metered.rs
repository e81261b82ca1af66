//! A client's socket, and how much it took: what tells a slow client from one that does
//! not read.
//!
//! For: the connections of our own accept loop, which are given back as plain TCP, and those
//! of a server somebody else runs, which stay behind its own layers; and tungstenite's frames
//! on top of them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::config::Limits;

use super::patient::Patient;

/// The socket and its count.
pub(super) struct Metered {
    socket: Wire,
    written: Arc<AtomicU64>,
}

enum Wire {
    /// Without hyper around it: nothing of the request is kept.
    Plain(TcpStream),
    Layered(Box<TokioIo<Upgraded>>),
}

impl Metered {
    /// The socket of an upgraded connection, and what was read of it already.
    fn new(upgraded: Upgraded) -> (Self, Vec<u8>) {
        let (socket, read) = match upgraded.downcast::<TokioIo<Patient>>() {
            Ok(parts) => (Wire::Plain(parts.io.into_inner().into_inner()), parts.read_buf.to_vec()),
            Err(upgraded) => (Wire::Layered(Box::new(TokioIo::new(upgraded))), Vec::new()),
        };
        let written = Arc::default();
        (Self { socket, written }, read)
    }

    /// Bytes the socket has taken, as they grow.
    fn written(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.written)
    }
}

/// A client's WebSocket.
pub(super) type Socket = WebSocketStream<Metered>;

/// Bytes read from a socket at a time. Clients say little; an idle one should cost little.
const READ_BUFFER: usize = 2 << 10;
/// Bytes gathered by tungstenite before it writes.
const WRITE_BUFFER: usize = 16 << 10;

/// The WebSocket on an upgraded connection, and the count of what its client takes.
pub(super) async fn websocket(upgraded: Upgraded, limits: &Limits) -> (Socket, Arc<AtomicU64>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(limits.max_message_size))
        .max_frame_size(Some(limits.max_message_size));
    let (socket, read) = Metered::new(upgraded);
    let written = socket.written();
    let socket = WebSocketStream::from_partially_read(socket, read, Role::Server, Some(config)).await;
    (socket, written)
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Wire::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Wire::Layered(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let taken = ready!(match &mut self.socket {
            Wire::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Wire::Layered(socket) => Pin::new(socket).poll_write(cx, buf),
        })?;
        self.written
            .fetch_add(u64::try_from(taken).unwrap_or(0), Ordering::Relaxed);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Wire::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Wire::Layered(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Wire::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Wire::Layered(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
