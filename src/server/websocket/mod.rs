//! The WebSocket: upgrade, frames in and out, keepalive. `hub::session` decides which events a client
//! receives.
//!
//! This module implements the upgrade and configures the socket itself, and uses tungstenite for
//! frames: warp's WebSocket keeps 134 KB per idle connection, nearly all of it a read buffer whose size
//! cannot be configured.

mod connection;
#[cfg(feature = "echo")]
mod echo;
mod keepalive;
mod socket;
mod upgrade;

pub(super) use upgrade::upgrade;
