//! Gemini CLI's configuration file, with the hooks, the MCP server and permissions.

use std::path::PathBuf;

use crate::integrations::spec::{AllowList, ConfigContent, InstallTarget, McpJson, ServerPermission};

pub(super) const HOME_FOLDER: &str = ".gemini";

static MCP: McpJson = McpJson {
    servers: "mcpServers",
    fields: &[],
    // The name of `agenthub run --as`, and none for a session of its own. Gemini CLI expands the variable.
    agent: Some("${AGENTHUB_AGENT:-}"),
    earlier_agent: Some("gemini"),
};

/// Without a terminal, Gemini CLI offers the model only tools that need no confirmation.
static ALLOW_TOOLS: ServerPermission = ServerPermission {
    servers: "mcpServers",
    field: "trust",
    value: "true",
};

/// Gemini CLI compares each command of a line with the text in parentheses and a blank or the end after it. It
/// asks for redirections.
static ALLOW_COMMANDS: AllowList = AllowList {
    path: ("tools", "allowed"),
    server: None,
    command: Some(("run_shell_command(", ")")),
};

pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    let settings = target.file(".gemini/settings.json", ".gemini/settings.json");
    vec![
        (settings.clone(), ConfigContent::Hooks),
        (settings.clone(), ConfigContent::McpJson(&MCP)),
        (settings.clone(), ConfigContent::AllowServerJson(&ALLOW_TOOLS)),
        (settings, ConfigContent::AllowList(&ALLOW_COMMANDS)),
    ]
}
