//! Gemini CLI's configuration file, with the hooks and the MCP server.

use std::path::PathBuf;

use crate::integrations::spec::{ConfigContent, InstallTarget, McpJson};

pub(super) const HOME_FOLDER: &str = ".gemini";

static MCP: McpJson = McpJson {
    servers: "mcpServers",
    fields: &[],
    agent: Some("gemini"),
};

pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    let settings = target.file(".gemini/settings.json", ".gemini/settings.json");
    vec![
        (settings.clone(), ConfigContent::Hooks),
        (settings, ConfigContent::McpJson(&MCP)),
    ]
}
