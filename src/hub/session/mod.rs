//! One client's state machine: events and times in, frames out.
//!
//! For: subscriptions, gaps, batches, throttling, flow control, positions.
//! Not for: sockets, the file or a clock: there is no I/O here. The caller asks
//! [`Session::step`] what to do next, does it, and asks again.
//!
//! 1. The session walks the log ([`Action::Feed`]): every change is considered once, in order.
//! 2. Rows for everybody go out as they are met. A subscribed message goes out live only
//!    if it is the very next one of its thread; anything else sends the subscription to
//!    the file ([`Action::Read`]), where it continues after the last message sent.
//! 3. So there is no queue of what a client still has to get, only a place in each thread
//!    and one in the log; and no race between history and the present: a number that is
//!    not the next is never sent.
//! 4. Nothing is taken from the log or the file unless it may go out at once: a client
//!    that does not read costs what is in its hands, not what it missed.

mod change_feed;
mod client_events;
#[cfg(test)]
mod reference_model;
mod subscription;
mod subscriptions;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::connect_options::{ConnectOptions, Framing};
use super::encoded_change::{EncodedChange, Frame, WireFormat, pos_text};
use super::latest_value_throttle::LatestValueThrottle;
use super::token_bucket::TokenBucket;
use crate::config::Limits;
use crate::error::Code;
use crate::protocol::{AckEvent, EventType};
use crate::store::{Position, Start};
use subscription::ReplaySource;

pub use subscription::Subscription;

/// Answers waiting to be sent before the client's next event has to wait.
const MAX_ANSWERS: usize = 64;
/// Events in one array frame at most.
const ARRAY_EVENTS: usize = 1000;
/// Bytes in one array frame at most, unless one event alone is larger.
const ARRAY_BYTES: usize = 512 * 1024;

/// Two readings of the clock: time since some fixed moment, and the wall's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Never moves back.
    pub at: Duration,
    /// Unix milliseconds, for timestamps alone.
    pub wall_ms: i64,
}

/// What the caller is to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send this frame, then ask again.
    Send(Frame),
    /// Read this, hand the answer over, and ask again meanwhile.
    Read(Read),
    /// Hand over what the log has after this position, even if it is nothing.
    Feed(Position),
    /// Store this acknowledgement, then ask again.
    Ack(AckEvent),
    /// Nothing to do before this time, or before something happens.
    Wait(Option<Duration>),
    /// Close the connection over this.
    Close(Code),
}

/// Something to be read from the file. One read is under way at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// What a subscription starts from.
    Open {
        /// The thread.
        thread_id: String,
        /// Where to start.
        start: Start,
    },
    /// A page of a thread.
    Page {
        /// The thread.
        thread_id: String,
        /// After this `message_seq`.
        after: i64,
        /// Messages at most.
        rows: usize,
    },
}

/// The first event to a client that asked for more than the seed has.
#[derive(Debug, Clone, Serialize)]
pub struct Hello {
    /// The hub's version.
    pub version: &'static str,
    /// The file's epoch.
    pub epoch: String,
    /// Where the stream goes on from.
    pub pos: String,
    /// The client's name, as it gave it.
    pub instance_id: String,
    /// The constants in force.
    pub limits: Limits,
}

/// What is being read, and for which subscription.
#[derive(Debug)]
enum PendingRead {
    Open(PendingSubscribe),
    /// For the subscription to this thread. If it is given up meanwhile there is none: the
    /// next one to the same thread has to be read for itself, and one read follows the other.
    Page(String),
}

/// A `subscribe` that is not answered yet.
#[derive(Debug)]
struct PendingSubscribe {
    thread_id: String,
    start: Start,
    from_id: Option<String>,
    /// The highest `message_seq` met in the log meanwhile: the file may have been read
    /// before that was written.
    met: i64,
}

/// One client's state machine.
#[derive(Debug)]
pub struct Session {
    wishes: ConnectOptions,
    limits: Limits,
    epoch: Arc<str>,
    /// Where in the log it is: everything up to here was considered.
    pos: Position,
    /// The client's own position when it came back: up to here it has everything but the
    /// states that were being held back.
    resumed: Position,
    /// Rows up to here may be pruned without the client's losing anything: it asked for
    /// what is kept.
    kept: Position,
    /// Changes handed over and not considered yet.
    ahead: VecDeque<Arc<EncodedChange>>,
    /// The log had nothing more when it was last asked.
    dry: bool,
    /// Frames made and not handed out yet: a message and its thread's state at most.
    out: VecDeque<Frame>,
    threads: HashMap<String, Subscription>,
    /// Threads left again, with their last number: they may still be acknowledged.
    left: HashMap<String, i64>,
    /// Bytes of the names of all of these.
    names: usize,
    /// A `subscribe` whose read has not begun.
    wanted: Option<PendingSubscribe>,
    /// Threads to be read from the file, in turn.
    to_read: VecDeque<String>,
    /// Threads that have a batch to send, in turn.
    to_send: VecDeque<String>,
    reading: Option<PendingRead>,
    /// No reads before this time: the last one failed.
    retry_at: Duration,
    answers: VecDeque<Frame>,
    acks: VecDeque<AckEvent>,
    frames: TokenBucket,
    inbound: TokenBucket,
    excess: u32,
    telemetry: LatestValueThrottle,
    states: LatestValueThrottle,
    /// Events of the array frame in the making.
    array: Vec<Frame>,
    array_bytes: usize,
    array_at: Duration,
    closing: Option<Code>,
}

impl Session {
    /// A session for a client whose stream goes on after `pos`.
    pub fn new(wishes: ConnectOptions, limits: Limits, epoch: Arc<str>, pos: Position) -> Self {
        // An array frame counts once, however much is in it.
        let rate = if wishes.framing == Framing::Array {
            0
        } else {
            limits.max_messages_per_second
        };
        Self {
            frames: TokenBucket::new(rate, rate),
            inbound: TokenBucket::new(
                limits.max_events_per_second,
                limits.max_events_per_second.saturating_mul(2),
            ),
            telemetry: LatestValueThrottle::new(limits.telemetry_per_second),
            states: LatestValueThrottle::new(limits.thread_states_per_second),
            wishes,
            limits,
            epoch,
            pos,
            resumed: pos,
            kept: pos,
            ahead: VecDeque::new(),
            dry: false,
            out: VecDeque::new(),
            threads: HashMap::new(),
            left: HashMap::new(),
            names: 0,
            wanted: None,
            to_read: VecDeque::new(),
            to_send: VecDeque::new(),
            reading: None,
            retry_at: Duration::ZERO,
            answers: VecDeque::new(),
            acks: VecDeque::new(),
            excess: 0,
            array: Vec::new(),
            array_bytes: 0,
            array_at: Duration::ZERO,
            closing: None,
        }
    }

    /// The client has been here before and has everything up to `resumed`, but for the
    /// states that were held back: those from the session's own position on are told again.
    /// Up to `kept` it is content with the rows that were not pruned.
    pub fn resume(&mut self, resumed: Position, kept: Position) {
        (self.resumed, self.kept) = (resumed, kept);
    }

    /// Greets a client that asked for more than the seed has.
    pub fn greet(&mut self, now: Now, version: &'static str, instance_id: &str) {
        let hello = Hello {
            version,
            epoch: self.epoch.to_string(),
            pos: self.place(),
            instance_id: instance_id.to_owned(),
            limits: self.limits.clone(),
        };
        self.answers
            .push_back(Frame::new(&EventType::HELLO, now.wall_ms, &hello));
    }

    /// Whether the client's next event can be taken now. One is dealt with after the other,
    /// and a client that does not read the answers is not listened to.
    pub fn listens(&self) -> bool {
        let subscribing = self.wanted.is_some() || matches!(self.reading, Some(PendingRead::Open(_)));
        !subscribing && self.answers.len() < MAX_ANSWERS && self.acks.len() < MAX_ANSWERS && self.closing.is_none()
    }

    /// Whether it has been closed and only says why.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Something was committed: the log may have more.
    pub fn wake(&mut self) {
        self.dry = false;
    }

    /// Tells the client that something is wrong that concerns no thread.
    pub fn warn(&mut self, now: Now, code: Code, message: &str) {
        self.error(now, code, message, "", None);
    }

    /// Tells the client why, and closes once it has been told.
    pub fn close(&mut self, now: Now, code: Code, message: &str) {
        if self.closing.is_none() {
            self.warn(now, code, message);
            self.closing = Some(code);
        }
    }

    /// What to do next.
    pub fn step(&mut self, now: Now) -> Action {
        if let Some(frame) = self.answers.pop_front() {
            return Action::Send(frame);
        }
        if let Some(ack) = self.acks.pop_front() {
            return Action::Ack(ack);
        }
        if let Some(code) = self.closing {
            return Action::Close(code);
        }
        let step = match self.wishes.framing {
            Framing::Single => self.next(now).unwrap_or_else(|| Action::Wait(self.deadline(now))),
            Framing::Array => self.step_array(now),
        };
        match step {
            // The walk through the log came upon a loss: say so at once.
            Action::Wait(_) if self.closing.is_some() => self.step(now),
            step => step,
        }
    }

    /// Gathers events until there are no more, or enough; then sends them as one frame.
    fn step_array(&mut self, now: Now) -> Action {
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

    /// The next thing to send, read or be fed; `None` if there is none now.
    fn next(&mut self, now: Now) -> Option<Action> {
        if let Some(frame) = self.out.pop_front() {
            return Some(Action::Send(frame));
        }
        if let Some(read) = self.next_opening(now) {
            return Some(Action::Read(read));
        }
        if let Some(frame) = self.release_held(now).or_else(|| self.next_batch(now)) {
            return Some(Action::Send(frame));
        }
        if let Some(read) = self.next_page(now) {
            return Some(Action::Read(read));
        }
        while let Some(entry) = self.ahead.front() {
            if self.is_streamed(entry) {
                // In order, or not at all: without a token everything behind it waits too.
                if !self.frames.take(now.at) {
                    return None;
                }
                self.stream_messages(now);
            } else if let Some(entry) = self.ahead.pop_front() {
                self.consider(now, &entry);
                if self.closing.is_some() {
                    return None;
                }
                self.pos = entry.pos();
            }
            if let Some(frame) = self.out.pop_front() {
                return Some(Action::Send(frame));
            }
        }
        (!self.dry).then_some(Action::Feed(self.pos))
    }

    /// When something falls due by itself.
    fn deadline(&self, now: Now) -> Option<Duration> {
        let throttled = !self.ahead.is_empty() || !self.to_send.is_empty() || !self.to_read.is_empty();
        let token = throttled.then(|| self.frames.ready_at()).filter(|at| *at > now.at);
        let retry = Some(self.retry_at).filter(|at| *at > now.at);
        [token, retry, self.next_held()].into_iter().flatten().min()
    }
}
