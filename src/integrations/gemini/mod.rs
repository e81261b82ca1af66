//! Gemini CLI.

mod config;
mod stream;

use super::spec::Integration;

pub(super) static INTEGRATION: Integration = Integration {
    id: "gemini",
    name: "Gemini CLI",
    binaries: &["gemini"],
    home_folder: config::HOME_FOLDER,
    session_variables: &["GEMINI_SESSION_ID"],
    stream: Some(stream::SPEC),
    hooks: None,
    config_files: config::files,
    session_of_mcp_call: None,
    foreign_hooks: None,
};
