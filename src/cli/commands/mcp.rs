//! `agenthub mcp`: runs an MCP server on stdio.

use std::time::Duration;

use anyhow::Result;

use crate::cli::args::DatabaseArgs;
use crate::config;
use crate::error::{Code, Error};
use crate::integrations::identity;
use crate::mcp::{self, Speaker};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Agent tools start this command themselves. To configure one by hand:\n  \
    claude mcp add agenthub --scope user -- agenthub mcp\n  \
    codex mcp add agenthub -- agenthub mcp\n\
    The agent's name is $AGENTHUB_AGENT, or derived from the tool's session (Codex sends it with each call), or agent-PID."
)]
pub(super) struct Args {}

pub(super) fn run(database: &DatabaseArgs, _: &Args) -> Result<()> {
    let speaker = Speaker {
        assigned: identity::assigned_name(),
        recorded_tool: identity::recorded_tool(),
        recorded_task: identity::recorded_task(),
        // Stable for as long as the tool that started this process runs.
        fallback: format!("agent-{}", std::os::unix::process::parent_id()),
    };
    if speaker.assigned.as_deref().is_some_and(config::is_human) {
        let message = "AGENTHUB_AGENT is \"human\", which is reserved for the person; set it to the agent's own name";
        return Err(Error::new(Code::Usage, message).into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(mcp::serve(database.path()?, database.network_fs(), speaker));
    // A thread of the runtime blocks in a read of stdin, which cannot be interrupted.
    runtime.shutdown_timeout(Duration::ZERO);
    Ok(outcome?)
}
