//! The text with which Kimi Code's shell ends the output of a command that has failed.

const FAILED: &str = "Command failed with ";

/// Splits the result of a command into its output and its error, which is "" for one that has not failed.
pub(super) fn split_failure(result: &str) -> (&str, &str) {
    let result = result.trim_end();
    let (output, last) = result.rsplit_once('\n').unwrap_or(("", result));
    match last.strip_prefix(FAILED) {
        Some(error) if error.starts_with("exit code: ") => (output, error.trim_end_matches('.')),
        _ => (result, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_is_the_error() {
        for (result, parts) in [
            ("two\nCommand failed with exit code: 3.", ("two", "exit code: 3")),
            ("Command failed with exit code: 3.\n", ("", "exit code: 3")),
            ("Command failed with a bang", ("Command failed with a bang", "")),
            ("one\n", ("one", "")),
            ("", ("", "")),
        ] {
            assert_eq!(split_failure(result), parts, "{result}");
        }
    }
}
