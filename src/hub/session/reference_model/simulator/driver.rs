//! The driver of the session: carries out its actions and completes its reads, as
//! `server::websocket::connection` does, but at any time and with any failure.

use std::time::Duration;

use super::Simulator;
use crate::error::{Code, Error};
use crate::hub::recent_changes::RecentLookup;
use crate::hub::session::reference_model::database::LogPage;
use crate::hub::session::{Action, MAX_REPLIES, PendingRead, Read, Session};
use crate::store::{Position, ThreadOpening, ThreadPage};

/// Time between a failed read and the next one.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The result of a read of the session.
pub(super) enum ReadResult {
    Opened(ThreadOpening),
    Page(ThreadPage),
    /// The database does not have the expected position.
    PositionLost,
}

/// A read of the session in progress.
pub(super) struct StoreRead {
    read: Read,
    /// The position the database must have when it is read.
    anchor: Position,
    /// The result, if the database was read on request.
    result: Option<ReadResult>,
}

/// A read of the change log in progress.
pub(super) struct LogRead {
    after: Position,
    /// As in [`StoreRead`].
    anchor: Position,
    /// The result, if the change log was read on request.
    result: Option<LogPage>,
}

/// Returns whether the page being read is for a subscription that still exists.
fn reads_for_subscription(session: &Session) -> bool {
    match &session.pending_read {
        Some(PendingRead::Page(thread_id)) => session.subscriptions.contains_key(thread_id),
        _ => false,
    }
}

impl Simulator {
    /// Takes steps until the session waits, and returns the deadline of the wait. Returns `None` if
    /// the session does not get there: it was closed, needs a read of the change log, or has taken
    /// `count` steps.
    pub(super) fn take_steps(&mut self, count: usize) -> Option<Option<Duration>> {
        let now = self.clock();
        let max_steps = 5000 + 10 * self.database.log.len();
        for taken in 0..count {
            assert!(taken < max_steps, "the session does not wait after {taken} steps");
            let session = self.session.as_mut()?;
            let action = session.next_action(now);
            if !matches!(action, Action::Send(_)) {
                self.checker.check_pauses(session);
            }
            if session.is_closing() && self.closing.is_none() {
                self.closing = Some(Code::PositionLost);
                self.checker.on_rows_lost(&self.database);
            }
            match action {
                Action::Send(frame) => self.checker.on_frame(&frame, now.at, &self.database, session),
                Action::Read(read) => self.start_read(read),
                Action::Feed(pos) => match self.recent_changes.after(pos, self.setup.feed_rows, usize::MAX) {
                    RecentLookup::Found(entries) => session.feed(entries),
                    RecentLookup::TooOld => {
                        self.start_log_read(pos);
                        return None;
                    }
                },
                Action::Ack(ack) => {
                    self.checker.on_ack_stored(&ack.thread_id, ack.ack_seq);
                    self.pending_acks.push(ack);
                }
                Action::Wait(until) => {
                    assert!(
                        until.is_none_or(|until| until > self.now),
                        "the session waits for {until:?}, which has passed"
                    );
                    return Some(until);
                }
                Action::Close(code) => {
                    assert_eq!(Some(code), self.closing, "the session closes with another code");
                    self.disconnect();
                    return None;
                }
            }
            self.check_memory();
        }
        None
    }

    /// Takes steps until the session, which is closing, is closed.
    pub(super) fn step_until_closed(&mut self) {
        self.take_steps(usize::MAX);
        assert!(self.session.is_none(), "the session does not close");
    }

    // ---- Reads --------------------------------------------------------------------------

    fn start_read(&mut self, read: Read) {
        assert!(self.store_read.is_none(), "two reads at the same time");
        match &read {
            Read::Open { thread_id, start } => self.checker.subscriptions().check_open_read(thread_id, *start),
            Read::Page { thread_id, after, rows } => {
                assert!(*rows > 0, "a read of no rows");
                assert!(
                    self.page_retry_at <= self.now,
                    "a read within the retry interval after a failure"
                );
                let rows = self.setup.page_rows.min(*rows);
                if let Some(page) = self.recent_changes.thread_page(thread_id, *after, rows, usize::MAX) {
                    return self.pass_page(thread_id, page);
                }
            }
        }
        let anchor = self.recent_changes.head();
        let result = self.setup.reads_on_request.then(|| self.read_database(&read, anchor));
        self.store_read = Some(StoreRead { read, anchor, result });
    }

    fn read_database(&mut self, read: &Read, anchor: Position) -> ReadResult {
        if !self.database.has_position(anchor) {
            return ReadResult::PositionLost;
        }
        match read {
            Read::Open { thread_id, start } => {
                self.store_acks();
                ReadResult::Opened(self.database.read_opening(thread_id, *start))
            }
            Read::Page { thread_id, after, rows } => {
                let rows = self.setup.page_rows.min(*rows);
                ReadResult::Page(self.database.read_page(thread_id, *after, rows))
            }
        }
    }

    /// Completes the read in progress.
    pub(super) fn complete_read(&mut self) {
        let now = self.clock();
        let Some(StoreRead { read, anchor, result }) = self.store_read.take() else {
            return;
        };
        let result = result.unwrap_or_else(|| self.read_database(&read, anchor));
        let Some(session) = &mut self.session else { return };
        match (read, result) {
            (_, ReadResult::Opened(opening)) => {
                session.opened(now, &opening);
                self.checker.on_opened(&opening, session);
            }
            (Read::Page { thread_id, .. }, ReadResult::Page(page)) => self.pass_page(&thread_id, page),
            (read, _) => self.pass_failure(&read),
        }
    }

    /// Passes a page to the session, which ends the subscription if its next message is not in it.
    fn pass_page(&mut self, thread_id: &str, page: ThreadPage) {
        let now = self.clock();
        let Some(session) = &mut self.session else { return };
        let was_subscribed = session.subscriptions.contains_key(thread_id);
        session.read(now, page);
        if was_subscribed && !session.subscriptions.contains_key(thread_id) {
            self.checker.expect_error("POSITION_LOST", thread_id);
            self.checker
                .subscriptions()
                .on_position_lost(thread_id, &self.database, session);
        }
    }

    /// Lets the read in progress fail.
    pub(super) fn fail_read(&mut self) {
        if let Some(StoreRead { read, .. }) = self.store_read.take() {
            self.pass_failure(&read);
        }
    }

    fn pass_failure(&mut self, read: &Read) {
        let now = self.clock();
        let Some(session) = &mut self.session else { return };
        let is_needed = reads_for_subscription(session);
        session.read_failed(now, &Error::new(Code::StoreLocked, "locked"));
        match read {
            Read::Page { thread_id, .. } => {
                self.page_retry_at = now.at + RETRY_INTERVAL;
                // After an unsubscribe the client gets no error.
                if is_needed {
                    self.checker.expect_error("FETCH_FAILED", thread_id);
                }
            }
            Read::Open { .. } => {
                let thread_id = self.checker.subscriptions().on_subscribe_failed();
                self.checker.expect_error("SUBSCRIBE_FAILED", &thread_id);
            }
        }
    }

    fn start_log_read(&mut self, after: Position) {
        if self.log_read.is_none() && self.log_retry_at <= self.now {
            let anchor = self.recent_changes.head();
            let result = self.setup.reads_on_request.then(|| self.read_log(after, anchor));
            self.log_read = Some(LogRead { after, anchor, result });
        }
    }

    fn read_log(&self, after: Position, anchor: Position) -> LogPage {
        let limit = self.setup.feed_rows;
        let skip_pruned = self.session.as_ref().is_some_and(Session::reports_gaps);
        let page = self.database.read_log(after, limit);
        let can_skip = skip_pruned && self.database.has_position(anchor) && after.seq < self.database.first_log_seq;
        page.or_else(|| can_skip.then(|| self.database.read_log(Position::START, limit))?)
    }

    /// Completes the read of the change log in progress.
    pub(super) fn complete_log_read(&mut self) {
        let Some(LogRead { after, anchor, result }) = self.log_read.take() else {
            return;
        };
        let result = result.unwrap_or_else(|| self.read_log(after, anchor));
        let Some(session) = &mut self.session else { return };
        match result {
            Some(entries) => session.feed(entries),
            None => self.close_session(Code::PositionLost),
        }
    }

    /// Lets the read of the change log in progress fail.
    pub(super) fn fail_log_read(&mut self) {
        if self.log_read.take().is_some() {
            self.log_retry_at = self.now + RETRY_INTERVAL;
        }
    }

    // ---- Memory -------------------------------------------------------------------------

    /// Checks that the session holds no more than its bounds allow, whatever the client does.
    pub(super) fn check_memory(&self) {
        let Some(session) = &self.session else { return };
        assert!(
            session.unprocessed.len() <= self.setup.feed_rows,
            "too many unprocessed changes"
        );
        assert!(session.acks.len() <= MAX_REPLIES, "too many acknowledgements to store");
        assert!(session.outgoing.len() <= 3, "too many outgoing frames");
        let max_replies = MAX_REPLIES + 8 + self.checker.expected_error_count();
        assert!(session.replies.len() <= max_replies, "too many replies");
        let with_page = session.subscriptions.values().filter(|s| !s.page.is_empty());
        let pages = with_page
            .inspect(|subscription| assert!(subscription.queued, "a page in memory is not queued for sending"))
            .count();
        assert!(pages <= 1, "{pages} pages in memory");
        let queued = session.to_read.len() + session.to_send.len();
        assert!(
            queued <= session.subscriptions.len(),
            "more threads are queued than subscribed"
        );
    }
}
