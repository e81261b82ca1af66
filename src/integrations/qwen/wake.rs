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

/// Returns the file in the process's command line, if it exists: Qwen Code does not create it. The file of the setting
/// `dualOutput.inputFile` is not used, because all sessions share it.
fn file(process: &Process) -> Option<PathBuf> {
    let file = flag(&process.arguments, &["--input-file", "--inputFile"]).filter(|file| !file.is_empty())?;
    let path = process.working_directory()?.join(file);
    path.is_file().then_some(path)
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
    #[cfg(target_os = "linux")]
    fn file_is_the_one_on_the_command_line() {
        let own = std::process::id();
        let file = |arguments: &str| file(&Process::new(own, 1, &[]).running(&format!("node /x/qwen {arguments}")));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        let shown = path.display();
        assert_eq!(file(&format!("--input-file {shown}")), None, "it does not exist");
        std::fs::write(&path, "").unwrap();
        assert_eq!(file(&format!("-y --input-file {shown} -i Hello")), Some(path.clone()));
        assert_eq!(file(&format!("--input-file={shown}")), Some(path.clone()));
        for without in [
            "",
            "-y",
            "--input-file",
            &format!("--input-file {}", folder.path().display()),
        ] {
            assert_eq!(file(without), None, "{without}");
        }
        assert_eq!(file(&format!("-- --input-file {shown}")), None);
        // Cargo runs tests in the package's directory.
        let relative = std::env::current_dir().unwrap().join("Cargo.toml");
        assert_eq!(file("--input-file Cargo.toml"), Some(relative));
    }
}
