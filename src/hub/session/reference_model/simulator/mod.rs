//! Simulates the agents, the client, the hub and the network around one session, in one thread
//! and with a simulated clock.
//!
//! It carries out operations in any order, and passes every frame and every message of the client
//! to the [`Checker`]. `driver` stands in for the driver of the session.

mod driver;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::checker::Checker;
use super::client_messages::{ClientMessage, INVALID_FRAMES, SubscribeRequest};
use super::database::{Database, Thread};
use super::{ConnectOptions, Operation, SeqChoice, Setup, StreamStart};
use crate::error::Code;
use crate::hub::recent_changes::RecentChanges;
use crate::hub::session::{Now, Session};
use crate::protocol::AckEvent;
use crate::store::Position;
use driver::{LogRead, StoreRead};

/// Maximum number of rounds until the simulation must be idle.
const MAX_ROUNDS: usize = 10_000;

pub(super) struct Simulator {
    setup: Setup,
    database: Database,
    backup: Option<Database>,
    recent_changes: RecentChanges,
    now: Duration,
    session: Option<Session>,
    /// The code with which the session is closing.
    closing: Option<Code>,
    /// The read of the session in progress.
    store_read: Option<StoreRead>,
    /// The read of the change log in progress.
    log_read: Option<LogRead>,
    /// The change log is not read before this time.
    log_retry_at: Duration,
    /// The session must not read a page before this time.
    page_retry_at: Duration,
    /// Messages of the client that the session has not processed yet, as operations.
    unprocessed_messages: VecDeque<Operation>,
    /// Acknowledgements that are not in the database yet.
    pending_acks: Vec<AckEvent>,
    checker: Checker,
}

fn thread_name(thread: u8) -> String {
    format!("t{thread}")
}

impl Simulator {
    pub(super) fn new(setup: Setup) -> Self {
        let mut simulator = Self {
            database: Database::new(1, setup.returns_current_rows),
            backup: None,
            recent_changes: RecentChanges::new(Position::START, setup.recent_rows),
            now: Duration::ZERO,
            session: None,
            closing: None,
            store_read: None,
            log_read: None,
            log_retry_at: Duration::ZERO,
            page_retry_at: Duration::ZERO,
            unprocessed_messages: VecDeque::new(),
            pending_acks: Vec::new(),
            checker: Checker::new(setup.options.clone(), setup.limits.clone()),
            setup,
        };
        simulator.connect(StreamStart::Head);
        simulator
    }

    fn clock(&self) -> Now {
        Now {
            at: self.now,
            wall_ms: 0,
        }
    }

    /// Carries out one operation.
    pub(super) fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::PostMessages { thread, count, bytes } => {
                (0..count).for_each(|_| self.database.post_message(&thread_name(thread), bytes));
            }
            Operation::UpdateMessage(thread) => self.database.update_message(&thread_name(thread)),
            Operation::ChangeTitle(thread) => self.database.change_title(&thread_name(thread)),
            Operation::AddInboxMessage => self.database.add_inbox_message(),
            Operation::UpdateInboxMessage(choice) => self.database.update_inbox_message(choice),
            Operation::AddTelemetry { instance, count } => {
                (0..count).for_each(|_| self.database.add_telemetry(&format!("p{instance}")));
            }
            Operation::AddTaskEvent => self.database.add_task_event(),
            Operation::AddAgent => self.database.add_agent(),
            Operation::AddUnreadableRow => self.database.add_unreadable_row(),
            Operation::PruneRows { thread, keep } => self.database.prune_rows(&thread_name(thread), keep),
            Operation::PruneChangeLog(keep) => self.prune_change_log(keep),
            Operation::MakeThreadUnreadable(thread) => {
                if let Some(thread) = self.database.threads.get_mut(&thread_name(thread)) {
                    thread.is_unreadable = true;
                }
            }
            Operation::BackUp => self.backup = Some(self.database.clone()),
            Operation::RestoreBackup => self.restore_backup(),
            Operation::ReplaceDatabase => {
                let empty = Database::new(self.database.serial, self.setup.returns_current_rows);
                self.replace_database(empty);
            }
            Operation::RunChangeReader => self.run_change_reader(),
            Operation::ClearRecentChanges => self.clear_recent_changes(self.recent_changes.head()),
            Operation::Restart => self.restart(true),
            Operation::Crash => self.restart(false),
            Operation::Warn => self.warn(),
            Operation::AdvanceClock(ms) => self.now += Duration::from_millis(ms),
            Operation::TakeSteps(count) => drop(self.take_steps(count.into())),
            Operation::StepUntilWait => drop(self.take_steps(usize::MAX)),
            Operation::RunUntilIdle => drop(self.run_until_idle()),
            Operation::CompleteRead => self.complete_read(),
            Operation::FailRead => self.fail_read(),
            Operation::CompleteLogRead => self.complete_log_read(),
            Operation::FailLogRead => self.fail_log_read(),
            Operation::Connect(start) => self.connect(start),
            Operation::Subscribe { .. }
            | Operation::Unsubscribe(_)
            | Operation::Ack(..)
            | Operation::Ping
            | Operation::SendBinaryFrame
            | Operation::SendInvalidFrame(_) => self.send(*operation),
        }
        self.process_client_messages();
        self.check_memory();
    }

    // ---- The client ---------------------------------------------------------------------

    fn is_compat(&self) -> bool {
        self.setup.options == ConnectOptions::COMPAT
    }

    fn connect(&mut self, start: StreamStart) {
        self.disconnect();
        let head = self.recent_changes.head();
        let from_oldest = start == StreamStart::Oldest && !self.is_compat();
        let (pos, resumed, kept) = match (start, self.checker.resume_position()) {
            (StreamStart::ResumePosition, Some(since)) => {
                if since.epoch != *self.database.epoch || !self.database.has_position(since.pos) {
                    return self.refuse_resume();
                }
                self.checker.on_resume(self.now);
                let before_floor = since.floor.map(|floor| {
                    let entry = self.database.entry(floor - 1);
                    entry.map_or(Position::START, |entry| entry.pos)
                });
                (before_floor.unwrap_or(since.pos), since.pos, since.pos)
            }
            (StreamStart::Oldest, _) if from_oldest => {
                self.checker.on_start(Position::START, head, true, self.now);
                (Position::START, Position::START, head)
            }
            _ => {
                self.checker.on_start(head, head, false, self.now);
                (head, head, head)
            }
        };
        let mut session = self.session_at(pos);
        session.resume(resumed, kept);
        if from_oldest {
            session.start_at_oldest(kept);
        }
        if !self.is_compat() {
            session.send_hello(self.clock(), "0", "me");
        }
        self.session = Some(session);
    }

    fn session_at(&self, pos: Position) -> Session {
        let Setup { options, limits, .. } = self.setup.clone();
        Session::new(options, limits, Arc::clone(&self.database.epoch), pos)
    }

    /// Closes a connection whose resume position is not in the database. The client then connects
    /// without a position.
    fn refuse_resume(&mut self) {
        let mut session = self.session_at(self.recent_changes.head());
        session.send_hello(self.clock(), "0", "me");
        session.close(self.clock(), Code::PositionLost, "lost");
        self.closing = Some(Code::PositionLost);
        self.session = Some(session);
        self.checker.on_resume_refused(self.now);
        self.step_until_closed();
        self.connect(StreamStart::Head);
    }

    /// Ends the connection. Reads in progress and messages of the client are dropped.
    fn disconnect(&mut self) {
        self.session = None;
        self.closing = None;
        self.store_read = None;
        self.log_read = None;
        self.page_retry_at = Duration::ZERO;
        self.unprocessed_messages.clear();
    }

    /// Sends a message of the client; the session processes it later.
    fn send(&mut self, operation: Operation) {
        if self.session.is_some() {
            self.unprocessed_messages.push_back(operation);
        }
    }

    /// Passes messages of the client to the session, as long as it accepts them.
    fn process_client_messages(&mut self) {
        let now = self.clock();
        self.checker.subscriptions().set_head(self.database.head().seq);
        while self.session.as_ref().is_some_and(Session::accepts_events) {
            let Some(operation) = self.unprocessed_messages.pop_front() else {
                return;
            };
            let message = self.client_message(&operation);
            let Some(session) = &mut self.session else { return };
            match message.text() {
                Some(text) => session.receive(now, text.as_bytes()),
                None => session.receive_binary(now),
            }
            self.checker
                .on_client_message(&message, now.at, &self.database, session);
            self.checker.check_pauses(session);
        }
    }

    /// Returns the message of an operation of the client.
    fn client_message(&self, operation: &Operation) -> ClientMessage {
        match *operation {
            Operation::Subscribe {
                thread,
                from_seq,
                from_id,
            } => {
                let thread_id = thread_name(thread);
                let from_seq = self.seq(&thread_id, from_seq);
                let right_id = || self.database.message_id(&thread_id, from_seq).unwrap_or_default();
                let from_id = from_id.map(|is_right| if is_right { right_id() } else { "wrong".into() });
                ClientMessage::Subscribe(SubscribeRequest {
                    thread_id,
                    from_seq,
                    from_id,
                })
            }
            Operation::Unsubscribe(thread) => ClientMessage::Unsubscribe(thread_name(thread)),
            Operation::Ack(thread, seq) => {
                let thread_id = thread_name(thread);
                let seq = self.seq(&thread_id, seq);
                ClientMessage::Ack(thread_id, seq)
            }
            Operation::SendBinaryFrame => ClientMessage::Binary,
            Operation::SendInvalidFrame(index) => {
                let (text, code) = INVALID_FRAMES[index];
                ClientMessage::Invalid(text, code)
            }
            _ => ClientMessage::Ping,
        }
    }

    fn seq(&self, thread_id: &str, choice: SeqChoice) -> i64 {
        match choice {
            SeqChoice::BelowReceived(less) => (self.checker.last_received(thread_id) - i64::from(less)).max(0),
            SeqChoice::AboveLast(more) => {
                let last_seq = self.database.threads.get(thread_id).map_or(0, Thread::last_seq);
                last_seq + i64::from(more)
            }
            SeqChoice::Zero => 0,
            SeqChoice::LastAck => -1,
            SeqChoice::Invalid => -2,
        }
    }

    // ---- The hub ------------------------------------------------------------------------

    /// Reads new changes into the recent changes, and wakes the session.
    fn run_change_reader(&mut self) {
        self.store_acks();
        let changes = self.database.read_log(self.recent_changes.head(), usize::MAX);
        let Some(changes) = changes else {
            // The position of the change reader itself was pruned.
            return self.start_over();
        };
        changes.into_iter().for_each(|entry| self.recent_changes.push(entry));
        if let Some(session) = &mut self.session {
            session.wake();
        }
    }

    fn clear_recent_changes(&mut self, head: Position) {
        self.recent_changes = RecentChanges::new(head, self.setup.recent_rows);
    }

    fn store_acks(&mut self) {
        for ack in self.pending_acks.drain(..) {
            let stored = self.database.acks.entry(ack.thread_id).or_default();
            *stored = ack.ack_seq.max(*stored);
        }
    }

    /// Continues with another change log, in which all positions are lost.
    fn start_over(&mut self) {
        self.clear_recent_changes(self.database.head());
        self.pending_acks.clear();
        self.close_session(Code::PositionLost);
    }

    /// Closes the session, unless it is closing already.
    fn close_session(&mut self, code: Code) {
        let now = self.clock();
        if let Some(session) = self.session.as_mut().filter(|session| !session.is_closing()) {
            session.close(now, code, "closed by the hub");
            self.closing = Some(code);
            self.checker.expect_error(code.name(), "");
        }
    }

    fn prune_change_log(&mut self, keep: usize) {
        if self.is_compat() {
            // Such a client has no position that could be reported as lost. The changes are
            // processed first: a real change log keeps them for days.
            self.run_to_completion();
        }
        self.database.prune_log(keep);
    }

    fn restore_backup(&mut self) {
        self.run_change_reader();
        if let Some(mut backup) = self.backup.clone() {
            backup.carry_over(&self.database);
            self.replace_database(backup);
        }
    }

    fn replace_database(&mut self, database: Database) {
        self.run_change_reader();
        self.database = database;
        self.checker.on_database_replaced(&self.database);
        let head = self.recent_changes.head();
        if !self.database.has_position(head) || head == Position::START {
            self.start_over();
        }
        // The remaining frames of a session that is closing belong to the replaced database: the
        // client receives them now and reconnects.
        if self.session.as_ref().is_some_and(Session::is_closing) {
            self.step_until_closed();
            self.connect(StreamStart::ResumePosition);
        }
    }

    fn restart(&mut self, graceful: bool) {
        if graceful && self.session.is_some() {
            self.close_session(Code::ShuttingDown);
            self.step_until_closed();
            self.checker.check_acks_stored();
            self.store_acks();
        }
        self.pending_acks.clear();
        self.clear_recent_changes(self.database.head());
        self.connect(StreamStart::ResumePosition);
    }

    /// Sends a warning of the hub to the client.
    fn warn(&mut self) {
        let now = self.clock();
        if let Some(session) = self.session.as_mut().filter(|session| !session.is_closing()) {
            session.send_error(now, Code::StoreFull, "the disk is full");
            self.checker.expect_error("STORE_UNAVAILABLE", "");
        }
    }

    // ---- Running to the end -------------------------------------------------------------

    /// Does everything that can be done without advancing the clock, except for retries of the
    /// change log. Returns the time until which the session waits, as [`take_steps`](Self::take_steps).
    fn run_until_idle(&mut self) -> Option<Option<Duration>> {
        for _ in 0..MAX_ROUNDS {
            self.run_change_reader();
            self.complete_read();
            self.complete_log_read();
            self.process_client_messages();
            let waits_until = self.take_steps(usize::MAX);
            self.process_client_messages();
            let is_reading = self.store_read.is_some() || self.log_read.is_some();
            if self.session.is_none() {
                self.connect(StreamStart::ResumePosition);
            } else if waits_until.is_some() && !is_reading && !self.has_client_messages() {
                return waits_until;
            } else if self.log_read.is_none() && self.log_retry_at > self.now {
                self.now = self.log_retry_at;
            }
        }
        panic!("the session never waits");
    }

    /// Returns whether the client has sent a message that the session accepts now.
    fn has_client_messages(&self) -> bool {
        !self.unprocessed_messages.is_empty() && self.session.as_ref().is_some_and(Session::accepts_events)
    }

    /// Advances the clock until the session waits without a deadline.
    fn run_to_completion(&mut self) {
        for _ in 0..MAX_ROUNDS {
            match self.run_until_idle() {
                Some(Some(deadline)) => self.now = deadline,
                _ => return,
            }
        }
        panic!("the session always waits for a deadline");
    }

    /// Runs to completion, acknowledges what is paused, and checks that the client has everything.
    pub(super) fn finish(&mut self) {
        for _ in 0..1000 {
            self.run_to_completion();
            let paused = self.checker.subscriptions().paused_threads();
            if paused.is_empty() {
                let session = self.session.as_ref().unwrap();
                assert!(
                    session.unprocessed.is_empty() && session.at_end && session.outgoing.is_empty(),
                    "the session has not processed all changes"
                );
                assert!(
                    self.unprocessed_messages.is_empty(),
                    "the session has not processed all messages of the client"
                );
                return self.checker.check_complete(&self.database);
            }
            for thread in 0..3 {
                if paused.contains(&thread_name(thread)) {
                    self.send(Operation::Ack(thread, SeqChoice::BelowReceived(0)));
                }
            }
            // Stay within the inbound rate.
            self.now += Duration::from_secs(1);
        }
        panic!("subscriptions stay paused");
    }
}
