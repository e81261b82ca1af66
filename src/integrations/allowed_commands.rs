//! The commands that agents may run without asking the user: those that send, read and search messages.
//!
//! A permission is for one of them, never for the program: `agenthub run` starts any program, `agenthub token`
//! prints a secret, `agenthub backup --force` overwrites a file.

use super::spec::InstallTarget;
use crate::text::shell;

/// The subcommands.
pub const SUBCOMMANDS: [&str; 11] = [
    "send", "post", "inbox", "read", "reply", "ack", "ask", "threads", "agents", "trace", "search",
];
/// The program, as models call it.
const PROGRAM: &str = "agenthub";

/// Returns the words of each command.
pub(super) fn words(target: &InstallTarget) -> Vec<Vec<String>> {
    let db = target.db.iter();
    let db: Vec<String> = db
        .flat_map(|db| ["--db".to_owned(), db.display().to_string()])
        .collect();
    SUBCOMMANDS
        .iter()
        .map(|command| [&[PROGRAM.to_owned()], db.as_slice(), &[(*command).to_owned()]].concat())
        .collect()
}

/// Returns each command as models write it in a shell.
pub(super) fn lines(target: &InstallTarget) -> Vec<String> {
    let quote = |word: &String| shell::quote(std::path::Path::new(word));
    let lines = words(target).into_iter();
    lines
        .map(|words| words.iter().map(quote).collect::<Vec<_>>().join(" "))
        .collect()
}

/// Returns whether [`lines`] returns this line for any target.
pub(super) fn is_line(line: &str) -> bool {
    let Some((start, command)) = line.rsplit_once(' ') else {
        return false;
    };
    let has_program = start == PROGRAM
        || start
            .strip_prefix(PROGRAM)
            .is_some_and(|rest| rest.starts_with(" --db "));
    has_program && SUBCOMMANDS.contains(&command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_allows_one_subcommand() {
        let mut target = InstallTarget {
            home: "/home/ada".into(),
            project: None,
            program: "/opt/bin/agenthub".into(),
            db: None,
        };
        assert_eq!(lines(&target)[0], "agenthub send");
        assert!(lines(&target).iter().all(|line| is_line(line)));
        target.db = Some("/a b/hub.db".into());
        assert_eq!(lines(&target)[0], "agenthub --db '/a b/hub.db' send");
        assert_eq!(words(&target)[1], ["agenthub", "--db", "/a b/hub.db", "post"]);
        assert!(lines(&target).iter().all(|line| is_line(line)));
        for other in [
            "agenthub",
            "agenthub token",
            "agenthub status",
            "agenthub run send",
            "other send",
            "send",
        ] {
            assert!(!is_line(other), "{other}");
        }
    }
}
