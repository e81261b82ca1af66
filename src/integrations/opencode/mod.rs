//! OpenCode. A plugin in its process runs the hooks.

mod config;
mod hooks;
mod mcp;
mod stream;

use super::spec::{Integration, ProcessSpec, ShellAccess, WakeMethod, WakeSpec, WatchForm};
use crate::process::Process;

pub(super) static INTEGRATION: Integration = Integration {
    id: "opencode",
    name: "OpenCode",
    binaries: &[stream::BINARY],
    home_folder: config::HOME_FOLDER,
    session_variables: &[],
    marker_variables: &["OPENCODE"],
    context_tags: &["system-reminder"],
    edit_calls: &["edit", "write", "multiedit", "patch", "apply_patch"],
    stream: Some(stream::SPEC),
    hooks: Some(hooks::SPEC),
    shell_access: ShellAccess::Full,
    config_files: config::files,
    session_of_mcp_call: Some(mcp::session_of_call),
    foreign_hooks: None,
    processes: ProcessSpec {
        is_shared: is_server,
        ..ProcessSpec::DEFAULT
    },
    transcript: None,
    wake: Ok(WakeSpec {
        method: WakeMethod::WatchedFile(WatchForm::Extension),
        // Its default: it asks before no command.
        unattended_modes: &["allow"],
    }),
};

/// Returns whether the process is a server, which runs the sessions of all its clients.
fn is_server(process: &Process) -> bool {
    let mut words = process.arguments.iter().skip(1);
    let command = words.find(|word| !word.starts_with('-'));
    process.program == stream::BINARY
        && command.is_some_and(|command| ["serve", "web", "acp"].contains(&command.as_str()))
}
