//! Copilot CLI's configuration files. It has no permissions for all directories: it stores them for each directory
//! in which the user gives one.

use std::path::PathBuf;

use crate::integrations::spec::{CommandForm, ConfigContent, ExtensionFile, InstallTarget, McpJson};

pub(super) const HOME_FOLDER: &str = ".copilot";
/// The environment variable that moves the directory to another path.
pub(super) const DIRECTORY_VARIABLE: &str = "COPILOT_HOME";

static MCP: McpJson = McpJson {
    servers: "mcpServers",
    fields: &[("type", "local")],
    command: CommandForm::Program,
    agent: None,
    earlier_agent: None,
};

/// Copilot CLI runs extensions only with `--experimental`.
static EXTENSION: ExtensionFile = ExtensionFile {
    program: include_str!("extension.mjs"),
    runs_hooks: false,
};

/// Returns the files. A project's hooks are in `settings.local.json`, which is not shared, and not in `.github/hooks`:
/// the path of this program differs between machines.
pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    if let Some(project) = &target.project {
        return vec![
            (
                project.join(".github/copilot/settings.local.json"),
                ConfigContent::Hooks,
            ),
            (project.join(".github/mcp.json"), ConfigContent::McpJson(&MCP)),
        ];
    }
    let folder = target.folder(DIRECTORY_VARIABLE, HOME_FOLDER);
    vec![
        (folder.join("hooks/agenthub.json"), ConfigContent::Hooks),
        (folder.join("mcp-config.json"), ConfigContent::McpJson(&MCP)),
        (
            folder.join("extensions/agenthub/extension.mjs"),
            ConfigContent::Extension(&EXTENSION),
        ),
    ]
}
