//! Compares the frames of one client with the database, over all its connections.
//!
//! The checker uses frames, positions and the lists of the database. It reads the session's state only
//! for facts that a client cannot see: how many events are encoded but not sent, and which
//! subscriptions are paused. Subscriptions are checked in `subscription_tracker`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::client_messages::ClientMessage;
use super::database::{Database, LogEntry, RowKey, Thread, ThreadVersion, version_of};
use super::rate_checker::RateChecker;
use super::subscription_tracker::SubscriptionTracker;
use crate::config::Limits;
use crate::hub::connect_options::{ConnectOptions, Framing};
use crate::hub::encoded_change::{Frame, Since, WireFormat};
use crate::hub::session::{ARRAY_EVENTS, Session};
use crate::protocol::{
    BatchEvent, ErrorEvent, Event, EventType, GapEvent, InboxMessageEvent, MAX_BATCH_BYTES, MessageEvent,
    TaskStreamEvent, TelemetryEvent, ThreadStateEvent,
};
use crate::store::{Op, Position, ThreadOpening};

/// The state that the client keeps when it reconnects.
#[derive(Debug, Default)]
struct ClientState {
    resume_position: Option<String>,
    /// The client must receive everything after this change number.
    start_seq: i64,
    /// The client has received everything up to this change number, except held-back states.
    received_seq: i64,
    /// The last state received of each thread.
    thread_versions: BTreeMap<String, ThreadVersion>,
    /// The change number of the last telemetry received of each instance.
    telemetry_seqs: BTreeMap<String, i64>,
}

/// The state of one connection.
#[derive(Debug)]
struct Connection {
    started_at: Duration,
    /// `hello` was received, or is not sent in the compatible form.
    greeted: bool,
    /// The change number of the last position received.
    position_seq: i64,
    /// Rows up to this change number may be pruned without a loss for the client, until it has
    /// received a row.
    kept_seq: i64,
    /// The stream began with the oldest row kept: rows pruned later are reported as a `gap`.
    from_oldest: bool,
    /// A row that can be pruned was received.
    has_streamed: bool,
    message_rate: RateChecker,
    array_rate: RateChecker,
    inbound_rate: RateChecker,
    state_rates: BTreeMap<StateKey, RateChecker>,
    /// The replies due to messages of the client, in order: `pong` or an error code.
    expected_replies: VecDeque<&'static str>,
    /// Errors due that are not replies, in any order: code and thread.
    expected_errors: Vec<(&'static str, String)>,
    /// The highest valid acknowledgement of each thread.
    acks: BTreeMap<String, i64>,
    /// The highest acknowledgement of each thread that the session returned to be stored.
    stored_acks: BTreeMap<String, i64>,
    subscriptions: SubscriptionTracker,
}

impl Connection {
    fn new(options: &ConnectOptions, limits: &Limits, started_at: Duration) -> Self {
        let message_rate = if options.framing == Framing::Array {
            0
        } else {
            limits.max_messages_per_second
        };
        Self {
            started_at,
            greeted: options.format == WireFormat::Compat,
            position_seq: 0,
            kept_seq: 0,
            from_oldest: false,
            has_streamed: false,
            message_rate: RateChecker::new(message_rate, message_rate),
            array_rate: RateChecker::new(limits.array_frames_per_second, 1),
            inbound_rate: RateChecker::new(limits.max_events_per_second, 2 * limits.max_events_per_second),
            state_rates: BTreeMap::new(),
            expected_replies: VecDeque::new(),
            expected_errors: Vec::new(),
            acks: BTreeMap::new(),
            stored_acks: BTreeMap::new(),
            subscriptions: SubscriptionTracker::new(limits.clone()),
        }
    }
}

/// The key of a state whose rate is limited.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum StateKey {
    /// An instance id.
    Telemetry(String),
    /// A thread id.
    Thread(String),
}

#[derive(Debug)]
pub(super) struct Checker {
    options: ConnectOptions,
    limits: Limits,
    client: ClientState,
    connection: Connection,
}

fn parse_data<T: DeserializeOwned>(event: &Event) -> T {
    serde_json::from_str(event.data.as_ref().unwrap().get()).unwrap()
}

impl Checker {
    pub(super) fn new(options: ConnectOptions, limits: Limits) -> Self {
        let connection = Connection::new(&options, &limits, Duration::ZERO);
        Self {
            options,
            limits,
            client: ClientState::default(),
            connection,
        }
    }

    pub(super) fn resume_position(&self) -> Option<Since> {
        Since::parse(self.client.resume_position.as_ref()?)
    }

    /// Returns the last `message_seq` the client has received of a thread, or 0.
    pub(super) fn last_received(&self, thread_id: &str) -> i64 {
        self.connection.subscriptions.last_received(thread_id).unwrap_or(0)
    }

    /// Returns the number of errors, other than replies, that the client has yet to receive.
    pub(super) fn expected_error_count(&self) -> usize {
        self.connection.expected_errors.len()
    }

    pub(super) fn subscriptions(&mut self) -> &mut SubscriptionTracker {
        &mut self.connection.subscriptions
    }

    // ---- Connections --------------------------------------------------------------------

    /// Records that the client connects and resumes from its position.
    pub(super) fn on_resume(&mut self, now: Duration) {
        self.connection = Connection::new(&self.options, &self.limits, now);
    }

    /// Records that the client connects and starts after `start`. Rows up to `kept` may be pruned.
    pub(super) fn on_start(&mut self, start: Position, kept: Position, from_oldest: bool, now: Duration) {
        self.client = ClientState {
            start_seq: start.seq,
            received_seq: start.seq,
            ..ClientState::default()
        };
        self.on_resume(now);
        self.connection.kept_seq = kept.seq;
        self.connection.from_oldest = from_oldest;
    }

    /// Records that the client connects with a position the database does not have.
    pub(super) fn on_resume_refused(&mut self, now: Duration) {
        self.on_resume(now);
        self.expect_error("POSITION_LOST", "");
    }

    /// Records that the session closes because of a pruned row. Panics if no row the client must
    /// receive is pruned.
    pub(super) fn on_rows_lost(&mut self, database: &Database) {
        let is_lost_row = |entry: &LogEntry| {
            self.is_requested(entry) && entry.pos.seq > self.client.received_seq && entry.op == Op::Insert
        };
        let is_lost_state = |entry: &LogEntry| {
            let causes_state =
                self.options.streams.threads && matches!(entry.key, RowKey::Message(..)) && entry.op == Op::Insert;
            causes_state && (entry.pos.seq > self.connection.kept_seq || self.client.start_seq < entry.pos.seq)
        };
        assert!(
            !self.connection.from_oldest,
            "a stream that began with the oldest row closes instead of reporting a gap"
        );
        let mut pruned = database.entries_after(0).filter(|entry| database.is_pruned(entry));
        let lost_changes = database.first_log_seq > self.client.received_seq + 1;
        assert!(
            lost_changes || pruned.any(|entry| is_lost_row(entry) || is_lost_state(entry)),
            "the session reports a lost position, but the client has lost nothing"
        );
        self.expect_error("POSITION_LOST", "");
    }

    /// Records that the database was replaced. States the client received after that point may be sent
    /// again.
    pub(super) fn on_database_replaced(&mut self, database: &Database) {
        for (thread_id, version) in &mut self.client.thread_versions {
            let current = database
                .threads
                .get(thread_id)
                .map_or_else(Default::default, Thread::version);
            *version = ThreadVersion {
                last_seq: version.last_seq.min(current.last_seq),
                title: version.title.min(current.title),
            };
        }
        let head_seq = database.head().seq;
        let is_of = |entry: &LogEntry, instance_id: &str| database.instance_id(entry) == Some(instance_id);
        for (instance_id, seq) in &mut self.client.telemetry_seqs {
            let entry = database.entries_after(*seq - 1).next().filter(|_| *seq > 0);
            if *seq > head_seq || !entry.is_some_and(|entry| is_of(entry, instance_id)) {
                let latest = database.log.iter().rev().find(|entry| is_of(entry, instance_id));
                *seq = latest.map_or(0, |entry| entry.pos.seq);
            }
        }
    }

    /// Expects an error event that is not a reply.
    pub(super) fn expect_error(&mut self, code: &'static str, thread_id: &str) {
        self.connection.expected_errors.push((code, thread_id.to_owned()));
    }

    // ---- Messages of the client ---------------------------------------------------------

    /// Records that the session has processed a message of the client.
    pub(super) fn on_client_message(
        &mut self,
        message: &ClientMessage,
        now: Duration,
        database: &Database,
        session: &Session,
    ) {
        let streams_messages = self.options.streams.messages;
        if !self.connection.inbound_rate.allows(now) {
            self.connection.expected_replies.push_back("RATE_LIMITED");
            return;
        }
        self.connection.inbound_rate.record(now);
        let reply = match message {
            ClientMessage::Ping => Some("pong"),
            ClientMessage::Binary => Some("PARSE_ERROR"),
            ClientMessage::Invalid(_, code) => Some(*code),
            ClientMessage::Subscribe(request) if streams_messages || request.from_seq < -1 => Some("INVALID_SUBSCRIBE"),
            ClientMessage::Subscribe(request) => {
                assert!(
                    !session.accepts_events(),
                    "the session accepts a message before the subscribe is answered"
                );
                self.connection.subscriptions.on_subscribe(request.clone(), session);
                None
            }
            ClientMessage::Unsubscribe(thread_id) => {
                self.connection.subscriptions.on_unsubscribe(thread_id, session);
                None
            }
            ClientMessage::Ack(thread_id, seq) => self.on_ack(thread_id, *seq, database, session),
        };
        self.connection.expected_replies.extend(reply);
    }

    /// Records an acknowledgement, or returns the error code of the reply.
    fn on_ack(&mut self, thread_id: &str, seq: i64, database: &Database, session: &Session) -> Option<&'static str> {
        let Some(last_received) = self.connection.subscriptions.last_received(thread_id) else {
            return Some("NOT_SUBSCRIBED");
        };
        if seq < 0 || seq > database.threads.get(thread_id).map_or(0, Thread::last_seq) {
            return Some("INVALID_ACK");
        }
        assert!(
            seq <= last_received,
            "the model generates acks only for received messages or beyond the thread's last"
        );
        self.connection.subscriptions.on_ack(thread_id, seq, session);
        let highest = self.connection.acks.entry(thread_id.to_owned()).or_default();
        *highest = seq.max(*highest);
        None
    }

    /// Records that the session has processed the start of a subscription.
    pub(super) fn on_opened(&mut self, opening: &ThreadOpening, session: &Session) {
        if let Some(thread_id) = self.connection.subscriptions.on_opened(opening, session) {
            self.expect_error("POSITION_LOST", &thread_id);
        }
    }

    /// Records that the session returned an acknowledgement to be stored.
    pub(super) fn on_ack_stored(&mut self, thread_id: &str, seq: i64) {
        let stored = self.connection.stored_acks.entry(thread_id.to_owned()).or_default();
        *stored = seq.max(*stored);
    }

    pub(super) fn check_acks_stored(&self) {
        assert_eq!(
            self.connection.acks, self.connection.stored_acks,
            "an acknowledgement is not stored"
        );
    }

    // ---- Frames -------------------------------------------------------------------------

    pub(super) fn on_frame(&mut self, frame: &Frame, now: Duration, database: &Database, session: &Session) {
        let bytes = frame.bytes();
        assert!(!bytes.is_empty(), "the frame is empty");
        if bytes[0] == b'[' {
            assert!(self.connection.array_rate.allows(now), "array frames exceed the rate");
            self.connection.array_rate.record(now);
            let events: Vec<Event> = serde_json::from_slice(bytes).unwrap();
            assert!(
                (1..=ARRAY_EVENTS).contains(&events.len()),
                "an array frame has {} events",
                events.len()
            );
            events.iter().for_each(|event| self.on_event(event, now, database));
        } else {
            let event = Event::parse(bytes).unwrap();
            let is_reply = [EventType::HELLO, EventType::ERROR, EventType::PONG].contains(&event.event_type);
            assert!(
                is_reply || self.options.framing == Framing::Single,
                "an event is sent outside of an array frame: {event:?}"
            );
            self.on_event(&event, now, database);
        }
        self.check_pauses(session);
    }

    /// Compares the pauses of subscriptions with the session, and expects an error for each new one.
    pub(super) fn check_pauses(&mut self, session: &Session) {
        for thread_id in self.connection.subscriptions.check_pauses(session) {
            self.expect_error("LAGGING", &thread_id);
        }
    }

    fn on_event(&mut self, event: &Event, now: Duration, database: &Database) {
        assert!(
            self.connection.greeted || event.event_type == EventType::HELLO,
            "the first event is not hello: {event:?}"
        );
        match event.event_type.as_str() {
            "hello" => {
                assert!(
                    !std::mem::replace(&mut self.connection.greeted, true),
                    "hello is sent twice"
                );
                let hello: serde_json::Value = parse_data(event);
                let pos = hello["pos"].as_str().unwrap();
                // Before a POSITION_LOST, `hello` has the head of the database: the client cannot
                // resume from there.
                if self.connection.expected_errors.is_empty() {
                    self.check_position(pos, database);
                }
            }
            "pong" => assert_eq!(
                self.connection.expected_replies.pop_front(),
                Some("pong"),
                "pong is not the next reply"
            ),
            "error" => self.on_error(&parse_data(event)),
            "gap" => {
                self.on_gap(parse_data(event), database);
                self.check_position(event.pos.as_deref().unwrap(), database);
                self.connection.subscriptions.count_event();
            }
            _ => {
                self.on_row_event(event, now, database);
                if let Some(pos) = &event.pos {
                    self.check_position(pos, database);
                }
                self.connection.subscriptions.count_event();
            }
        }
    }

    fn on_error(&mut self, error: &ErrorEvent) {
        let temporary = ["RATE_LIMITED", "LAGGING", "STORE_UNAVAILABLE", "SHUTTING_DOWN"];
        assert_eq!(
            error.temporary,
            temporary.contains(&error.code.as_str()),
            "`temporary` is wrong: {error:?}"
        );
        let is_expected = |(code, thread_id): &(&str, String)| *code == error.code && *thread_id == error.thread_id;
        if let Some(index) = self.connection.expected_errors.iter().position(is_expected) {
            self.connection.expected_errors.swap_remove(index);
            let is_position_lost = error.code == "POSITION_LOST";
            assert_eq!(
                error.first_seq.is_some(),
                is_position_lost && !error.thread_id.is_empty(),
                "`first_seq` is wrong: {error:?}"
            );
            if is_position_lost && error.thread_id.is_empty() {
                self.client.resume_position = None;
            }
            return;
        }
        assert_eq!(
            self.connection.expected_replies.pop_front(),
            Some(error.code.as_str()),
            "the error is not the next reply: {error:?}"
        );
    }

    // ---- Events of rows -----------------------------------------------------------------

    fn on_row_event(&mut self, event: &Event, now: Duration, database: &Database) {
        match event.event_type.as_str() {
            "message" => {
                let message: MessageEvent = parse_data(event);
                self.check_message_rate(now);
                if self.options.streams.messages {
                    self.receive_row(&message.id, event.pos.as_deref(), database);
                } else {
                    self.connection.subscriptions.on_message(&message, database);
                }
            }
            "batch" => {
                let batch: BatchEvent = parse_data(event);
                self.check_message_rate(now);
                self.on_batch(&batch, event.pos.as_deref(), database);
            }
            "inbox_message" => {
                let message: InboxMessageEvent = parse_data(event);
                let written = self.receive_row(&message.id, event.pos.as_deref(), database);
                let row = database.inbox.iter().find(|row| row.id == message.id).unwrap();
                assert!(
                    (written..=version_of(&row.title)).contains(&version_of(&message.title)),
                    "the inbox message is older than its change, or was never written: {message:?}"
                );
            }
            "task_stream" => {
                let task: TaskStreamEvent = parse_data(event);
                self.receive_row(&task.task_id, event.pos.as_deref(), database);
            }
            "telemetry" => {
                let telemetry: TelemetryEvent = parse_data(event);
                let position_seq = event.pos.as_deref().map(|pos| Since::parse(pos).unwrap().pos.seq);
                assert!(
                    position_seq.is_none_or(|seq| telemetry.turns <= seq),
                    "the telemetry is after its position: {event:?}"
                );
                self.on_telemetry(&telemetry, now, database);
            }
            "thread_state" => self.on_thread_state(&parse_data(event), now, database),
            other => panic!("unknown event type {other}"),
        }
        assert_eq!(
            event.pos.is_some(),
            self.options.format == WireFormat::Extended,
            "exactly the events of the extended form have a position: {event:?}"
        );
    }

    /// Checks that no row of a gap can be delivered any more, and that the gap begins and ends with
    /// a change that is missing.
    fn on_gap(&mut self, gap: GapEvent, database: &Database) {
        assert!(
            self.connection.from_oldest,
            "a gap in a stream that began at a position"
        );
        assert!(
            self.client.received_seq < gap.from && gap.from <= gap.to,
            "{gap:?} begins before change {}",
            self.client.received_seq
        );
        let first = self.client.received_seq;
        let undelivered = database.entries_after(first).take_while(|e| e.pos.seq <= gap.to);
        for entry in undelivered.filter(|entry| self.is_requested(entry)) {
            let is_unavailable = database.is_pruned(entry) || entry.pos.seq < database.first_log_seq;
            assert!(is_unavailable, "{gap:?} contains {entry}, which is kept");
            let is_covered = entry.pos.seq >= gap.from || self.may_skip(entry, database);
            assert!(is_covered, "{entry} is missing before {gap:?}");
        }
        for seq in [gap.from, gap.to] {
            let entry = database.entries_after(seq - 1).next().unwrap();
            let is_lost_row = database.is_pruned(entry) && entry.op == Op::Insert;
            assert!(
                is_lost_row || seq < database.first_log_seq,
                "{gap:?} ends with {entry}, which is not lost"
            );
        }
        self.client.received_seq = gap.to;
    }

    fn check_message_rate(&mut self, now: Duration) {
        assert!(
            self.connection.message_rate.allows(now),
            "frames with messages exceed the rate"
        );
        self.connection.message_rate.record(now);
    }

    fn on_batch(&mut self, batch: &BatchEvent, pos: Option<&str>, database: &Database) {
        assert!(
            batch.messages.len() <= self.limits.max_batch_size,
            "a batch has {} messages",
            batch.messages.len()
        );
        let bytes: usize = batch.messages.iter().map(|m| 200 + m.content.len()).sum();
        assert!(
            bytes <= MAX_BATCH_BYTES || batch.messages.len() == 1,
            "a batch has {bytes} bytes"
        );
        assert!(
            batch.messages.iter().all(|m| m.thread_id == batch.thread_id),
            "a batch has messages of another thread"
        );
        if !self.options.streams.messages {
            return self.connection.subscriptions.on_batch(batch, database);
        }
        assert!(
            batch.messages.len() > 1 && !batch.has_more,
            "a streamed batch has one message or `has_more`"
        );
        for (i, message) in batch.messages.iter().enumerate() {
            let is_last = i + 1 == batch.messages.len();
            self.receive_row(&message.id, pos.filter(|_| is_last), database);
        }
    }

    /// Checks that the row with this id is the next one due, and that `pos` is the position after
    /// it. Returns the version of an inbox message.
    fn receive_row(&mut self, id: &str, pos: Option<&str>, database: &Database) -> i64 {
        for entry in database.entries_after(self.client.received_seq) {
            if !self.is_requested(entry) {
                continue;
            }
            let is_this = database.has_row_id(entry, id);
            if is_this && pos.is_none_or(|pos| Since::parse(pos).unwrap().pos == entry.pos) {
                self.client.received_seq = entry.pos.seq;
                self.connection.has_streamed = true;
                return Database::inbox_version(entry);
            }
            assert!(
                self.may_skip(entry, database),
                "{id} is sent with the position {pos:?}, but the next row due is that of {entry}"
            );
        }
        panic!("{id} is not due, or is sent twice");
    }

    fn on_telemetry(&mut self, telemetry: &TelemetryEvent, now: Duration, database: &Database) {
        assert!(self.options.streams.telemetry, "the client did not request telemetry");
        let instance_id = &telemetry.instance_id;
        let entry = &database.log[usize::try_from(telemetry.turns - 1).unwrap()];
        assert_eq!(
            database.instance_id(entry),
            Some(instance_id.as_str()),
            "the telemetry is of another instance"
        );
        let last_seq = self.client.telemetry_seqs.entry(instance_id.clone()).or_default();
        assert!(
            telemetry.turns >= *last_seq,
            "{telemetry:?} is older than change {last_seq}, which the client has received"
        );
        *last_seq = telemetry.turns;
        self.check_state_rate(StateKey::Telemetry(instance_id.clone()), now);
    }

    fn on_thread_state(&mut self, state: &ThreadStateEvent, now: Duration, database: &Database) {
        let subscribed = self.connection.subscriptions.has_requested(&state.thread_id);
        assert!(
            self.options.streams.threads || subscribed,
            "the client did not request {state:?}"
        );
        let version = ThreadVersion {
            last_seq: state.last_seq,
            title: version_of(&state.title),
        };
        let last = self.client.thread_versions.entry(state.thread_id.clone()).or_default();
        assert!(
            database.returns_current_rows || !version.is_older_than(*last),
            "{state:?} is older than {last:?}, which the client has received"
        );
        *last = version;
        self.check_state_rate(StateKey::Thread(state.thread_id.clone()), now);
    }

    /// Checks the rate of the states of one key. The events of an array frame are collected over
    /// some time: for them only the average can be checked.
    fn check_state_rate(&mut self, key: StateKey, now: Duration) {
        let (rate, burst) = match key {
            // A state is encoded together with its message, and may be sent later.
            StateKey::Thread(_) => (
                self.limits.thread_states_per_second,
                1 + u32::from(self.options.streams.messages),
            ),
            StateKey::Telemetry(_) => (self.limits.telemetry_per_second, 1),
        };
        let started_at = self.connection.started_at;
        let rate = self
            .connection
            .state_rates
            .entry(key)
            .or_insert_with(|| RateChecker::starting_at(started_at, rate, burst));
        let allowed = if self.options.framing == Framing::Array {
            rate.allows_on_average(now)
        } else {
            rate.allows(now)
        };
        assert!(allowed, "the states of one key exceed the rate");
        rate.record(now);
    }

    // ---- Positions ----------------------------------------------------------------------

    /// Checks that the database has the position, that it is not before the last one, and that
    /// everything up to it was delivered.
    fn check_position(&mut self, text: &str, database: &Database) {
        let since = Since::parse(text).unwrap();
        assert_eq!(since.epoch, *database.epoch, "the position has another epoch");
        assert!(
            since.pos.seq >= self.connection.position_seq,
            "the position moves back to {text}"
        );
        let index = usize::try_from(since.pos.seq).unwrap().checked_sub(1);
        let pos = index.map_or(Position::START, |index| database.log[index].pos);
        assert_eq!(since.pos, pos, "the position is not in the change log");
        if let Some(undelivered) = self.next_due(database).filter(|entry| entry.pos.seq <= since.pos.seq) {
            panic!("the position {text} includes {undelivered}, which was not delivered");
        }
        self.connection.position_seq = since.pos.seq;
        self.client.received_seq = self.client.received_seq.max(since.pos.seq);
        self.client.resume_position = Some(text.to_owned());
    }

    /// Returns the next change whose row the client must receive.
    fn next_due<'a>(&self, database: &'a Database) -> Option<&'a LogEntry> {
        let is_due = |entry: &&LogEntry| self.is_requested(entry) && !self.may_skip(entry, database);
        database.entries_after(self.client.received_seq).find(is_due)
    }

    /// Returns whether the session may skip a change without a `gap`: it is an update of a row that is
    /// pruned, or it was pruned before the first row of a stream that began with the oldest row.
    fn may_skip(&self, entry: &LogEntry, database: &Database) -> bool {
        let is_pruned = database.is_pruned(entry);
        let connection = &self.connection;
        let is_before_start =
            connection.from_oldest && !connection.has_streamed && entry.pos.seq <= connection.kept_seq;
        let is_unavailable = is_pruned || entry.pos.seq < database.first_log_seq;
        (is_before_start && is_unavailable) || (is_pruned && entry.op == Op::Update)
    }

    /// Returns whether each change of this kind causes an event for the client, whatever its
    /// subscriptions.
    fn is_requested(&self, entry: &LogEntry) -> bool {
        match entry.key {
            RowKey::Message(..) => self.options.streams.messages && entry.op == Op::Insert,
            RowKey::Inbox(_) => self.options.streams.inbox,
            RowKey::Task(_) => self.options.streams.tasks,
            _ => false,
        }
    }

    // ---- Final checks -------------------------------------------------------------------

    /// Checks that the client has received everything that is due. All reads have completed.
    pub(super) fn check_complete(&self, database: &Database) {
        if let Some(undelivered) = self.next_due(database) {
            panic!("{undelivered} was not delivered");
        }
        assert!(self.connection.greeted, "hello was not sent");
        assert!(
            self.connection.expected_replies.is_empty(),
            "replies not sent: {:?}",
            self.connection.expected_replies
        );
        assert!(
            self.connection.expected_errors.is_empty(),
            "errors not sent: {:?}",
            self.connection.expected_errors
        );
        self.check_acks_stored();
        if self.options.streams.telemetry {
            self.check_latest_telemetry(database);
        }
        if self.options.streams.threads {
            self.check_latest_thread_states(database);
        }
        let versions = &self.client.thread_versions;
        self.connection.subscriptions.check_complete(database, versions);
    }

    fn check_latest_telemetry(&self, database: &Database) {
        let mut checked = BTreeSet::new();
        let entries: Vec<_> = database.entries_after(self.client.start_seq).collect();
        for entry in entries.into_iter().rev() {
            let Some(instance_id) = database.instance_id(entry).filter(|id| checked.insert(*id)) else {
                continue;
            };
            if !database.is_pruned(entry) && entry.pos.seq >= database.first_log_seq {
                assert_eq!(
                    self.client.telemetry_seqs.get(instance_id),
                    Some(&entry.pos.seq),
                    "the client does not have the latest telemetry of {instance_id}"
                );
            }
        }
    }

    fn check_latest_thread_states(&self, database: &Database) {
        for entry in database.entries_after(self.client.start_seq.max(database.first_log_seq - 1)) {
            if let Some((thread_id, written)) = database.thread_state(entry) {
                let received = self.client.thread_versions.get(thread_id).copied().unwrap_or_default();
                assert!(
                    !received.is_older_than(written),
                    "the client has {received:?} of {thread_id}, not {written:?}"
                );
            }
        }
    }
}
