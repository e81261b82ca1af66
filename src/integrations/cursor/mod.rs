//! Cursor and its command line program, `cursor-agent`.

mod config;
mod hooks;
mod stream;

use super::spec::{Integration, ProcessSpec, ShellAccess};

pub(super) static INTEGRATION: Integration = Integration {
    id: "cursor",
    name: "Cursor",
    binaries: &["cursor", stream::BINARY],
    home_folder: config::HOME_FOLDER,
    session_variables: &[],
    marker_variables: &["CURSOR_AGENT"],
    context_tags: &[
        "user_query",
        "system_reminder",
        "additional_data",
        "attached_files",
        "user_info",
        "user_rules",
        "agent_skills",
        "project_layout",
        "open_and_recently_viewed_files",
        "git_status",
        "hook_additional_context",
        "cursor_rules_context",
        "manually_attached_skills",
        "system_notification",
    ],
    edit_calls: &["edit", "write", "delete"],
    stream: Some(stream::SPEC),
    hooks: Some(hooks::SPEC),
    shell_access: ShellAccess::Full,
    config_files: config::files,
    session_of_mcp_call: None,
    foreign_hooks: Some(hooks::FOREIGN),
    processes: ProcessSpec {
        // The editor.
        is_shared: |process| process.program.eq_ignore_ascii_case("cursor"),
        ..ProcessSpec::DEFAULT
    },
    transcript: None,
    wake: Err("Cursor takes no prompt from outside"),
};
