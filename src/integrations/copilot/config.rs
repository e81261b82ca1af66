//! Copilot CLI's configuration files. It has no permissions for all directories: it stores them for each directory
//! in which the user gives one.

use std::path::PathBuf;

use crate::integrations::spec::{ConfigContent, InstallTarget, McpJson};

pub(super) const HOME_FOLDER: &str = ".copilot";
/// The environment variable that moves the directory to another path.
pub(super) const DIRECTORY_VARIABLE: &str = "COPILOT_HOME";

static MCP: McpJson = McpJson {
    servers: "mcpServers",
    fields: &[("type", "local")],
    agent: None,
    earlier_agent: None,
};

/// Returns the files. A project's hooks are in `settings.local.json`, which is not shared, and not in `.github/hooks`:
/// the path of this program differs between machines.
pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    let (hooks, servers) = match &target.project {
        Some(project) => (
            project.join(".github/copilot/settings.local.json"),
            project.join(".github/mcp.json"),
        ),
        None => {
            let folder = target.folder(DIRECTORY_VARIABLE, HOME_FOLDER);
            (folder.join("hooks/agenthub.json"), folder.join("mcp-config.json"))
        }
    };
    vec![
        (hooks, ConfigContent::Hooks),
        (servers, ConfigContent::McpJson(&MCP)),
    ]
}
