//! The WebSocket: upgrade, frames in and out, keepalive. What a client receives is decided by
//! `hub::session`.
//!
//! The upgrade and the socket's configuration are our own around tungstenite's frames: warp's
//! WebSocket keeps 134 KB per idle connection, nearly all of it a read buffer whose size cannot be
//! configured.

mod connection;
#[cfg(feature = "echo")]
mod echo;
mod keepalive;
mod socket;
mod upgrade;

pub(super) use upgrade::upgrade;
