//! Claude Code's configuration files.

use std::path::PathBuf;

use crate::integrations::spec::{AllowList, CommandForm, ConfigContent, InstallTarget, McpJson};

pub(super) const HOME_FOLDER: &str = ".claude";
/// The environment variable that moves the directory and `.claude.json` to another path.
pub(super) const DIRECTORY_VARIABLE: &str = "CLAUDE_CONFIG_DIR";

static MCP: McpJson = McpJson {
    servers: "mcpServers",
    fields: &[("type", "stdio")],
    command: CommandForm::Program,
    agent: None,
    earlier_agent: None,
};

/// Claude Code compares each command of a line with the text before `:*`, and asks for lines that it cannot
/// split into commands.
static ALLOW: AllowList = AllowList {
    path: ("permissions", "allow"),
    server: Some("mcp__agenthub"),
    command: Some(("Bash(", ":*)")),
};

/// Returns the files. A project's hooks are in `settings.local.json`, which is not shared: the path of
/// this program differs between machines.
pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    let dir = target.folder(DIRECTORY_VARIABLE, HOME_FOLDER);
    let (settings, servers) = match (&target.project, std::env::var_os(DIRECTORY_VARIABLE)) {
        (Some(project), _) => ("settings.local.json", project.join(".mcp.json")),
        (None, Some(set)) if !set.is_empty() => ("settings.json", dir.join(".claude.json")),
        (None, _) => ("settings.json", target.home.join(".claude.json")),
    };
    vec![
        (dir.join(settings), ConfigContent::Hooks),
        (dir.join(settings), ConfigContent::AllowList(&ALLOW)),
        (servers, ConfigContent::McpJson(&MCP)),
    ]
}
