//! Who speaks in a call.
//!
//! For: what the environment says, and tools that say with each call whose it is, because their
//! sessions share a server.
//! Not for: arguments; a model could pretend there.

use rmcp::ErrorData;
use rmcp::handler::server::common::FromContextPart;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::model::JsonObject;
use serde_json::Value;

use super::Mcp;
use super::session::AgentSession;
use crate::config::session_agent;

/// Under this key Codex says with each call whose it is: `session_id` is that of its hooks,
/// and of a session's subagents too (openai/codex#15190, #21329).
const CODEX_TURN: &str = "x-codex-turn-metadata";
/// The thread of a call, in versions of Codex without a session there (openai/codex#18093).
/// Other clients may mean something else by it.
const CODEX_THREAD: &str = "threadId";

/// What is known of the speaker when the server starts, the stronger first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Speaker {
    /// The name it has been given.
    pub named: Option<String>,
    /// Whose program `agenthub run` has given the name to, if it was that.
    pub run_of: Option<String>,
    /// The session of the tool around the server.
    pub session: Option<String>,
    /// What to call it if nothing else is known, not even with a call.
    pub otherwise: String,
}

impl Speaker {
    /// The name, as far as it is known before any call.
    pub(super) fn known(&self) -> Option<&str> {
        self.named.as_deref().or(self.session.as_deref())
    }

    /// The name of whoever makes a call with this `_meta`. `client` is what the tool calls itself.
    fn of_call(&self, meta: &JsonObject, client: &str) -> String {
        let told = told(meta, client).map(|session| session_agent("codex", session));
        let is_anothers = told.is_some() && self.run_of.as_deref().is_some_and(|of| of != "codex");
        let named = self.named.clone().filter(|_| !is_anothers);
        named
            .or(told)
            .or_else(|| self.session.clone())
            .unwrap_or_else(|| self.otherwise.clone())
    }
}

/// The session of Codex that a call is of.
fn told<'a>(meta: &'a JsonObject, client: &str) -> Option<&'a str> {
    let thread = || meta.get(CODEX_THREAD).filter(|_| client.starts_with("codex"));
    let session = meta.get(CODEX_TURN).and_then(|turn| turn.get("session_id"));
    session
        .or_else(thread)
        .and_then(Value::as_str)
        .filter(|session| !session.is_empty())
}

impl FromContextPart<ToolCallContext<'_, Mcp>> for AgentSession {
    fn from_context_part(context: &mut ToolCallContext<'_, Mcp>) -> Result<Self, ErrorData> {
        let request = &context.request_context;
        let client = request.client_info().map(|client| client.name).unwrap_or_default();
        let me = context.service.speaker.of_call(&request.meta.0.0, &client);
        Ok(Self::of(&context.service.database, me))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_of_codex_says_whose_it_is_unless_there_is_a_name() {
        let session = "019ab3c4-0001-7d50-8000-00000000000a";
        let turn = json!({"x-codex-turn-metadata": {"session_id": session}, "threadId": "of a subagent"});
        let thread = json!({"threadId": session});
        let around = Speaker {
            session: Some("claude-12345678".to_owned()),
            otherwise: "agent-1".to_owned(),
            ..Speaker::default()
        };
        let nobody = Speaker {
            session: None,
            ..around.clone()
        };
        let named = Speaker {
            named: Some("planner".to_owned()),
            ..around.clone()
        };
        let run = |of: &str| Speaker {
            run_of: Some(of.to_owned()),
            ..named.clone()
        };
        for (speaker, meta, client, name) in [
            (&nobody, &turn, "any", "codex-0000000a"),
            (&nobody, &thread, "codex-mcp-client", "codex-0000000a"),
            (&nobody, &thread, "another", "agent-1"),
            (&nobody, &json!({}), "codex-mcp-client", "agent-1"),
            (
                &nobody,
                &json!({"threadId": 5, "x-codex-turn-metadata": []}),
                "codex-mcp-client",
                "agent-1",
            ),
            (&nobody, &json!({"threadId": ""}), "codex-mcp-client", "agent-1"),
            (&around, &turn, "any", "codex-0000000a"),
            (&around, &thread, "another", "claude-12345678"),
            (&named, &turn, "codex-mcp-client", "planner"),
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
        assert_eq!(
            (nobody.known(), around.known(), named.known()),
            (None, Some("claude-12345678"), Some("planner"))
        );
    }
}
