//! A JavaScript file that a tool loads, and that runs agenthub's hook. It has a line that marks it as agenthub's, a
//! line with the hook's command line, and the program.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::integrations::spec::{ExtensionFile, InstallTarget, Refusal};

/// The first line: the file is agenthub's.
const HEADER: &str = "// Connects this tool to agenthub. agenthub init writes this file, and replaces changes.";
/// The texts of the second line before and after the command line, a JSON array.
const COMMAND: (&str, &str) = ("const COMMAND = ", ";");

/// Returns the program and the arguments of the hook's command line for a target.
pub(super) fn command(target: &InstallTarget, hook_word: &str) -> (PathBuf, Vec<String>) {
    let db = target.db.iter();
    let db = db.flat_map(|db| ["--db".to_owned(), db.display().to_string()]);
    let args = db.chain(["hook".to_owned(), hook_word.to_owned()]).collect();
    (target.program.clone(), args)
}

pub(super) fn install(text: &str, form: &ExtensionFile, program: &Path, args: &[String]) -> Result<String, Refusal> {
    if !text.is_empty() && !is_own(text) {
        return Err("agenthub did not write this file".to_owned());
    }
    let words = [program.display().to_string()].into_iter().chain(args.iter().cloned());
    let words: Value = words.collect();
    let (before, after) = COMMAND;
    Ok(format!("{HEADER}\n{before}{words}{after}\n{}", form.program))
}

/// Returns an empty text if the file is agenthub's.
pub(super) fn remove(text: &str) -> String {
    if is_own(text) { String::new() } else { text.to_owned() }
}

/// Returns the program and the arguments of the hook's command line, if the file is agenthub's.
pub(super) fn installed_command(text: &str) -> Option<(PathBuf, Vec<String>)> {
    let (before, after) = COMMAND;
    let line = text.lines().nth(1).filter(|_| is_own(text))?;
    let words = line.strip_prefix(before)?.strip_suffix(after)?;
    let mut words = serde_json::from_str::<Vec<String>>(words).ok()?.into_iter();
    Some((words.next()?.into(), words.collect()))
}

fn is_own(text: &str) -> bool {
    text.lines().next() == Some(HEADER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: ExtensionFile = ExtensionFile {
        program: "export const x = COMMAND;\n",
        runs_hooks: true,
    };

    fn target() -> InstallTarget {
        InstallTarget {
            home: "/home/ada".into(),
            project: None,
            program: "/opt/it's \"a\"/agenthub".into(),
            db: Some("/a b/hub.db".into()),
        }
    }

    fn install_for_target(text: &str) -> Result<String, Refusal> {
        let (program, args) = command(&target(), "tool");
        install(text, &FORM, &program, &args)
    }

    #[test]
    fn command_line_is_found_in_the_installed_file() {
        let text = install_for_target("").unwrap();
        assert!(text.ends_with(FORM.program), "{text}");
        let (program, args) = installed_command(&text).unwrap();
        assert_eq!(program, target().program);
        assert_eq!(args, ["--db", "/a b/hub.db", "hook", "tool"]);
    }

    #[test]
    fn earlier_version_is_replaced() {
        let current = install_for_target("").unwrap();
        let earlier = current.replace("export", "// An earlier version.\nexport");
        assert_eq!(install_for_target(&earlier).unwrap(), current);
        assert_eq!(install_for_target(&current).unwrap(), current);
        assert_eq!(remove(&earlier), "");
    }

    #[test]
    fn file_of_another_program_is_refused_and_kept() {
        for text in ["export const mine = 1;\n", &format!("\n{HEADER}\n")] {
            assert!(
                install_for_target(text).unwrap_err().contains("did not write"),
                "{text}"
            );
            assert_eq!(remove(text), text);
            assert_eq!(installed_command(text), None);
        }
    }
}
