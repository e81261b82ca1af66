//! Reads for subscriptions, and the batches made of their results.

use super::{Frame, Now, PendingRead, PendingSubscribe, Read, ReplaySource, Session, Subscription};
use crate::error::{Code, Error};
use crate::hub::encoded_change::WireFormat;
use crate::store::{ThreadOpening, ThreadPage};
use crate::text::quantity::count;

/// Maximum number of messages per read: a few batches.
const PAGE_ROWS: usize = 256;
/// Time between a failed read and the next one.
const RETRY_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

impl Session {
    /// Adds a thread to the queue of reads or of batches if it needs one.
    pub(super) fn schedule(&mut self, thread_id: &str) {
        let Some(thread) = self.subscriptions.get_mut(thread_id) else {
            return;
        };
        if thread.queued || !thread.needs_data() {
            return;
        }
        thread.queued = true;
        let queue = if thread.has_batch() {
            &mut self.to_send
        } else {
            &mut self.to_read
        };
        queue.push_back(thread_id.to_owned());
    }

    /// Returns the read that starts the pending subscription, unless another read is in progress.
    pub(super) fn next_opening(&mut self, now: Now) -> Option<Read> {
        if !self.may_read(now) {
            return None;
        }
        let pending = self.pending_subscribe.take()?;
        let read = Read::Open {
            thread_id: pending.thread_id.clone(),
            start: pending.start,
        };
        self.pending_read = Some(PendingRead::Open(pending));
        Some(read)
    }

    /// Returns the next page to read. A page is read only when it may be sent; and since batches
    /// are sent first, there is at most one page in memory, however many threads there are.
    pub(super) fn next_page(&mut self, now: Now) -> Option<Read> {
        if !self.may_read(now) || self.outbound_rate.ready_at() > now.at {
            return None;
        }
        while let Some(thread_id) = self.to_read.pop_front() {
            let Some(thread) = self.subscriptions.get_mut(&thread_id) else {
                continue;
            };
            if !thread.needs_data() {
                thread.queued = false;
                continue;
            }
            // It stays `queued` until the result arrives.
            let after = thread.sent;
            let rows = PAGE_ROWS.min(thread.room(self.limits.max_lag_messages));
            self.pending_read = Some(PendingRead::Page(thread_id.clone()));
            return Some(Read::Page { thread_id, after, rows });
        }
        None
    }

    /// Returns the `subscribe` that is not answered yet.
    pub(super) fn opening(&mut self) -> Option<&mut PendingSubscribe> {
        match &mut self.pending_read {
            Some(PendingRead::Open(pending)) => Some(pending),
            _ => self.pending_subscribe.as_mut(),
        }
    }

    /// Returns whether the client is subscribed to a thread or waits for the reply to its `subscribe`.
    pub(super) fn follows(&mut self, thread_id: &str) -> bool {
        self.subscriptions.contains_key(thread_id) || self.opening().is_some_and(|w| w.thread_id == thread_id)
    }

    fn may_read(&self, now: Now) -> bool {
        self.pending_read.is_none() && now.at >= self.retry_at
    }

    /// Accepts the result of [`Read::Open`].
    pub fn opened(&mut self, now: Now, opening: &ThreadOpening) {
        let Some(PendingRead::Open(pending)) = self.pending_read.take() else {
            return;
        };
        let lost = opening.after > opening.last_seq
            || (opening.after > 0 && opening.after < opening.first_seq - 1)
            || (pending.from_id.is_some() && pending.from_id != opening.id_at);
        if lost {
            self.lose_position(now, &pending.thread_id, opening.first_seq);
            return;
        }
        let sent = if opening.after == 0 {
            opening.first_seq - 1
        } else {
            opening.after
        };
        let thread = Subscription::new(sent, opening.last_seq.max(pending.newest));
        if self.unsubscribed.remove(&pending.thread_id).is_none() {
            self.name_bytes += pending.thread_id.len();
        }
        self.subscriptions.insert(pending.thread_id.clone(), thread);
        self.schedule(&pending.thread_id);
    }

    /// Accepts the result of [`Read::Page`].
    pub fn read(&mut self, now: Now, page: ThreadPage) {
        let Some(PendingRead::Page(thread_id)) = self.pending_read.take() else {
            return;
        };
        let Some(thread) = self.subscriptions.get_mut(&thread_id) else {
            return;
        };
        thread.queued = false;
        if thread.paused {
            // The page is read again when the client has acknowledged enough.
            return;
        }
        // Pruned messages leave a gap: take the messages before it.
        let next = thread.sent + 1;
        let first_seq = page.messages.first().map_or(thread.last + 1, |m| m.message_seq);
        let in_order = page.messages.into_iter().zip(next..);
        let in_order = in_order.take_while(|(m, seq)| m.message_seq == *seq);
        thread.page = in_order.map(|(m, _)| m).collect();
        // The database may be ahead of the changes processed so far.
        let Some(last) = thread.page.back().map(|m| m.message_seq) else {
            return self.lose_position(now, &thread_id, first_seq);
        };
        thread.last = thread.last.max(last);
        self.schedule(&thread_id);
    }

    /// Reports that the read failed. A `subscribe` is refused; a page is read again later.
    pub fn read_failed(&mut self, now: Now, error: &Error) {
        match self.pending_read.take() {
            Some(PendingRead::Open(pending)) => {
                self.error(now, Code::SubscribeFailed, error.message(), &pending.thread_id, None);
            }
            Some(PendingRead::Page(thread_id)) => {
                self.retry_at = now.at + RETRY_INTERVAL;
                if let Some(thread) = self.subscriptions.get_mut(&thread_id) {
                    thread.queued = false;
                    self.error(now, Code::FetchFailed, error.message(), &thread_id, None);
                    self.schedule(&thread_id);
                }
            }
            None => {}
        }
    }

    /// Returns the next batch, if the rate allows a frame now.
    pub(super) fn next_batch(&mut self, now: Now) -> Option<Frame> {
        while let Some(thread_id) = self.to_send.front() {
            let Some(thread) = self
                .subscriptions
                .get_mut(thread_id)
                .filter(|t| t.needs_data() && t.has_batch())
            else {
                let thread_id = self.to_send.pop_front()?;
                if let Some(thread) = self.subscriptions.get_mut(&thread_id) {
                    thread.queued = false;
                    self.schedule(&thread_id);
                }
                continue;
            };
            if !self.outbound_rate.take(now.at) {
                return None;
            }
            let messages = thread.next_batch(&self.limits);
            thread.queued = false;
            thread.owes_batch = false;
            thread.sent = messages.last().map_or(thread.sent, |m| m.message_seq);
            let has_more = thread.sent < thread.last;
            if !has_more {
                thread.source = ReplaySource::Live;
            }
            let thread_id = self.to_send.pop_front()?;
            let frame = self.batch_frame(now, &thread_id, &messages, has_more);
            self.pause_if_lagging(now, &thread_id);
            self.schedule(&thread_id);
            return Some(frame);
        }
        None
    }

    fn batch_frame(&self, now: Now, thread_id: &str, messages: &[crate::store::MessageRow], has_more: bool) -> Frame {
        let encoded: Vec<Vec<u8>> = messages
            .iter()
            .map(|m| match self.options.format {
                WireFormat::Compat => serde_json::to_vec(&m.event()),
                WireFormat::Extended => serde_json::to_vec(&m.extended()),
            })
            // Strings and numbers can always be encoded.
            .filter_map(std::result::Result::ok)
            .collect();
        // Messages read from the database have no position in the stream: the batch carries the current
        // position.
        let pos = if self.options.format == WireFormat::Extended {
            self.resume_pos()
        } else {
            String::new()
        };
        Frame::batch(
            now.wall_ms,
            &pos,
            thread_id,
            encoded.iter().map(Vec::as_slice),
            has_more,
        )
    }

    /// Pauses a subscription whose client has too many unacknowledged messages.
    pub(super) fn pause_if_lagging(&mut self, now: Now, thread_id: &str) {
        let limit = self.limits.max_lag_messages;
        let Some(thread) = self
            .subscriptions
            .get_mut(thread_id)
            .filter(|t| !t.paused && t.room(limit) == 0)
        else {
            return;
        };
        thread.pause();
        let message = format!(
            "{} unacknowledged; acknowledge half of them to continue",
            count(limit, "message")
        );
        self.error(now, Code::Lagging, &message, thread_id, None);
    }

    /// Ends a subscription. Acknowledgements for its thread still count.
    pub(super) fn remove_subscription(&mut self, thread_id: &str) {
        let Some(thread) = self.subscriptions.remove(thread_id) else {
            return;
        };
        if thread.queued {
            self.to_read.retain(|queued| queued != thread_id);
            self.to_send.retain(|queued| queued != thread_id);
        }
        self.unsubscribed.insert(thread_id.to_owned(), thread.last);
    }

    /// Ends a subscription whose next message is not in the database.
    fn lose_position(&mut self, now: Now, thread_id: &str, first_seq: i64) {
        self.remove_subscription(thread_id);
        let message =
            format!("your position is not in the database; subscribe again (the first message kept is {first_seq})");
        self.error(now, Code::PositionLost, &message, thread_id, Some(first_seq));
    }
}
