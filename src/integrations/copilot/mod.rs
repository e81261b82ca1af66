//! GitHub Copilot CLI.

mod config;
mod hooks;
mod session_state;
mod shell;
mod stream;
mod transcript;
mod usage;

use super::spec::{Integration, ShellAccess, WakeMethod, WakeSpec, WatchForm};

pub(super) static INTEGRATION: Integration = Integration {
    id: "copilot",
    name: "Copilot CLI",
    binaries: &["copilot"],
    home_folder: config::HOME_FOLDER,
    session_variables: &["COPILOT_AGENT_SESSION_ID"],
    marker_variables: &["COPILOT_CLI"],
    context_tags: &["current_datetime", "system_notification", "system_reminder", "reminder"],
    edit_calls: &["create", "edit", "str_replace_editor", "apply_patch"],
    stream: Some(stream::SPEC),
    hooks: Some(hooks::SPEC),
    shell_access: ShellAccess::Full,
    config_files: config::files,
    session_of_mcp_call: None,
    foreign_hooks: Some(hooks::FOREIGN),
    processes: session_state::PROCESSES,
    transcript: Some(transcript::SPEC),
    wake: Ok(WakeSpec {
        method: WakeMethod::WatchedFile(WatchForm::OptionalExtension(
            "its session runs no extensions; start Copilot CLI with --experimental",
        )),
        unattended_modes: &["allow-all", "unknown"],
    }),
};
