//! `/api/agents` and `/api/repositories`: the agents that have written rows, their sessions, and the Git repositories
//! in which they work.

use std::collections::BTreeSet;

use serde::Serialize;
use warp::reply::Response;

use crate::error::{Code, Error, Result};
use crate::fs::repository::Repository;
use crate::integrations::registry;
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::store::{AgentRow, SessionRow};

/// Maximum number of sessions of an agent in a response.
const MAX_SESSIONS: usize = 50;
/// Maximum number of agents whose repositories are listed.
const MAX_WITH_REPOSITORY: usize = 200;

/// The response of `GET /api/agents/{id}`.
#[derive(Serialize)]
struct AgentDetails {
    #[serde(flatten)]
    agent: AgentRow,
    /// The Git repository of its working directory.
    repository: Option<Repository>,
    /// Its sessions, the one with the newest event first.
    sessions: Vec<Session>,
}

/// A session of an agent tool. What belongs to the process or the terminal is not part of it.
#[derive(Serialize)]
struct Session {
    id: String,
    /// The id of its task.
    task_id: String,
    /// The name of the tool, if agenthub knows it.
    tool: &'static str,
    started_at: Option<i64>,
    last_event_at: i64,
    /// `None` if it is open.
    ended_at: Option<i64>,
    permission_mode: String,
}

impl Session {
    fn new(row: SessionRow) -> Self {
        let tool = registry::ALL.iter().find(|tool| row.is_of(tool.id));
        Self {
            task_id: row.task().to_owned(),
            tool: tool.map_or("", |tool| tool.name),
            started_at: row.created_at,
            last_event_at: row.last_event_at,
            ended_at: row.ended_at,
            permission_mode: row.permission_mode,
            id: row.id,
        }
    }
}

/// The repository of a working directory.
#[derive(Serialize)]
struct WorkspaceRepository {
    workspace: String,
    #[serde(flatten)]
    repository: Repository,
}

/// `GET /api/agents?limit&before`: agents, the most recently active first.
pub(crate) async fn list(request: ApiRequest) -> Result<Response> {
    let (limit, before) = (request.limit_of_short_list()?, request.pair_cursor("before")?);
    let page = request
        .server
        .hub()
        .read(move |reader| {
            let mut page = reader.agents_page(before, limit)?;
            reader.hide_ambiguous_labels(&mut page.items)?;
            Ok(page)
        })
        .await?;
    let next = page.next(|agent| format!("{}.{}", agent.last_active_at, agent.n));
    Ok(response::list(&page.items, next))
}

/// `GET /api/agents/{id}`: one agent with its repository and its last sessions.
pub(crate) async fn get(request: ApiRequest) -> Result<Response> {
    let name = request.id().to_owned();
    let (agent, sessions) = request
        .server
        .hub()
        .read(move |reader| {
            let name = reader.stored_name(&name)?;
            let mut agent = reader.agent(&name)?;
            reader.hide_ambiguous_labels(&mut agent)?;
            Ok((agent, reader.last_sessions_of_agent(&name, MAX_SESSIONS)?))
        })
        .await?;
    let missing = || Error::new(Code::NotFound, "there is no such agent; GET /api/agents lists them");
    let agent = agent.ok_or_else(missing)?;
    let workspace = agent.workspace.clone();
    let repository = request.server.repositories.of(&[workspace]).await.into_values().next();
    let sessions = sessions.into_iter().map(Session::new).collect();
    Ok(response::ok(&AgentDetails {
        agent,
        repository,
        sessions,
    }))
}

/// `GET /api/repositories`: the Git repositories of the working directories of the agents that were active last.
pub(crate) async fn list_repositories(request: ApiRequest) -> Result<Response> {
    let page = request
        .server
        .hub()
        .read(|reader| reader.agents_page(None, MAX_WITH_REPOSITORY))
        .await?;
    let workspaces: BTreeSet<String> = page.items.into_iter().map(|agent| agent.workspace).collect();
    let workspaces: Vec<String> = workspaces.into_iter().filter(|path| !path.is_empty()).collect();
    let mut found: Vec<_> = request
        .server
        .repositories
        .of(&workspaces)
        .await
        .into_iter()
        .map(|(workspace, repository)| WorkspaceRepository { workspace, repository })
        .collect();
    found.sort_by(|a, b| a.workspace.cmp(&b.workspace));
    Ok(response::list(&found, None::<i64>))
}
