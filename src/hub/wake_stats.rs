//! Counts the wakes of the change reader by source, and how many found new rows.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::watcher::{NotifyMethod, Wake};

/// Counters of wakes by source and result.
#[derive(Debug, Default)]
pub(super) struct WakeStats {
    /// For each of [`SOURCES`]: wakes that found nothing, and wakes that found rows.
    wakes: [[AtomicU64; 2]; SOURCES.len()],
    polling: AtomicBool,
}

/// The wakes that are counted, with their names.
const SOURCES: [(Wake, &str); 5] = [
    (Wake::Event, "event"),
    (Wake::Own, "own"),
    (Wake::Again, "again"),
    (Wake::Poll, "poll"),
    (Wake::Timer, "timer"),
];

impl WakeStats {
    /// Counts one wake that found this many changes.
    pub(super) fn count(&self, wake: Wake, found: usize) {
        if let Some(i) = SOURCES.iter().position(|(w, _)| *w == wake) {
            self.wakes[i][usize::from(found > 0)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records the detection method in use.
    pub(super) fn set_method(&self, method: NotifyMethod) {
        self.polling.store(method == NotifyMethod::Poll, Ordering::Relaxed);
    }

    /// Returns the detection method in use.
    pub(super) fn method(&self) -> NotifyMethod {
        if self.polling.load(Ordering::Relaxed) {
            NotifyMethod::Poll
        } else {
            NotifyMethod::Notify
        }
    }

    /// Returns each source with its wakes that found nothing and those that found rows.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        SOURCES
            .iter()
            .zip(&self.wakes)
            .map(|((_, name), [empty, hit])| (*name, empty.load(Ordering::Relaxed), hit.load(Ordering::Relaxed)))
    }
}
