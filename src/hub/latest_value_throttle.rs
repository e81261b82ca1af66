//! Limits how often the state of one key is sent; of several states within an interval only the
//! latest is sent.
//!
//! Used for telemetry (the key is an instance) and thread states (a thread), whose older states
//! are obsolete. Messages, inbox messages and task events are never throttled.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::encoded_change::EncodedChange;

/// Number of remembered keys at which keys whose interval has passed are removed.
const CLEANUP_SIZE: usize = 1024;

/// A state that is held back.
#[derive(Debug)]
struct Held {
    entry: Arc<EncodedChange>,
    /// The change number of the first state held back, which `entry` replaces.
    since: i64,
}

/// Passes one state of a key immediately and holds later ones back until `interval` has passed.
#[derive(Debug)]
pub(super) struct LatestValueThrottle {
    interval: Duration,
    /// When a state of each key was last passed.
    passed: HashMap<String, Duration>,
    /// Size of `passed` at which the next cleanup runs.
    cleanup_at: usize,
    /// The latest state of each key that is held back.
    held: HashMap<String, Held>,
    /// The keys held back, by the time they are due.
    due: BTreeSet<(Duration, String)>,
    /// The `since` of all states held back. They are distinct: a change has one key.
    since: BTreeSet<i64>,
}

impl LatestValueThrottle {
    /// Creates a throttle for at most `rate` states a second of each key.
    pub(super) fn new(rate: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / rate.max(1),
            passed: HashMap::new(),
            cleanup_at: CLEANUP_SIZE,
            held: HashMap::new(),
            due: BTreeSet::new(),
            since: BTreeSet::new(),
        }
    }

    /// Returns whether `entry` may be sent now. Otherwise it is held back and replaces an older one.
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

    /// Holds `entry` back until `due`, or until the older state it replaces is due.
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

    /// Returns a state that is due.
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

    /// Returns when the next state is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Returns the lowest change number whose state is held back.
    pub(super) fn floor(&self) -> Option<i64> {
        self.since.first().copied()
    }

    fn remember(&mut self, now: Duration, key: String) {
        if self.passed.len() >= self.cleanup_at {
            let interval = self.interval;
            self.passed.retain(|_, last| *last + interval > now);
            // A cleanup for every new key would cost more than the memory.
            self.cleanup_at = CLEANUP_SIZE.max(2 * self.passed.len());
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
    fn passes_the_first_state_and_then_the_latest_of_each_interval() {
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

    #[test]
    fn each_key_is_due_at_its_own_time() {
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

    #[test]
    fn removes_old_keys_only_now_and_then() {
        let mut states = LatestValueThrottle::new(4);
        for n in 0..5000 {
            assert!(states.admit(ms(0), &n.to_string(), &entry(n)));
        }
        assert!(states.cleanup_at >= 4096);
        for n in 5000..20_000 {
            assert!(states.admit(ms(1000), &n.to_string(), &entry(n)));
        }
        assert!(states.admit(ms(2000), "x", &entry(20_000)));
        assert!(states.passed.len() <= 20_000);
    }
}
