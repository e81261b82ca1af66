//! Where a client's stream begins.
//!
//! For: the place of a client that comes, and of one that comes back with a position.
//! Not for: what it is sent from there on (`session`).

use std::sync::Arc;

use super::entry::Since;
use super::{Hub, position_lost, wishes};
use crate::error::Result;
use crate::store::Pos;

/// Where a client is when it comes.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// As in [`Signal`](super::Signal).
    pub generation: u64,
    /// The file's epoch.
    pub epoch: Arc<str>,
    /// The newest change seen.
    pub head: Pos,
}

/// What a client's stream starts from.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// The file's epoch.
    pub epoch: Arc<str>,
    /// The session's first position.
    pub pos: Pos,
    /// Up to where the client has everything but states held back.
    pub resumed: Pos,
    /// Up to where rows may be pruned without the client's losing anything.
    pub kept: Pos,
}

impl Hub {
    /// Where a client is that comes now.
    pub fn arrival(&self) -> Arrival {
        let log = self.log();
        Arrival {
            generation: log.generation,
            epoch: Arc::clone(&log.epoch),
            head: log.tail.head(),
        }
    }

    /// Where a client's stream begins that came when epoch and head were `arrived`.
    ///
    /// # Errors
    /// [`PositionLost`](crate::error::Code::PositionLost) if the position it gave is not in this file; a `Store…` code.
    pub async fn beginning(self: &Arc<Self>, from: wishes::From, arrived: Arrival) -> Result<Beginning> {
        let Arrival {
            generation,
            epoch,
            head,
        } = arrived;
        if self.generation() != generation {
            return Err(position_lost());
        }
        let since = match from {
            wishes::From::Now => {
                return Ok(Beginning {
                    epoch,
                    pos: head,
                    resumed: head,
                    kept: head,
                });
            }
            wishes::From::Start => {
                return Ok(Beginning {
                    epoch,
                    pos: Pos::START,
                    resumed: Pos::START,
                    kept: head,
                });
            }
            wishes::From::Since(since) => since,
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
                if resumed == Pos::START {
                    return Ok(resumed);
                }
                if reader.pos_at(resumed.seq)? != Some(resumed) {
                    return Err(position_lost());
                }
                // States older than the position may still be owed. If the log no longer
                // reaches back that far, they are among those it begins with.
                let Some(floor) = floor else { return Ok(resumed) };
                Ok(reader.pos_at(floor - 1)?.unwrap_or(Pos::START))
            })
            .await?;
        Ok(Beginning {
            epoch,
            pos,
            resumed,
            kept: resumed,
        })
    }
}
