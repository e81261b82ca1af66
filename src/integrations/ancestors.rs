//! The ancestors of this process and the environments they were started with, from `/proc`. Systems without
//! `/proc` (macOS) report no ancestors.

use std::fs;

/// Maximum number of ancestors. A longer chain is not one of shells and tools.
const MAX_ANCESTORS: usize = 64;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ancestor {
    /// The process id.
    pub(super) pid: u32,
    /// The process id of its parent; 0 without one.
    pub(super) parent: u32,
    /// `NAME=value` with a NUL after each; empty if this user may not read it.
    environment: Vec<u8>,
}

impl Ancestor {
    fn read(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            parent: parent_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?,
            environment: fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(),
        })
    }

    #[cfg(test)]
    pub(super) fn new(pid: u32, parent: u32, variables: &[&str]) -> Self {
        Self {
            pid,
            parent,
            environment: variables.join("\0").into_bytes(),
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

/// Returns the parent of this process, its parent, and so on.
pub(super) fn ancestors() -> impl Iterator<Item = Ancestor> {
    let parent = Ancestor::read(std::os::unix::process::parent_id());
    std::iter::successors(parent, |child| match child.parent {
        0 => None,
        pid => Ancestor::read(pid),
    })
    .take(MAX_ANCESTORS)
}

/// Returns the parent in the text of `/proc/PID/stat`: the second field after the program's name, which is in
/// parentheses and may contain blanks and parentheses.
fn parent_in(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let chain: Vec<Ancestor> = ancestors().collect();
        if cfg!(target_os = "linux") {
            assert_eq!(chain[0].pid, std::os::unix::process::parent_id());
        }
        assert!(chain.windows(2).all(|two| two[0].parent == two[1].pid));
    }
}
