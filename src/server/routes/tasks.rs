//! `/api/tasks`: tasks and their events.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Serialize;
use serde_json::json;
use warp::reply::Response;

use crate::config::composed;
use crate::error::{Code, Error, Result};
use crate::integrations::edited_files::{edited_files, is_edit};
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::store::NewTaskEvent;

/// Maximum size of the inputs of the calls that are read for it, in bytes.
const MAX_INPUTS: usize = 2 << 20;
/// Number of the newest events of a task in which edits are looked for.
const MAX_EVENTS: usize = 5000;
/// Maximum number of files in a response.
const MAX_FILES: usize = 200;

/// A file that a task has edited.
#[derive(Serialize)]
struct EditedFile {
    /// As the tool call names it: absolute, or below the task's working directory.
    path: String,
    /// Number of calls that have edited it.
    edits: u64,
    /// Time of the last one, Unix milliseconds.
    last_at: i64,
}

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

/// `GET /api/tasks/{id}/files`: the files that tool calls among the last events have edited, the last edited first.
pub(crate) async fn list_files(request: ApiRequest) -> Result<Response> {
    let id = request.id().to_owned();
    let (files, has_more) = request
        .server
        .hub()
        .read(move |reader| {
            // The calls are visited newest first, so files are listed in the order of their last edit.
            let mut files: Vec<EditedFile> = Vec::new();
            let mut indexes: HashMap<String, usize> = HashMap::new();
            let mut is_full = false;
            let mut count = |path: String, at: i64| match indexes.entry(path) {
                Entry::Occupied(known) => files[*known.get()].edits += 1,
                Entry::Vacant(_) if files.len() == MAX_FILES => is_full = true,
                Entry::Vacant(new) => {
                    files.push(EditedFile {
                        path: new.key().clone(),
                        edits: 1,
                        last_at: at,
                    });
                    new.insert(files.len() - 1);
                }
            };
            let has_older = reader.visit_tool_calls(&id, (MAX_EVENTS, MAX_INPUTS), |call| {
                if is_edit(call.name) {
                    for path in edited_files(call.input) {
                        count(path, call.at);
                    }
                }
            })?;
            Ok((files, is_full || has_older))
        })
        .await?;
    Ok(response::ok(&json!({"items": files, "has_more": has_more})))
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
