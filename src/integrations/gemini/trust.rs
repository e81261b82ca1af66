//! Whether Gemini CLI trusts a directory. In others it starts no MCP servers, and refuses to run without a terminal.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::integrations::setup::json_config;
use crate::integrations::spec::{HookState, InstallTarget};

/// The environment variable with the path of the file of trusted directories.
const FILE_VARIABLE: &str = "GEMINI_CLI_TRUSTED_FOLDERS_PATH";

/// What the user has answered for a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Trusted,
    Distrusted,
}

pub(super) fn state(target: &InstallTarget, directory: &Path) -> Vec<HookState> {
    let settings =
        fs::read_to_string(target.file(".gemini/settings.json", ".gemini/settings.json")).unwrap_or_default();
    if json_config::is_at(&settings, &["security", "folderTrust", "enabled"], &false.into()) == Ok(true) {
        return Vec::new();
    }
    let file =
        std::env::var_os(FILE_VARIABLE).map_or_else(|| target.home.join(".gemini/trustedFolders.json"), PathBuf::from);
    let answers: Value = serde_json::from_str(&fs::read_to_string(file).unwrap_or_default()).unwrap_or_default();
    let shown = directory.display();
    match trust(&answers, directory) {
        Some(Trust::Trusted) => Vec::new(),
        Some(Trust::Distrusted) => vec![HookState::Problem {
            message: format!("Gemini CLI: you do not trust {shown}: it starts no MCP servers there"),
            advice: "start gemini there and change the answer (/permissions), or work in another directory",
        }],
        None => vec![HookState::Note(format!(
            "Gemini CLI: it has not been asked yet whether you trust {shown}; until then it starts no MCP servers there"
        ))],
    }
}

/// Returns the answer for the nearest directory that has one.
fn trust(answers: &Value, directory: &Path) -> Option<Trust> {
    let answers = answers.as_object()?.iter();
    answers
        .filter_map(|(path, answer)| {
            let path = Path::new(path);
            let (path, trust) = match answer.as_str()? {
                "TRUST_FOLDER" => (path, Trust::Trusted),
                "TRUST_PARENT" => (path.parent()?, Trust::Trusted),
                "DO_NOT_TRUST" => (path, Trust::Distrusted),
                _ => return None,
            };
            directory.starts_with(path).then(|| (path.components().count(), trust))
        })
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, trust)| trust)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_answer_counts() {
        let answers = serde_json::json!({
            "/home/ada": "TRUST_FOLDER", "/home/ada/other": "DO_NOT_TRUST", "/srv/one": "TRUST_PARENT", "/x": "?"
        });
        for (path, expected) in [
            ("/home/ada/api", Some(Trust::Trusted)),
            ("/home/ada/other/api", Some(Trust::Distrusted)),
            ("/srv/two", Some(Trust::Trusted)),
            ("/x", None),
            ("/", None),
        ] {
            assert_eq!(trust(&answers, Path::new(path)), expected, "{path}");
        }
        assert_eq!(trust(&Value::Null, Path::new("/x")), None);
    }
}
