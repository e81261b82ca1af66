//! Gemini CLI.

mod config;
mod hooks;
mod stream;
mod transcript;
mod trust;

use super::spec::{Integration, ProcessSpec, ShellAccess};

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
    edit_calls: &["replace", "write_file"],
    stream: Some(stream::SPEC),
    hooks: Some(hooks::SPEC),
    shell_access: ShellAccess::Full,
    config_files: config::files,
    session_of_mcp_call: None,
    foreign_hooks: None,
    processes: ProcessSpec::DEFAULT,
    transcript: Some(transcript::SPEC),
    wake: Err("Gemini CLI takes no prompt from outside while it waits for the person"),
};
