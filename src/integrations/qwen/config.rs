//! Qwen Code's settings.

use std::path::PathBuf;

use crate::integrations::spec::{AllowList, CommandForm, ConfigContent, InstallTarget, McpJson};

pub(super) const HOME_FOLDER: &str = ".qwen";
/// The environment variable that moves the directory to another path.
const DIRECTORY_VARIABLE: &str = "QWEN_HOME";

static MCP: McpJson = McpJson {
    servers: "mcpServers",
    fields: &[],
    command: CommandForm::Program,
    // The environment of the servers names the session.
    agent: None,
    earlier_agent: None,
};

/// Commands cannot be allowed: Qwen Code 0.24.4 compares only the text before `*`, so a rule for `agenthub send` also
/// allows `agenthub send $(COMMAND)` and `PATH=DIRECTORY agenthub send`, each with any program.
static ALLOW: AllowList = AllowList {
    path: ("permissions", "allow"),
    server: Some("mcp__agenthub"),
    command: None,
};

pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    let settings = target.folder(DIRECTORY_VARIABLE, HOME_FOLDER).join("settings.json");
    vec![
        (settings.clone(), ConfigContent::Hooks),
        (settings.clone(), ConfigContent::AllowList(&ALLOW)),
        (settings, ConfigContent::McpJson(&MCP)),
    ]
}
