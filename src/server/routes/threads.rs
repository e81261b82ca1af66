//! `/api/threads`: threads and their messages.

use serde::Deserialize;
use warp::reply::Response;

use crate::config::{composed, from_type};
use crate::error::{Code, Error, Result};
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::store::{NewMessage, NewThread, Writer};

/// `GET /api/threads?limit&before`: threads, the most recently active first. The cursor stays valid
/// when a thread moves to the front between two pages.
pub(crate) async fn list(request: ApiRequest) -> Result<Response> {
    let (limit, before) = (request.limit()?, request.pair_cursor("before")?);
    let page = request
        .server
        .hub()
        .read(move |reader| reader.threads(before, limit))
        .await?;
    let next = page.next(|thread| format!("{}.{}", thread.updated_at, thread.n));
    Ok(response::list(&page.items, next))
}

/// `POST /api/threads`: creates a thread. Without `created_by_id`, the creator is the person.
pub(crate) async fn create(request: ApiRequest) -> Result<Response> {
    let mut new: NewThread = request.json()?;
    new.id = composed(&new.id);
    let creator = new.created_by_id.get_or_insert_default();
    request.author("created_by_id", creator)?;
    let creator_type = from_type(creator).to_owned();
    new.created_by_type.get_or_insert(creator_type);
    request
        .server
        .hub()
        .write(move |writer| writer.create_thread(&new))
        .await
        .map(response::written)
}

/// `GET /api/threads/{id}`.
pub(crate) async fn get(request: ApiRequest) -> Result<Response> {
    let id = request.id().to_owned();
    let thread = request
        .server
        .hub()
        .read(move |reader| reader.require_thread(&reader.stored_name(&id)?))
        .await?;
    Ok(response::ok(&thread))
}

/// The body of `PATCH /api/threads/{id}`. Absent fields stay unchanged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThreadUpdate {
    status: Option<String>,
    title: Option<String>,
}

/// `PATCH /api/threads/{id}`: changes the status, the title or both. Returns the thread.
pub(crate) async fn update(request: ApiRequest) -> Result<Response> {
    let (id, body): (_, ThreadUpdate) = (request.id().to_owned(), request.json()?);
    if body.status.is_none() && body.title.is_none() {
        return Err(Error::new(Code::Invalid, "nothing to change; send status or title"));
    }
    let change = move |writer: &Writer| {
        writer.change_thread(&writer.stored_name(&id)?, body.status.as_deref(), body.title.as_deref())
    };
    Ok(response::ok(&request.server.hub().write(change).await?))
}

/// `GET /api/threads/{id}/messages?from_seq&before_seq&limit`: the first messages after `from_seq`,
/// or the last ones before `before_seq`, in ascending order in both cases.
pub(crate) async fn list_messages(request: ApiRequest) -> Result<Response> {
    let (id, limit) = (request.id().to_owned(), request.limit()?);
    if let Some(before) = request.number("before_seq")? {
        let page = request
            .server
            .hub()
            .read(move |reader| reader.messages_before(&reader.stored_name(&id)?, before, limit))
            .await?;
        let next = page
            .messages
            .first()
            .filter(|_| page.has_more)
            .map(|message| message.message_seq);
        return Ok(response::list(&page.messages, next));
    }
    let from = request.number("from_seq")?.unwrap_or(0);
    let page = request
        .server
        .hub()
        .read(move |reader| reader.messages_after(&reader.stored_name(&id)?, from, limit))
        .await?;
    let next = page
        .messages
        .last()
        .filter(|_| page.has_more)
        .map(|message| message.message_seq);
    Ok(response::list(&page.messages, next))
}

/// `POST /api/threads/{id}/messages`: writes a message. Without `from_id`, the sender is the person.
pub(crate) async fn post_message(request: ApiRequest) -> Result<Response> {
    let mut new: NewMessage = request.json()?;
    let thread_id = request.id().to_owned();
    new.to_id = new.to_id.as_deref().map(composed);
    new.author = request.author("from_id", &mut new.from_id)?;
    new.from_type.get_or_insert_with(|| from_type(&new.from_id).to_owned());
    request
        .server
        .hub()
        .write(move |writer| {
            new.thread_id = writer.stored_name(&thread_id)?;
            writer.post_message(&new)
        })
        .await
        .map(response::written)
}
