//! Kimi Code's configuration files. It reads hooks only from the file in its own folder, not from a project.

use std::path::PathBuf;

use crate::integrations::spec::{CommandForm, ConfigContent, InstallTarget, McpJson};

pub(super) const HOME_FOLDER: &str = ".kimi-code";
/// The environment variable that moves the directory to another path.
pub(super) const DIRECTORY_VARIABLE: &str = "KIMI_CODE_HOME";

/// The session of a call is that of the process that has started the server.
static MCP: McpJson = McpJson {
    servers: "mcpServers",
    fields: &[],
    command: CommandForm::Program,
    agent: None,
    earlier_agent: None,
};

pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    let folder = target.folder(DIRECTORY_VARIABLE, HOME_FOLDER);
    let server = (folder.join("mcp.json"), ConfigContent::McpJson(&MCP));
    match target.project {
        Some(_) => vec![server],
        None => vec![(folder.join("config.toml"), ConfigContent::HooksToml), server],
    }
}
