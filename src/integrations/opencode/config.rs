//! OpenCode's configuration files: the plugin, and the settings with the MCP server.

use std::path::PathBuf;

use crate::integrations::spec::{CommandForm, ConfigContent, ExtensionFile, InstallTarget, McpJson};

pub(super) const HOME_FOLDER: &str = ".config/opencode";

static PLUGIN: ExtensionFile = ExtensionFile {
    program: include_str!("plugin.js"),
    runs_hooks: true,
};

static MCP: McpJson = McpJson {
    servers: "mcp",
    fields: &[("type", "local")],
    command: CommandForm::Words,
    // The plugin names the session in each call.
    agent: None,
    earlier_agent: None,
};

pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    let in_folder = |name: &str| match &target.project {
        Some(project) => project.join(".opencode").join(name),
        None => global_folder(target).join(name),
    };
    let settings = match &target.project {
        Some(project) => project.clone(),
        None => global_folder(target),
    };
    // OpenCode reads both files. Its own commands change the first one that exists.
    let names = ["opencode.json", "opencode.jsonc"].map(|name| settings.join(name));
    let file = names.iter().find(|path| path.exists()).unwrap_or(&names[0]);
    vec![
        (in_folder("plugin/agenthub.js"), ConfigContent::Extension(&PLUGIN)),
        (file.clone(), ConfigContent::McpJson(&MCP)),
    ]
}

/// Returns the directory with the user's settings.
fn global_folder(target: &InstallTarget) -> PathBuf {
    match std::env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder).join("opencode"),
        None => target.home.join(HOME_FOLDER),
    }
}
