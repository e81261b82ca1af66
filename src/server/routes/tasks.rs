//! `/api/tasks`: tasks and their events.

use warp::reply::Response;

use crate::config::composed;
use crate::error::{Code, Error, Result};
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::store::NewTaskEvent;

/// `GET /api/tasks?limit&before`: one summary per task, the most recently active first.
pub(crate) async fn list(request: ApiRequest) -> Result<Response> {
    let (limit, before) = (request.limit()?, request.number("before")?);
    let page = request
        .server
        .hub()
        .read(move |reader| reader.tasks(before, limit))
        .await?;
    Ok(response::list(&page.items, page.next(|task| task.last_id)))
}

/// `GET /api/tasks/{id}`: the summary of one task.
pub(crate) async fn get(request: ApiRequest) -> Result<Response> {
    let id = request.id().to_owned();
    let task = request.server.hub().read(move |reader| reader.task(&id)).await?;
    let missing = || Error::new(Code::NotFound, "there is no such task; GET /api/tasks lists them");
    Ok(response::ok(&task.ok_or_else(missing)?))
}

/// `GET /api/tasks/{id}/events?after&before&limit`: the first events after `after`, or the last ones
/// before `before`, in ascending order in both cases.
pub(crate) async fn list_events(request: ApiRequest) -> Result<Response> {
    let (id, limit) = (request.id().to_owned(), request.limit()?);
    if let Some(before) = request.number("before")? {
        let mut page = request
            .server
            .hub()
            .read(move |reader| reader.task_events_before(&id, before, limit))
            .await?;
        let next = page.next(|event| event.id);
        page.items.reverse();
        return Ok(response::list(&page.items, next));
    }
    let after = request.number("after")?.unwrap_or(0);
    let page = request
        .server
        .hub()
        .read(move |reader| reader.task_events_after(&id, after, limit))
        .await?;
    Ok(response::list(&page.items, page.next(|event| event.id)))
}

/// `POST /api/tasks/{id}/events`: writes one event.
pub(crate) async fn add_event(request: ApiRequest) -> Result<Response> {
    let mut new: NewTaskEvent = request.json()?;
    request.id().clone_into(&mut new.task_id);
    new.agent_id = composed(&new.agent_id);
    new.thread_id = composed(&new.thread_id);
    let row = request
        .server
        .hub()
        .write(move |writer| writer.record_task_event(&new))
        .await?;
    Ok(response::created(&row))
}
