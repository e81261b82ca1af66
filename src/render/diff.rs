//! Diffs: unified diffs, patches in the form of Codex' `apply_patch`, and the comparison of two texts.

use similar::{Algorithm, ChangeTag, capture_diff_slices_deadline, group_diff_ops};

use super::budget::Budget;
use super::clean;
use super::tree::{Block, DiffFile, DiffHunk, DiffLine, DiffLineKind, PlainReason};

/// Unchanged lines shown around a change.
const CONTEXT: usize = 3;
const PATCH: &str = "*** Begin Patch";

/// Returns whether the text begins as a diff does.
pub(super) fn is_diff(text: &str) -> bool {
    let mut lines = text.trim_start().lines();
    let first = lines.next().unwrap_or_default();
    if first.starts_with("diff --git ") || first.trim_end() == PATCH {
        return true;
    }
    let rest = text.trim_start().lines();
    let mut next = rest.skip(usize::from(first.starts_with("Index: ")) * 2);
    next.next().is_some_and(|line| line.starts_with("--- "))
        && next.next().is_some_and(|line| line.starts_with("+++ "))
        && next.next().is_some_and(|line| line.starts_with("@@ "))
}

/// Returns whether the line names the contents before and after a change: `index 1a2b3c4..5d6e7f8 100644`.
fn is_blob_line(line: &str) -> bool {
    let is_hash = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit() || c == ',');
    let hashes = line.strip_prefix("index ").and_then(|rest| rest.split(' ').next());
    hashes
        .and_then(|hashes| hashes.split_once(".."))
        .is_some_and(|(old, new)| is_hash(old) && is_hash(new))
}

/// Renders a diff; `None` if it has no changes.
pub(super) fn render(text: &str, budget: &mut Budget) -> Result<Option<Block>, PlainReason> {
    let mut parser = DiffParser::default();
    let mut lines = text.trim().lines().peekable();
    while let Some(line) = lines.next() {
        budget.take()?;
        let is_path = lines.peek().is_some_and(|next| next.starts_with("+++ "));
        parser.line(line, is_path);
    }
    let files = parser.files;
    let has_change = |file: &DiffFile| !(file.hunks.is_empty() && file.old_path.is_empty() && file.new_path.is_empty());
    Ok(files.iter().any(has_change).then_some(Block::Diff { files }))
}

/// Renders the changes between two texts. The numbers of the lines are not known: the texts are parts of a file.
pub(super) fn compare(
    path: &str,
    changes: &[(String, String)],
    budget: &mut Budget,
) -> Result<Option<Block>, PlainReason> {
    let mut hunks = Vec::new();
    for (old, new) in changes {
        let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
        let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, budget.deadline());
        for group in group_diff_ops(ops, CONTEXT) {
            let mut hunk = DiffHunk::default();
            for change in group.iter().flat_map(|op| op.iter_changes(&old, &new)) {
                budget.take()?;
                hunk.lines.push(DiffLine {
                    kind: match change.tag() {
                        ChangeTag::Equal => DiffLineKind::Context,
                        ChangeTag::Delete => DiffLineKind::Removed,
                        ChangeTag::Insert => DiffLineKind::Added,
                    },
                    old: None,
                    new: None,
                    text: clean(change.value()),
                });
            }
            hunks.push(hunk);
        }
    }
    let path = clean(path);
    let file = DiffFile {
        old_path: path.clone(),
        new_path: path,
        notes: Vec::new(),
        hunks,
    };
    Ok((!file.hunks.is_empty()).then(|| Block::Diff { files: vec![file] }))
}

/// The lines of a hunk that are still to come.
#[derive(Clone, Copy)]
enum Rest {
    /// The numbers of the next lines, and how many follow, of the old and of the new file.
    Counted {
        old: u64,
        new: u64,
        old_left: u64,
        new_left: u64,
    },
    /// The hunk ends where another begins.
    Open,
}

#[derive(Default)]
struct DiffParser {
    files: Vec<DiffFile>,
    /// `None` outside of a hunk.
    rest: Option<Rest>,
}

impl DiffParser {
    /// `is_path`: the next line begins with `+++ `.
    fn line(&mut self, line: &str, is_path: bool) {
        match self.rest {
            Some(Rest::Counted {
                old_left: 0,
                new_left: 0,
                ..
            })
            | None => {}
            Some(Rest::Open) if line.starts_with("***") || line.starts_with("@@") => {}
            Some(rest) => return self.hunk_line(line, rest),
        }
        if let Some(remark) = line.strip_prefix("\\ ") {
            return self.push(DiffLineKind::Note, None, None, remark);
        }
        self.rest = None;
        if let Some(names) = line.strip_prefix("diff --git ") {
            let (old, new) = names.split_once(" b/").unwrap_or((names, ""));
            self.begin(path(old), &clean(new));
        } else if let Some(name) = line.strip_prefix("--- ").filter(|_| is_path) {
            // After a `diff --git` line, the same file.
            if self
                .files
                .last()
                .is_none_or(|file| !file.hunks.is_empty() || file.old_path.is_empty())
            {
                self.begin(String::new(), "");
            }
            self.file().old_path = path(name);
        } else if let Some(name) = line.strip_prefix("+++ ") {
            self.file().new_path = path(name);
        } else if line.starts_with("@@") {
            self.begin_hunk(line);
        } else if let Some(name) = line.strip_prefix("*** Add File: ") {
            self.begin(String::new(), &clean(name));
            self.begin_hunk("");
        } else if let Some(name) = line.strip_prefix("*** Update File: ") {
            self.begin(clean(name), &clean(name));
        } else if let Some(name) = line.strip_prefix("*** Delete File: ") {
            self.begin(clean(name), "");
        } else if let Some(name) = line.strip_prefix("*** Move to: ") {
            self.file().new_path = clean(name);
        } else if [PATCH, "*** End Patch", "*** End of File", ""].contains(&line.trim_end()) || is_blob_line(line) {
            // Says nothing about the changes.
        } else {
            let line = clean(line);
            self.file().notes.push(line);
        }
    }

    fn begin(&mut self, old_path: String, new_path: &str) {
        self.files.push(DiffFile {
            old_path,
            new_path: new_path.to_owned(),
            ..DiffFile::default()
        });
    }

    fn file(&mut self) -> &mut DiffFile {
        if self.files.is_empty() {
            self.files.push(DiffFile::default());
        }
        let last = self.files.len() - 1;
        &mut self.files[last]
    }

    /// Begins the hunk with this line: `@@ -1,2 +3,4 @@ heading`, or without numbers.
    fn begin_hunk(&mut self, line: &str) {
        let text = line.trim_start_matches('@');
        let (ranges, heading) = text.split_once("@@").unwrap_or(("", text));
        let mut ranges = ranges.split_whitespace();
        let range = |text: Option<&str>, sign: char| {
            let (start, count) = text?
                .strip_prefix(sign)
                .map(|text| text.split_once(',').unwrap_or((text, "1")))?;
            Some((start.parse::<u64>().ok()?, count.parse::<u64>().ok()?))
        };
        self.rest = Some(match (range(ranges.next(), '-'), range(ranges.next(), '+')) {
            (Some((old, old_left)), Some((new, new_left))) => Rest::Counted {
                old,
                new,
                old_left,
                new_left,
            },
            _ => Rest::Open,
        });
        let heading = clean(heading.trim());
        self.file().hunks.push(DiffHunk {
            heading,
            lines: Vec::new(),
        });
    }

    fn hunk_line(&mut self, line: &str, rest: Rest) {
        let (kind, text) = match (line.chars().next(), line.get(1..)) {
            (Some('+'), Some(text)) => (DiffLineKind::Added, text),
            (Some('-'), Some(text)) => (DiffLineKind::Removed, text),
            (Some('\\'), Some(text)) => return self.push(DiffLineKind::Note, None, None, text.trim_start()),
            (Some(' '), Some(text)) => (DiffLineKind::Context, text),
            // Editors remove the space of an empty line.
            _ => (DiffLineKind::Context, line),
        };
        let (in_old, in_new) = (kind != DiffLineKind::Added, kind != DiffLineKind::Removed);
        let (mut old_number, mut new_number) = (None, None);
        if let Rest::Counted {
            old,
            new,
            old_left,
            new_left,
        } = rest
        {
            (old_number, new_number) = (in_old.then_some(old), in_new.then_some(new));
            self.rest = Some(Rest::Counted {
                old: old.saturating_add(u64::from(in_old)),
                new: new.saturating_add(u64::from(in_new)),
                old_left: old_left.saturating_sub(u64::from(in_old)),
                new_left: new_left.saturating_sub(u64::from(in_new)),
            });
        }
        self.push(kind, old_number, new_number, text);
    }

    fn push(&mut self, kind: DiffLineKind, old: Option<u64>, new: Option<u64>, text: &str) {
        let text = clean(text);
        let hunks = &mut self.file().hunks;
        if hunks.is_empty() {
            hunks.push(DiffHunk::default());
        }
        if let Some(hunk) = hunks.last_mut() {
            hunk.lines.push(DiffLine { kind, old, new, text });
        }
    }
}

/// Returns a path without git's prefix and without a time; empty for a file that does not exist.
fn path(text: &str) -> String {
    let name = text.split('\t').next().unwrap_or_default().trim_end();
    match name {
        "/dev/null" => String::new(),
        name => clean(
            name.strip_prefix("a/")
                .or_else(|| name.strip_prefix("b/"))
                .unwrap_or(name),
        ),
    }
}
