//! Cursor's configuration files.

use std::path::PathBuf;

use crate::integrations::spec::{AllowList, CommandForm, ConfigContent, InstallTarget, McpJson};

pub(super) const HOME_FOLDER: &str = ".cursor";

/// The agent's name: all windows share the processes of MCP servers.
pub(super) const AGENT: &str = "cursor";

static MCP: McpJson = McpJson {
    servers: "mcpServers",
    fields: &[],
    command: CommandForm::Program,
    agent: Some(AGENT),
    earlier_agent: None,
};

/// A permission for a command would be for all of its subcommands: there is none.
static ALLOW: AllowList = AllowList {
    path: ("permissions", "allow"),
    server: Some("Mcp(agenthub, *)"),
    command: None,
};

pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    vec![
        (
            target.file(".cursor/hooks.json", ".cursor/hooks.json"),
            ConfigContent::Hooks,
        ),
        (
            target.file(".cursor/mcp.json", ".cursor/mcp.json"),
            ConfigContent::McpJson(&MCP),
        ),
        (permissions_file(target), ConfigContent::AllowList(&ALLOW)),
    ]
}

/// Returns the file with the permissions of the command line program.
fn permissions_file(target: &InstallTarget) -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    match &target.project {
        Some(project) => project.join(".cursor/cli.json"),
        None => folder("CURSOR_CONFIG_DIR")
            .or_else(|| Some(folder("XDG_CONFIG_HOME")?.join("cursor")))
            .unwrap_or_else(|| target.home.join(HOME_FOLDER))
            .join("cli-config.json"),
    }
}
