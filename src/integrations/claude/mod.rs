//! Claude Code.

mod config;
mod hooks;
mod session_file;
mod stream;
mod transcript;

use super::spec::{Integration, ShellAccess, WakeMethod, WakeSpec, WatchForm};

pub(super) static INTEGRATION: Integration = Integration {
    id: "claude",
    name: "Claude Code",
    binaries: &["claude"],
    home_folder: config::HOME_FOLDER,
    session_variables: &["CLAUDE_CODE_SESSION_ID"],
    marker_variables: &["CLAUDECODE"],
    context_tags: &[
        "system-reminder",
        "command-name",
        "command-message",
        "command-args",
        "command-contents",
        "local-command-stdout",
        "local-command-stderr",
        "local-command-caveat",
        "user-prompt-submit-hook",
        "session-start-hook",
        "user-memory-input",
        "task-notification",
        "teammate-message",
        "cross-session-message",
        "bash-input",
        "bash-stdout",
        "bash-stderr",
        "tool_use_error",
        "function_calls",
        "function_results",
        "invoke",
        "parameter",
    ],
    edit_calls: &["Edit", "MultiEdit", "Write", "NotebookEdit"],
    stream: Some(stream::SPEC),
    hooks: Some(hooks::SPEC),
    shell_access: ShellAccess::Full,
    config_files: config::files,
    session_of_mcp_call: None,
    foreign_hooks: None,
    processes: session_file::PROCESSES,
    transcript: Some(transcript::SPEC),
    wake: Ok(WakeSpec {
        method: WakeMethod::WatchedFile(WatchForm::Hook),
        unattended_modes: &["bypassPermissions"],
    }),
};
