//! Two texts, line by line: what a person has to see before saying yes.

/// Lines around a change that are shown with it.
const CONTEXT: usize = 2;
/// The most lines that are compared one by one. Between two texts that differ in more, all
/// of what differs is shown as replaced.
const MOST: usize = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit<'a> {
    Same(&'a str),
    Out(&'a str),
    In(&'a str),
}

/// The lines that go out (`-`), come in (`+`) and stand around them, with `…` where others
/// are left out.
pub(super) fn lines(before: &str, after: &str) -> Vec<String> {
    let edits = compare(&before.lines().collect::<Vec<_>>(), &after.lines().collect::<Vec<_>>());
    let near = |i: usize| {
        let around = i.saturating_sub(CONTEXT)..edits.len().min(i + CONTEXT + 1);
        edits[around].iter().any(|edit| !matches!(edit, Edit::Same(_)))
    };
    let mut out: Vec<String> = Vec::new();
    for (i, edit) in edits.iter().enumerate() {
        match edit {
            Edit::Out(line) => out.push(format!("- {line}")),
            Edit::In(line) => out.push(format!("+ {line}")),
            Edit::Same(line) if near(i) => out.push(format!("  {line}")),
            Edit::Same(_) if out.last().is_none_or(|last| last != "…") => out.push("…".to_owned()),
            Edit::Same(_) => {}
        }
    }
    out
}

/// The shortest way from one text to the other, by the longest common subsequence of what
/// lies between their common beginning and end.
fn compare<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<Edit<'a>> {
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a_rest, b_rest) = (&a[head..], &b[head..]);
    let tail = a_rest
        .iter()
        .rev()
        .zip(b_rest.iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    let (a_mid, b_mid) = (&a_rest[..a_rest.len() - tail], &b_rest[..b_rest.len() - tail]);
    let mut edits: Vec<Edit<'a>> = a[..head].iter().copied().map(Edit::Same).collect();
    if a_mid.len().max(b_mid.len()) > MOST {
        edits.extend(a_mid.iter().copied().map(Edit::Out));
        edits.extend(b_mid.iter().copied().map(Edit::In));
    } else {
        edits.extend(between(a_mid, b_mid));
    }
    edits.extend(a_rest[a_rest.len() - tail..].iter().copied().map(Edit::Same));
    edits
}

fn between<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<Edit<'a>> {
    // common[i][j]: how many lines the rests from i and j on have in common.
    let mut common = vec![vec![0_u16; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut edits = Vec::with_capacity(a.len() + b.len());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            edits.push(Edit::Same(a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || i < a.len() && common[i + 1][j] >= common[i][j + 1] {
            edits.push(Edit::Out(a[i]));
            i += 1;
        } else {
            edits.push(Edit::In(b[j]));
            j += 1;
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_shown() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = "1\n2\n3\n4\nnew\n5\n6\n7\n8\nnine\n";
        assert_eq!(
            lines(before, after),
            ["…", "  3", "  4", "+ new", "  5", "  6", "  7", "  8", "- 9", "+ nine"]
        );
        assert_eq!(lines("", "a\n"), ["+ a"]);
        assert_eq!(lines("a\n", ""), ["- a"]);
        let long: String = (0..5000).map(|i| format!("{i}\n")).collect();
        assert_eq!(lines(&long, &format!("x\n{long}")).len(), 4);
        assert!(lines("same\n", "same\n").iter().all(|line| line == "…"));
    }
}
