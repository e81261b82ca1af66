//! Finds flags in a tool's command line.

use super::spec::StreamFlags;

/// Letters of short flags that take no value, and so can share one dash: `-cp`.
const SHORT_SWITCHES: &str = "cdfpvy";

/// Returns the value of the first of these flags (`--name value` or `--name=value`), "" if it has
/// none, or `None` without such a flag. Arguments after `--` are not flags.
pub(super) fn flag<'a>(given: &'a [String], names: &[&str]) -> Option<&'a str> {
    let flags = given.split(|arg| arg == "--").next().unwrap_or_default();
    flags.iter().enumerate().find_map(|(i, arg)| {
        if names.iter().any(|name| is_flag(arg, name)) {
            return Some(flags.get(i + 1).map_or("", String::as_str));
        }
        let (name, value) = arg.split_once('=')?;
        names.contains(&name).then_some(value)
    })
}

/// Returns whether `arg` is the flag `name`, or several short flags of which one is `name`.
pub fn is_flag(arg: &str, name: &str) -> bool {
    let is_bundled = || {
        let (letters, letter) = (arg.strip_prefix('-')?, name.strip_prefix('-')?);
        let is_short = letter.len() == 1 && letters.chars().all(|c| SHORT_SWITCHES.contains(c));
        Some(is_short && letters.contains(letter))
    };
    arg == name || is_bundled() == Some(true)
}

/// Returns the flags for `--output-format stream-json`, which several tools share. They are inserted
/// first: after a prompt flag they could be parsed as the prompt.
pub(super) fn stream_json_flags(given: &[String], names: &[&str]) -> Result<StreamFlags, &'static str> {
    let flags = match flag(given, names) {
        None => ["--output-format", "stream-json"].map(str::to_owned).to_vec(),
        Some("stream-json") => Vec::new(),
        Some(_) => return Err("only --output-format stream-json can be recorded; leave it out"),
    };
    Ok(StreamFlags { index: 0, flags })
}
