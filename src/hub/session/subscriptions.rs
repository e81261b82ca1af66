//! The session's subscriptions: what is read from the file, and the batches made of it.

use super::{Frame, Now, PendingRead, PendingSubscribe, Read, ReplaySource, Session, Subscription};
use crate::error::{Code, Error};
use crate::hub::encoded_change::WireFormat;
use crate::store::{ThreadOpening, ThreadPage};

/// Messages read from the file at a time: a handful of batches.
const PAGE_ROWS: usize = 256;
/// Time before the file is tried again after a read has failed.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

impl Session {
    /// Puts a thread in the queue it belongs in, if it belongs in one.
    pub(super) fn schedule(&mut self, thread_id: &str) {
        let Some(thread) = self.threads.get_mut(thread_id) else {
            return;
        };
        if thread.queued || !thread.is_hungry() {
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

    /// What the next subscription starts from has to be read, if nothing else is just being read.
    pub(super) fn next_opening(&mut self, now: Now) -> Option<Read> {
        if !self.may_read(now) {
            return None;
        }
        let wanted = self.wanted.take()?;
        let read = Read::Open {
            thread_id: wanted.thread_id.clone(),
            start: wanted.start,
        };
        self.reading = Some(PendingRead::Open(wanted));
        Some(read)
    }

    /// The next page to read. What may not be sent yet is not read yet; and since batches
    /// come first, at most one page is in hand, however many threads there are.
    pub(super) fn next_page(&mut self, now: Now) -> Option<Read> {
        if !self.may_read(now) || self.frames.ready_at() > now.at {
            return None;
        }
        while let Some(thread_id) = self.to_read.pop_front() {
            let Some(thread) = self.threads.get_mut(&thread_id) else {
                continue;
            };
            if !thread.is_hungry() {
                thread.queued = false;
                continue;
            }
            // It stays `queued` until the answer is there.
            let after = thread.sent;
            let rows = PAGE_ROWS.min(thread.room(self.limits.max_lag_messages));
            self.reading = Some(PendingRead::Page(thread_id.clone()));
            return Some(Read::Page { thread_id, after, rows });
        }
        None
    }

    /// The `subscribe` that is not answered yet.
    pub(super) fn opening(&mut self) -> Option<&mut PendingSubscribe> {
        match &mut self.reading {
            Some(PendingRead::Open(wanted)) => Some(wanted),
            _ => self.wanted.as_mut(),
        }
    }

    /// Whether the client follows a thread or has asked to.
    pub(super) fn follows(&mut self, thread_id: &str) -> bool {
        self.threads.contains_key(thread_id) || self.opening().is_some_and(|w| w.thread_id == thread_id)
    }

    fn may_read(&self, now: Now) -> bool {
        self.reading.is_none() && now.at >= self.retry_at
    }

    /// The answer to [`Read::Open`].
    pub fn opened(&mut self, now: Now, opening: &ThreadOpening) {
        let Some(PendingRead::Open(wanted)) = self.reading.take() else {
            return;
        };
        let lost = opening.after > opening.last_seq
            || (opening.after > 0 && opening.after < opening.first_seq - 1)
            || (wanted.from_id.is_some() && wanted.from_id != opening.id_at);
        if lost {
            self.lose(now, &wanted.thread_id, opening.first_seq);
            return;
        }
        let sent = if opening.after == 0 {
            opening.first_seq - 1
        } else {
            opening.after
        };
        let thread = Subscription::new(sent, opening.last_seq.max(wanted.met));
        if self.left.remove(&wanted.thread_id).is_none() {
            self.names += wanted.thread_id.len();
        }
        self.threads.insert(wanted.thread_id.clone(), thread);
        self.schedule(&wanted.thread_id);
    }

    /// The answer to [`Read::Page`].
    pub fn read(&mut self, now: Now, page: ThreadPage) {
        let Some(PendingRead::Page(thread_id)) = self.reading.take() else {
            return;
        };
        let Some(thread) = self.threads.get_mut(&thread_id) else {
            return;
        };
        thread.queued = false;
        if thread.paused {
            // It is read again when the client has caught up.
            return;
        }
        // What was pruned leaves a hole: up to there, and no further.
        let next = thread.sent + 1;
        let first_seq = page.messages.first().map_or(thread.last + 1, |m| m.message_seq);
        let in_order = page.messages.into_iter().zip(next..);
        let in_order = in_order.take_while(|(m, seq)| m.message_seq == *seq);
        thread.page = in_order.map(|(m, _)| m).collect();
        // The file may be ahead of the log as far as it was walked.
        let Some(last) = thread.page.back().map(|m| m.message_seq) else {
            return self.lose(now, &thread_id, first_seq);
        };
        thread.last = thread.last.max(last);
        self.schedule(&thread_id);
    }

    /// The read under way has failed. A subscription is refused; a page is tried again.
    pub fn read_failed(&mut self, now: Now, error: &Error) {
        match self.reading.take() {
            Some(PendingRead::Open(wanted)) => {
                self.error(now, Code::SubscribeFailed, error.message(), &wanted.thread_id, None);
            }
            Some(PendingRead::Page(thread_id)) => {
                self.retry_at = now.at + RETRY;
                if let Some(thread) = self.threads.get_mut(&thread_id) {
                    thread.queued = false;
                    self.error(now, Code::FetchFailed, error.message(), &thread_id, None);
                    self.schedule(&thread_id);
                }
            }
            None => {}
        }
    }

    /// The next batch of a thread whose turn it is, if a frame may go out now.
    pub(super) fn next_batch(&mut self, now: Now) -> Option<Frame> {
        while let Some(thread_id) = self.to_send.front() {
            let Some(thread) = self
                .threads
                .get_mut(thread_id)
                .filter(|t| t.is_hungry() && t.has_batch())
            else {
                let thread_id = self.to_send.pop_front()?;
                if let Some(thread) = self.threads.get_mut(&thread_id) {
                    thread.queued = false;
                    self.schedule(&thread_id);
                }
                continue;
            };
            if !self.frames.take(now.at) {
                return None;
            }
            let messages = thread.next_batch(&self.limits);
            thread.queued = false;
            thread.owes_answer = false;
            thread.sent = messages.last().map_or(thread.sent, |m| m.message_seq);
            let has_more = thread.sent < thread.last;
            if !has_more {
                thread.feed = ReplaySource::Live;
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
            .map(|m| match self.wishes.form {
                WireFormat::Compat => serde_json::to_vec(&m.event()),
                WireFormat::Extended => serde_json::to_vec(&m.extended()),
            })
            // A message is strings and numbers: it always has a JSON form.
            .filter_map(std::result::Result::ok)
            .collect();
        // What a subscription reads from the file has no place of its own in the log: the
        // position is that of the stream around it.
        let pos = if self.wishes.form == WireFormat::Extended {
            self.place()
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

    /// Stops sending to a subscription whose client does not keep up with its acks.
    pub(super) fn pause_if_lagging(&mut self, now: Now, thread_id: &str) {
        let limit = self.limits.max_lag_messages;
        let Some(thread) = self
            .threads
            .get_mut(thread_id)
            .filter(|t| !t.paused && t.room(limit) == 0)
        else {
            return;
        };
        thread.pause();
        let message = format!("{limit} messages are waiting for your ack; acknowledge half of them to go on");
        self.error(now, Code::Lagging, &message, thread_id, None);
    }

    /// Forgets a subscription, but not that it was there.
    pub(super) fn leave(&mut self, thread_id: &str) {
        let Some(thread) = self.threads.remove(thread_id) else {
            return;
        };
        if thread.queued {
            self.to_read.retain(|queued| queued != thread_id);
            self.to_send.retain(|queued| queued != thread_id);
        }
        self.left.insert(thread_id.to_owned(), thread.last);
    }

    /// Gives a subscription up: what comes next is not in the file.
    fn lose(&mut self, now: Now, thread_id: &str, first_seq: i64) {
        self.leave(thread_id);
        let message =
            format!("your position is not in the file; subscribe anew (the first message kept is {first_seq})");
        self.error(now, Code::PositionLost, &message, thread_id, Some(first_seq));
    }
}
