//! Resolves where the stream of a new or resuming client starts.

use std::sync::Arc;

use super::connect_options::From;
use super::encoded_change::Since;
use super::state::{Hub, position_lost};
use crate::error::Result;
use crate::store::Position;

/// The state of the hub when a client connects.
#[derive(Debug, Clone)]
pub struct ConnectSnapshot {
    /// As in [`Signal`](super::Signal).
    pub generation: u64,
    /// The database's epoch.
    pub epoch: Arc<str>,
    /// The position after the newest change.
    pub head: Position,
}

/// The start of a client's stream.
#[derive(Debug, Clone)]
pub struct StreamStart {
    /// The database's epoch.
    pub epoch: Arc<str>,
    /// The session's first position.
    pub pos: Position,
    /// The client has everything up to here, except states that were held back.
    pub resumed: Position,
    /// Rows up to here may be pruned without loss for the client.
    pub kept: Position,
    /// The stream begins with the oldest row kept: rows pruned later are reported as a `gap`.
    pub from_oldest: bool,
}

impl Hub {
    /// Returns the state for a client that connects now.
    pub fn connect_snapshot(&self) -> ConnectSnapshot {
        let log = self.log();
        ConnectSnapshot {
            generation: log.generation,
            epoch: Arc::clone(&log.epoch),
            head: log.recent.head(),
        }
    }

    /// Returns the start of the stream of a client that connected at `snapshot`.
    ///
    /// # Errors
    /// [`PositionLost`](crate::error::Code::PositionLost) if the client's position is not in this
    /// database; a `Store…` code.
    pub async fn stream_start(self: &Arc<Self>, from: From, snapshot: ConnectSnapshot) -> Result<StreamStart> {
        let ConnectSnapshot {
            generation,
            epoch,
            head,
        } = snapshot;
        if self.generation() != generation {
            return Err(position_lost());
        }
        let since = match from {
            From::Now => {
                return Ok(StreamStart {
                    epoch,
                    pos: head,
                    resumed: head,
                    kept: head,
                    from_oldest: false,
                });
            }
            From::Start => {
                return Ok(StreamStart {
                    epoch,
                    pos: Position::START,
                    resumed: Position::START,
                    kept: head,
                    from_oldest: true,
                });
            }
            From::Since(since) => since,
        };
        let Since {
            epoch: known,
            pos: resumed,
            floor,
        } = since;
        if known != *epoch {
            return Err(position_lost());
        }
        let pos = self
            .read(move |reader| {
                if resumed == Position::START {
                    return Ok(resumed);
                }
                if reader.pos_at(resumed.seq)? != Some(resumed) {
                    return Err(position_lost());
                }
                // States older than the position may be missing. If the change log no longer
                // goes back that far, its first changes contain them.
                let Some(floor) = floor else { return Ok(resumed) };
                Ok(reader.pos_at(floor - 1)?.unwrap_or(Position::START))
            })
            .await?;
        Ok(StreamStart {
            epoch,
            pos,
            resumed,
            kept: resumed,
            from_oldest: false,
        })
    }
}
