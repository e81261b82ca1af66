//! Cursor's configuration file.

use std::path::PathBuf;

use crate::integrations::spec::{ConfigContent, InstallTarget, McpJson};

pub(super) const HOME_FOLDER: &str = ".cursor";

static MCP: McpJson = McpJson {
    servers: "mcpServers",
    fields: &[],
    agent: Some("cursor"),
    earlier_agent: None,
};

pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    vec![(
        target.file(".cursor/mcp.json", ".cursor/mcp.json"),
        ConfigContent::McpJson(&MCP),
    )]
}
