//! The state machine of one client: events and times in, actions out.
//!
//! The session handles subscriptions, gaps, batches, throttling, flow control and positions. It has no
//! I/O and no clock: the caller asks [`Session::next_action`] for the next action, carries it out, and
//! asks again.
//!
//! 1. The session reads the change log in order ([`Action::Feed`]) and processes each change once.
//! 2. Rows that are not tied to a subscription are sent as they appear. A message of a subscribed
//!    thread is sent live only if its number is the next one of the thread. Otherwise the
//!    subscription reads the database ([`Action::Read`]) and continues after the last message sent.
//! 3. There is no queue of messages a client still has to get, only a cursor in the change log and
//!    one in each thread. History and live messages cannot overlap or race: a message whose number
//!    is not the next is never sent.
//! 4. The session takes changes and messages only when it may send them immediately. A client that
//!    does not read costs the memory of the rows already taken, not of the rows it has not received.

mod change_feed;
mod client_events;
#[cfg(test)]
mod reference_model;
mod subscription;
mod subscription_reads;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::connect_options::{ConnectOptions, Framing, Streams};
use super::encoded_change::{EncodedChange, Frame, WireFormat, pos_text};
use super::latest_value_throttle::LatestValueThrottle;
use super::token_bucket::TokenBucket;
use crate::config::Limits;
use crate::error::Code;
use crate::protocol::{AckEvent, EventType, GapEvent};
use crate::store::{Position, Start};
use subscription::ReplaySource;

pub use subscription::Subscription;

/// Maximum number of unsent replies; above it no further event of the client is processed.
const MAX_REPLIES: usize = 64;
/// Maximum number of events in one array frame.
const ARRAY_EVENTS: usize = 1000;
/// Maximum number of bytes in one array frame, unless a single event is larger.
const ARRAY_BYTES: usize = 512 * 1024;

/// The current time of the monotonic clock and of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since a fixed moment; never decreases.
    pub at: Duration,
    /// Unix milliseconds, only for timestamps of events.
    pub wall_ms: i64,
}

/// The next action of the caller.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send this frame.
    Send(Frame),
    /// Start this read and pass its result to [`Session::opened`], [`Session::read`] or
    /// [`Session::read_failed`]. Other actions may follow before it ends.
    Read(Read),
    /// Pass the changes after this position to [`Session::feed`], even if there are none.
    Feed(Position),
    /// Store this acknowledgement.
    Ack(AckEvent),
    /// Wait until this time, or until there is a new event: a frame, a commit, or the end of a read or
    /// write.
    Wait(Option<Duration>),
    /// Close the connection with this code.
    Close(Code),
}

/// A read of the database. There is at most one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The start of a subscription.
    Open {
        /// The thread.
        thread_id: String,
        /// The start of the subscription.
        start: Start,
    },
    /// A page of a thread.
    Page {
        /// The thread.
        thread_id: String,
        /// After this `message_seq`.
        after: i64,
        /// Maximum number of messages.
        rows: usize,
    },
}

/// The `hello` event: the first one of a client that uses the extended form.
#[derive(Debug, Clone, Serialize)]
pub struct Hello {
    /// The hub's version.
    pub version: &'static str,
    /// The database's epoch.
    pub epoch: String,
    /// The position the stream starts after.
    pub pos: String,
    /// The client's `instance_id`.
    pub instance_id: String,
    /// The limits in force.
    pub limits: Limits,
}

/// The read in progress.
#[derive(Debug)]
enum PendingRead {
    Open(PendingSubscribe),
    /// A page of this thread. If the subscription ends meanwhile, the result is dropped: a new
    /// subscription to the same thread starts its own read, and reads do not overlap.
    Page(String),
}

/// A `subscribe` that is not answered yet.
#[derive(Debug)]
struct PendingSubscribe {
    thread_id: String,
    start: Start,
    from_id: Option<String>,
    /// The highest `message_seq` of the thread in the change log meanwhile: the read may have
    /// happened before that message was written.
    newest: i64,
}

/// The state machine of one client.
#[derive(Debug)]
pub struct Session {
    options: ConnectOptions,
    limits: Limits,
    epoch: Arc<str>,
    /// Cursor in the change log: all changes up to here are processed.
    pos: Position,
    /// The position from which the client resumed: it has everything up to here, except states
    /// that were held back.
    resumed: Position,
    /// Rows up to here may be pruned without loss: the client asked only for what is kept.
    kept: Position,
    /// The stream began with the oldest row kept: pruned rows are reported as a `gap`. In other
    /// streams they are a lost position.
    from_oldest: bool,
    /// An event of a row that can be pruned was sent: from then on, a pruned row is missing.
    has_streamed: bool,
    /// Pruned rows that are not reported yet.
    gap: Option<GapEvent>,
    /// The number of the last change recorded in a `gap`.
    lost_up_to: i64,
    /// Changes passed to [`Session::feed`] and not processed yet.
    unprocessed: VecDeque<Arc<EncodedChange>>,
    /// The change log had no more changes at the last read.
    at_end: bool,
    /// Encoded frames to send next: at most a message and the state of its thread.
    outgoing: VecDeque<Frame>,
    subscriptions: HashMap<String, Subscription>,
    /// Threads whose subscription ended, with their last number: acknowledgements still count.
    unsubscribed: HashMap<String, i64>,
    /// Total bytes of the names of all these threads.
    name_bytes: usize,
    /// A `subscribe` whose read has not started.
    pending_subscribe: Option<PendingSubscribe>,
    /// Threads to read from the database, round robin.
    to_read: VecDeque<String>,
    /// Threads with a batch to send, round robin.
    to_send: VecDeque<String>,
    pending_read: Option<PendingRead>,
    /// No read starts before this time: the last one failed.
    retry_at: Duration,
    replies: VecDeque<Frame>,
    acks: VecDeque<AckEvent>,
    outbound_rate: TokenBucket,
    inbound_rate: TokenBucket,
    /// Events over the inbound rate, less those within it.
    excess: u32,
    telemetry: LatestValueThrottle,
    thread_states: LatestValueThrottle,
    /// Events for the next array frame.
    array: Vec<Frame>,
    array_bytes: usize,
    /// The next array frame is sent at this time at the earliest.
    array_at: Duration,
    /// Set when the connection is to close after the remaining replies.
    closing: Option<Code>,
}

impl Session {
    /// Creates a session whose stream starts after `pos`.
    pub fn new(options: ConnectOptions, limits: Limits, epoch: Arc<str>, pos: Position) -> Self {
        // Array frames have their own rate limit.
        let rate = if options.framing == Framing::Array {
            0
        } else {
            limits.max_messages_per_second
        };
        Self {
            outbound_rate: TokenBucket::new(rate, rate),
            inbound_rate: TokenBucket::new(
                limits.max_events_per_second,
                limits.max_events_per_second.saturating_mul(2),
            ),
            telemetry: LatestValueThrottle::new(limits.telemetry_per_second),
            thread_states: LatestValueThrottle::new(limits.thread_states_per_second),
            options,
            limits,
            epoch,
            pos,
            resumed: pos,
            kept: pos,
            from_oldest: false,
            has_streamed: false,
            gap: None,
            lost_up_to: 0,
            unprocessed: VecDeque::new(),
            at_end: false,
            outgoing: VecDeque::new(),
            subscriptions: HashMap::new(),
            unsubscribed: HashMap::new(),
            name_bytes: 0,
            pending_subscribe: None,
            to_read: VecDeque::new(),
            to_send: VecDeque::new(),
            pending_read: None,
            retry_at: Duration::ZERO,
            replies: VecDeque::new(),
            acks: VecDeque::new(),
            excess: 0,
            array: Vec::new(),
            array_bytes: 0,
            array_at: Duration::ZERO,
            closing: None,
        }
    }

    /// Resumes a stream: the client has everything up to `resumed`, except states that were held
    /// back. States after the session's own position are sent again. Pruned rows up to `kept` are
    /// not reported as a loss.
    pub fn resume(&mut self, resumed: Position, kept: Position) {
        (self.resumed, self.kept) = (resumed, kept);
    }

    /// Starts a stream with the oldest row kept: rows pruned before they could be sent are
    /// reported as a `gap`, except those up to `kept` before the first row sent.
    pub fn start_at_oldest(&mut self, kept: Position) {
        (self.kept, self.from_oldest) = (kept, true);
    }

    /// Returns whether the session continues after a `gap` if its position in the change log was
    /// pruned.
    pub fn reports_gaps(&self) -> bool {
        self.from_oldest
    }

    /// Sends `hello`.
    pub fn send_hello(&mut self, now: Now, version: &'static str, instance_id: &str) {
        let hello = Hello {
            version,
            epoch: self.epoch.to_string(),
            pos: self.resume_pos(),
            instance_id: instance_id.to_owned(),
            limits: self.limits.clone(),
        };
        self.replies
            .push_back(Frame::new(&EventType::HELLO, now.wall_ms, &hello));
    }

    /// Returns whether the client's next event can be processed now. Events are processed one
    /// after the other, and not while the client does not read the replies.
    pub fn accepts_events(&self) -> bool {
        let subscribing = self.pending_subscribe.is_some() || matches!(self.pending_read, Some(PendingRead::Open(_)));
        !subscribing && self.replies.len() < MAX_REPLIES && self.acks.len() < MAX_REPLIES && self.closing.is_none()
    }

    /// Returns whether the session is closing and only sends the remaining replies.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Reports a commit: the change log may have more changes.
    pub fn wake(&mut self) {
        self.at_end = false;
    }

    /// Sends an `error` event that concerns no thread.
    pub fn send_error(&mut self, now: Now, code: Code, message: &str) {
        self.error(now, code, message, "", None);
    }

    /// Sends an `error` event, and closes the connection after it.
    pub fn close(&mut self, now: Now, code: Code, message: &str) {
        if self.closing.is_none() {
            self.send_error(now, code, message);
            self.closing = Some(code);
        }
    }

    /// Returns the next action.
    pub fn next_action(&mut self, now: Now) -> Action {
        if let Some(frame) = self.replies.pop_front() {
            return Action::Send(frame);
        }
        if let Some(ack) = self.acks.pop_front() {
            return Action::Ack(ack);
        }
        if let Some(code) = self.closing {
            return Action::Close(code);
        }
        let action = match self.options.framing {
            Framing::Single => self.next(now).unwrap_or_else(|| Action::Wait(self.deadline(now))),
            Framing::Array => self.next_array_action(now),
        };
        match action {
            // A change has closed the session: send the reason first.
            Action::Wait(_) if self.closing.is_some() => self.next_action(now),
            action => action,
        }
    }

    /// Collects events until there are no more, or enough, and sends them as one frame.
    fn next_array_action(&mut self, now: Now) -> Action {
        if now.at < self.array_at {
            return Action::Wait(Some(self.array_at));
        }
        while self.array.len() < ARRAY_EVENTS && self.array_bytes < ARRAY_BYTES {
            match self.next(now) {
                Some(Action::Send(frame)) => {
                    self.array_bytes += frame.len();
                    self.array.push(frame);
                }
                Some(other) => return other,
                None => break,
            }
        }
        if self.array.is_empty() {
            return Action::Wait(self.deadline(now));
        }
        self.array_at = now.at + Duration::from_secs(1) / self.limits.array_frames_per_second.max(1);
        self.array_bytes = 0;
        Action::Send(Frame::array(&std::mem::take(&mut self.array)))
    }

    /// Returns the next frame, read or feed; `None` if there is none now.
    fn next(&mut self, now: Now) -> Option<Action> {
        if let Some(frame) = self.outgoing.pop_front() {
            return Some(Action::Send(frame));
        }
        if let Some(read) = self.next_opening(now) {
            return Some(Action::Read(read));
        }
        if let Some(frame) = self.release_held(now).or_else(|| self.next_batch(now)) {
            return Some(Action::Send(self.after_gap(now, frame)));
        }
        if let Some(read) = self.next_page(now) {
            return Some(Action::Read(read));
        }
        while let Some(entry) = self.unprocessed.front().cloned() {
            self.note_pruned_changes(now, entry.pos());
            if self.closing.is_some() {
                return None;
            }
            // A gap is sent before the next event, with the position before that event.
            let gap = self.gap.map(|gap| Frame::gap(now.wall_ms, &self.resume_pos(), gap));
            if self.is_streamed(&entry) {
                // Order is kept: without a token, all later changes wait too.
                if !self.outbound_rate.take(now.at) {
                    return None;
                }
                self.stream_messages(now);
            } else {
                self.unprocessed.pop_front();
                self.process(now, &entry);
                if self.closing.is_some() {
                    return None;
                }
                self.pos = entry.pos();
            }
            if let Some(frame) = self.outgoing.pop_front() {
                let Some(gap) = gap else {
                    return Some(Action::Send(frame));
                };
                self.gap = None;
                self.outgoing.push_front(frame);
                return Some(Action::Send(gap));
            }
        }
        if !self.at_end {
            return Some(Action::Feed(self.pos));
        }
        let gap = self.gap.take()?;
        Some(Action::Send(Frame::gap(now.wall_ms, &self.resume_pos(), gap)))
    }

    /// Returns the time of the next action that does not depend on new changes or events.
    fn deadline(&self, now: Now) -> Option<Duration> {
        let throttled = !self.unprocessed.is_empty() || !self.to_send.is_empty() || !self.to_read.is_empty();
        let token = throttled
            .then(|| self.outbound_rate.ready_at())
            .filter(|at| *at > now.at);
        let retry = Some(self.retry_at).filter(|at| *at > now.at);
        [token, retry, self.next_held()].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Change, MessageRow, Op, Row, ThreadRow};

    /// Creates a session that gets all messages in array frames.
    fn array_session(limits: Limits) -> Session {
        let options = ConnectOptions {
            streams: Streams {
                messages: true,
                ..Streams::COMPAT
            },
            framing: Framing::Array,
            ..ConnectOptions::COMPAT
        };
        Session::new(options, limits, "e".into(), Position::START)
    }

    fn message(seq: i64, bytes: usize) -> Arc<EncodedChange> {
        let row = MessageRow {
            thread_id: "build".into(),
            message_seq: seq,
            content: "x".repeat(bytes),
            ..MessageRow::default()
        };
        let change = Change {
            pos: Position { seq, tag: 1 },
            op: Op::Insert,
            row: Row::Message(row, ThreadRow::default()),
        };
        Arc::new(EncodedChange::new(change, &"e".into()))
    }

    fn now(milliseconds: u64) -> Now {
        Now {
            at: Duration::from_millis(milliseconds),
            wall_ms: 0,
        }
    }

    /// Returns the next frame or wait. The change log has no more changes.
    fn next(session: &mut Session, now: Now) -> Action {
        loop {
            match session.next_action(now) {
                Action::Feed(_) => session.feed(Vec::new()),
                action => return action,
            }
        }
    }

    #[test]
    fn array_frames_have_a_maximum_size() {
        let mut session = array_session(Limits::default());
        session.feed((1..=20).map(|seq| message(seq, ARRAY_BYTES / 5)).collect());
        let (mut frames, mut at) = (0, 0);
        loop {
            match next(&mut session, now(at)) {
                Action::Send(frame) => {
                    frames += 1;
                    assert!(frame.len() < 2 * ARRAY_BYTES, "{}", frame.len());
                }
                Action::Wait(Some(until)) => at = u64::try_from(until.as_millis()).unwrap() + 1,
                Action::Wait(None) => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(frames >= 4, "{frames}");
    }

    #[test]
    fn array_frames_have_a_maximum_rate() {
        let mut session = array_session(Limits {
            array_frames_per_second: 4,
            ..Limits::default()
        });
        session.feed(vec![message(1, 5)]);
        assert!(matches!(next(&mut session, now(1000)), Action::Send(_)));
        session.wake();
        session.feed(vec![message(2, 5)]);
        assert_eq!(
            next(&mut session, now(1249)),
            Action::Wait(Some(Duration::from_millis(1250)))
        );
        assert!(matches!(next(&mut session, now(1250)), Action::Send(_)));
    }

    #[test]
    fn only_a_stream_from_the_oldest_row_reports_gaps() {
        let mut session = array_session(Limits::default());
        assert!(!session.reports_gaps());
        session.resume(Position::START, Position::START);
        assert!(!session.reports_gaps());
        session.start_at_oldest(Position::START);
        assert!(session.reports_gaps());
    }

    #[test]
    fn no_event_is_accepted_while_the_client_reads_no_replies() {
        let mut session = array_session(Limits::default());
        session.acks.extend(vec![AckEvent::default(); MAX_REPLIES - 1]);
        assert!(session.accepts_events());
        session.acks.push_back(AckEvent::default());
        assert!(!session.accepts_events());
        session.acks.clear();
        for _ in 0..MAX_REPLIES {
            session.send_error(now(0), Code::Invalid, "x");
        }
        assert!(!session.accepts_events());
    }
}
