//! Where a client's stream begins.
//!
//! For: the place of a client that comes, and of one that comes back with a position.
//! Not for: what it is sent from there on (`session`).

use std::sync::Arc;

use super::encoded_change::Since;
use super::{Hub, connect_options, position_lost};
use crate::error::Result;
use crate::store::Position;

/// Where a client is when it comes.
#[derive(Debug, Clone)]
pub struct ConnectSnapshot {
    /// As in [`Signal`](super::Signal).
    pub generation: u64,
    /// The file's epoch.
    pub epoch: Arc<str>,
    /// The newest change seen.
    pub head: Position,
}

/// What a client's stream starts from.
#[derive(Debug, Clone)]
pub struct StreamStart {
    /// The file's epoch.
    pub epoch: Arc<str>,
    /// The session's first position.
    pub pos: Position,
    /// Up to where the client has everything but states held back.
    pub resumed: Position,
    /// Up to where rows may be pruned without the client's losing anything.
    pub kept: Position,
}

impl Hub {
    /// Where a client is that comes now.
    pub fn arrival(&self) -> ConnectSnapshot {
        let log = self.log();
        ConnectSnapshot {
            generation: log.generation,
            epoch: Arc::clone(&log.epoch),
            head: log.tail.head(),
        }
    }

    /// Where a client's stream begins that came when epoch and head were `arrived`.
    ///
    /// # Errors
    /// [`PositionLost`](crate::error::Code::PositionLost) if the position it gave is not in this file; a `Store…` code.
    pub async fn beginning(
        self: &Arc<Self>,
        from: connect_options::From,
        arrived: ConnectSnapshot,
    ) -> Result<StreamStart> {
        let ConnectSnapshot {
            generation,
            epoch,
            head,
        } = arrived;
        if self.generation() != generation {
            return Err(position_lost());
        }
        let since = match from {
            connect_options::From::Now => {
                return Ok(StreamStart {
                    epoch,
                    pos: head,
                    resumed: head,
                    kept: head,
                });
            }
            connect_options::From::Start => {
                return Ok(StreamStart {
                    epoch,
                    pos: Position::START,
                    resumed: Position::START,
                    kept: head,
                });
            }
            connect_options::From::Since(since) => since,
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
                // States older than the position may still be owed. If the log no longer
                // reaches back that far, they are among those it begins with.
                let Some(floor) = floor else { return Ok(resumed) };
                Ok(reader.pos_at(floor - 1)?.unwrap_or(Position::START))
            })
            .await?;
        Ok(StreamStart {
            epoch,
            pos,
            resumed,
            kept: resumed,
        })
    }
}
