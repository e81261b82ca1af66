//! The ancestors of this process and the environments they were started with, from `/proc`. Systems without
//! `/proc` (macOS) report no ancestors.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::OnceLock;

/// Maximum number of ancestors. A longer chain is not one of shells and tools.
const MAX_ANCESTORS: usize = 64;

/// Programs whose first argument is a script.
const INTERPRETERS: [&str; 4] = ["node", "bun", "deno", "python"];

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ancestor {
    /// The process id.
    pub(super) pid: u32,
    /// The process id of its parent; 0 without one.
    pub(super) parent: u32,
    /// `NAME=value` with a NUL after each; empty if this user may not read it.
    environment: Vec<u8>,
    /// The name of the program, without directory and extension; of the script, if an interpreter runs it.
    pub(super) program: String,
}

impl Ancestor {
    fn read(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            parent: parent_in(&String::from_utf8_lossy(&read(pid, "stat").ok()?))?,
            environment: read(pid, "environ").unwrap_or_default(),
            program: program_in(&read(pid, "cmdline").unwrap_or_default()),
        })
    }

    #[cfg(test)]
    pub(super) fn new(pid: u32, parent: u32, variables: &[&str]) -> Self {
        Self {
            pid,
            parent,
            environment: variables.join("\0").into_bytes(),
            program: "sh".to_owned(),
        }
    }

    #[cfg(test)]
    pub(super) fn running(self, program: &str) -> Self {
        Self {
            program: program.to_owned(),
            ..self
        }
    }

    /// Returns the variable's value, unless it is empty.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.environment
            .split(|byte| *byte == 0)
            .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .filter(|value| !value.is_empty())
    }
}

/// Returns the parent of this process, its parent, and so on, as of the first call.
pub(super) fn ancestors() -> &'static [Ancestor] {
    static ANCESTORS: OnceLock<Vec<Ancestor>> = OnceLock::new();
    ANCESTORS.get_or_init(|| {
        let parent = Ancestor::read(std::os::unix::process::parent_id());
        let chain = std::iter::successors(parent, |child| match child.parent {
            0 => None,
            pid => Ancestor::read(pid),
        });
        chain.take(MAX_ANCESTORS).collect()
    })
}

/// Reads a file in `/proc`. `std::fs::read` would begin with 32 bytes, because these files have no size.
fn read(pid: u32, name: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(8 << 10);
    File::open(format!("/proc/{pid}/{name}"))?.read_to_end(&mut content)?;
    Ok(content)
}

/// Returns the parent in the text of `/proc/PID/stat`: the second field after the program's name, which is in
/// parentheses and may contain blanks and parentheses.
fn parent_in(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the name of the program in a command line whose arguments end with a NUL.
fn program_in(command_line: &[u8]) -> String {
    let mut arguments = command_line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let mut next_name = || {
        let path = arguments.next().unwrap_or_default().into_owned();
        let stem = Path::new(&path).file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    };
    let program = next_name();
    if INTERPRETERS.iter().any(|interpreter| program.starts_with(interpreter)) {
        return next_name();
    }
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_program_or_the_script() {
        for (command_line, program) in [
            (&b"/home/x/.local/bin/claude\0--resume\0"[..], "claude"),
            (
                b"node\0/usr/lib/node_modules/@google/gemini-cli/dist/gemini.js\0-p\0hi\0",
                "gemini",
            ),
            (b"/usr/bin/python3.12\0/opt/agent.py\0", "agent"),
            (b"vim\0claude\0", "vim"),
            (b"-bash\0", "-bash"),
            (b"", ""),
        ] {
            assert_eq!(program_in(command_line), program);
        }
    }

    #[test]
    fn reads_parent_and_variables() {
        assert_eq!(parent_in("42 (a) b (c) S 7 42 42 0 -1"), Some(7));
        assert_eq!(parent_in("42"), None);
        let ancestor = Ancestor::new(42, 7, &["A=1", "AB=2", "EMPTY=", "C=x=y"]);
        assert_eq!(
            ["A", "AB", "B", "EMPTY", "C"].map(|name| ancestor.variable(name)),
            [Some("1"), Some("2"), None, None, Some("x=y")].map(|value| value.map(str::to_owned))
        );
    }

    #[test]
    fn chain_begins_with_the_parent() {
        let chain = ancestors();
        if cfg!(target_os = "linux") {
            assert_eq!(chain[0].pid, std::os::unix::process::parent_id());
        }
        assert!(chain.windows(2).all(|two| two[0].parent == two[1].pid));
    }
}
