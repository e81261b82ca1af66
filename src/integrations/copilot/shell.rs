//! The last line of a command's result, in which Copilot CLI says how the command ended.

/// The line, without its numbers.
const MARK: (&str, &str, &str) = ("<shellId: ", " completed with ", ">");
/// The end of a command that has succeeded.
const SUCCESS: &str = "exit code 0";

/// Returns a command's output and its error (`exit code 3`), "" without one, from a result that may end with a line
/// that says both.
pub(super) fn split_exit_code(result: &str) -> (&str, &str) {
    let (output, last) = match result.rfind('\n') {
        Some(end) => (&result[..end], &result[end + 1..]),
        None => ("", result),
    };
    let (before, middle, after) = MARK;
    let end = || {
        let (_, end) = last.strip_prefix(before)?.strip_suffix(after)?.split_once(middle)?;
        end.starts_with("exit code ").then_some(end)
    };
    match end() {
        Some(SUCCESS) => (output, ""),
        Some(error) => (output, error),
        None => (result, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_line_has_the_exit_code() {
        for (result, output, error) in [
            ("two\n<shellId: 0 completed with exit code 3>", "two", "exit code 3"),
            ("<shellId: 12 completed with exit code 0>", "", ""),
            ("a\n\n<shellId: 1 completed with exit code -1>", "a\n", "exit code -1"),
            (
                "<shellId: 0 completed with exit code 3>\ntwo",
                "<shellId: 0 completed with exit code 3>\ntwo",
                "",
            ),
            ("two\n<shellId: 0 is running>", "two\n<shellId: 0 is running>", ""),
            ("", "", ""),
        ] {
            assert_eq!(split_exit_code(result), (output, error), "{result}");
        }
    }
}
