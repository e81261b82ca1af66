//! A connection that is given up when its peer does not take what it asked for.
//!
//! For: everything before a WebSocket: whoever sends requests and reads no answers would
//! otherwise keep a place among the connections for ever, without any token.
//! Not for: a client after its handshake (`ws` has its own deadlines), or peers that say
//! nothing (the time limit on heads).
//!
//! 1. A write the socket does not take begins a time of waiting.
//! 2. It begins anew with every [`PROGRESS`] bytes, and ends when a write is taken whole.
//! 3. Longer than the wait allowed, it is an error, and hyper lets go.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Bytes that count as progress: whoever takes them one by one is not reading.
const PROGRESS: usize = 16 << 10;

/// The socket, and the time its peer still has.
pub(super) struct Patient {
    socket: TcpStream,
    wait: Duration,
    waiting: Option<Waiting>,
}

/// A write that was not taken whole.
struct Waiting {
    /// Until when.
    end: Pin<Box<Sleep>>,
    /// Bytes taken meanwhile.
    taken: usize,
}

impl Patient {
    /// A peer may make no progress for `wait`.
    pub(super) fn new(socket: TcpStream, wait: Duration) -> Self {
        Self {
            socket,
            wait,
            waiting: None,
        }
    }

    /// The socket alone, for those who keep its time themselves.
    pub(super) fn into_inner(self) -> TcpStream {
        self.socket
    }

    /// What became of a write of `length` bytes: waits on, or gives up.
    fn judge(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(taken)) if taken < length => {
                let wait = self.wait;
                let waiting = self.waiting.get_or_insert_with(|| Waiting::new(wait));
                waiting.taken += taken;
                if waiting.taken >= PROGRESS {
                    *waiting = Waiting::new(wait);
                }
                outcome
            }
            Poll::Ready(_) => {
                self.waiting = None;
                outcome
            }
            Poll::Pending => {
                let wait = self.wait;
                let waiting = self.waiting.get_or_insert_with(|| Waiting::new(wait));
                waiting.end.as_mut().poll(cx).map(|()| Err(gave_up()))
            }
        }
    }
}

impl Waiting {
    fn new(wait: Duration) -> Self {
        Self {
            end: Box::pin(tokio::time::sleep(wait)),
            taken: 0,
        }
    }
}

fn gave_up() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its answers")
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.judge(cx, buf.len(), outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        let length = bufs.iter().map(|buf| buf.len()).sum();
        self.judge(cx, length, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
