//! Gemini CLI's configuration file.

use std::path::PathBuf;

use crate::integrations::spec::{ConfigContent, InstallTarget, McpJson};

pub(super) const HOME_FOLDER: &str = ".gemini";

static MCP: McpJson = McpJson {
    servers: "mcpServers",
    fields: &[],
    // The name of `agenthub run --as`, and none for a session of its own. Gemini CLI expands the variable.
    agent: Some("${AGENTHUB_AGENT:-}"),
    earlier_agent: Some("gemini"),
};

pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    vec![(
        target.file(".gemini/settings.json", ".gemini/settings.json"),
        ConfigContent::McpJson(&MCP),
    )]
}
