//! Gemini CLI's configuration file.

use std::path::PathBuf;

use crate::integrations::spec::{ConfigContent, InstallTarget, McpJson};

pub(super) const HOME_FOLDER: &str = ".gemini";

static MCP: McpJson = McpJson {
    servers: "mcpServers",
    fields: &[],
    agent: Some("gemini"),
};

pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    vec![(
        target.file(".gemini/settings.json", ".gemini/settings.json"),
        ConfigContent::McpJson(&MCP),
    )]
}
