//! Determines which agent makes an MCP call: from the environment, or from the session in the call's
//! `_meta` for tools whose sessions share one server. An argument of the call is never used, because a
//! model could get it wrong or forge it.

use rmcp::ErrorData;
use rmcp::handler::server::common::FromContextPart;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::model::JsonObject;

use super::Mcp;
use super::session::AgentSession;
use crate::integrations::spec::Integration;
use crate::integrations::{agent_name, identity, registry};

/// The agent as far as it is known when the server starts. Earlier fields take precedence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Speaker {
    /// The name assigned to the process.
    pub assigned: Option<String>,
    /// The id of the tool for which `agenthub run` has set that name.
    pub recorded_tool: Option<String>,
    /// The default agent name of the session that has started the server.
    pub session: Option<String>,
    /// The task that `agenthub run` records.
    pub recorded_task: Option<String>,
    /// The task of the session that has started the server.
    pub session_task: Option<String>,
    /// The name if neither the environment nor the call names an agent.
    pub fallback: String,
}

impl Speaker {
    /// Returns the name, if it is known before any call.
    pub(super) fn known(&self) -> Option<&str> {
        self.assigned.as_deref().or(self.session.as_deref())
    }

    /// Returns the agent that makes a call with this `_meta`. `client` is the name that the tool has
    /// given to the server.
    fn of_call(&self, meta: &JsonObject, client: &str) -> String {
        let call = session_of_call(meta, client);
        self.assigned
            .clone()
            .filter(|_| self.applies_to(call.as_ref()))
            .or(call.map(|(tool, session)| agent_name::of_session(tool.id, &session)))
            .or_else(|| self.session.clone())
            .unwrap_or_else(|| self.fallback.clone())
    }

    /// Returns the task of the session that makes a call: the one that `agenthub run` records, or else the one
    /// that the tool's hooks record.
    fn task_of_caller(&self, meta: &JsonObject, client: &str) -> Option<String> {
        let call = session_of_call(meta, client);
        self.recorded_task
            .clone()
            .filter(|_| self.applies_to(call.as_ref()))
            .or(call.map(|(tool, session)| identity::task_of_session(tool, &session)))
            .or_else(|| self.session_task.clone())
    }

    /// Returns whether the variables of `agenthub run` apply to a call: its session is not one of another tool.
    fn applies_to(&self, call: Option<&(&'static Integration, String)>) -> bool {
        match (call, &self.recorded_tool) {
            (Some((tool, _)), Some(recorded)) => tool.id == recorded,
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
        let speaker = &context.service.speaker;
        let meta = &request.meta.0.0;
        let agent = speaker.of_call(meta, &client);
        let task = speaker.task_of_caller(meta, &client);
        Ok(Self::of(&context.service.database, agent).in_task(task))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn call_names_its_session_unless_the_agent_was_given_a_name() {
        let session = "019ab3c4-0001-7d50-8000-00000000000a";
        let turn = json!({"x-codex-turn-metadata": {"session_id": session}, "threadId": "of a subagent"});
        let thread = json!({"threadId": session});
        let around = Speaker {
            session: Some("claude-12345678".to_owned()),
            fallback: "agent-1".to_owned(),
            ..Speaker::default()
        };
        let unknown = Speaker {
            session: None,
            ..around.clone()
        };
        let assigned = Speaker {
            assigned: Some("planner".to_owned()),
            ..around.clone()
        };
        let run = |tool: &str| Speaker {
            recorded_tool: Some(tool.to_owned()),
            ..assigned.clone()
        };
        for (speaker, meta, client, name) in [
            (&unknown, &turn, "any", "codex-0000000a"),
            (&unknown, &thread, "codex-mcp-client", "codex-0000000a"),
            (&unknown, &thread, "another", "agent-1"),
            (&unknown, &json!({}), "codex-mcp-client", "agent-1"),
            (
                &unknown,
                &json!({"threadId": 5, "x-codex-turn-metadata": []}),
                "codex-mcp-client",
                "agent-1",
            ),
            (&unknown, &json!({"threadId": ""}), "codex-mcp-client", "agent-1"),
            (&around, &turn, "any", "codex-0000000a"),
            (&around, &thread, "another", "claude-12345678"),
            (&assigned, &turn, "codex-mcp-client", "planner"),
            (&run("codex"), &turn, "codex-mcp-client", "planner"),
            (&run("claude"), &turn, "codex-mcp-client", "codex-0000000a"),
            (&run("claude"), &json!({}), "claude", "planner"),
        ] {
            assert_eq!(
                speaker.of_call(meta.as_object().unwrap(), client),
                name,
                "{meta} {client}"
            );
        }
        // The task of the same calls.
        let recorded = |tool: &str| Speaker {
            recorded_task: Some("run-1".to_owned()),
            ..run(tool)
        };
        let within = Speaker {
            session_task: Some("claude-12345678-abcd".to_owned()),
            ..around.clone()
        };
        let of_call = format!("codex-{session}");
        for (speaker, meta, task) in [
            (&unknown, &json!({}), None),
            (&unknown, &turn, Some(of_call.as_str())),
            (&assigned, &thread, Some(&of_call)),
            (&within, &json!({}), Some("claude-12345678-abcd")),
            (&within, &turn, Some(&of_call)),
            (&recorded("codex"), &turn, Some("run-1")),
            (&recorded("claude"), &json!({}), Some("run-1")),
            (&recorded("claude"), &turn, Some(&of_call)),
        ] {
            let found = speaker.task_of_caller(meta.as_object().unwrap(), "codex-mcp-client");
            assert_eq!(found.as_deref(), task, "{meta}");
        }
        assert_eq!(
            (unknown.known(), around.known(), assigned.known()),
            (None, Some("claude-12345678"), Some("planner"))
        );
    }
}
