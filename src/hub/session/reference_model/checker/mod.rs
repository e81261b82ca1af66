//! The client, who knows what it may expect.
//!
//! For: holding every frame against the plain lists of the file, over all connections of
//! one client's life.
//! Not for: driving the session. It looks into it only for what no client could tell: how
//! many events are made but not handed out, and which subscriptions are paused.

mod rows;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::client_messages::Said;
use super::file::{File, What};
use super::rate::Rate;
use super::subscription_tracker::Following;
use crate::config::Limits;
use crate::hub::connect_options::{ConnectOptions, Framing};
use crate::hub::encoded_change::{Frame, Since, WireFormat};
use crate::hub::session::{ARRAY_EVENTS, Session};
use crate::protocol::{ErrorEvent, Event, EventType};
use crate::store::{Op, Position, ThreadOpening};

/// What stays when a connection ends.
#[derive(Debug, Default)]
struct Life {
    position: Option<String>,
    /// Everything in the log after this is the client's due.
    start: i64,
    /// Up to here it has all of it, but for states held back.
    done: i64,
    /// The latest state told of each thread, and the latest telemetry of each instance.
    states: BTreeMap<String, (i64, i64)>,
    telemetry: BTreeMap<String, i64>,
}

/// What ends with a connection.
#[derive(Debug)]
struct Conn {
    started: Duration,
    greeted: bool,
    pos: i64,
    /// Up to here rows may be pruned without the client's losing anything.
    kept: i64,
    frames: Rate,
    arrays: Rate,
    inbound: Rate,
    keyed: BTreeMap<(bool, String), Rate>,
    /// Answers due, in order.
    answers: VecDeque<&'static str>,
    /// Errors due that no client asked for: code and thread.
    news: Vec<(&'static str, String)>,
    acks: BTreeMap<String, i64>,
    stored: BTreeMap<String, i64>,
    following: Following,
}

#[derive(Debug)]
pub(super) struct Judge {
    wishes: ConnectOptions,
    limits: Limits,
    life: Life,
    conn: Conn,
}

fn data<T: DeserializeOwned>(event: &Event) -> T {
    serde_json::from_str(event.data.as_ref().unwrap().get()).unwrap()
}

impl Judge {
    pub(super) fn new(wishes: ConnectOptions, limits: Limits) -> Self {
        let conn = Self::connection(&wishes, &limits, Duration::ZERO);
        Self {
            wishes,
            limits,
            life: Life::default(),
            conn,
        }
    }

    fn connection(wishes: &ConnectOptions, limits: &Limits, started: Duration) -> Conn {
        let rate = if wishes.framing == Framing::Array {
            0
        } else {
            limits.max_messages_per_second
        };
        Conn {
            started,
            greeted: wishes.format == WireFormat::Compat,
            pos: 0,
            kept: 0,
            frames: Rate::new(rate, rate),
            arrays: Rate::new(limits.array_frames_per_second, 1),
            inbound: Rate::new(limits.max_events_per_second, 2 * limits.max_events_per_second),
            keyed: BTreeMap::new(),
            answers: VecDeque::new(),
            news: Vec::new(),
            acks: BTreeMap::new(),
            stored: BTreeMap::new(),
            following: Following::new(limits.clone()),
        }
    }

    pub(super) fn position(&self) -> Option<Since> {
        Since::parse(self.life.position.as_ref()?)
    }

    /// The last number the client has of a thread.
    pub(super) fn has(&self, thread_id: &str) -> i64 {
        self.conn.following.most(thread_id).unwrap_or(0)
    }

    pub(super) fn has_stored_acks(&self) {
        assert_eq!(self.conn.acks, self.conn.stored, "acks not stored");
    }

    /// Errors on their way that no client asked for.
    pub(super) fn warnings(&self) -> usize {
        self.conn.news.len()
    }

    pub(super) fn following(&mut self) -> &mut Following {
        &mut self.conn.following
    }

    // ---- connections --------------------------------------------------------------------

    /// A connection that goes on where the last one ended.
    pub(super) fn resumes(&mut self, now: Duration) {
        self.conn = Self::connection(&self.wishes, &self.limits, now);
    }

    /// A connection that begins after `start`, and is content with what is kept up to `kept`.
    pub(super) fn begins(&mut self, start: Position, kept: Position, now: Duration) {
        self.life = Life {
            start: start.seq,
            done: start.seq,
            ..Life::default()
        };
        self.resumes(now);
        self.conn.kept = kept.seq;
    }

    /// Something was pruned that was the client's due: it must be told. Panics if nothing was.
    pub(super) fn has_lost(&mut self, file: &File) {
        let row = |line: &super::file::Line| {
            self.expects(line) && line.pos.seq > self.life.done && !self.is_content_without(line)
        };
        let state = |line: &super::file::Line| {
            let tells = self.wishes.streams.threads && matches!(line.what, What::Message(..));
            tells && line.op == Op::Insert && (line.pos.seq > self.conn.kept || self.life.start < line.pos.seq)
        };
        let mut gone = file.lines_after(0).filter(|line| file.is_gone(line));
        assert!(
            gone.any(|line| row(line) || state(line)),
            "a position that was not lost"
        );
        self.conn.news.push(("POSITION_LOST", String::new()));
    }

    /// A connection that will be told that its position is not in the file.
    pub(super) fn is_lost(&mut self, now: Duration) {
        self.resumes(now);
        self.conn.news.push(("POSITION_LOST", String::new()));
    }

    /// The file was put back: what the client saw beyond that, it may see again.
    pub(super) fn forgets(&mut self, file: &File) {
        for (id, state) in &mut self.life.states {
            let now = file.threads.get(id).map_or((0, 0), super::file::Thread::state);
            *state = (state.0.min(now.0), state.1.min(now.1));
        }
        let head = file.head().seq;
        let latest = |key: &str| file.log.iter().rev().find(|l| file.instance(l) == Some(key));
        for (key, turns) in &mut self.life.telemetry {
            let told = file.lines_after(*turns - 1).next().filter(|_| *turns > 0);
            if *turns > head || told.is_none_or(|line| file.instance(line) != Some(key)) {
                *turns = latest(key).map_or(0, |l| l.pos.seq);
            }
        }
    }

    pub(super) fn will_hear(&mut self, code: &'static str, thread_id: &str) {
        self.conn.news.push((code, thread_id.to_owned()));
    }

    // ---- what the client says -----------------------------------------------------------

    /// Called after the session has taken it.
    pub(super) fn said(&mut self, said: &Said, now: Duration, file: &File, session: &Session) {
        let streaming = self.wishes.streams.messages;
        if !self.conn.inbound.allows(now) {
            self.conn.answers.push_back("RATE_LIMITED");
            return;
        }
        self.conn.inbound.note(now);
        let answer = match said {
            Said::Ping => Some("pong"),
            Said::Binary => Some("PARSE_ERROR"),
            Said::Garbage(_, code) => Some(*code),
            Said::Subscribe(request) if streaming || request.from_seq < -1 => Some("INVALID_SUBSCRIBE"),
            Said::Subscribe(request) => {
                assert!(!session.listens(), "one subscription after the other");
                self.conn.following.asked(request.clone(), session);
                None
            }
            Said::Unsubscribe(thread_id) => {
                self.conn.following.left(thread_id, session);
                None
            }
            Said::Ack(thread_id, seq) => self.acked(thread_id, *seq, file, session),
        };
        self.conn.answers.extend(answer);
    }

    fn acked(&mut self, thread_id: &str, seq: i64, file: &File, session: &Session) -> Option<&'static str> {
        let Some(most) = self.conn.following.most(thread_id) else {
            return Some("NOT_SUBSCRIBED");
        };
        if seq < 0 || seq > file.threads.get(thread_id).map_or(0, super::file::Thread::last) {
            return Some("INVALID_ACK");
        }
        assert!(seq <= most, "the model acknowledges what it has, or nonsense");
        self.conn.following.acked(thread_id, seq, session);
        let highest = self.conn.acks.entry(thread_id.to_owned()).or_default();
        *highest = seq.max(*highest);
        None
    }

    pub(super) fn opened(&mut self, opening: &ThreadOpening, session: &Session) {
        if let Some(lost) = self.conn.following.opened(opening, session) {
            self.conn.news.push(("POSITION_LOST", lost));
        }
    }

    pub(super) fn stores(&mut self, thread_id: &str, seq: i64) {
        let stored = self.conn.stored.entry(thread_id.to_owned()).or_default();
        *stored = seq.max(*stored);
    }

    // ---- what the client hears ----------------------------------------------------------

    pub(super) fn hears(&mut self, frame: &Frame, now: Duration, file: &File, session: &Session) {
        let bytes = frame.bytes();
        assert!(!bytes.is_empty(), "an empty frame");
        if bytes[0] == b'[' {
            assert!(self.conn.arrays.allows(now), "array frames over the rate");
            self.conn.arrays.note(now);
            let events: Vec<Event> = serde_json::from_slice(bytes).unwrap();
            assert!((1..=ARRAY_EVENTS).contains(&events.len()));
            events.iter().for_each(|event| self.event(event, now, file));
        } else {
            let event = Event::parse(bytes).unwrap();
            let answer = [EventType::HELLO, EventType::ERROR, EventType::PONG].contains(&event.event_type);
            assert!(answer || self.wishes.framing == Framing::Single);
            self.event(&event, now, file);
        }
        self.learns_pauses(session);
    }

    /// Pauses and their ends, wherever they come from.
    pub(super) fn learns_pauses(&mut self, session: &Session) {
        let paused = self.conn.following.paused(session);
        self.conn.news.extend(paused.into_iter().map(|t| ("LAGGING", t)));
    }

    fn event(&mut self, event: &Event, now: Duration, file: &File) {
        assert!(self.conn.greeted || event.event_type == EventType::HELLO, "hello first");
        match event.event_type.as_str() {
            "hello" => {
                assert!(!std::mem::replace(&mut self.conn.greeted, true));
                let hello: serde_json::Value = data(event);
                let pos = hello["pos"].as_str().unwrap();
                // Whoever is told that its position is lost learns where the file is now.
                if self.conn.news.is_empty() {
                    self.place(pos, file);
                }
            }
            "pong" => assert_eq!(self.conn.answers.pop_front(), Some("pong")),
            "error" => self.error(&data(event)),
            _ => {
                self.row(event, now, file);
                if let Some(pos) = &event.pos {
                    self.place(pos, file);
                }
                self.conn.following.count_event();
            }
        }
    }

    fn error(&mut self, error: &ErrorEvent) {
        let temporary = ["RATE_LIMITED", "LAGGING", "STORE_UNAVAILABLE", "SHUTTING_DOWN"];
        assert_eq!(error.temporary, temporary.contains(&error.code.as_str()), "{error:?}");
        let due = |(code, thread): &(&str, String)| *code == error.code && *thread == error.thread_id;
        if let Some(at) = self.conn.news.iter().position(due) {
            self.conn.news.swap_remove(at);
            let lost = error.code == "POSITION_LOST";
            assert_eq!(error.first_seq.is_some(), lost && !error.thread_id.is_empty());
            if lost && error.thread_id.is_empty() {
                // It starts anew.
                self.life.position = None;
            }
            return;
        }
        assert_eq!(self.conn.answers.pop_front(), Some(error.code.as_str()), "{error:?}");
    }

    /// A position must be one the file has, never before the last one, and never claim
    /// what was not delivered.
    fn place(&mut self, text: &str, file: &File) {
        let since = Since::parse(text).unwrap();
        assert_eq!(since.epoch, *file.epoch);
        assert!(since.pos.seq >= self.conn.pos, "the position moves back to {text}");
        let line = usize::try_from(since.pos.seq)
            .unwrap()
            .checked_sub(1)
            .map(|at| file.log[at].pos);
        assert_eq!(since.pos, line.unwrap_or_default());
        if let Some(line) = self.first_due(file).filter(|line| line.0 <= since.pos.seq) {
            panic!("the position {text} claims {line:?}, which was not delivered");
        }
        self.conn.pos = since.pos.seq;
        self.life.done = self.life.done.max(since.pos.seq);
        self.life.position = Some(text.to_owned());
    }

    /// The first line whose row must be delivered next, whatever else may be.
    fn first_due(&self, file: &File) -> Option<(i64, What)> {
        let due = |line: &&super::file::Line| self.expects(line) && !self.may_skip(line, file);
        let line = file.lines_after(self.life.done).find(due)?;
        Some((line.pos.seq, line.what.clone()))
    }

    /// Whoever starts with everything kept starts with what is kept by then.
    fn may_skip(&self, line: &super::file::Line, file: &File) -> bool {
        let before_the_log = self.conn.pos == 0 && self.life.start == 0 && line.pos.seq < file.kept;
        before_the_log || (file.is_gone(line) && self.is_content_without(line))
    }

    /// Whether the client does not miss a line's row that was pruned.
    fn is_content_without(&self, line: &super::file::Line) -> bool {
        line.op == Op::Update || line.pos.seq <= self.conn.kept
    }

    fn expects(&self, line: &super::file::Line) -> bool {
        match line.what {
            What::Message(..) => self.wishes.streams.messages && line.op == Op::Insert,
            What::Mail(_) => self.wishes.streams.inbox,
            What::Task(_) => self.wishes.streams.tasks,
            _ => false,
        }
    }

    // ---- the end ------------------------------------------------------------------------

    /// Everything was said and done: the client must have all that is its due.
    pub(super) fn is_content(&self, file: &File) {
        assert_eq!(self.first_due(file), None, "still due");
        assert!(
            self.conn.greeted && self.conn.answers.is_empty(),
            "{:?}",
            self.conn.answers
        );
        assert!(self.conn.news.is_empty(), "{:?}", self.conn.news);
        self.has_stored_acks();
        if self.wishes.streams.telemetry {
            self.has_latest_telemetry(file);
        }
        if self.wishes.streams.threads {
            self.has_latest_states(file);
        }
        self.conn.following.is_content(file, &self.life.states);
    }

    fn has_latest_telemetry(&self, file: &File) {
        let mut met = BTreeSet::new();
        for line in file.lines_after(self.life.start).collect::<Vec<_>>().into_iter().rev() {
            let Some(key) = file.instance(line).filter(|key| met.insert(*key)) else {
                continue;
            };
            if !file.is_gone(line) && line.pos.seq >= file.kept {
                assert_eq!(self.life.telemetry.get(key), Some(&line.pos.seq), "latest of {key}");
            }
        }
    }

    fn has_latest_states(&self, file: &File) {
        for line in file.lines_after(self.life.start.max(file.kept - 1)) {
            if let Some((id, then)) = file.state_then(line) {
                let told = self.life.states.get(id).copied().unwrap_or_default();
                assert!(
                    told.0 >= then.0 && told.1 >= then.1,
                    "latest of {id}: {told:?}, not {then:?}"
                );
            }
        }
    }
}
