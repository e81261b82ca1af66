//! `/api/inbox` and `/api/inboxes`: inbox messages, their status, claims and receipts.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use warp::reply::Response;

use crate::config::{HUMAN, composed, is_human};
use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
use crate::server::credentials::Caller;
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::store::{
    InboxFilter, InboxMessageRow, InboxOrder, InboxSummary, NewInboxMessage, ReadContext, Reader, ReceiptRow, Writer,
};

/// `via` of the receipts written here.
const VIA: &str = "http";

/// `GET /api/inboxes?limit&before`: inboxes, those with unread messages first.
pub(crate) async fn list_mailboxes(request: ApiRequest) -> Result<Response> {
    let limit = request.limit_of_short_list()?;
    let before = request.cursor("before", parse_mailbox_cursor)?;
    let page = request
        .server
        .hub()
        .read(move |reader| reader.mailboxes_page(before.as_ref(), limit))
        .await?;
    let next = page.next(mailbox_cursor);
    Ok(response::list(&page.items, next))
}

/// Returns the cursor of an inbox: whether it has unread messages, the time of its newest message, its
/// name.
fn mailbox_cursor(mailbox: &InboxSummary) -> String {
    let has_unread = u8::from(mailbox.unread > 0);
    format!("{has_unread}.{}.{}", mailbox.newest_at, mailbox.inbox)
}

fn parse_mailbox_cursor(text: &str) -> Option<InboxSummary> {
    let mut parts = text.splitn(3, '.');
    Some(InboxSummary {
        unread: parts.next()?.parse().ok()?,
        newest_at: parts.next()?.parse().ok()?,
        inbox: parts.next()?.to_owned(),
        ..InboxSummary::default()
    })
}

/// `GET /api/inbox?inbox&status&from&limit&before`: inbox messages, the newest first.
pub(crate) async fn list(request: ApiRequest) -> Result<Response> {
    let mut filter = InboxFilter {
        inbox: request.filter("inbox"),
        reader: None,
        status: request.filter("status"),
        from: request.filter("from"),
        before: request.number("before")?,
        after: None,
        now: now_ms(),
        order: InboxOrder::Newest,
        limit: request.limit()?,
    };
    let page = request
        .server
        .hub()
        .read(move |reader| {
            for name in [&mut filter.inbox, &mut filter.from].into_iter().flatten() {
                *name = reader.stored_name(name)?;
            }
            reader.inbox_page(&filter)
        })
        .await?;
    Ok(response::list(&page.items, page.next(|mail| mail.n)))
}

/// `POST /api/inbox`: sends an inbox message. Without `from_agent`, the sender is the person. The label of one
/// agent as recipient is that agent.
pub(crate) async fn send(request: ApiRequest) -> Result<Response> {
    let mut new: NewInboxMessage = request.json()?;
    new.author = request.author("from_agent", &mut new.from_agent)?;
    request
        .server
        .hub()
        .write(move |writer| {
            new.to_inbox = writer.agent_labelled(&writer.stored_name(&new.to_inbox)?)?;
            writer.send(&new)
        })
        .await
        .map(response::written)
}

/// The response of `GET /api/inbox/{id}`.
#[derive(Serialize)]
struct MailWithReceipts {
    #[serde(flatten)]
    mail: InboxMessageRow,
    receipts: Vec<ReceiptRow>,
}

/// `GET /api/inbox/{id}`: an inbox message by `id`, `message_id` or number, with its receipts, the
/// oldest first.
pub(crate) async fn get(request: ApiRequest) -> Result<Response> {
    let id = request.id().to_owned();
    let read = move |reader: &Reader| {
        let mail = reader.require_mail(&id)?;
        let receipts = reader.receipts(&mail.message_id)?;
        Ok(MailWithReceipts { mail, receipts })
    };
    Ok(response::ok(&request.server.hub().read(read).await?))
}

/// The body of `PATCH /api/inbox/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MailUpdate {
    status: String,
    /// The agent that has read the message.
    reader: Option<String>,
}

/// `PATCH /api/inbox/{id}`: changes the status for `reader`; without it, for the person or the owner of
/// the inbox. If a message to `human` becomes read, it gets a receipt. Returns the inbox message.
pub(crate) async fn update(request: ApiRequest) -> Result<Response> {
    let (id, body): (_, MailUpdate) = (request.id().to_owned(), request.json()?);
    let caller = request.caller();
    let change = move |writer: &Writer| {
        let reader = reader_of(&writer.require_mail(&id)?, body.reader, caller)?;
        let reader = read_context(&reader);
        let mail = writer.set_mail_status(&id, &body.status, reader)?;
        if mail.to_inbox == HUMAN && mail.status == "read" {
            writer.read_mail(&mail.message_id, reader)?;
        }
        Ok(mail)
    };
    Ok(response::ok(&request.server.hub().write(change).await?))
}

/// Returns the reader for whom the status of `mail` changes.
fn reader_of(mail: &InboxMessageRow, given: Option<String>, caller: Caller) -> Result<String> {
    let reader = match (given, caller) {
        (Some(reader), _) => composed(&reader),
        (None, Caller::Person) => HUMAN.to_owned(),
        (None, Caller::Program) if mail.is_for_all() => {
            return Err(Error::new(
                Code::Invalid,
                "reader is missing: mail to all has a status for each agent; send the agent's name",
            ));
        }
        (None, Caller::Program) => mail.to_inbox.clone(),
    };
    if caller == Caller::Program && (is_human(&reader) || is_human(&mail.to_inbox)) {
        return Err(Error::new(
            Code::Forbidden,
            "only the person changes the status of mail to human; use the page (agenthub open)",
        ));
    }
    Ok(reader)
}

/// The body of `POST /api/inbox/{id}/claim`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimRequest {
    owner: String,
    lease_sec: f64,
}

/// `POST /api/inbox/{id}/claim`: claims an inbox message for `lease_sec` seconds, or extends the
/// owner's lease; 0 releases it. Returns the inbox message, or 409 if another owner holds it.
pub(crate) async fn claim(request: ApiRequest) -> Result<Response> {
    let (id, body): (_, ClaimRequest) = (request.id().to_owned(), request.json()?);
    if body.owner.trim().is_empty() {
        return Err(Error::new(
            Code::Invalid,
            "owner is empty; send the name of the agent that claims",
        ));
    }
    if is_human(&body.owner) && request.caller() == Caller::Program {
        return Err(Error::new(
            Code::Forbidden,
            "only the person claims as human; send the name of the agent that claims",
        ));
    }
    let lease = Duration::try_from_secs_f64(body.lease_sec)
        .map_err(|_| Error::new(Code::Invalid, "lease_sec must be a number of seconds, 0 or more"))?;
    let change = move |writer: &Writer| {
        let owner = composed(&body.owner);
        let owner = read_context(&owner);
        if lease.is_zero() {
            writer.release_mail(&id, owner)
        } else {
            writer.claim_mail(&id, lease, owner)
        }
    };
    Ok(response::ok(&request.server.hub().write(change).await?))
}

fn read_context(reader: &str) -> ReadContext<'_> {
    ReadContext {
        reader,
        via: VIA,
        now: now_ms(),
    }
}
