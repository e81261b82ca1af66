//! The HTTP API's changes of state: threads, mail, claims, and the receipts that tell.
//!
//! For: `PATCH` and what belongs to it. The bodies name only what they change.
//! Not for: reading and writing rows (`api`).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use warp::reply::Response;

use super::api::ok;
use super::routes::Call;
use crate::config::HUMAN;
use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
use crate::store::{InboxRow, ReadContext, ReceiptRow};

/// By which way receipts written here came.
const VIA: &str = "http";

/// The body of `PATCH /api/threads/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThreadBody {
    status: Option<String>,
    title: Option<String>,
}

/// `PATCH /api/threads/{id}`: status, title. Answers with the thread.
pub(super) async fn thread(call: Call) -> Result<Response> {
    let (id, body): (_, ThreadBody) = (call.id().to_owned(), call.json()?);
    if body.status.is_none() && body.title.is_none() {
        return Err(Error::new(Code::Invalid, "nothing to change; give status or title"));
    }
    let change =
        move |writer: &crate::store::Writer| writer.change_thread(&id, body.status.as_deref(), body.title.as_deref());
    Ok(ok(&call.server.hub().write(change).await?))
}

/// The body of `PATCH /api/inbox/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusBody {
    status: String,
}

/// `PATCH /api/inbox/{id}`: status. What the person makes read counts as seen by them.
/// Answers with the mail.
pub(super) async fn mail(call: Call) -> Result<Response> {
    let (id, body): (_, StatusBody) = (call.id().to_owned(), call.json()?);
    let change = move |writer: &crate::store::Writer| {
        let person = reading(HUMAN, now_ms());
        let mail = writer.set_mail_status(&id, &body.status, person)?;
        if mail.to_inbox == HUMAN && mail.status == "read" {
            writer.read_mail(&mail.message_id, person)?;
        }
        Ok(mail)
    };
    Ok(ok(&call.server.hub().write(change).await?))
}

/// The body of `POST /api/inbox/{id}/claim`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimBody {
    owner: String,
    lease_sec: f64,
}

/// `POST /api/inbox/{id}/claim`: takes the mail for `lease_sec` seconds, or for longer; 0
/// gives it back. Answers with the mail, or 409 if somebody else holds it.
pub(super) async fn claim(call: Call) -> Result<Response> {
    let (id, body): (_, ClaimBody) = (call.id().to_owned(), call.json()?);
    if body.owner.trim().is_empty() {
        return Err(Error::new(
            Code::Invalid,
            "the owner is empty; give the name of who works on it",
        ));
    }
    let lease = Duration::try_from_secs_f64(body.lease_sec)
        .map_err(|_| Error::new(Code::Invalid, "lease_sec is a number of seconds, 0 or more"))?;
    let change = move |writer: &crate::store::Writer| {
        let owner = reading(&body.owner, now_ms());
        if lease.is_zero() {
            writer.release_mail(&id, owner)
        } else {
            writer.claim_mail(&id, lease, owner)
        }
    };
    Ok(ok(&call.server.hub().write(change).await?))
}

/// The answer of `GET /api/inbox/{id}`.
#[derive(Serialize)]
struct MailWithReceipts {
    #[serde(flatten)]
    mail: InboxRow,
    receipts: Vec<ReceiptRow>,
}

/// `GET /api/inbox/{id}`: by `id`, `message_id` or number, with its receipts, oldest first.
pub(super) async fn receipts(call: Call) -> Result<Response> {
    let id = call.id().to_owned();
    let read = move |reader: &crate::store::Reader| {
        let mail = reader.require_mail(&id)?;
        let receipts = reader.receipts(&mail.message_id)?;
        Ok(MailWithReceipts { mail, receipts })
    };
    Ok(ok(&call.server.hub().read(read).await?))
}

fn reading(reader: &str, now: i64) -> ReadContext<'_> {
    ReadContext { reader, via: VIA, now }
}
