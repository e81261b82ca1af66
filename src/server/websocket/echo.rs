//! A WebSocket that echoes every message: `GET /ws?echo`, only in builds with the feature `echo`.
//!
//! The Autobahn conformance suite uses it to test the same handshake, socket and frames that every
//! client uses. A release is built without it.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::connection::{CloseReason, close_reason};
use super::socket;
use crate::server::state::Server;

/// Echoes messages until one side closes.
pub(super) async fn serve(server: Arc<Server>, upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let (mut socket, _) = socket::open(upgraded, server.hub.limits()).await;
    while let Some(message) = socket.next().await {
        let sent = match message {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).await,
            // tungstenite replies to pings and closes by itself.
            Ok(_) => Ok(()),
            Err(error) => {
                if let CloseReason::Hub(code, reason) = close_reason(&error) {
                    let frame = CloseFrame {
                        code: code.into(),
                        reason: reason.into(),
                    };
                    drop(socket.close(Some(frame)).await);
                }
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}
