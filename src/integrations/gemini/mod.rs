//! Gemini CLI.

mod config;
mod hooks;
mod stream;
mod trust;

use super::spec::Integration;

pub(super) static INTEGRATION: Integration = Integration {
    id: "gemini",
    name: "Gemini CLI",
    binaries: &["gemini"],
    home_folder: config::HOME_FOLDER,
    session_variables: &["GEMINI_SESSION_ID"],
    marker_variables: &["GEMINI_CLI"],
    context_tags: &[
        "hook_context",
        "session_context",
        "state_snapshot",
        "untrusted_context",
        "loaded_context",
        "global_context",
        "extension_context",
        "project_context",
        "user_memory",
        "available_subagents",
        "available_skills",
        "activated_skill",
    ],
    stream: Some(stream::SPEC),
    hooks: Some(hooks::SPEC),
    config_files: config::files,
    session_of_mcp_call: None,
    foreign_hooks: None,
};
