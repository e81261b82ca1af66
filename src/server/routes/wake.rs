//! `/api/wake` and `/api/agents/{id}/wake`: which agents mail can wake, and waking one for the person.

use serde::Serialize;
use serde_json::json;
use warp::reply::Response;

use crate::error::{Code, Error, Result};
use crate::integrations::wake::{self, Decision, MAX_AN_HOUR, MAX_IN_CHAIN, MIN_PAUSE, Request};
use crate::protocol::now_ms;
use crate::server::request::ApiRequest;
use crate::server::{response, waking};

/// The response of `GET /api/wake`.
#[derive(Serialize)]
struct State {
    /// The mode of agents without one: all, important or off.
    default: &'static str,
    limits: Limits,
    /// The agents with an open session of a tool.
    agents: Vec<AgentState>,
}

#[derive(Serialize)]
struct Limits {
    an_hour: usize,
    in_a_chain: usize,
    pause_ms: i64,
}

#[derive(Serialize)]
struct AgentState {
    agent: String,
    mode: &'static str,
    can_be_woken: bool,
    woken_in_last_hour: usize,
    /// A word for why it is not woken at this moment, and a sentence; both are empty if it is.
    obstacle: &'static str,
    reason: String,
}

/// `GET /api/wake`: the setting, the limits, and the agents with an open session.
pub(crate) async fn state(request: ApiRequest) -> Result<Response> {
    let state = request
        .server
        .hub()
        .read(|reader| {
            let rules = reader.wake_rules()?;
            let mut agents = Vec::new();
            for agent in reader.agents_with_open_session()? {
                let Some(state) = wake::describe(reader, &agent, now_ms())? else {
                    continue;
                };
                let obstacle = state.obstacle.as_ref();
                agents.push(AgentState {
                    mode: rules.mode(&agent).as_str(),
                    can_be_woken: state.can_be_woken,
                    woken_in_last_hour: state.woken_in_last_hour,
                    obstacle: obstacle.map_or("", wake::Obstacle::word),
                    reason: obstacle.map_or_else(String::new, ToString::to_string),
                    agent,
                });
            }
            Ok(State {
                default: rules.default.as_str(),
                limits: Limits {
                    an_hour: MAX_AN_HOUR,
                    in_a_chain: MAX_IN_CHAIN,
                    pause_ms: MIN_PAUSE,
                },
                agents,
            })
        })
        .await?;
    Ok(response::ok(&state))
}

/// `POST /api/agents/{id}/wake`: wakes an agent for the mail that waits, outside the limits.
pub(crate) async fn wake(request: ApiRequest) -> Result<Response> {
    let (hub, name) = (request.server.hub(), request.id().to_owned());
    let agent = hub.read(move |reader| reader.stored_name(&name)).await?;
    match waking::wake_agent(hub, &agent, Request::Person).await? {
        Ok(()) => Ok(response::ok(&json!({"agent": agent, "state": "begun"}))),
        Err(Decision::Later(obstacle) | Decision::No(obstacle)) => {
            Err(Error::new(Code::Conflict, format!("{agent} is not woken: {obstacle}")))
        }
        Err(Decision::Wake(_)) => Err(Error::new(Code::Internal, "a decision was not carried out")),
    }
}
