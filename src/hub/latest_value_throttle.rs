//! Several states of one thing within a moment become its latest.
//!
//! For: telemetry (an instance) and thread states (a thread), whose older states nobody
//! needs once a newer one is there.
//! Not for: messages, mail and task events: those are all delivered.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::encoded_change::EncodedChange;

/// Keys remembered before those that may speak again anyway are forgotten.
const REMEMBERED: usize = 1024;

/// A state that is held back.
#[derive(Debug)]
struct Held {
    entry: Arc<EncodedChange>,
    /// The log number of the first state held back, in whose place `entry` is.
    since: i64,
}

/// Passes one state of a key at once and holds later ones back until `interval` is over.
#[derive(Debug)]
pub(super) struct LatestValueThrottle {
    interval: Duration,
    /// When each key last passed.
    passed: HashMap<String, Duration>,
    /// Keys remembered at which those that may speak again are looked for.
    full_at: usize,
    /// The latest state held back of each key.
    held: HashMap<String, Held>,
    /// The keys held back, in the order they fall due.
    due: BTreeSet<(Duration, String)>,
    /// Their `since`. Each is another key's: a change is about one thing.
    since: BTreeSet<i64>,
}

impl LatestValueThrottle {
    /// At most `rate` states a second of each key.
    pub(super) fn new(rate: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / rate.max(1),
            passed: HashMap::new(),
            full_at: REMEMBERED,
            held: HashMap::new(),
            due: BTreeSet::new(),
            since: BTreeSet::new(),
        }
    }

    /// Whether `entry` may pass now; if not, it is held back in the place of an older one.
    pub(super) fn admit(&mut self, now: Duration, key: &str, entry: &Arc<EncodedChange>) -> bool {
        let ready = self
            .passed
            .get(key)
            .map_or(Duration::ZERO, |last| *last + self.interval);
        if ready <= now && !self.held.contains_key(key) {
            self.remember(now, key.to_owned());
            return true;
        }
        self.hold(ready.max(now), key, entry);
        false
    }

    /// Holds `entry` back until `due`, or in the place of an older one until that is due.
    pub(super) fn hold(&mut self, due: Duration, key: &str, entry: &Arc<EncodedChange>) {
        if let Some(held) = self.held.get_mut(key) {
            held.entry = Arc::clone(entry);
            return;
        }
        let held = Held {
            entry: Arc::clone(entry),
            since: entry.pos().seq,
        };
        self.due.insert((due, key.to_owned()));
        self.since.insert(held.since);
        self.held.insert(key.to_owned(), held);
    }

    /// A state whose time has come.
    pub(super) fn release(&mut self, now: Duration) -> Option<Arc<EncodedChange>> {
        if self.next_due()? > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        let held = self.held.remove(&key)?;
        self.since.remove(&held.since);
        self.remember(now, key);
        Some(held.entry)
    }

    /// When the next state's time comes.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The log number from which on something is still held back.
    pub(super) fn floor(&self) -> Option<i64> {
        self.since.first().copied()
    }

    fn remember(&mut self, now: Duration, key: String) {
        if self.passed.len() >= self.full_at {
            let interval = self.interval;
            self.passed.retain(|_, last| *last + interval > now);
            // Looking again at every step would cost more than remembering.
            self.full_at = REMEMBERED.max(2 * self.passed.len());
        }
        self.passed.insert(key, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Change, Op, Position, Row};

    fn entry(seq: i64) -> Arc<EncodedChange> {
        let change = Change {
            pos: Position { seq, tag: 1 },
            op: Op::Insert,
            row: Row::Unknown,
        };
        Arc::new(EncodedChange::new(change, &"e".into()))
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn released(states: &mut LatestValueThrottle, now: u64) -> Option<i64> {
        states.release(ms(now)).map(|entry| entry.pos().seq)
    }

    #[test]
    fn the_first_passes_and_then_the_latest_after_each_interval() {
        let mut states = LatestValueThrottle::new(4);
        assert!(states.admit(ms(0), "a", &entry(1)));
        assert!(!states.admit(ms(10), "a", &entry(2)));
        assert!(!states.admit(ms(20), "a", &entry(3)));
        assert_eq!((states.next_due(), states.floor()), (Some(ms(250)), Some(2)));
        assert_eq!(released(&mut states, 249), None);
        assert_eq!(released(&mut states, 250), Some(3));
        assert_eq!((states.next_due(), states.floor()), (None, None));
        assert!(!states.admit(ms(260), "a", &entry(4)));
        assert_eq!(states.next_due(), Some(ms(500)));
    }

    /// One that came later but was due earlier waited for the one before it.
    #[test]
    fn each_key_falls_due_at_its_own_time() {
        let mut states = LatestValueThrottle::new(4);
        assert!(states.admit(ms(0), "a", &entry(1)));
        assert!(states.admit(ms(200), "b", &entry(2)));
        assert!(!states.admit(ms(210), "b", &entry(3)));
        assert!(!states.admit(ms(220), "a", &entry(4)));
        assert_eq!((states.next_due(), states.floor()), (Some(ms(250)), Some(3)));
        assert_eq!(released(&mut states, 250), Some(4));
        assert_eq!((states.next_due(), states.floor()), (Some(ms(450)), Some(3)));
        assert_eq!(released(&mut states, 450), Some(3));
    }

    /// Every new key looked through all of those remembered.
    #[test]
    fn many_keys_are_remembered_and_forgotten_now_and_then() {
        let mut states = LatestValueThrottle::new(4);
        for n in 0..5000 {
            assert!(states.admit(ms(0), &n.to_string(), &entry(n)));
        }
        assert!(states.full_at >= 4096);
        for n in 5000..20_000 {
            assert!(states.admit(ms(1000), &n.to_string(), &entry(n)));
        }
        assert!(states.admit(ms(2000), "x", &entry(20_000)));
        assert!(states.passed.len() <= 20_000);
    }
}
