//! Formats the changed lines of a text for the user.

use similar::{Algorithm, ChangeTag, capture_diff_slices, group_diff_ops};

/// Unchanged lines shown around a change.
const CONTEXT: usize = 2;

/// Returns the removed (`- `), added (`+ `) and surrounding (two spaces) lines; `…` stands for
/// other unchanged lines.
pub(super) fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let before: Vec<&str> = before.lines().collect();
    let after: Vec<&str> = after.lines().collect();
    let ops = capture_diff_slices(Algorithm::Myers, &before, &after);
    let mut shown = Vec::new();
    let mut next = 0;
    for op in group_diff_ops(ops, CONTEXT).into_iter().flatten() {
        if op.old_range().start > next {
            shown.push("…".to_owned());
        }
        next = op.old_range().end;
        for change in op.iter_changes(&before, &after) {
            let mark = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            shown.push(format!("{mark} {}", change.value()));
        }
    }
    if next < before.len() {
        shown.push("…".to_owned());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_changes_with_context_and_marks_omissions() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = "1\n2\n3\n4\nnew\n5\n6\n7\n8\nnine\n";
        assert_eq!(
            changed_lines(before, after),
            ["…", "  3", "  4", "+ new", "  5", "  6", "  7", "  8", "- 9", "+ nine"]
        );
        assert_eq!(changed_lines("", "a\n"), ["+ a"]);
        assert_eq!(changed_lines("a\n", ""), ["- a"]);
        assert_eq!(changed_lines("same\n", "same\n"), ["…"]);
    }

    #[test]
    fn omits_unchanged_lines_between_and_after_changes() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = "one\n2\n3\n4\n5\n6\nseven\n8\n9\n";
        assert_eq!(
            changed_lines(before, after),
            [
                "- 1", "+ one", "  2", "  3", "…", "  5", "  6", "- 7", "+ seven", "  8", "  9"
            ]
        );
        assert_eq!(
            changed_lines(before, &format!("0\n{before}")),
            ["+ 0", "  1", "  2", "…"]
        );
    }

    /// An exact comparison of these texts takes 25 million steps per line.
    #[test]
    fn compares_long_texts_quickly() {
        let long: String = (0..5000).map(|i| format!("{i}\n")).collect();
        assert_eq!(changed_lines(&long, &format!("x\n{long}")).len(), 4);
        let other: String = (0..5000).map(|i| format!("{}\n", i * 7919 % 5003)).collect();
        let begun = std::time::Instant::now();
        assert!(changed_lines(&long, &other).len() >= 5000);
        assert!(begun.elapsed().as_secs() < 10);
    }
}
