//! The health of the database: whether it can be read and written, whether it is damaged, and rows that
//! cannot be shown.
//!
//! 1. Each change of state is logged once, and shown on `/api/status` and to clients. The hub keeps
//!    trying, and detects when the database works again.
//! 2. All failures are under one lock, and each observed failure has a number. An operation takes an
//!    [`Attempt`] when it begins: its success ends only failures observed before that. A success that is
//!    reported late cannot hide a newer failure.
//! 3. A damaged database stays a failure until its structure was checked: pages that are not damaged can
//!    still be read and written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

use super::encoded_change::EncodedChange;
use crate::error::{Code, Error};
use crate::protocol::now_ms;
use crate::store::{Row, UnreadableRow};

/// Number of unreadable rows kept for display.
const SHOWN_ROWS: usize = 20;

/// A reason why the database cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreFailure {
    /// Name from the table in [`crate::error`].
    pub code: &'static str,
    /// The failure and what to do about it.
    pub message: String,
    /// When it began, Unix milliseconds.
    pub since: i64,
}

/// A row that cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadableRowReport {
    /// The table.
    pub table: &'static str,
    /// The row's integer primary key.
    pub row: i64,
    /// The column and the reason why its value is invalid.
    pub reason: String,
    /// When the change reader found it, Unix milliseconds.
    pub at: i64,
}

/// An operation on the database that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Write,
    /// The check of the database's structure.
    Check,
}

impl Operation {
    /// Returns the kind of failure that `error` of this operation is: damage is found by reads and writes
    /// too, and only a check shows that it has ended.
    fn failing_with(self, error: &Error) -> Self {
        if error.code() == Code::StoreCorrupt {
            Self::Check
        } else {
            self
        }
    }

    /// Returns the log line's words for a failure.
    fn failure(self) -> &'static str {
        match self {
            Self::Read => "the database cannot be read",
            Self::Write => "the database cannot be written",
            Self::Check => "the database is damaged, and stays so until its structure was checked",
        }
    }

    /// Returns the log line's words for the end of a failure.
    fn recovery(self) -> &'static str {
        match self {
            Self::Read => "the database can be read again",
            Self::Write => "the database can be written again",
            Self::Check => "the database's structure was checked: it is not damaged any more",
        }
    }
}

/// Number of the last failure that was observed when an operation began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt(u64);

/// The state of the database as the hub sees it.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: Mutex<Failures>,
    /// Whether there is a failure. Read without the lock, changed only while it is held.
    has_failure: AtomicBool,
    /// Number of failures observed. Read without the lock, changed only while it is held.
    observed: AtomicU64,
    degraded: AtomicU64,
    recoveries: AtomicU64,
    unreadable: Mutex<UnreadableRows>,
    write_failed: Notify,
    check_needed: Notify,
}

#[derive(Debug, Default)]
struct Failures {
    damage: Option<ObservedFailure>,
    read: Option<ObservedFailure>,
    write: Option<ObservedFailure>,
}

/// A failure, and the number of its last observation.
#[derive(Debug)]
struct ObservedFailure {
    failure: StoreFailure,
    number: u64,
}

impl Failures {
    fn slot(&mut self, operation: Operation) -> &mut Option<ObservedFailure> {
        match operation {
            Operation::Read => &mut self.read,
            Operation::Write => &mut self.write,
            Operation::Check => &mut self.damage,
        }
    }

    /// Returns the failures, the most severe first.
    fn all(&self) -> impl Iterator<Item = &ObservedFailure> {
        [&self.damage, &self.read, &self.write].into_iter().flatten()
    }
}

#[derive(Debug, Default)]
struct UnreadableRows {
    count_by_table: BTreeMap<&'static str, u64>,
    last: VecDeque<UnreadableRowReport>,
}

impl Health {
    /// Counts the degraded and unreadable rows among new changes.
    pub(super) fn inspect(&self, entries: &[Arc<EncodedChange>]) {
        for entry in entries {
            match entry.row() {
                Row::Message(row, _) if !row.degraded.is_empty() => self.count_degraded("messages", &row.degraded),
                Row::Inbox(row) if !row.degraded.is_empty() => self.count_degraded("inbox_messages", &row.degraded),
                Row::Unreadable(row) => self.add_unreadable(row),
                _ => {}
            }
        }
    }

    fn count_degraded(&self, table: &str, reason: &str) {
        self.degraded.fetch_add(1, Ordering::Relaxed);
        tracing::debug!("a row of {table} is delivered degraded: {reason}");
    }

    fn add_unreadable(&self, row: &UnreadableRow) {
        let mut unreadable = lock(&self.unreadable);
        let count = unreadable.count_by_table.entry(row.table).or_default();
        *count += 1;
        if *count == 1 {
            tracing::warn!(
                "row {} of {} cannot be shown: {} (further ones are counted on /api/status)",
                row.row,
                row.table,
                row.reason
            );
        }
        if unreadable.last.len() == SHOWN_ROWS {
            unreadable.last.pop_front();
        }
        unreadable.last.push_back(UnreadableRowReport {
            table: row.table,
            row: row.row,
            reason: row.reason.clone(),
            at: now_ms(),
        });
    }

    /// Returns the current failures: damage first, then reading, then writing.
    pub(super) fn failures(&self) -> Vec<StoreFailure> {
        if !self.has_failure.load(Ordering::Acquire) {
            return Vec::new();
        }
        let failures = lock(&self.failures);
        failures.all().map(|observed| observed.failure.clone()).collect()
    }

    /// Returns the number of messages delivered although part of them could not be read.
    pub(super) fn degraded(&self) -> u64 {
        self.degraded.load(Ordering::Relaxed)
    }

    /// Returns how often the database became usable again.
    pub(super) fn recoveries(&self) -> u64 {
        self.recoveries.load(Ordering::Relaxed)
    }

    /// Returns the number of unreadable rows by table, and the last of these rows.
    pub(super) fn unreadable(&self) -> (BTreeMap<&'static str, u64>, Vec<UnreadableRowReport>) {
        let unreadable = lock(&self.unreadable);
        (
            unreadable.count_by_table.clone(),
            unreadable.last.iter().cloned().collect(),
        )
    }

    /// Begins an operation, before it uses the database.
    pub(super) fn begin(&self) -> Attempt {
        // An older number is safe: the operation's success then ends fewer failures.
        Attempt(self.observed.load(Ordering::Acquire))
    }

    /// Records that `operation` failed. Returns `false` for a repeated failure with the same code.
    pub(super) fn fail(&self, operation: Operation, error: &Error) -> bool {
        let code = error.code().name();
        let operation = operation.failing_with(error);
        {
            let mut failures = lock(&self.failures);
            let number = self.observed.load(Ordering::Relaxed) + 1;
            self.observed.store(number, Ordering::Release);
            let slot = failures.slot(operation);
            if let Some(known) = slot
                && known.failure.code == code
            {
                known.number = number;
                return false;
            }
            tracing::error!("{}: {code}: {error}", operation.failure());
            let failure = StoreFailure {
                code,
                message: error.message().to_owned(),
                since: now_ms(),
            };
            *slot = Some(ObservedFailure { failure, number });
            self.has_failure.store(true, Ordering::Release);
        }
        match operation {
            Operation::Write => self.write_failed.notify_one(),
            Operation::Check => self.check_needed.notify_one(),
            Operation::Read => {}
        }
        true
    }

    /// Records that `operation`, begun with `attempt`, succeeded.
    pub(super) fn recover(&self, operation: Operation, attempt: Attempt) {
        if !self.has_failure.load(Ordering::Acquire) {
            return;
        }
        let mut failures = lock(&self.failures);
        let slot = failures.slot(operation);
        if slot.take_if(|observed| observed.number <= attempt.0).is_none() {
            return;
        }
        tracing::info!("{}", operation.recovery());
        self.recoveries.fetch_add(1, Ordering::Relaxed);
        let has_failure = failures.all().next().is_some();
        self.has_failure.store(has_failure, Ordering::Release);
    }

    /// Waits until a write has failed since the last call.
    pub(super) async fn write_failed(&self) {
        self.write_failed.notified().await;
    }

    /// Waits until damage was found, or [`Health::request_check`] was called, since the last call.
    pub(super) async fn check_needed(&self) {
        self.check_needed.notified().await;
    }

    /// Requests a check of the structure, if damage is known: another file may be at the path now.
    pub(super) fn request_check(&self) {
        self.check_needed.notify_one();
    }

    /// Returns whether the last write failed.
    pub(super) fn is_write_failing(&self) -> bool {
        lock(&self.failures).write.is_some()
    }

    /// Returns whether the database is damaged.
    pub(super) fn is_damaged(&self) -> bool {
        lock(&self.failures).damage.is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one of these locks is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: Code) -> Error {
        Error::new(code, "a failure")
    }

    fn codes(health: &Health) -> Vec<&'static str> {
        health.failures().iter().map(|failure| failure.code).collect()
    }

    /// The steps of one operation, in this order.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Step {
        Begin,
        Use,
        Report,
    }

    const STEPS: [Step; 3] = [Step::Begin, Step::Use, Step::Report];

    /// Calls `visit` with every order in which the steps of `operations` operations can happen.
    fn interleavings(operations: usize, visit: &mut impl FnMut(&[(usize, Step)])) {
        fn extend(done: &mut Vec<usize>, order: &mut Vec<(usize, Step)>, visit: &mut impl FnMut(&[(usize, Step)])) {
            if done.iter().all(|&steps| steps == STEPS.len()) {
                return visit(order);
            }
            for operation in 0..done.len() {
                if let Some(&step) = STEPS.get(done[operation]) {
                    done[operation] += 1;
                    order.push((operation, step));
                    extend(done, order, visit);
                    order.pop();
                    done[operation] -= 1;
                }
            }
        }
        extend(&mut vec![0; operations], &mut Vec::new(), visit);
    }

    /// Three threads use the database, which starts or stops to work before one of their uses. Whatever
    /// the order: a failure is not hidden unless an operation succeeded that began after it was
    /// observed, and the next success ends it.
    #[test]
    fn no_order_of_reports_hides_a_newer_failure() {
        let mut orders = 0;
        interleavings(3, &mut |order| {
            for change_at in 0..=3 {
                for works_first in [true, false] {
                    orders += 1;
                    check_order(order, change_at, works_first);
                }
            }
        });
        assert_eq!(orders, 1680 * 8);
    }

    fn check_order(order: &[(usize, Step)], change_at: usize, works_first: bool) {
        let health = Health::default();
        let (mut uses, mut attempts, mut worked) = (0, [None; 3], [None; 3]);
        // Model: the number of the report of the last failure, and of the failures known at each begin.
        let (mut reports, mut last_failure, mut known_at_begin, mut expected) = (0, 0, [0; 3], false);
        for &(operation, step) in order {
            match step {
                Step::Begin => {
                    attempts[operation] = Some(health.begin());
                    known_at_begin[operation] = last_failure;
                }
                Step::Use => {
                    worked[operation] = Some(if uses < change_at { works_first } else { !works_first });
                    uses += 1;
                }
                Step::Report => {
                    reports += 1;
                    if worked[operation] == Some(true) {
                        health.recover(Operation::Write, attempts[operation].unwrap());
                        expected &= known_at_begin[operation] != last_failure;
                    } else {
                        health.fail(Operation::Write, &error(Code::StoreFull));
                        last_failure = reports;
                        expected = true;
                    }
                }
            }
            assert_eq!(
                health.is_write_failing(),
                expected,
                "{order:?} {change_at} {works_first}"
            );
            assert_eq!(
                !codes(&health).is_empty(),
                expected,
                "{order:?} {change_at} {works_first}"
            );
        }
        // The probe runs until this.
        health.recover(Operation::Write, health.begin());
        assert!(!health.is_write_failing() && codes(&health).is_empty());
    }

    #[test]
    fn damage_stays_until_a_check_that_began_after_it_has_passed() {
        let health = Health::default();
        let early = health.begin();
        assert!(health.fail(Operation::Write, &error(Code::StoreCorrupt)));
        assert!(!health.fail(Operation::Read, &error(Code::StoreCorrupt)));
        for operation in [Operation::Read, Operation::Write] {
            health.recover(operation, health.begin());
        }
        health.recover(Operation::Check, early);
        assert_eq!(codes(&health), ["STORE_CORRUPT"]);
        // Damage that is found while the check runs.
        let attempt = health.begin();
        health.fail(Operation::Read, &error(Code::StoreCorrupt));
        health.recover(Operation::Check, attempt);
        assert!(health.is_damaged());
        health.fail(Operation::Write, &error(Code::StoreFull));
        assert_eq!(codes(&health), ["STORE_CORRUPT", "STORE_FULL"]);
        health.recover(Operation::Check, health.begin());
        assert_eq!(codes(&health), ["STORE_FULL"]);
        assert_eq!(health.recoveries(), 1);
    }
}
