//! The HTTP API: JSON in, JSON out.
//!
//! For: reading what is in the file, and writing messages and mail.
//! Not for: the live stream (`ws`); who may ask (`auth`).
//!
//! Lists are `{"items":[…],"next":cursor or null}`; a cursor is given back under the name
//! the route documents. Errors are `{"error":{"code","message"}}`.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::json;
use warp::reply::Response;

use super::routes::Call;
use crate::config::{HUMAN, from_type};
use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
use crate::store::{InboxFilter, MailboxRow, NewInbox, NewMessage, Written};

/// Items in a list unless fewer or more are asked for.
const LIMIT: usize = 100;
/// Items in a list at most.
const MAX_LIMIT: usize = 1000;

/// Headers of every answer: nothing is guessed, nothing is framed, nothing is kept.
const SAFETY: [(HeaderName, HeaderValue); 3] = [
    (
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    ),
    (
        HeaderName::from_static("referrer-policy"),
        HeaderValue::from_static("no-referrer"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// An answer in JSON.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    harden(headers);
    response
}

/// Adds the headers every answer carries.
pub(super) fn harden(headers: &mut hyper::HeaderMap) {
    headers.extend(SAFETY);
}

/// An error as an answer.
pub(super) fn refusal(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.code().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(
        status,
        &json!({"error": {"code": error.code().name(), "message": error.message()}}),
    )
}

/// A thing as an answer.
pub(super) fn ok(body: &impl Serialize) -> Response {
    answer(StatusCode::OK, body)
}

/// A page of a list, and the cursor to the next one.
#[derive(Serialize)]
struct List<'a, T, C> {
    items: &'a [T],
    next: Option<C>,
}

pub(super) fn list<T: Serialize, C: Serialize>(items: &[T], next: Option<C>) -> Response {
    ok(&List { items, next })
}

/// The answer to a POST: 201 for what is new, 200 for what was there already.
pub(super) fn written<T: Serialize>(outcome: Written<T>) -> Response {
    match outcome {
        Written::Created(row) => answer(StatusCode::CREATED, &row),
        Written::Existed(row) => ok(&row),
    }
}

impl Call {
    pub(super) fn limit(&self) -> Result<usize> {
        match self.number("limit")? {
            None => Ok(LIMIT),
            Some(limit) => match usize::try_from(limit) {
                Ok(limit) if limit > 0 => Ok(limit.min(MAX_LIMIT)),
                _ => Err(Error::new(
                    Code::Invalid,
                    format!("limit is a number from 1 to {MAX_LIMIT}"),
                )),
            },
        }
    }

    /// As [`Call::limit`], for lists that are short as a rule: as long as may be unless asked
    /// otherwise.
    fn long_limit(&self) -> Result<usize> {
        if self.get("limit").is_none() {
            return Ok(MAX_LIMIT);
        }
        self.limit()
    }

    /// A cursor of two numbers.
    fn pair(&self, name: &str) -> Result<Option<(i64, i64)>> {
        let read = |text: &str| {
            let (a, b) = text.split_once('.')?;
            Some((a.parse().ok()?, b.parse().ok()?))
        };
        self.get(name)
            .map(|text| read(text).ok_or_else(|| no_cursor(name)))
            .transpose()
    }

    /// A cursor in the list of mailboxes: has it unread mail, when its newest came, its name.
    fn mailbox(&self, name: &str) -> Result<Option<MailboxRow>> {
        let read = |text: &str| {
            let mut parts = text.splitn(3, '.');
            Some(MailboxRow {
                unread: parts.next()?.parse().ok()?,
                newest_at: parts.next()?.parse().ok()?,
                inbox: parts.next()?.to_owned(),
                ..MailboxRow::default()
            })
        };
        self.get(name)
            .map(|text| read(text).ok_or_else(|| no_cursor(name)))
            .transpose()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    pub(super) fn json<T: for<'a> Deserialize<'a>>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|e| Error::new(Code::Invalid, format!("cannot read the body: {e}")))
    }
}

fn no_cursor(name: &str) -> Error {
    Error::new(
        Code::Invalid,
        format!("{name} is no cursor of this list; give back the next of its last page"),
    )
}

/// `GET /healthz`: the hub is alive, and which run of it. Says nothing about the file.
pub(super) async fn healthz(call: Call) -> Result<Response> {
    let run = super::lock(&call.server.run).clone();
    Ok(ok(
        &json!({"status": "ok", "run": run, "version": env!("CARGO_PKG_VERSION")}),
    ))
}

/// `GET /api/status`: everything a person wants to know about the hub.
pub(super) async fn status(call: Call) -> Result<Response> {
    let hub = call.server.hub();
    let (epoch, pos) = hub.head_text();
    let keeper = hub.store().maintenance_status();
    let trouble = hub.trouble().map(|trouble| json!(trouble));
    let trouble = trouble.or_else(|| keeper.trouble.as_ref().map(|trouble| json!(trouble)));
    let (rejected_counts, rejected) = hub.rejected();
    let read = hub.read(|reader| Ok((reader.file_status(), reader.counts()?))).await;
    let (db, counts) = match read {
        Ok((db, counts)) => (json!(db), json!(counts)),
        // What can be said without the file is said.
        Err(_) => (json!({"path": hub.store().path().display().to_string()}), json!(null)),
    };
    let wakes: serde_json::Map<String, serde_json::Value> = hub
        .wakes()
        .into_iter()
        .map(|(source, empty, hit)| (source.to_owned(), json!({"empty": empty, "hit": hit})))
        .collect();
    Ok(ok(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": trouble.as_ref().map_or(json!("ok"), |trouble| trouble["code"].clone()),
        "trouble": trouble,
        "epoch": *epoch,
        "pos": pos,
        "db": db,
        "counts": counts,
        "clients": call.server.connection_count(),
        "uptime_ms": u64::try_from(call.server.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "pid": std::process::id(),
        "watcher": {"using": hub.using(), "wakes": wakes},
        "degraded": hub.degraded(),
        "rejected": rejected,
        "rejected_counts": rejected_counts,
        "refused": call.server.refused.total(),
        "keeper": keeper,
        "limits": hub.limits(),
    })))
}

/// `GET /api/threads?limit&before`: by activity. A thread that moves while somebody pages does
/// not move the place where the list goes on.
pub(super) async fn threads(call: Call) -> Result<Response> {
    let (limit, before) = (call.limit()?, call.pair("before")?);
    let page = call
        .server
        .hub()
        .read(move |reader| reader.threads(before, limit))
        .await?;
    let next = page.next(|thread| format!("{}.{}", thread.updated_at, thread.n));
    Ok(list(&page.items, next))
}

/// `GET /api/threads/{id}`.
pub(super) async fn thread(call: Call) -> Result<Response> {
    let id = call.id().to_owned();
    Ok(ok(&call
        .server
        .hub()
        .read(move |reader| reader.require_thread(&id))
        .await?))
}

/// `GET /api/threads/{id}/messages?from_seq&before_seq&limit`: after `from_seq`, or the
/// last ones before `before_seq`; in order either way.
pub(super) async fn messages(call: Call) -> Result<Response> {
    let (id, limit) = (call.id().to_owned(), call.limit()?);
    if let Some(before) = call.number("before_seq")? {
        let page = call
            .server
            .hub()
            .read(move |reader| reader.messages_before(&id, before, limit))
            .await?;
        let next = page.messages.first().filter(|_| page.has_more).map(|m| m.message_seq);
        return Ok(list(&page.messages, next));
    }
    let from = call.number("from_seq")?.unwrap_or(0);
    let page = call
        .server
        .hub()
        .read(move |reader| reader.messages_after(&id, from, limit))
        .await?;
    let next = page.messages.last().filter(|_| page.has_more).map(|m| m.message_seq);
    Ok(list(&page.messages, next))
}

/// The body of `POST /api/threads/{id}/messages`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageBody {
    id: Option<String>,
    from_type: Option<String>,
    from_id: Option<String>,
    to_type: Option<String>,
    to_id: Option<String>,
    kind: Option<String>,
    subject: Option<String>,
    content: String,
    metadata_json: Option<String>,
    reply_to: Option<String>,
}

/// `POST /api/threads/{id}/messages`.
pub(super) async fn post_message(call: Call) -> Result<Response> {
    let body: MessageBody = call.json()?;
    let from_id = body.from_id.unwrap_or_else(|| HUMAN.to_owned());
    let new = NewMessage {
        id: body.id,
        thread_id: call.id().to_owned(),
        from_type: body.from_type.or_else(|| Some(from_type(&from_id).to_owned())),
        from_id,
        to_type: body.to_type,
        to_id: body.to_id,
        kind: body.kind,
        subject: body.subject,
        content: body.content,
        metadata_json: body.metadata_json,
        reply_to: body.reply_to,
    };
    call.server
        .hub()
        .write(move |writer| writer.post_message(&new))
        .await
        .map(written)
}

/// `GET /api/inboxes?limit&before`: the mailboxes that have mail, those with unread mail first.
pub(super) async fn mailboxes(call: Call) -> Result<Response> {
    let (limit, before) = (call.long_limit()?, call.mailbox("before")?);
    let page = call
        .server
        .hub()
        .read(move |reader| reader.mailboxes_page(before.as_ref(), limit))
        .await?;
    let next = page.next(|last| format!("{}.{}.{}", u8::from(last.unread > 0), last.newest_at, last.inbox));
    Ok(list(&page.items, next))
}

/// `GET /api/inbox?inbox&status&from&limit&before`: newest first; `before` is the cursor.
pub(super) async fn inbox(call: Call) -> Result<Response> {
    let filter = InboxFilter {
        inbox: call.text("inbox"),
        reader: None,
        status: call.text("status"),
        from: call.text("from"),
        before: call.number("before")?,
        after: None,
        now: now_ms(),
        limit: call.limit()?,
    };
    let page = call.server.hub().read(move |reader| reader.inbox_page(&filter)).await?;
    Ok(list(&page.items, page.next(|mail| mail.n)))
}

/// The body of `POST /api/inbox`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InboxBody {
    id: Option<String>,
    message_id: Option<String>,
    correlation_id: Option<String>,
    from_agent: Option<String>,
    to_inbox: String,
    message_type: Option<String>,
    title: Option<String>,
    #[serde(default)]
    payload: String,
    priority: Option<String>,
    expires_at: Option<i64>,
}

/// `POST /api/inbox`.
pub(super) async fn send(call: Call) -> Result<Response> {
    let body: InboxBody = call.json()?;
    let new = NewInbox {
        id: body.id,
        message_id: body.message_id,
        correlation_id: body.correlation_id,
        from_agent: body.from_agent.unwrap_or_else(|| HUMAN.to_owned()),
        to_inbox: body.to_inbox,
        message_type: body.message_type,
        title: body.title,
        payload: body.payload,
        priority: body.priority,
        expires_at: body.expires_at,
    };
    call.server
        .hub()
        .write(move |writer| writer.send(&new))
        .await
        .map(written)
}

/// `GET /api/agents?limit&before`: the last active first.
pub(super) async fn agents(call: Call) -> Result<Response> {
    let (limit, before) = (call.long_limit()?, call.pair("before")?);
    let page = call
        .server
        .hub()
        .read(move |reader| reader.agents_page(before, limit))
        .await?;
    let next = page.next(|agent| format!("{}.{}", agent.last_active_at, agent.n));
    Ok(list(&page.items, next))
}

/// `GET /api/telemetry?limit&before`: the newest totals of each instance.
pub(super) async fn telemetry(call: Call) -> Result<Response> {
    let (limit, before) = (call.limit()?, call.number("before")?);
    let page = call
        .server
        .hub()
        .read(move |reader| reader.telemetry(before, limit))
        .await?;
    Ok(list(&page.items, page.next(|totals| totals.id)))
}

/// `GET /api/tasks?limit&before`: one line a task, the last active first.
pub(super) async fn tasks(call: Call) -> Result<Response> {
    let (limit, before) = (call.limit()?, call.number("before")?);
    let page = call
        .server
        .hub()
        .read(move |reader| reader.tasks(before, limit))
        .await?;
    Ok(list(&page.items, page.next(|task| task.last_id)))
}

/// `GET /api/tasks/{id}/events?after&before&limit`: after an event, or the last ones
/// before one; in order either way.
pub(super) async fn task_events(call: Call) -> Result<Response> {
    let (id, limit) = (call.id().to_owned(), call.limit()?);
    if let Some(before) = call.number("before")? {
        let mut page = call
            .server
            .hub()
            .read(move |reader| reader.task_events_before(&id, before, limit))
            .await?;
        let next = page.next(|event| event.id);
        page.items.reverse();
        return Ok(list(&page.items, next));
    }
    let after = call.number("after")?.unwrap_or(0);
    let page = call
        .server
        .hub()
        .read(move |reader| reader.task_events_after(&id, after, limit))
        .await?;
    Ok(list(&page.items, page.next(|event| event.id)))
}
