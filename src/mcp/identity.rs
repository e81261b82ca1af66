//! Determines which agent makes an MCP call: from the environment, from the session in the call's
//! `_meta` for tools whose sessions share one server, or from the tool that has started the server. An argument of the call is never used, because a
//! model could get it wrong or forge it.

use rmcp::ErrorData;
use rmcp::handler::server::common::FromContextPart;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::model::JsonObject;

use super::Mcp;
use super::session::{AgentSession, Database};
use crate::integrations::spec::Integration;
use crate::integrations::{agent_name, identity, registry, session_agent};

/// The agent as far as the environment names it. Earlier fields take precedence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Speaker {
    /// The name assigned to the process.
    pub assigned: Option<String>,
    /// The id of the tool for which `agenthub run` has set that name.
    pub recorded_tool: Option<String>,
    /// The name if neither the environment nor a session names an agent.
    pub fallback: String,
}

impl Speaker {
    /// Returns the agent that makes a call with this `_meta`. `client` is the name that the tool has given to the
    /// server. Sessions are looked up for each call: the tool may have begun another one since the last.
    fn of_call(&self, meta: &JsonObject, client: &str, database: &Database) -> String {
        let call = session_of_call(meta, client);
        let is_of_another_tool = match (&call, &self.recorded_tool) {
            (Some((tool, _)), Some(recorded)) => tool.id != recorded,
            _ => false,
        };
        if let Some(assigned) = self.assigned.as_ref().filter(|_| !is_of_another_tool) {
            return assigned.clone();
        }
        tokio::task::block_in_place(|| self.look_up(call.as_ref(), database))
    }

    /// Looks up the session that makes a call: the one that the call names, or that of the tool. Blocks.
    fn look_up(&self, call: Option<&(&'static Integration, String)>, database: &Database) -> String {
        let agent = database.read(|reader| match call {
            Some((tool, session)) => session_agent::of_session(reader, tool, session).map(Some),
            None => identity::session_name(reader),
        });
        // If the database cannot be read, the call itself reports it.
        let agent = agent.ok().flatten();
        agent
            .or_else(|| call.map(|(tool, session)| agent_name::of_session(tool.id, session)))
            .unwrap_or_else(|| self.fallback.clone())
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
        let agent = speaker.of_call(&request.meta.0.0, &client, database);
        Ok(Self::of(database, agent))
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
            ..assigned.clone()
        };
        for (speaker, meta, client, name) in [
            (&unknown, &turn, "any", "codex-0000000a"),
            (&unknown, &thread, "codex-mcp-client", "codex-0000000a"),
            (&assigned, &turn, "codex-mcp-client", "planner"),
            (&run("codex"), &turn, "codex-mcp-client", "planner"),
            (&run("claude"), &turn, "codex-mcp-client", "codex-0000000a"),
            (&run("claude"), &json!({}), "claude", "planner"),
        ] {
            assert_eq!(
                speaker.of_call(meta.as_object().unwrap(), client, &database),
                name,
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
