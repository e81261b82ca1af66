//! What agents report over HTTP instead of in SQL.
//!
//! For: making a thread, telemetry, and events of a task.
//! Not for: messages and mail (`api`). A row written here is seen like any other.

use hyper::StatusCode;
use serde::Deserialize;
use warp::reply::Response;

use super::api::{answer, written};
use super::routes::Call;
use crate::config::{HUMAN, from_type};
use crate::error::Result;
use crate::store::{NewTask, NewTelemetry, NewThread};

/// The body of `POST /api/threads`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThreadBody {
    id: String,
    title: Option<String>,
    created_by_type: Option<String>,
    created_by_id: Option<String>,
    context_json: Option<String>,
}

/// `POST /api/threads`.
pub(super) async fn create_thread(call: Call) -> Result<Response> {
    let body: ThreadBody = call.json()?;
    let by = body.created_by_id.unwrap_or_else(|| HUMAN.to_owned());
    let new = NewThread {
        id: body.id,
        title: body.title,
        created_by_type: body.created_by_type.or_else(|| Some(from_type(&by).to_owned())),
        created_by_id: Some(by),
        context_json: body.context_json,
    };
    call.server
        .hub()
        .write(move |writer| writer.create_thread(&new))
        .await
        .map(written)
}

/// The body of `POST /api/telemetry`: running totals of an instance.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TelemetryBody {
    instance_id: String,
    pid: Option<i64>,
    turns: Option<i64>,
    tokens_in: Option<i64>,
    tokens_out: Option<i64>,
    cost: Option<f64>,
    status: Option<String>,
    duration_sec: Option<i64>,
    agent_id: Option<String>,
    model: Option<String>,
    tokens_cached: Option<i64>,
    cost_source: Option<String>,
}

/// `POST /api/telemetry`. Every report is a row of its own.
pub(super) async fn report(call: Call) -> Result<Response> {
    let body: TelemetryBody = call.json()?;
    let new = NewTelemetry {
        instance_id: body.instance_id,
        pid: body.pid,
        turns: body.turns,
        tokens_in: body.tokens_in,
        tokens_out: body.tokens_out,
        cost: body.cost,
        status: body.status,
        duration_sec: body.duration_sec,
        agent_id: body.agent_id,
        model: body.model,
        tokens_cached: body.tokens_cached,
        cost_source: body.cost_source,
    };
    let row = call
        .server
        .hub()
        .write(move |writer| writer.record_telemetry(&new))
        .await?;
    Ok(answer(StatusCode::CREATED, &row))
}

/// The body of `POST /api/tasks/{id}/events`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TaskBody {
    stream_type: String,
    thread_id: String,
    turn_num: i64,
    text: String,
    tool_name: String,
    tool_input: String,
    tool_output: String,
    error_msg: String,
    status: String,
    tokens_in: i64,
    tokens_out: i64,
    cost: f64,
    duration_sec: i64,
    workspace: String,
    directive: String,
    directive_full: String,
    agent_id: String,
    source_type: String,
    call_id: String,
    parent_call_id: String,
    model: String,
}

/// `POST /api/tasks/{id}/events`. Every event is a row of its own.
pub(super) async fn task_event(call: Call) -> Result<Response> {
    let body: TaskBody = call.json()?;
    let new = NewTask {
        task_id: call.id().to_owned(),
        stream_type: body.stream_type.into(),
        thread_id: body.thread_id,
        turn_num: body.turn_num,
        text: body.text,
        tool_name: body.tool_name,
        tool_input: body.tool_input,
        tool_output: body.tool_output,
        error_msg: body.error_msg,
        status: body.status,
        tokens_in: body.tokens_in,
        tokens_out: body.tokens_out,
        cost: body.cost,
        duration_sec: body.duration_sec,
        workspace: body.workspace,
        directive: body.directive,
        directive_full: body.directive_full,
        agent_id: body.agent_id,
        source_type: body.source_type,
        call_id: body.call_id,
        parent_call_id: body.parent_call_id,
        model: body.model,
        ..NewTask::default()
    };
    let row = call
        .server
        .hub()
        .write(move |writer| writer.record_task_event(&new))
        .await?;
    Ok(answer(StatusCode::CREATED, &row))
}
