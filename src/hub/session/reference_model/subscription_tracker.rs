//! The expected state of one connection's subscriptions: the next message of each thread, or none.
//!
//! The session may already have encoded events that the client has not received. An operation of
//! the client therefore applies only to events from a certain index on; see
//! [`SubscriptionTracker::next_event_index`].

use std::collections::{BTreeMap, VecDeque};

use super::client_messages::SubscribeRequest;
use super::database::{Database, RowKey, Thread, ThreadVersion};
use crate::config::Limits;
use crate::hub::session::Session;
use crate::protocol::{BatchEvent, MessageEvent};
use crate::store::{Op, Start, ThreadOpening};

#[derive(Debug, Clone)]
struct TrackedSubscription {
    next_seq: i64,
    /// The first batch, which is the reply to `subscribe`, was received.
    answered: bool,
    /// The last batch had `has_more`.
    has_more: bool,
    /// The highest acknowledgement; without one, the `message_seq` the subscription starts after.
    acked_seq: i64,
    /// The limit of unacknowledged messages applies from this event on; `None` before the first
    /// acknowledgement.
    limited_from: Option<usize>,
    /// The subscription is paused: no event from this one on is allowed.
    paused_from: Option<usize>,
    /// The last change number when the client subscribed.
    subscribed_at: i64,
}

/// A subscription from an event on; `None` for no subscription.
#[derive(Debug)]
struct Period {
    first_event: usize,
    subscription: Option<TrackedSubscription>,
}

/// A `subscribe` that is not answered yet.
#[derive(Debug, PartialEq)]
struct PendingSubscribe {
    request: SubscribeRequest,
    /// The last change number when the client subscribed.
    subscribed_at: i64,
}

#[derive(Debug)]
pub(super) struct SubscriptionTracker {
    limits: Limits,
    /// Number of events with rows received so far.
    received_events: usize,
    pending: Option<PendingSubscribe>,
    /// The periods of each thread that are not over, oldest first; the last one is the current one.
    periods: BTreeMap<String, VecDeque<Period>>,
    /// The highest `message_seq` received of each thread that was ever subscribed.
    last_received: BTreeMap<String, i64>,
    /// The last change number of the database.
    head_seq: i64,
}

impl SubscriptionTracker {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            received_events: 0,
            pending: None,
            periods: BTreeMap::new(),
            last_received: BTreeMap::new(),
            head_seq: 0,
        }
    }

    /// Returns the highest `message_seq` received of a thread; `None` if it was never subscribed.
    pub(super) fn last_received(&self, thread_id: &str) -> Option<i64> {
        self.last_received.get(thread_id).copied()
    }

    /// Returns whether the client has ever requested a subscription to a thread on this connection.
    pub(super) fn has_requested(&self, thread_id: &str) -> bool {
        self.periods.contains_key(thread_id)
    }

    pub(super) fn count_event(&mut self) {
        self.received_events += 1;
    }

    pub(super) fn set_head(&mut self, seq: i64) {
        self.head_seq = seq;
    }

    /// Returns the index of the next event the session encodes. Earlier ones are received already
    /// or encoded.
    fn next_event_index(&self, session: &Session) -> usize {
        self.received_events + session.outgoing.len() + session.array.len()
    }

    fn start_period(&mut self, thread_id: &str, subscription: Option<TrackedSubscription>, session: &Session) {
        let period = Period {
            first_event: self.next_event_index(session),
            subscription,
        };
        self.periods.entry(thread_id.to_owned()).or_default().push_back(period);
    }

    /// Returns the current subscription to a thread.
    fn current(&mut self, thread_id: &str) -> Option<&mut TrackedSubscription> {
        self.periods.get_mut(thread_id)?.back_mut()?.subscription.as_mut()
    }

    // ---- Messages of the client, and reads ----------------------------------------------

    pub(super) fn on_subscribe(&mut self, request: SubscribeRequest, session: &Session) {
        self.start_period(&request.thread_id, None, session);
        self.pending = Some(PendingSubscribe {
            request,
            subscribed_at: self.head_seq,
        });
    }

    pub(super) fn on_unsubscribe(&mut self, thread_id: &str, session: &Session) {
        self.start_period(thread_id, None, session);
    }

    /// Checks that the session reads the start that the client requested.
    pub(super) fn check_open_read(&self, thread_id: &str, start: Start) {
        let request = &self.pending.as_ref().unwrap().request;
        let requested = match request.from_seq {
            -1 => Start::LastAck,
            seq => Start::After(seq),
        };
        assert_eq!(
            (thread_id, start),
            (request.thread_id.as_str(), requested),
            "the session reads another start than requested"
        );
    }

    /// Records that the session has processed the result of the read. Returns the thread if its
    /// position is lost and the client must receive an error.
    pub(super) fn on_opened(&mut self, opening: &ThreadOpening, session: &Session) -> Option<String> {
        let PendingSubscribe { request, subscribed_at } = self.pending.take().unwrap();
        let start = if request.from_seq == -1 {
            opening.after
        } else {
            request.from_seq
        };
        let is_other_message = request.from_id.is_some() && request.from_id != opening.id_at;
        if is_other_message || start > opening.last_seq || (start > 0 && start < opening.first_seq - 1) {
            return Some(request.thread_id);
        }
        let next_seq = if start == 0 { opening.first_seq } else { start + 1 };
        let subscription = TrackedSubscription {
            next_seq,
            answered: false,
            has_more: false,
            acked_seq: next_seq - 1,
            limited_from: None,
            paused_from: None,
            subscribed_at,
        };
        self.start_period(&request.thread_id, Some(subscription), session);
        let last_received = self.last_received.entry(request.thread_id).or_default();
        *last_received = (next_seq - 1).max(*last_received);
        None
    }

    /// Records that the read for the pending subscribe has failed. Returns its thread.
    pub(super) fn on_subscribe_failed(&mut self) -> String {
        self.pending.take().unwrap().request.thread_id
    }

    /// Records that the session has ended a subscription because its next message is not in the
    /// database.
    pub(super) fn on_position_lost(&mut self, thread_id: &str, database: &Database, session: &Session) {
        let subscription = self.current(thread_id).unwrap();
        assert!(
            database.threads[thread_id].first_seq > subscription.next_seq,
            "the session reports a lost position in {thread_id}, but has the next message of {subscription:?}"
        );
        self.start_period(thread_id, None, session);
    }

    /// Records an acknowledgement of the client.
    pub(super) fn on_ack(&mut self, thread_id: &str, seq: i64, session: &Session) {
        let next_event = self.next_event_index(session);
        if let Some(subscription) = self.current(thread_id) {
            subscription.acked_seq = subscription.acked_seq.max(seq);
            subscription.limited_from.get_or_insert(next_event);
        }
    }

    // ---- Pauses -------------------------------------------------------------------------

    /// Checks which subscriptions the session has paused or continued since the last call. Returns
    /// the threads paused, for which the client must receive an error.
    pub(super) fn check_pauses(&mut self, session: &Session) -> Vec<String> {
        let next_event = self.next_event_index(session);
        let limit = i64::try_from(self.limits.max_lag_messages).unwrap();
        let mut newly_paused = Vec::new();
        for (thread_id, in_session) in &session.subscriptions {
            let Some(subscription) = self.current(thread_id) else {
                continue;
            };
            let unacked = in_session.sent - subscription.acked_seq;
            if in_session.paused && subscription.paused_from.is_none() {
                assert!(
                    subscription.limited_from.is_some() && unacked >= limit,
                    "paused with {unacked} unacknowledged messages: {subscription:?}"
                );
                subscription.paused_from = Some(next_event);
                newly_paused.push(thread_id.clone());
            }
            if !in_session.paused && subscription.paused_from.take().is_some() {
                assert!(
                    unacked <= limit / 2,
                    "continued with {unacked} unacknowledged messages: {subscription:?}"
                );
            }
        }
        newly_paused
    }

    /// Returns the threads whose subscription is paused.
    pub(super) fn paused_threads(&self) -> Vec<String> {
        let is_paused = |periods: &VecDeque<Period>| {
            let current = periods.back().and_then(|period| period.subscription.as_ref());
            current.is_some_and(|subscription| subscription.paused_from.is_some())
        };
        let paused = self.periods.iter().filter(|(_, periods)| is_paused(periods));
        paused.map(|(thread_id, _)| thread_id.clone()).collect()
    }

    // ---- Events -------------------------------------------------------------------------

    /// Returns the subscription to which the event being received belongs. Panics if there is none
    /// or it is paused.
    fn receiving(&mut self, thread_id: &str) -> &mut TrackedSubscription {
        let event = self.received_events;
        let periods = self
            .periods
            .get_mut(thread_id)
            .expect("the client is subscribed to the thread");
        while periods.get(1).is_some_and(|period| period.first_event <= event) {
            periods.pop_front();
        }
        let subscription = periods.front_mut().and_then(|period| period.subscription.as_mut());
        let subscription = subscription.expect("the client is still subscribed to the thread");
        assert!(
            subscription.paused_from.is_none_or(|first| event < first),
            "messages are sent while the subscription is paused: {subscription:?}"
        );
        subscription
    }

    pub(super) fn on_message(&mut self, message: &MessageEvent, database: &Database) {
        let subscription = self.receiving(&message.thread_id);
        assert!(subscription.answered, "a message is sent before the first batch");
        assert!(!subscription.has_more, "a message is sent before the last batch");
        self.receive_message(message, database);
    }

    pub(super) fn on_batch(&mut self, batch: &BatchEvent, database: &Database) {
        let subscription = self.receiving(&batch.thread_id);
        assert!(
            !subscription.answered || !batch.messages.is_empty(),
            "an empty batch is sent that is no reply to subscribe"
        );
        for message in &batch.messages {
            self.receive_message(message, database);
        }
        let subscription = self.receiving(&batch.thread_id);
        subscription.answered = true;
        subscription.has_more = batch.has_more;
        let last_seq = database.threads.get(&batch.thread_id).map_or(0, Thread::last_seq);
        assert!(
            !batch.has_more || subscription.next_seq <= last_seq,
            "`has_more` in the last batch"
        );
        assert!(
            !batch.has_more || !batch.messages.is_empty(),
            "`has_more` in an empty batch"
        );
    }

    /// Checks that a message is the next one of its subscription, and within the limit of
    /// unacknowledged messages.
    fn receive_message(&mut self, message: &MessageEvent, database: &Database) {
        let (event, limit) = (self.received_events, self.limits.max_lag_messages);
        let thread_id = &message.thread_id;
        let subscription = self.receiving(thread_id);
        assert_eq!(
            message.message_seq, subscription.next_seq,
            "not the next message of {thread_id}"
        );
        subscription.next_seq += 1;
        if subscription.limited_from.is_some_and(|first| first <= event) {
            let unacked = subscription.next_seq - 1 - subscription.acked_seq;
            assert!(
                unacked <= i64::try_from(limit).unwrap(),
                "{unacked} unacknowledged messages exceed the limit: {subscription:?}"
            );
        }
        let index = usize::try_from(message.message_seq - 1).unwrap();
        let stored = &database.threads[thread_id].messages[index];
        assert_eq!(message.id, stored.id, "another message with this number");
        let last_received = self.last_received.entry(thread_id.clone()).or_default();
        *last_received = message.message_seq.max(*last_received);
    }

    // ---- Final checks -------------------------------------------------------------------

    /// Checks that each subscription is complete. `received` has the thread states the client has.
    pub(super) fn check_complete(&self, database: &Database, received: &BTreeMap<String, ThreadVersion>) {
        assert_eq!(self.pending, None, "a subscribe is not answered");
        for (thread_id, periods) in &self.periods {
            let Some(subscription) = periods.back().and_then(|period| period.subscription.as_ref()) else {
                continue;
            };
            assert!(
                subscription.answered && !subscription.has_more,
                "{thread_id} lacks a batch: {subscription:?}"
            );
            assert_eq!(
                subscription.paused_from, None,
                "{thread_id} is paused: {subscription:?}"
            );
            let thread = database.threads.get(thread_id);
            // If all remaining messages were pruned before their changes were processed, the session
            // detects the loss only when another message follows.
            let (first_seq, last_seq) = thread.map_or((1, 0), |t| (t.first_seq, t.last_seq()));
            let all_pruned = subscription.next_seq < first_seq && first_seq > last_seq;
            assert!(
                subscription.next_seq == last_seq + 1 || all_pruned,
                "{thread_id} lacks messages: {subscription:?}"
            );
            let Some(thread) = thread.filter(|thread| !thread.is_unreadable) else {
                continue;
            };
            let is_this = |key: &RowKey| matches!(key, RowKey::Thread(id) if id == thread_id);
            let mut entries = database.entries_after(subscription.subscribed_at);
            if entries.any(|entry| entry.op == Op::Update && is_this(&entry.key)) {
                assert_eq!(
                    received.get(thread_id).map(|version| version.title),
                    Some(thread.version().title),
                    "the client does not have the latest title of {thread_id}"
                );
            }
        }
    }
}
