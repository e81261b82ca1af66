//! Events from the client, and the replies to them.

use super::{Frame, Now, PendingSubscribe, Session, Start};
use crate::error::{Code, Error, Result};
use crate::protocol::{AckEvent, ErrorEvent, Event, EventType, SubscribeEvent};
use crate::text::quantity::count;

/// Maximum number of threads of one connection, including those it has unsubscribed from.
const MAX_THREADS: usize = 10_000;
/// Maximum number of bytes of the names of all these threads. (The size of a frame limits one.)
const MAX_NAME_BYTES: usize = 1 << 20;
/// Excess of events over the rate at which the client is disconnected.
const MAX_EXCESS: u32 = 1000;

impl Session {
    /// Processes a text frame.
    pub fn receive(&mut self, now: Now, text: &[u8]) {
        if !self.is_within_rate(now) {
            return;
        }
        if let Err(error) = Event::parse(text).and_then(|event| self.handle(now, &event)) {
            self.send_error(now, error.code(), error.message());
        }
    }

    /// Processes a binary frame, which is never a valid event.
    pub fn receive_binary(&mut self, now: Now) {
        if self.is_within_rate(now) {
            self.send_error(now, Code::ParseError, "cannot read a binary frame; send JSON as text");
        }
    }

    /// Counts an event, and returns whether it is within the rate. If not, the client gets an error.
    fn is_within_rate(&mut self, now: Now) -> bool {
        let allowed = self.inbound_rate.take(now.at);
        if allowed {
            self.excess = self.excess.saturating_sub(1);
        } else {
            self.excess += 1;
            let message = format!(
                "more than {} per second; send fewer",
                count(self.limits.max_events_per_second, "event")
            );
            if self.excess >= MAX_EXCESS {
                self.close(now, Code::RateLimited, &message);
            } else {
                self.send_error(now, Code::RateLimited, &message);
            }
        }
        allowed
    }

    fn handle(&mut self, now: Now, event: &Event) -> Result<()> {
        match &event.event_type {
            t if *t == EventType::SUBSCRIBE => self.subscribe(event.parse_subscribe()?),
            t if *t == EventType::UNSUBSCRIBE => self.unsubscribe(&event.parse_unsubscribe()?.thread_id),
            t if *t == EventType::ACK => self.acknowledge(now, event.parse_ack()?),
            t if *t == EventType::PING => {
                self.replies.push_back(Frame::bare(&EventType::PONG, now.wall_ms));
                Ok(())
            }
            other => Err(Error::new(
                Code::UnknownEvent,
                format!(
                    "unknown event {:?}; send subscribe, unsubscribe, ack or ping",
                    shortened(other.as_str())
                ),
            )),
        }
    }

    fn subscribe(&mut self, request: SubscribeEvent) -> Result<()> {
        let refuse = |why: &str| Err(Error::new(Code::InvalidSubscribe, format!("cannot subscribe: {why}")));
        if self.options.streams.messages {
            return refuse("this connection gets every message already (streams=messages)");
        }
        if request.thread_id.is_empty() {
            return refuse("thread_id is required");
        }
        let start = match request.from_seq {
            -1 => Start::LastAck,
            0.. => Start::After(request.from_seq),
            _ => return refuse("from_seq must be a message_seq, 0 for the first, or -1 for your last ack"),
        };
        if !self.subscriptions.contains_key(&request.thread_id) && !self.unsubscribed.contains_key(&request.thread_id) {
            let full = self.subscriptions.len() + self.unsubscribed.len() >= MAX_THREADS;
            if full || self.name_bytes + request.thread_id.len() > MAX_NAME_BYTES {
                return refuse("this connection has too many threads; open another");
            }
        }
        self.remove_subscription(&request.thread_id);
        self.pending_subscribe = Some(PendingSubscribe {
            thread_id: request.thread_id,
            start,
            from_id: request.from_id,
            newest: 0,
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
        self.remove_subscription(thread_id);
        Ok(())
    }

    fn acknowledge(&mut self, now: Now, ack: AckEvent) -> Result<()> {
        let last = match (
            self.subscriptions.get(&ack.thread_id),
            self.unsubscribed.get(&ack.thread_id),
        ) {
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
        if let Some(thread) = self.subscriptions.get_mut(&ack.thread_id) {
            thread.acknowledge(ack.ack_seq, limit);
            self.schedule(&ack.thread_id);
            // Before the first ack, more messages than the limit may have been sent.
            self.pause_if_lagging(now, &ack.thread_id);
        }
        match self.acks.iter_mut().find(|queued| queued.thread_id == ack.thread_id) {
            Some(queued) => queued.ack_seq = ack.ack_seq.max(queued.ack_seq),
            None => self.acks.push_back(ack),
        }
        Ok(())
    }

    /// Adds an `error` event to the replies. All temporary failures of the database have one code.
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
        self.replies
            .push_back(Frame::new(&EventType::ERROR, now.wall_ms, &error));
    }
}

/// Shortens text of the client for an error message.
fn shortened(text: &str) -> &str {
    let end = text.char_indices().nth(60).map_or(text.len(), |(i, _)| i);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::hub::session::ConnectOptions;
    use crate::store::Position;

    #[test]
    fn names_of_threads_have_a_maximum_length_together() {
        let mut session = Session::new(ConnectOptions::COMPAT, Limits::default(), "e".into(), Position::START);
        let mut subscribe = |length| {
            session.pending_subscribe = None;
            session.subscribe(SubscribeEvent {
                thread_id: "x".repeat(length),
                ..SubscribeEvent::default()
            })
        };
        assert_eq!(
            subscribe(MAX_NAME_BYTES + 1).unwrap_err().code(),
            Code::InvalidSubscribe
        );
        subscribe(MAX_NAME_BYTES).unwrap();
    }
}
