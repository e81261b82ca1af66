//! The last step of `agenthub init`: tries each connection.
//!
//! It reads the commands back from the files and runs them as the tool would, with a temporary
//! database: the hook must deliver a test message, the MCP server must list its tools. The tool
//! itself is not run.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::terminal;
use crate::error::{Code, Error};
use crate::integrations::program::{self, StdioRequest, TIMEOUT};
use crate::integrations::registry;
use crate::integrations::setup::InstalledCommand;
use crate::integrations::spec::{ConfigContent, ConfigFile, HookSpec, InstallTarget, Integration};
use crate::store::{NetworkFs, NewInboxMessage, Writer};
use crate::text::quantity;

/// The agent that gets the test message.
const TESTER: &str = "agenthub-init";

/// Tries each connection and prints the result.
pub(super) fn verify(connected: &[ConfigFile], target: &InstallTarget) -> Result<()> {
    if connected.is_empty() {
        return Ok(());
    }
    let dir = tempfile::Builder::new().prefix("agenthub-init-").tempdir()?;
    let db = dir.path().join("hub.db");
    let is_tried =
        |file: &&ConfigFile| file.content.has_hooks() || !matches!(file.content, ConfigContent::Extension(_));
    for file in connected.iter().filter(is_tried) {
        let Some(command) = file.installed()? else {
            let message = format!(
                "cannot find agenthub's entry in {} any more; run this again",
                file.path.display()
            );
            return Err(Error::new(Code::Conflict, message).into());
        };
        terminal::line(&match (file.content.has_hooks(), &file.tool.hooks) {
            (true, Some(hooks)) => verify_hook(file.tool, hooks, &command, target, &db)?,
            _ => verify_server(file.tool, &command, target, &db)?,
        })?;
    }
    Ok(())
}

/// Sends a test message and reads it from a hook.
fn verify_hook(
    tool: &Integration,
    hooks: &HookSpec,
    installed: &InstalledCommand,
    target: &InstallTarget,
    db: &Path,
) -> Result<String> {
    let agent = installed.agent.as_deref().unwrap_or(TESTER);
    if agent.contains('$') {
        // Only the shell of the tool knows the variable's value.
        return Ok(format!(
            "{}: its hook takes the agent's name from a variable and was not tried.",
            tool.name
        ));
    }
    let message = format!("test mail for {}", tool.name);
    Writer::open(db, NetworkFs::Allow)?.send(&NewInboxMessage::new("agenthub", agent, message.clone()))?;
    let input = json!({
        hooks.fields.session: format!("{TESTER}-{}", tool.id),
        "hook_event_name": hooks.first_delivery(),
        "source": "startup",
        "cwd": target.home,
    });
    let begun = Instant::now();
    let stdout = program::output(test_command(installed, db), input.to_string().as_bytes()).unwrap_or_default();
    let elapsed = begun.elapsed();
    let answer: Value = serde_json::from_str(&stdout).unwrap_or_default();
    if !hooks
        .context
        .text(&answer)
        .is_some_and(|context| context.contains(&message))
    {
        return Err(no_answer(&format!("the hook of {}", tool.name), installed).into());
    }
    let mut line = format!(
        "{}: its hook delivered a test message in {} ms.",
        tool.name,
        elapsed.as_millis()
    );
    if let Some(consent) = hooks.consent {
        let _ = write!(line, " {}", consent());
    }
    Ok(line)
}

/// Lists the tools of an MCP server.
fn verify_server(
    tool: &Integration,
    installed: &InstalledCommand,
    target: &InstallTarget,
    db: &Path,
) -> Result<String> {
    drop(Writer::open(db, NetworkFs::Allow)?);
    let mut command = test_command(installed, db);
    command.current_dir(&target.home);
    match count_tools(command) {
        Some(count) if count > 0 => Ok(format!(
            "{}: its MCP server has {}.",
            tool.name,
            quantity::count(count, "tool")
        )),
        _ => Err(no_answer(&format!("the MCP server of {}", tool.name), installed).into()),
    }
}

/// Returns the command as the tool starts it, outside of any agent.
fn test_command(installed: &InstalledCommand, db: &Path) -> Command {
    let mut command = installed.with_db(db);
    command.env("AGENTHUB_AGENT", installed.agent.as_deref().unwrap_or(TESTER));
    let foreign = registry::ALL.iter().filter_map(|tool| tool.foreign_hooks.as_ref());
    let recording = ["AGENTHUB_TASK", "AGENTHUB_TASK_VENDOR"];
    for name in foreign.map(|foreign| foreign.variable).chain(recording) {
        command.env_remove(name);
    }
    command
}

fn no_answer(what: &str, installed: &InstalledCommand) -> Error {
    let message = format!(
        "{what} does not answer; to see why, run: {} < /dev/null",
        installed.shown()
    );
    Error::new(Code::Internal, message)
}

/// Returns the number of tools of an MCP server, if it answers within [`TIMEOUT`].
fn count_tools(command: Command) -> Option<usize> {
    let client = json!({"name": TESTER, "version": env!("CARGO_PKG_VERSION")});
    let request = StdioRequest {
        initialize: json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}),
        initialized: "notifications/initialized",
        method: "tools/list",
        params: json!({}),
    };
    let result = program::ask_server(command, request, TIMEOUT)?;
    Some(result["tools"].as_array()?.len())
}
