//! `agenthub mcp`: the MCP server on stdio.

use std::time::Duration;

use anyhow::Result;

use super::File;
use crate::config::HUMAN;
use crate::error::{Code, Error};
use crate::integrations::identity;
use crate::mcp::{self, Speaker};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Agents' tools start this themselves, for example:\n  \
    claude mcp add agenthub --scope user -- agenthub mcp\n  \
    codex mcp add agenthub -- agenthub mcp\n\
    Who speaks is $AGENTHUB_AGENT, or the session of the agent's tool (Codex says it with each call), or agent-PID.")]
pub(super) struct Args {}

pub(super) fn run(file: &File, _: &Args) -> Result<()> {
    let speaker = Speaker {
        assigned: identity::assigned_name(),
        recorded_tool: identity::recorded_tool(),
        session: identity::session_name(),
        // The same as long as the tool that started this runs.
        fallback: format!("agent-{}", std::os::unix::process::parent_id()),
    };
    if speaker.assigned.as_deref() == Some(HUMAN) {
        let message = "AGENTHUB_AGENT is human, which is the person; give the agent a name of its own";
        return Err(Error::new(Code::Usage, message).into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(mcp::serve(file.path()?, file.network_fs(), speaker));
    // stdin is read by a thread that cannot be woken.
    runtime.shutdown_timeout(Duration::ZERO);
    Ok(outcome?)
}
