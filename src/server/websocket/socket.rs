//! The socket of a WebSocket connection: tungstenite's frames on a [`ProgressStream`].

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use hyper::upgrade::Upgraded;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::config::Limits;
use crate::server::progress_stream::ProgressStream;

/// Bytes read from a socket at a time. Clients send little, and an idle one must cost little memory.
const READ_BUFFER: usize = 2 << 10;
/// Bytes that tungstenite collects before it writes.
const WRITE_BUFFER: usize = 16 << 10;

/// A client's WebSocket.
pub(super) type Socket = WebSocketStream<ProgressStream>;

/// Returns the WebSocket of an upgraded connection, and the growing count of bytes its client accepts.
pub(super) async fn open(upgraded: Upgraded, limits: &Limits) -> (Socket, Arc<AtomicU64>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(limits.max_message_size))
        .max_frame_size(Some(limits.max_message_size));
    let (stream, already_read) = ProgressStream::from_upgraded(upgraded);
    let written = stream.written();
    let socket = WebSocketStream::from_partially_read(stream, already_read, Role::Server, Some(config)).await;
    (socket, written)
}
