//! Determines which agent makes an MCP call: from the environment, from the session in the call's
//! `_meta` for tools whose sessions share one server, or from the tool that has started the server. An argument
//! of the call is never used, because a model could get it wrong or forge it.

use rmcp::ErrorData;
use rmcp::handler::server::common::FromContextPart;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::model::JsonObject;

use super::Mcp;
use super::session::{AgentSession, Database};
use crate::integrations::session_agent::{self, CallingSession};
use crate::integrations::spec::Integration;
use crate::integrations::{identity, registry};

/// The agent as far as the environment names it. Earlier fields take precedence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Speaker {
    /// The name assigned to the process.
    pub assigned: Option<String>,
    /// The id of the tool for which `agenthub run` has set that name.
    pub recorded_tool: Option<String>,
    /// The task that `agenthub run` records.
    pub recorded_task: Option<String>,
    /// The name if neither the environment nor a session names an agent.
    pub fallback: String,
}

impl Speaker {
    /// Returns the agent that makes a call with this `_meta`, and the task to which its status belongs: the one that
    /// `agenthub run` records, or else the one that the tool's hooks record. `client` is the name that the tool has
    /// given to the server. Sessions are looked up for each call: the tool may have begun another one since the last.
    fn of_call(&self, meta: &JsonObject, client: &str, database: &Database) -> CallingSession {
        let call = session_of_call(meta, client);
        let found = database.read(|reader| match &call {
            Some((tool, session)) => session_agent::of_session(reader, tool, session).map(Some),
            None => identity::calling_session(reader),
        });
        // If the database cannot be read, the call itself reports it.
        let session = found.ok().flatten();
        let session = session
            .or_else(|| {
                call.as_ref()
                    .map(|(tool, session)| CallingSession::unrecorded(tool, session))
            })
            .unwrap_or_else(|| CallingSession {
                agent: self.fallback.clone(),
                task: None,
            });
        if !self.applies_to(call.as_ref()) {
            return session;
        }
        CallingSession {
            agent: self.assigned.clone().unwrap_or(session.agent),
            task: self.recorded_task.clone().or(session.task),
        }
    }

    /// Returns whether the variables of `agenthub run` apply to a call: its session is not one of another tool.
    fn applies_to(&self, call: Option<&(&'static Integration, String)>) -> bool {
        match (call, &self.recorded_tool) {
            (Some((tool, _)), Some(recorded)) => tool.id == *recorded,
            _ => true,
        }
    }
}

/// Returns the session in a call's `_meta`, and its tool.
fn session_of_call(meta: &JsonObject, client: &str) -> Option<(&'static Integration, String)> {
    registry::ALL.iter().find_map(|tool| {
        let session = (tool.session_of_mcp_call?)(meta, client)?;
        Some((*tool, session))
    })
}

impl FromContextPart<ToolCallContext<'_, Mcp>> for AgentSession {
    fn from_context_part(context: &mut ToolCallContext<'_, Mcp>) -> Result<Self, ErrorData> {
        let request = &context.request_context;
        let client = request.client_info().map(|client| client.name).unwrap_or_default();
        let (speaker, database) = (&context.service.speaker, &context.service.database);
        let caller = tokio::task::block_in_place(|| speaker.of_call(&request.meta.0.0, &client, database));
        Ok(Self::of(database, caller.agent).in_task(caller.task))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::{AgentState, NetworkFs};

    #[test]
    fn call_names_its_session_unless_the_agent_was_given_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::new(folder.path().join("hub.db"), NetworkFs::Allow, AgentState::default());
        database.open().unwrap();
        let session = "019ab3c4-0001-7d50-8000-00000000000a";
        let turn = json!({"x-codex-turn-metadata": {"session_id": session}, "threadId": "of a subagent"});
        let thread = json!({"threadId": session});
        let unknown = Speaker {
            fallback: "agent-1".to_owned(),
            ..Speaker::default()
        };
        let assigned = Speaker {
            assigned: Some("planner".to_owned()),
            ..unknown.clone()
        };
        let run = |tool: &str| Speaker {
            recorded_tool: Some(tool.to_owned()),
            recorded_task: Some("run-1".to_owned()),
            ..assigned.clone()
        };
        let task = format!("codex-{session}");
        let task = Some(task.as_str());
        for (speaker, meta, client, expected) in [
            (&unknown, &turn, "any", ("codex-0000000a", task)),
            (&unknown, &thread, "codex-mcp-client", ("codex-0000000a", task)),
            (&assigned, &turn, "codex-mcp-client", ("planner", task)),
            (&run("codex"), &turn, "codex-mcp-client", ("planner", Some("run-1"))),
            (&run("claude"), &turn, "codex-mcp-client", ("codex-0000000a", task)),
            (&run("claude"), &json!({}), "claude", ("planner", Some("run-1"))),
        ] {
            let caller = speaker.of_call(meta.as_object().unwrap(), client, &database);
            assert_eq!(
                (caller.agent.as_str(), caller.task.as_deref()),
                expected,
                "{meta} {client}"
            );
        }
        for (meta, client) in [
            (&thread, "another"),
            (&json!({}), "codex-mcp-client"),
            (&json!({"threadId": 5, "x-codex-turn-metadata": []}), "codex-mcp-client"),
            (&json!({"threadId": ""}), "codex-mcp-client"),
        ] {
            let session = session_of_call(meta.as_object().unwrap(), client);
            assert_eq!(session, None, "{meta} {client}");
        }
    }
}
