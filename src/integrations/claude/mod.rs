//! Claude Code.

mod config;
mod hooks;
mod stream;

use super::spec::Integration;

pub(super) static INTEGRATION: Integration = Integration {
    id: "claude",
    name: "Claude Code",
    binaries: &["claude"],
    home_folder: config::HOME_FOLDER,
    session_variables: &["CLAUDE_CODE_SESSION_ID"],
    stream: Some(stream::SPEC),
    hooks: Some(hooks::SPEC),
    config_files: config::files,
    session_of_mcp_call: None,
    foreign_hooks: None,
};
