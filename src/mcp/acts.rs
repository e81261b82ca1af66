//! What a tool does that is more than a call into the store.
//!
//! For: the steps of `tools`, and the ranges of what it is given.
//! Not for: which tools there are (`tools`).

use std::time::Duration;

use rmcp::handler::server::wrapper::Json;

use super::file::File;
use super::shapes::{CheckInbox, Priority, SendMessage, Sent, Teach};
use crate::config::from_type;
use crate::error::{Code, Error};
use crate::protocol::now_ms;
use crate::store::{Claim, EVERYBODY, InboxFilter, InboxRow, NewInbox, NewMessage, Reader, Receipt};

/// The longest wait of one call: clients give up after a minute.
const MAX_WAIT: i64 = 50;
/// The longest claim, in seconds.
const MAX_CLAIM: u64 = 86_400;
/// Characters of a first line that become the title.
const TITLE: usize = 80;

/// Posts to a thread.
pub(super) async fn post(file: &File, ask: SendMessage) -> Result<Json<Sent>, Teach> {
    let row = file
        .call(move |file, writer| {
            let new = NewMessage {
                id: ask.idempotency_key.map(|key| format!("{}/{key}", file.me())),
                to_type: ask.to.as_deref().map(|name| from_type(name).to_owned()),
                to_id: ask.to,
                subject: ask.title,
                ..NewMessage::new(ask.thread_id.unwrap_or_default(), file.me(), ask.text)
            };
            Ok(writer.post_message(&new)?.into_row())
        })
        .await?;
    Ok(Json(Sent {
        ids: vec![row.id],
        to: vec![row.thread_id],
    }))
}

/// Sends mail, to each in one transaction.
pub(super) async fn mail(file: &File, ask: SendMessage) -> Result<Json<Sent>, Teach> {
    let rows = file
        .call(move |file, writer| {
            let to = ask.to.unwrap_or_default();
            let inboxes = match writer.recipients(&to, file.me()) {
                Err(e) if e.code() == Code::NotFound && ask.new_recipient && to != EVERYBODY => vec![to],
                Err(e) if e.code() == Code::NotFound => {
                    let advice = "call list_agents for the names, or send with new_recipient true";
                    return Err(Error::new(e.code(), format!("{}; {advice}", e.message())));
                }
                known => known?,
            };
            let priority = match ask.priority {
                Priority::Info => "info",
                Priority::Action => "action",
                Priority::Urgent => "urgent",
            };
            let mail: Vec<_> = inboxes
                .into_iter()
                .map(|inbox| NewInbox {
                    id: ask
                        .idempotency_key
                        .as_ref()
                        .map(|key| format!("{}/{key}/{inbox}", file.me())),
                    title: Some(ask.title.clone().unwrap_or_else(|| title_of(&ask.text))),
                    priority: Some(priority.to_owned()),
                    ..NewInbox::new(file.me(), inbox, ask.text.clone())
                })
                .collect();
            writer.send_all(&mail)
        })
        .await?;
    Ok(Json(Sent {
        ids: rows.iter().map(|row| row.n.to_string()).collect(),
        to: rows.into_iter().map(|row| row.to_inbox).collect(),
    }))
}

/// Lists mail. What is shown is seen.
pub(super) fn list(file: &File, reader: &Reader, ask: &CheckInbox) -> crate::error::Result<Vec<InboxRow>> {
    let mail = reader.inbox(&InboxFilter {
        inbox: Some(ask.inbox.clone().unwrap_or_else(|| file.me().to_owned())),
        reader: Some(file.me().to_owned()),
        status: ask.unread_only.then(|| "unread".to_owned()),
        from: ask.from.clone(),
        now: now_ms(),
        limit: rows(ask.limit, 50),
        ..InboxFilter::default()
    })?;
    if !mail.is_empty() {
        file.with(|writer| writer.add_receipts(&mail, Receipt::Seen, file.reading()))?;
    }
    Ok(mail)
}

/// Takes mail. Those who wait in vain do not take the lock.
pub(super) fn take(
    file: &File,
    reader: &Reader,
    ask: &CheckInbox,
    lease: Duration,
) -> crate::error::Result<Vec<InboxRow>> {
    let claim = Claim {
        inbox: ask.inbox.as_deref().unwrap_or(file.me()),
        from: ask.from.as_deref(),
        lease,
        limit: rows(ask.limit, 50),
    };
    if !reader.has_claimable_mail(claim, now_ms())? {
        return Ok(Vec::new());
    }
    file.with(|writer| writer.claim(claim, file.reading()))
}

pub(super) fn no_question(id: &str) -> Error {
    let id: String = id.chars().take(80).collect();
    Error::new(
        Code::NotFound,
        format!("you have put no question {id:?} to the person; give question to ask one"),
    )
}

pub(super) fn title_of(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(TITLE).collect()
}

/// How long a call waits that was asked to wait for so many seconds.
pub(super) fn patience(seconds: i64) -> Duration {
    Duration::from_secs(seconds.clamp(0, MAX_WAIT).unsigned_abs())
}

/// How many rows are returned if so many were asked for.
pub(super) fn rows(asked: i64, most: i64) -> usize {
    usize::try_from(asked.clamp(1, most)).unwrap_or(1)
}

/// How long a claim lasts. Another time than was asked for would be no help to anybody.
pub(super) fn lease(seconds: i64) -> Result<Duration, Teach> {
    let known = u64::try_from(seconds)
        .ok()
        .filter(|seconds| (1..=MAX_CLAIM).contains(seconds));
    known.map(Duration::from_secs).ok_or_else(|| {
        Teach(format!(
            "claim_seconds is from 1 to {MAX_CLAIM}: for so long what you take is yours alone; call again with one of these"
        ))
    })
}
