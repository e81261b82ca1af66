//! The limits of one text's rendering.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::tree::PlainReason;

/// Maximum size of a text that is rendered, in bytes.
pub const MAX_BYTES: usize = 256 << 10;
/// Maximum number of nodes of a tree.
pub const MAX_NODES: usize = 20_000;
/// Maximum processor time that rendering a text takes.
pub const MAX_TIME: Duration = Duration::from_millis(50);
/// Maximum depth of nested nodes. Deeper nodes become text of the last one above.
pub(super) const MAX_DEPTH: usize = 24;
/// Number of nodes between two looks at the clock.
const CLOCK_INTERVAL: usize = 128;

/// The nodes and the time that are left. A renderer asks before it adds a node, and stops on an error.
///
/// The time is the thread's processor time: that other programs use the processor does not change the result.
pub(super) struct Budget {
    nodes: usize,
    /// Processor time of the thread at which the budget ends.
    end: Duration,
}

impl Budget {
    pub(super) fn new(time: Duration) -> Self {
        Self {
            nodes: MAX_NODES,
            end: thread_time().saturating_add(time),
        }
    }

    /// Takes one node.
    pub(super) fn take(&mut self) -> Result<(), PlainReason> {
        self.take_many(1)
    }

    /// Takes `count` nodes.
    pub(super) fn take_many(&mut self, count: usize) -> Result<(), PlainReason> {
        let left = self.nodes.checked_sub(count).ok_or(PlainReason::TooLong)?;
        let looks = self.nodes / CLOCK_INTERVAL != left / CLOCK_INTERVAL;
        self.nodes = left;
        if looks && thread_time() > self.end {
            return Err(PlainReason::TooSlow);
        }
        Ok(())
    }

    /// Returns the number of nodes left.
    pub(super) fn nodes_left(&self) -> usize {
        self.nodes
    }

    /// Returns when the time ends, if the thread keeps its processor; `None` if that is too far away.
    pub(super) fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.end.saturating_sub(thread_time()))
    }
}

/// Returns the processor time that this thread has used.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
