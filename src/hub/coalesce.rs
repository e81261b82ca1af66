//! Several states of one thing within a moment become its latest.
//!
//! For: telemetry (an instance) and thread states (a thread), whose older states nobody
//! needs once a newer one is there.
//! Not for: messages, mail and task events: those are all delivered.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::entry::Entry;

/// Keys remembered before those that may speak again anyway are forgotten.
const REMEMBERED: usize = 1024;

/// Passes one state of a key at once and holds later ones back until `interval` is over.
#[derive(Debug)]
pub(super) struct Coalescer {
    interval: Duration,
    /// When each key last passed.
    passed: HashMap<String, Duration>,
    /// The latest state held back of each key.
    held: HashMap<String, Arc<Entry>>,
    /// Keys held back, with the time they are due and the log number they were first held
    /// at. One interval for all keys: they fall due in the order they came.
    due: VecDeque<(Duration, i64, String)>,
}

impl Coalescer {
    /// At most `rate` states a second of each key.
    pub(super) fn new(rate: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / rate.max(1),
            passed: HashMap::new(),
            held: HashMap::new(),
            due: VecDeque::new(),
        }
    }

    /// Whether `entry` may pass now; if not, it is held back in the place of an older one.
    pub(super) fn admit(&mut self, now: Duration, key: &str, entry: &Arc<Entry>) -> bool {
        if let Some(held) = self.held.get_mut(key) {
            *held = Arc::clone(entry);
            return false;
        }
        match self.passed.get(key) {
            Some(last) if *last + self.interval > now => {
                self.due
                    .push_back((*last + self.interval, entry.pos().seq, key.to_owned()));
                self.held.insert(key.to_owned(), Arc::clone(entry));
                false
            }
            _ => {
                self.remember(now, key.to_owned());
                true
            }
        }
    }

    /// A state whose time has come.
    pub(super) fn release(&mut self, now: Duration) -> Option<Arc<Entry>> {
        if self.next_due()? > now {
            return None;
        }
        let (_, _, key) = self.due.pop_front()?;
        let entry = self.held.remove(&key)?;
        self.remember(now, key);
        Some(entry)
    }

    /// When the next state's time comes.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.front().map(|(at, _, _)| *at)
    }

    /// The log number from which on something is still held back.
    pub(super) fn floor(&self) -> Option<i64> {
        self.due.front().map(|(_, seq, _)| *seq)
    }

    fn remember(&mut self, now: Duration, key: String) {
        if self.passed.len() >= REMEMBERED {
            let interval = self.interval;
            self.passed.retain(|_, last| *last + interval > now);
        }
        self.passed.insert(key, now);
    }
}
