//! What the client says, and what it is answered.

use super::{Frame, Now, PendingSubscribe, Session, Start};
use crate::error::{Code, Error, Result};
use crate::protocol::{AckEvent, ErrorEvent, Event, EventType, SubscribeEvent};

/// Threads one connection may follow or have left, and bytes of their names together. (How
/// long one name may be is up to the size of a frame.)
const MAX_THREADS: usize = 10_000;
const MAX_NAMES: usize = 1 << 20;
/// Events over the rate, less those within it, after which the client is disconnected.
const MAX_EXCESS: u32 = 1000;

impl Session {
    /// Takes a text frame from the client.
    pub fn receive(&mut self, now: Now, text: &[u8]) {
        if !self.is_in_rate(now) {
            return;
        }
        if let Err(error) = Event::parse(text).and_then(|event| self.obey(now, &event)) {
            self.warn(now, error.code(), error.message());
        }
    }

    /// Takes a binary frame from the client, which no event is.
    pub fn receive_binary(&mut self, now: Now) {
        if self.is_in_rate(now) {
            self.warn(now, Code::ParseError, "cannot read a binary frame; send JSON as text");
        }
    }

    /// Whether the client may say something now. If not, it is told.
    fn is_in_rate(&mut self, now: Now) -> bool {
        let allowed = self.inbound.take(now.at);
        if allowed {
            self.excess = self.excess.saturating_sub(1);
        } else {
            self.excess += 1;
            let message = format!(
                "more than {} events a second; send fewer",
                self.limits.max_events_per_second
            );
            if self.excess >= MAX_EXCESS {
                self.close(now, Code::RateLimited, &message);
            } else {
                self.warn(now, Code::RateLimited, &message);
            }
        }
        allowed
    }

    fn obey(&mut self, now: Now, event: &Event) -> Result<()> {
        match &event.event_type {
            t if *t == EventType::SUBSCRIBE => self.subscribe(event.parse_subscribe()?),
            t if *t == EventType::UNSUBSCRIBE => self.unsubscribe(&event.parse_unsubscribe()?.thread_id),
            t if *t == EventType::ACK => self.acknowledge(now, event.parse_ack()?),
            t if *t == EventType::PING => {
                self.answers.push_back(Frame::bare(&EventType::PONG, now.wall_ms));
                Ok(())
            }
            other => Err(Error::new(
                Code::UnknownEvent,
                format!(
                    "cannot do {:?}; send subscribe, unsubscribe, ack or ping",
                    shortened(other.as_str())
                ),
            )),
        }
    }

    fn subscribe(&mut self, wish: SubscribeEvent) -> Result<()> {
        let refuse = |why: &str| Err(Error::new(Code::InvalidSubscribe, format!("cannot subscribe: {why}")));
        if self.wishes.streams.messages {
            return refuse("this connection gets every message already (streams=messages)");
        }
        if wish.thread_id.is_empty() {
            return refuse("thread_id is required");
        }
        let start = match wish.from_seq {
            -1 => Start::LastAck,
            0.. => Start::After(wish.from_seq),
            _ => return refuse("from_seq is a message_seq, 0 for the first, or -1 for your last ack"),
        };
        if !self.threads.contains_key(&wish.thread_id) && !self.left.contains_key(&wish.thread_id) {
            let full = self.threads.len() + self.left.len() >= MAX_THREADS;
            if full || self.names + wish.thread_id.len() > MAX_NAMES {
                return refuse("this connection follows too many threads; open another");
            }
        }
        self.leave(&wish.thread_id);
        self.wanted = Some(PendingSubscribe {
            thread_id: wish.thread_id,
            start,
            from_id: wish.from_id,
            met: 0,
        });
        Ok(())
    }

    fn unsubscribe(&mut self, thread_id: &str) -> Result<()> {
        if thread_id.is_empty() {
            return Err(Error::new(
                Code::InvalidSubscribe,
                "cannot unsubscribe: thread_id is required",
            ));
        }
        self.leave(thread_id);
        Ok(())
    }

    fn acknowledge(&mut self, now: Now, ack: AckEvent) -> Result<()> {
        let last = match (self.threads.get(&ack.thread_id), self.left.get(&ack.thread_id)) {
            (Some(thread), _) => thread.last,
            (None, Some(last)) => *last,
            (None, None) => {
                return Err(Error::new(
                    Code::NotSubscribed,
                    format!(
                        "cannot acknowledge: no subscription to {:?}; subscribe first",
                        shortened(&ack.thread_id)
                    ),
                ));
            }
        };
        if !(0..=last).contains(&ack.ack_seq) {
            return Err(Error::new(
                Code::InvalidAck,
                format!("cannot acknowledge {}: the last message is {last}", ack.ack_seq),
            ));
        }
        let limit = self.limits.max_lag_messages;
        if let Some(thread) = self.threads.get_mut(&ack.thread_id) {
            thread.acknowledge(ack.ack_seq, limit);
            self.schedule(&ack.thread_id);
            // The first ack may come when more than the limit was sent already.
            self.pause_if_lagging(now, &ack.thread_id);
        }
        match self.acks.iter_mut().find(|queued| queued.thread_id == ack.thread_id) {
            Some(queued) => queued.ack_seq = ack.ack_seq.max(queued.ack_seq),
            None => self.acks.push_back(ack),
        }
        Ok(())
    }

    /// Puts an error among the answers. What is wrong with the file has one name here.
    pub(super) fn error(&mut self, now: Now, code: Code, message: &str, thread_id: &str, first_seq: Option<i64>) {
        let code = if code.is_store() && code.is_temporary() {
            Code::StoreUnavailable
        } else {
            code
        };
        let error = ErrorEvent {
            code: code.name().to_owned(),
            message: message.to_owned(),
            thread_id: thread_id.to_owned(),
            temporary: code.is_temporary(),
            first_seq,
        };
        self.answers
            .push_back(Frame::new(&EventType::ERROR, now.wall_ms, &error));
    }
}

/// A client's own word, short enough to give back.
fn shortened(text: &str) -> &str {
    let end = text.char_indices().nth(60).map_or(text.len(), |(i, _)| i);
    &text[..end]
}
