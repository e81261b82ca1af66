//! A WebSocket that says back what it is told: `GET /ws?echo`, in builds with the feature
//! `echo` alone.
//!
//! For: the conformance suite, which speaks to the same handshake, socket and frames as every
//! client does.
//! Not for: a release.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::Server;
use super::metered::websocket;
use super::ws::{End, broken};

/// Says back what comes until one side ends it.
pub(super) async fn serve(server: Arc<Server>, upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let (mut socket, _) = websocket(upgraded, server.hub.limits()).await;
    while let Some(message) = socket.next().await {
        let answered = match message {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).await,
            // tungstenite answers pings and closes by itself.
            Ok(_) => Ok(()),
            Err(error) => {
                if let End::Close(code, reason) = broken(&error) {
                    let frame = CloseFrame {
                        code: code.into(),
                        reason: reason.into(),
                    };
                    drop(socket.close(Some(frame)).await);
                }
                return;
            }
        };
        if answered.is_err() {
            return;
        }
    }
}
