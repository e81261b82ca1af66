//! Codex.

mod config;
mod hooks;
mod mcp;
mod stream;

use super::spec::Integration;

pub(super) static INTEGRATION: Integration = Integration {
    id: "codex",
    name: "Codex",
    binaries: &["codex"],
    home_folder: config::HOME_FOLDER,
    session_variables: &["CODEX_THREAD_ID"],
    stream: Some(stream::SPEC),
    hooks: Some(hooks::SPEC),
    config_files: config::files,
    session_of_mcp_call: Some(mcp::session_of_call),
    foreign_hooks: None,
};
