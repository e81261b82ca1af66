//! Kimi Code.

mod config;
mod hooks;
mod sessions;
mod shell;
mod stream;
mod transcript;

use super::spec::{Integration, ProcessSpec, ShellAccess};

pub(super) static INTEGRATION: Integration = Integration {
    id: "kimi",
    name: "Kimi Code",
    binaries: &["kimi"],
    home_folder: config::HOME_FOLDER,
    session_variables: &[],
    marker_variables: &[],
    context_tags: &["hook_result", "system-reminder"],
    edit_calls: &["StrReplaceFile", "WriteFile"],
    stream: Some(stream::SPEC),
    hooks: Some(hooks::SPEC),
    shell_access: ShellAccess::Full,
    config_files: config::files,
    session_of_mcp_call: None,
    foreign_hooks: None,
    processes: ProcessSpec {
        title: Some("kimi-code"),
        recorded_session: sessions::recorded_session,
        ..ProcessSpec::DEFAULT
    },
    transcript: Some(transcript::SPEC),
    wake: Err("Kimi Code takes no prompt from outside"),
};
