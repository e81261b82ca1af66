//! The driver: steps taken, reads answered, time passing.
//!
//! For: what a client's task does in `server::websocket::connection`, at any pace and with any failure.
//! Not for: what the client and the hub do (`world`).

use std::time::Duration;

use super::super::{Deed, From, Number};
use super::{World, thread};
use crate::error::{Code, Error};
use crate::hub::recent_changes::RecentLookup;
use crate::hub::session::{Action, MAX_REPLIES, PendingRead as Under, Read, Session};
use crate::store::{Position, ThreadOpening, ThreadPage};

/// The answer to a read.
pub(super) enum Answer {
    Opened(ThreadOpening),
    Page(ThreadPage),
    Lost,
}

/// A read under way, with the position that must hold, and what it gives if it was done
/// at once.
pub(super) struct PendingRead {
    read: Read,
    anchor: Position,
    answer: Option<Answer>,
}

/// Whether the page under way is for a subscription that is still there.
fn reads_for_somebody(session: &Session) -> bool {
    match &session.pending_read {
        Some(Under::Page(thread_id)) => session.subscriptions.contains_key(thread_id),
        _ => false,
    }
}

impl World {
    /// Takes steps until the session waits. Returns until when, or `None` if it did not
    /// come to that.
    pub(super) fn steps(&mut self, count: usize) -> Option<Option<Duration>> {
        let now = self.clock();
        let enough = 5000 + 10 * self.file.log.len();
        for taken in 0..count {
            assert!(taken < enough, "it spins");
            let session = self.session.as_mut()?;
            let step = session.step(now);
            if !matches!(step, Action::Send(_)) {
                self.judge.learns_pauses(session);
            }
            if session.is_closing() && self.closed.is_none() {
                self.closed = Some(Code::PositionLost);
                self.judge.has_lost(&self.file);
            }
            match step {
                Action::Send(frame) => self.judge.hears(&frame, now.at, &self.file, session),
                Action::Read(read) => self.read(read),
                Action::Feed(pos) => match self.tail.after(pos, self.setup.feed, usize::MAX) {
                    RecentLookup::Found(entries) => session.feed(entries),
                    RecentLookup::TooOld => {
                        if self.log.is_none() && self.log_retry <= self.now {
                            let page = self.setup.early.then(|| self.file.log_after(pos, self.setup.feed));
                            self.log = Some((pos, page));
                        }
                        return None;
                    }
                },
                Action::Ack(ack) => {
                    self.judge.stores(&ack.thread_id, ack.ack_seq);
                    self.acks.push(ack);
                }
                Action::Wait(until) => {
                    assert!(until.is_none_or(|until| until > self.now), "a wait for what is past");
                    return Some(until);
                }
                Action::Close(code) => {
                    assert_eq!(Some(code), self.closed);
                    self.leave();
                    return None;
                }
            }
            self.check_memory();
        }
        None
    }

    fn read(&mut self, read: Read) {
        assert!(self.reading.is_none(), "one read at a time");
        match &read {
            Read::Open { thread_id, start } => self.judge.following().begins_to_open(thread_id, *start),
            Read::Page { thread_id, after, rows } => {
                assert!(*rows > 0, "a read of nothing");
                assert!(self.read_retry <= self.now, "a read right after a failure");
                let rows = self.setup.page.min(*rows);
                if let Some(page) = self.tail.thread_page(thread_id, *after, rows, usize::MAX) {
                    return self.take_page(thread_id, page);
                }
            }
        }
        let anchor = self.tail.head();
        let answer = self.setup.early.then(|| self.read_now(&read, anchor));
        self.reading = Some(PendingRead { read, anchor, answer });
    }

    fn read_now(&mut self, read: &Read, anchor: Position) -> Answer {
        if !self.file.has(anchor) {
            return Answer::Lost;
        }
        match read {
            Read::Open { thread_id, start } => {
                self.flush_acks();
                Answer::Opened(self.file.open(thread_id, *start))
            }
            Read::Page { thread_id, after, rows } => {
                Answer::Page(self.file.page(thread_id, *after, self.setup.page.min(*rows)))
            }
        }
    }

    pub(super) fn answer(&mut self) {
        let now = self.clock();
        let Some(PendingRead { read, anchor, answer }) = self.reading.take() else {
            return;
        };
        let answer = answer.unwrap_or_else(|| self.read_now(&read, anchor));
        let Some(session) = &mut self.session else { return };
        match (read, answer) {
            (_, Answer::Opened(opening)) => {
                session.opened(now, &opening);
                self.judge.opened(&opening, session);
            }
            (Read::Page { thread_id, .. }, Answer::Page(page)) => {
                self.take_page(&thread_id, page);
            }
            (read, _) => {
                self.reading = Some(PendingRead {
                    read,
                    anchor,
                    answer: None,
                });
                self.fail();
            }
        }
    }

    fn take_page(&mut self, thread_id: &str, page: ThreadPage) {
        let now = self.clock();
        let Some(session) = &mut self.session else { return };
        let had = session.subscriptions.contains_key(thread_id);
        session.read(now, page);
        if had && !session.subscriptions.contains_key(thread_id) {
            self.judge.will_hear("POSITION_LOST", thread_id);
            self.judge.following().lost(thread_id, &self.file, session);
        }
    }

    /// The read under way fails.
    pub(super) fn fail(&mut self) {
        let now = self.clock();
        let (Some(session), Some(PendingRead { read, .. })) = (&mut self.session, self.reading.take()) else {
            return;
        };
        let wanted = reads_for_somebody(session);
        session.read_failed(now, &Error::new(Code::StoreLocked, "locked"));
        if matches!(read, Read::Page { .. }) {
            self.read_retry = now.at + Duration::from_secs(1);
        }
        match read {
            // Whoever has left does not want to know.
            Read::Page { thread_id, .. } if wanted => self.judge.will_hear("FETCH_FAILED", &thread_id),
            Read::Page { .. } => {}
            Read::Open { .. } => {
                let thread_id = self.judge.following().refused();
                self.judge.will_hear("SUBSCRIBE_FAILED", &thread_id);
            }
        }
    }

    pub(super) fn answer_log(&mut self) {
        let now = self.clock();
        let Some((pos, page)) = self.log.take() else { return };
        let page = page.unwrap_or_else(|| self.file.log_after(pos, self.setup.feed));
        let Some(session) = &mut self.session else { return };
        match page {
            Some(entries) => session.feed(entries),
            None if session.is_closing() => {}
            None => {
                session.close(now, Code::PositionLost, "lost");
                self.closed = Some(Code::PositionLost);
                self.judge.will_hear("POSITION_LOST", "");
            }
        }
    }

    /// Everything that can be done now. Returns until when the session waits.
    pub(super) fn run(&mut self) -> Option<Option<Duration>> {
        for _ in 0..10_000 {
            self.look();
            self.answer();
            self.answer_log();
            self.listen();
            let waits = self.steps(usize::MAX);
            self.listen();
            if self.session.is_none() {
                self.connect(From::Since);
            } else if waits.is_some() && self.reading.is_none() && self.log.is_none() && !self.may_speak() {
                return waits;
            } else if self.log.is_none() && self.log_retry > self.now {
                self.now = self.log_retry;
            }
        }
        panic!("it never waits");
    }

    /// Whether the client has something to say that is heard.
    fn may_speak(&self) -> bool {
        !self.said.is_empty() && self.session.as_ref().is_some_and(Session::listens)
    }

    /// Time passes until there is nothing left to do.
    pub(super) fn settles(&mut self) {
        for _ in 0..10_000 {
            match self.run() {
                Some(Some(until)) => self.now = until,
                _ => return,
            }
        }
        panic!("it never comes to rest");
    }

    /// At the end nothing may be owed, and the client must be content.
    pub(in super::super) fn ends(&mut self) {
        for _ in 0..1000 {
            self.settles();
            let waiting = self.judge.following().waiting();
            if waiting.is_empty() {
                let session = self.session.as_ref().unwrap();
                assert!(
                    session.unprocessed.is_empty()
                        && session.at_end
                        && session.outgoing.is_empty()
                        && self.said.is_empty()
                );
                return self.judge.is_content(&self.file);
            }
            for n in 0..3 {
                if waiting.contains(&thread(n)) {
                    self.says(Deed::Ack(n, Number::Have(0)));
                }
            }
            // No faster than anybody may speak.
            self.now += Duration::from_secs(1);
        }
        panic!("it never comes to rest");
    }

    /// Whatever the client does, it costs no more than this.
    pub(super) fn check_memory(&self) {
        let Some(session) = &self.session else { return };
        assert!(session.unprocessed.len() <= self.setup.feed, "ahead");
        assert!(session.acks.len() <= MAX_REPLIES, "acks");
        assert!(session.outgoing.len() <= 2, "out");
        let warnings = self.judge.warnings();
        assert!(session.replies.len() <= MAX_REPLIES + 8 + warnings, "answers");
        let in_hand = session.subscriptions.values().filter(|thread| !thread.page.is_empty());
        let pages = in_hand
            .inspect(|thread| assert!(thread.queued, "a page for nothing"))
            .count();
        assert!(pages <= 1, "{pages} pages");
        let queued = session.to_read.len() + session.to_send.len();
        assert!(queued <= session.subscriptions.len(), "queues");
    }
}
