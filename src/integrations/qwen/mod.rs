//! Qwen Code.

mod config;
mod hooks;
mod stream;
mod transcript;
mod wake;

use super::spec::{Integration, ProcessSpec, ShellAccess};
use crate::process::Process;

pub(super) static INTEGRATION: Integration = Integration {
    id: "qwen",
    name: "Qwen Code",
    binaries: &["qwen"],
    home_folder: config::HOME_FOLDER,
    session_variables: &["QWEN_CODE_SESSION_ID"],
    marker_variables: &["QWEN_CODE"],
    context_tags: &[
        "qwen:session-start-context",
        "qwen:user-prompt-submit-context",
        "system-reminder",
        "state_snapshot",
        "task-notification",
        "cross-session-message",
    ],
    edit_calls: &["edit", "replace", "write_file"],
    stream: Some(stream::SPEC),
    hooks: Some(hooks::SPEC),
    shell_access: ShellAccess::Full,
    config_files: config::files,
    session_of_mcp_call: None,
    foreign_hooks: None,
    processes: ProcessSpec {
        is_shared,
        ..ProcessSpec::DEFAULT
    },
    transcript: Some(transcript::SPEC),
    wake: Ok(wake::SPEC),
};

/// An editor or the program's own server starts it with `--acp`, for many sessions.
fn is_shared(process: &Process) -> bool {
    let is_script = |word: &String| word.ends_with("/qwen-code/cli.js");
    let is_qwen = process.program == "qwen" || process.arguments.iter().take(4).any(is_script);
    is_qwen && process.arguments.iter().any(|word| word == "--acp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_of_an_editor_runs_many_sessions() {
        let is_shared = |command: &str| super::is_shared(&Process::new(2, 1, &[]).running(command));
        assert!(is_shared("node /usr/bin/qwen --acp"));
        assert!(is_shared(
            "node --expose-gc /usr/lib/node_modules/@qwen-code/qwen-code/cli.js --acp"
        ));
        assert!(!is_shared("node /usr/bin/qwen -y"));
        assert!(!is_shared("other --acp"));
    }
}
