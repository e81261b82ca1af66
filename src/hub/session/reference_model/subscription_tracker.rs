//! The client's subscriptions: what may come of each thread, and when.
//!
//! For: one connection's threads, each as "the next number, or nothing".
//! Not for: streams, positions and answers (`judge`).

use std::collections::{BTreeMap, VecDeque};

use super::client_messages::Request;
use super::file::{File, Thread, What};
use crate::config::Limits;
use crate::hub::session::Session;
use crate::protocol::{BatchEvent, MessageEvent};
use crate::store::{Op, Start, ThreadOpening};

/// One subscription.
#[derive(Debug, Clone)]
struct Sub {
    /// The next number.
    next: i64,
    /// Its first batch has come.
    answered: bool,
    /// The last batch said that there is more.
    more: bool,
    /// Acknowledged up to here, or begun after it; and from which event on it counts.
    acked: i64,
    acks_from: Option<usize>,
    /// Paused: no event from this one on.
    paused: Option<usize>,
    /// The log's length when it was asked for.
    since: i64,
}

#[derive(Debug)]
pub(super) struct Following {
    limits: Limits,
    /// Events that carry rows, handed out so far.
    events: usize,
    /// The subscription asked for, and the log's length then.
    asked: Option<(Request, i64)>,
    /// From which event on a thread is followed how. The last is the present.
    threads: BTreeMap<String, VecDeque<(usize, Option<Sub>)>>,
    /// The highest number the client has of each thread it ever followed.
    most: BTreeMap<String, i64>,
    /// The log's length as of now.
    head: i64,
}

impl Following {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            events: 0,
            asked: None,
            threads: BTreeMap::new(),
            most: BTreeMap::new(),
            head: 0,
        }
    }

    pub(super) fn most(&self, thread_id: &str) -> Option<i64> {
        self.most.get(thread_id).copied()
    }

    /// Whether the client follows a thread, has followed it or has asked to.
    pub(super) fn knows(&self, thread_id: &str) -> bool {
        self.threads.contains_key(thread_id)
    }

    pub(super) fn count_event(&mut self) {
        self.events += 1;
    }

    pub(super) fn at_head(&mut self, seq: i64) {
        self.head = seq;
    }

    /// What the session makes from now on has this number or a higher one.
    fn boundary(&self, session: &Session) -> usize {
        self.events + session.outgoing.len() + session.array.len()
    }

    fn follow(&mut self, thread_id: &str, sub: Option<Sub>, session: &Session) {
        let boundary = self.boundary(session);
        let turns = self.threads.entry(thread_id.to_owned()).or_default();
        turns.push_back((boundary, sub));
    }

    fn present(&mut self, thread_id: &str) -> Option<&mut Sub> {
        self.threads.get_mut(thread_id)?.back_mut()?.1.as_mut()
    }

    // ---- what the client does -----------------------------------------------------------

    pub(super) fn asked(&mut self, request: Request, session: &Session) {
        self.follow(&request.thread_id, None, session);
        self.asked = Some((request, self.head));
    }

    pub(super) fn left(&mut self, thread_id: &str, session: &Session) {
        self.follow(thread_id, None, session);
    }

    /// Called after the session has taken the file's answer, or a failure. Returns the
    /// thread if its position must be called lost.
    pub(super) fn opened(&mut self, opening: &ThreadOpening, session: &Session) -> Option<String> {
        let (request, since) = self.asked.take().unwrap();
        let start = if request.from_seq == -1 {
            opening.after
        } else {
            request.from_seq
        };
        let wrong_id = request.from_id.is_some() && request.from_id != opening.id_at;
        if wrong_id || start > opening.last_seq || (start > 0 && start < opening.first_seq - 1) {
            return Some(request.thread_id);
        }
        let next = if start == 0 { opening.first_seq } else { start + 1 };
        let sub = Sub {
            next,
            answered: false,
            more: false,
            acked: next - 1,
            acks_from: None,
            paused: None,
            since,
        };
        self.follow(&request.thread_id, Some(sub), session);
        let most = self.most.entry(request.thread_id).or_default();
        *most = (next - 1).max(*most);
        None
    }

    /// The session asks for what the client asked for.
    pub(super) fn begins_to_open(&self, thread_id: &str, start: Start) {
        let (request, _) = self.asked.as_ref().unwrap();
        let wanted = match request.from_seq {
            -1 => Start::LastAck,
            seq => Start::After(seq),
        };
        assert_eq!((request.thread_id.as_str(), wanted), (thread_id, start));
    }

    pub(super) fn refused(&mut self) -> String {
        self.asked.take().unwrap().0.thread_id
    }

    /// The session has given a thread up: the file must have no next message.
    pub(super) fn lost(&mut self, thread_id: &str, file: &File, session: &Session) {
        let sub = self.present(thread_id).unwrap();
        assert!(
            file.threads[thread_id].first > sub.next,
            "{thread_id} is not lost: {sub:?}"
        );
        self.follow(thread_id, None, session);
    }

    pub(super) fn acked(&mut self, thread_id: &str, seq: i64, session: &Session) {
        let boundary = self.boundary(session);
        if let Some(sub) = self.present(thread_id) {
            sub.acked = sub.acked.max(seq);
            sub.acks_from.get_or_insert(boundary);
        }
    }

    /// Compares who is paused with the session. Returns those who must be told.
    pub(super) fn paused(&mut self, session: &Session) -> Vec<String> {
        let boundary = self.boundary(session);
        let limit = i64::try_from(self.limits.max_lag_messages).unwrap();
        let mut told = Vec::new();
        for (thread_id, thread) in &session.subscriptions {
            let Some(sub) = self.present(thread_id) else { continue };
            let unacked = thread.sent - sub.acked;
            if thread.paused && sub.paused.is_none() {
                assert!(
                    sub.acks_from.is_some() && unacked >= limit,
                    "paused for nothing: {sub:?}"
                );
                sub.paused = Some(boundary);
                told.push(thread_id.clone());
            }
            if !thread.paused && sub.paused.take().is_some() {
                assert!(unacked <= limit / 2, "goes on too early: {sub:?}");
            }
        }
        told
    }

    /// Threads that wait for an ack.
    pub(super) fn waiting(&self) -> Vec<String> {
        let now = self
            .threads
            .iter()
            .filter_map(|(id, turns)| Some((id, turns.back()?.1.as_ref()?)));
        now.filter(|(_, sub)| sub.paused.is_some())
            .map(|(id, _)| id.clone())
            .collect()
    }

    // ---- what comes ---------------------------------------------------------------------

    fn judge(&mut self, thread_id: &str) -> &mut Sub {
        let events = self.events;
        let turns = self.threads.get_mut(thread_id).expect("a thread the client follows");
        while turns.get(1).is_some_and(|(from, _)| *from <= events) {
            turns.pop_front();
        }
        let sub = turns.front_mut().and_then(|(_, sub)| sub.as_mut());
        let sub = sub.expect("a thread the client follows now");
        assert!(
            sub.paused.is_none_or(|from| events < from),
            "sent while paused: {sub:?}"
        );
        sub
    }

    pub(super) fn message(&mut self, message: &MessageEvent, file: &File) {
        let sub = self.judge(&message.thread_id);
        assert!(sub.answered, "a message before the first batch");
        assert!(!sub.more, "a message while batches go on");
        self.take(message, file);
    }

    pub(super) fn batch(&mut self, batch: &BatchEvent, file: &File) {
        let sub = self.judge(&batch.thread_id);
        assert!(
            !sub.answered || !batch.messages.is_empty(),
            "an empty batch that answers nothing"
        );
        batch.messages.iter().for_each(|m| self.take(m, file));
        let sub = self.judge(&batch.thread_id);
        sub.answered = true;
        sub.more = batch.has_more;
        let last = file.threads.get(&batch.thread_id).map_or(0, Thread::last);
        assert!(!batch.has_more || sub.next <= last, "there is no more");
        assert!(!batch.has_more || !batch.messages.is_empty(), "more than nothing");
    }

    fn take(&mut self, message: &MessageEvent, file: &File) {
        let (events, limit) = (self.events, self.limits.max_lag_messages);
        let sub = self.judge(&message.thread_id);
        assert_eq!(message.message_seq, sub.next, "of {}", message.thread_id);
        sub.next += 1;
        if sub.acks_from.is_some_and(|from| from <= events) {
            assert!(
                sub.next - 1 - sub.acked <= i64::try_from(limit).unwrap(),
                "over the lag limit: {sub:?}"
            );
        }
        let thread = &file.threads[&message.thread_id];
        let at = usize::try_from(message.message_seq - 1).unwrap();
        assert_eq!(message.id, thread.messages[at].id);
        let most = self.most.entry(message.thread_id.clone()).or_default();
        *most = message.message_seq.max(*most);
    }

    // ---- the end ------------------------------------------------------------------------

    pub(super) fn is_content(&self, file: &File, states: &BTreeMap<String, (i64, i64)>) {
        assert_eq!(self.asked, None, "not answered");
        for (id, turns) in &self.threads {
            let Some((_, Some(sub))) = turns.back() else { continue };
            let thread = file.threads.get(id);
            assert!(sub.answered && !sub.more, "{id}: {sub:?}");
            assert_eq!(sub.paused, None, "{id}: {sub:?}");
            // What was pruned before the log came to it leaves no trace until more follows.
            let (first, last) = thread.map_or((1, 0), |t| (t.first, t.last()));
            assert!(
                sub.next == last + 1 || sub.next < first && first > last,
                "{id}: {sub:?}"
            );
            let renamed = |what: &What| matches!(what, What::Thread(t) if t == id);
            let Some(thread) = thread.filter(|thread| !thread.spoiled) else {
                continue;
            };
            let mut later = file.lines_after(sub.since);
            if later.any(|line| line.op == Op::Update && renamed(&line.what)) {
                assert_eq!(states.get(id).map(|s| s.1), Some(thread.state().1), "title of {id}");
            }
        }
    }
}
