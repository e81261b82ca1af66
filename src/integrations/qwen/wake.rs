//! Waking: a process that was started with `--input-file FILE` takes the prompts that are appended to the file.

use std::path::PathBuf;

use crate::integrations::arguments::flag;
use crate::integrations::spec::{WakeMethod, WakeSpec};
use crate::process::Process;

pub(super) const SPEC: WakeSpec = WakeSpec {
    method: WakeMethod::InputFile { file, line: LINE },
    // In the mode `auto`, a model decides, and asks the person if it cannot.
    unattended_modes: &["yolo"],
};

/// The line with [`WAKE_PROMPT`](crate::integrations::spec::WAKE_PROMPT).
const LINE: &str = r#"{"type":"submit","text":"You have mail on agenthub."}"#;

/// Returns the file in the process's command line. The file of the setting `dualOutput.inputFile` is not used: all
/// sessions share it.
fn file(process: &Process) -> Option<PathBuf> {
    let file = flag(&process.arguments, &["--input-file", "--inputFile"]).filter(|file| !file.is_empty())?;
    Some(process.working_directory()?.join(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrations::spec::WAKE_PROMPT;

    #[test]
    fn line_has_the_prompt() {
        let line: serde_json::Value = serde_json::from_str(LINE).unwrap();
        assert_eq!(line, serde_json::json!({"type": "submit", "text": WAKE_PROMPT}));
    }

    #[test]
    fn file_is_the_one_on_the_command_line() {
        let own = std::process::id();
        let file = |arguments: &str| file(&Process::new(own, 1, &[]).running(&format!("node /x/qwen {arguments}")));
        assert_eq!(file("-y --input-file /tmp/in"), Some("/tmp/in".into()));
        assert_eq!(file("--input-file=/tmp/in"), Some("/tmp/in".into()));
        for without in ["", "-y", "--input-file", "-- --input-file /tmp/in"] {
            assert_eq!(file(without), None, "{without}");
        }
        #[cfg(target_os = "linux")]
        assert_eq!(
            file("--input-file in"),
            Some(std::env::current_dir().unwrap().join("in"))
        );
    }
}
