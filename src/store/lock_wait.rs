//! Why a wait for the write lock failed: one process held the lock the whole time, or many processes write at
//! once and this one did not get its turn.
//!
//! The busy handler reports each step of a wait ([`observe`]). During a long wait, and at its end, this thread
//! samples which process holds the lock. The error of the failed statement then reads the result ([`reason`]).

use std::cell::RefCell;
use std::time::Duration;

use super::lock_holders::{LockOwner, write_lock_owner};

/// Time until the first sample; each later one follows after twice the time of the one before. Most waits are
/// shorter and have no cost: hundreds of waiting processes that read `/proc/locks` would take the cores that the
/// holder of the lock needs.
const FIRST_SAMPLE: Duration = Duration::from_secs(1);

thread_local! {
    static WAIT: RefCell<LockWait> = RefCell::default();
}

/// A step of a wait for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The wait goes on.
    Retry,
    /// SQLite returns `SQLITE_BUSY`.
    GiveUp,
}

/// The samples of one wait.
#[derive(Debug, Default)]
struct LockWait {
    last_sample: Duration,
    samples: usize,
    /// The process that held the lock in all samples.
    holder: Option<LockOwner>,
    /// The system does not say who holds the lock.
    is_unknown: bool,
    has_ended: bool,
}

impl LockWait {
    fn add(&mut self, owner: Option<LockOwner>) {
        match owner {
            None => self.is_unknown = true,
            Some(owner) if self.samples == 0 => self.holder = Some(owner),
            owner => self.holder = self.holder.take().filter(|holder| Some(holder) == owner.as_ref()),
        }
        self.samples += 1;
    }

    /// Returns the reason for the error message.
    fn reason(&self) -> String {
        if !self.has_ended || self.is_unknown {
            return "another process keeps a transaction open, or many processes write at once; try again (agenthub \
                    doctor shows a process that holds the lock)"
                .to_owned();
        }
        match &self.holder {
            Some(LockOwner::Process(pid)) => format!(
                "process {pid} keeps a transaction open; end its transaction or the process (agenthub doctor shows it)"
            ),
            _ => "many processes write at once, and this one did not get its turn; try again".to_owned(),
        }
    }
}

/// Records a step of the current wait. `waited`: time since its first step.
pub(super) fn observe(waited: Duration, step: Step) {
    WAIT.with_borrow_mut(|wait| {
        if waited.is_zero() {
            *wait = LockWait::default();
        }
        wait.has_ended = step == Step::GiveUp;
        if wait.has_ended || waited >= (wait.last_sample * 2).max(FIRST_SAMPLE) {
            wait.last_sample = waited;
            wait.add(write_lock_owner());
        }
    });
}

/// Returns why this thread's last wait failed, and what to do.
pub(super) fn reason() -> String {
    WAIT.take().reason()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_support::temp_database;
    use crate::store::{NewMessage, with_busy_timeout};

    fn reason_of(owners: &[Option<LockOwner>]) -> String {
        let mut wait = LockWait::default();
        owners.iter().for_each(|owner| wait.add(*owner));
        wait.has_ended = true;
        wait.reason()
    }

    #[test]
    fn blames_a_process_only_if_it_held_the_lock_all_the_time() {
        let held_by = |pid| Some(LockOwner::Process(pid));
        assert!(reason_of(&[held_by(7), held_by(7), held_by(7)]).starts_with("process 7 keeps a transaction open"));
        for owners in [
            &[held_by(7), held_by(8)][..],
            &[held_by(7), held_by(8), held_by(7)],
            &[held_by(7), Some(LockOwner::Free), held_by(7)],
            &[Some(LockOwner::Free), held_by(7)],
            &[Some(LockOwner::Free)],
        ] {
            let reason = reason_of(owners);
            assert!(reason.contains("many processes write at once"), "{owners:?}: {reason}");
            assert!(!reason.contains("transaction"), "{owners:?}: {reason}");
        }
        // On systems that do not tell.
        assert!(reason_of(&[None, None]).contains("or many processes write at once"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn names_the_process_that_holds_the_lock() {
        use std::io::{BufRead, BufReader};
        let (_dir, writer) = temp_database();
        let mut holder = std::process::Command::new("sqlite3")
            .arg(writer.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = holder.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, b"BEGIN IMMEDIATE; SELECT 'held';\n").unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "held\n");
        let write = || writer.post_message(&NewMessage::new("t", "a", "x"));
        for timeout in [0, 100] {
            let error = with_busy_timeout(Duration::from_millis(timeout), write).unwrap_err();
            let named = format!("process {} keeps a transaction open", holder.id());
            assert!(error.message().contains(&named), "{timeout}: {}", error.message());
        }
        drop(stdin);
        holder.wait().unwrap();
        write().unwrap();
    }
}
