//! The hub: decides what each client is sent.
//!
//! Data travels one way. The change reader reads new changes from the database and publishes them
//! to the recent changes in memory. Each client's task is woken, asks its [`session::Session`] for
//! the next action, and takes the rows it needs from memory or from the database. A write through
//! the hub commits a row, which is then read like a row of any other process.

mod ack_writer;
mod change_reader;
pub mod connect_options;
pub mod encoded_change;
mod health;
mod latency_histogram;
mod latest_value_throttle;
mod pending_acks;
mod recent_changes;
pub mod session;
mod state;
mod stream_start;
pub mod token_bucket;
mod unlogged_rows;
mod wake_stats;

pub use change_reader::ChangeReaderHandle;
pub use health::{StoreFailure, UnreadableRowReport};
pub use latency_histogram::LatencySnapshot;
pub use state::{Hub, Signal};
pub use stream_start::{ConnectSnapshot, StreamStart};
