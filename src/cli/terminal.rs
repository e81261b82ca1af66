//! Output on stdout: tables, JSON, times.
//!
//! Agents' text is escaped here: it must not move the cursor, recolor the screen or reorder a
//! line. [`line()`] prints its argument unchanged, so callers escape what they did not write.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Result;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::config::sender_name;
use crate::error::{Code, Error};
use crate::integrations::fence;
use crate::store::InboxMessageRow;
use crate::text::safe_text::{escape, escape_json};

/// Prints a line, and flushes it for readers that follow a pipe.
///
/// # Errors
/// The error of the operating system; a broken pipe ends the process without a message.
pub(super) fn line(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Prints untrusted text for a model (see [`fence`]); nothing if there is none.
pub(super) fn fenced(text: &str) -> Result<()> {
    match fence::fenced(text) {
        none if none.is_empty() => Ok(()),
        text => line(&text),
    }
}

/// Prints a note for the user on stderr.
pub(super) fn note(text: &str) -> Result<()> {
    writeln!(io::stderr(), "{text}")?;
    Ok(())
}

/// Asks the user a question on the terminal. Returns whether the answer is yes. `action` is what `--yes` does.
///
/// # Errors
/// [`Code::Usage`] if stdin is not a terminal.
pub(super) fn confirm(question: &str, action: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Error::new(Code::Usage, format!("not a terminal; pass --yes to {action}")).into());
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Asks a question on stderr. Returns whether the answer is yes, which is the default.
pub(super) fn confirm_by_default(question: &str) -> Result<bool> {
    write!(io::stderr(), "{question} [Y/n] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "" | "y" | "Y" | "yes") && answer.ends_with('\n'))
}

/// Returns whether stdout is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Returns the text in bold, if stdout is a terminal and colors are not disabled.
pub(super) fn strong(text: &str) -> String {
    if is_terminal() && wants_color() {
        format!("\u{1b}[1m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// Returns whether colors are allowed: `NO_COLOR` is unset or empty (<https://no-color.org>).
pub fn wants_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Returns a row's sender, as [`short`]. A task event's agent is a sender, too.
pub(super) fn sender(name: &str, verified: bool, max: usize) -> String {
    short(&sender_name(name, verified), max)
}

/// Returns the status of a message for a table, or the owner of its claim.
pub(super) fn mail_state(mail: &InboxMessageRow, now: i64) -> String {
    match mail.holder(now) {
        Some(holder) => format!("claimed by {}", short(holder, 24)),
        None => short(&mail.status, 10),
    }
}

/// Prints one JSON document: indented on a terminal, otherwise on one line.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    if is_terminal() {
        line(&escape_json(&serde_json::to_string_pretty(value)?))
    } else {
        line(&serde_json::to_string(value)?)
    }
}

/// Prints one line of JSON Lines.
pub(super) fn json_line(value: &impl Serialize) -> Result<()> {
    json_text(&serde_json::to_string(value)?)
}

/// Prints a line that is JSON already; hidden characters are escaped on a terminal only.
pub(super) fn json_text(text: &str) -> Result<()> {
    if is_terminal() {
        line(&escape_json(text))
    } else {
        line(text)
    }
}

/// Prints rows below headings. Columns are as wide as their widest cell; the last one is not
/// padded.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Result<()> {
    let lines = table_lines(headings, rows);
    if let Some((headings, rows)) = lines.split_first() {
        line(&strong(headings))?;
        rows.iter().try_for_each(|row| line(row))?;
    }
    Ok(())
}

fn table_lines<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let cells = rows.iter().map(|row| std::array::from_fn(|i| row[i].as_str()));
    let lines: Vec<[&str; N]> = std::iter::once(headings).chain(cells).collect();
    let widths: [usize; N] = std::array::from_fn(|i| lines.iter().map(|line| line[i].width()).max().unwrap_or(0));
    lines
        .iter()
        .map(|line| {
            let padded = line.iter().zip(widths).map(|(cell, width)| {
                let padding = width.saturating_sub(cell.width());
                format!("{cell}{:padding$}", "")
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

/// Characters per column that [`cut`] shows at most: combining marks take no column.
const CHARS_PER_COLUMN: usize = 8;
/// Characters after the shown ones that [`short`] examines: a tag may end there.
const MAX_CUT_TAG: usize = 512;

/// Returns the text escaped, on one line, without tags of tools (a model may read the table), and cut to at most
/// `max` columns.
pub(super) fn short(text: &str, max: usize) -> String {
    let limit = max * CHARS_PER_COLUMN + MAX_CUT_TAG;
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(limit));
        // The rest of a long text is not examined.
        if line.len() > limit {
            break;
        }
    }
    cut(&fence::without_tags(&escape(&line)), max)
}

/// Returns one line cut to at most `max` columns.
pub(super) fn cut(text: &str, max: usize) -> String {
    let max_chars = max * CHARS_PER_COLUMN;
    if text.width() <= max && text.chars().count() <= max_chars {
        return text.to_owned();
    }
    // Measures prefixes: the width of an emoji sequence is not the sum of its characters'.
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8()).take(max_chars);
    let end = ends.take_while(|end| text[..*end].width() < max).last().unwrap_or(0);
    format!("{}…", &text[..end])
}

/// Returns a name or id in full: escaped, without tags of tools (a model may read the line).
pub(super) fn name(text: &str) -> String {
    fence::without_tags(&escape(text))
}

/// Returns the text escaped, with its line breaks; all lines but the first are indented.
pub(super) fn block(text: &str, indent: usize) -> String {
    let margin = format!("\n{:indent$}", "");
    text.lines().map(escape).collect::<Vec<_>>().join(&margin)
}

/// Formats a time in the system's time zone: the time of day if it is today, otherwise with date.
pub(super) fn time(unix_ms: i64) -> String {
    let Ok(timestamp) = jiff::Timestamp::from_millisecond(unix_ms) else {
        return "?".to_owned();
    };
    let zone = jiff::tz::TimeZone::system();
    let then = timestamp.to_zoned(zone.clone());
    let today = jiff::Timestamp::from_millisecond(crate::protocol::now_ms()).map(|now| now.to_zoned(zone).date());
    let format = if today.is_ok_and(|today| today == then.date()) {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M"
    };
    then.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_text_by_columns() {
        assert_eq!(short("ä\nb   c", 10), "ä b c");
        assert_eq!(short("ääääää", 4), "äää…");
        assert_eq!(short("漢字漢字", 8), "漢字漢字");
        // A wide character that does not fit is left out.
        assert_eq!(short("漢字漢字", 6), "漢字…");
        // Combining marks stay with their character and take no column.
        assert_eq!(short("e\u{301}e\u{301}e\u{301}", 3), "e\u{301}e\u{301}e\u{301}");
        assert_eq!(short("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        let marks = format!("a{}", "\u{301}".repeat(100_000));
        assert!(short(&marks, 10).chars().count() <= 81);
    }

    #[test]
    fn long_text_is_cut_before_it_is_examined() {
        // Other tests run at the same time.
        let used = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_sec;
        let started = used();
        for piece in ["<", "[", "<a ", "\u{200b}"] {
            let shown = short(&piece.repeat(10_000_000 / piece.len()), 10);
            assert!(shown.ends_with('…'), "{shown}");
        }
        assert!(used() - started < 5, "{} s", used() - started);
        assert_eq!(short(&format!("  <{}", "system-reminder>".repeat(9)), 6), "‹syst…");
    }

    #[test]
    fn aligns_columns_of_wide_and_combining_characters() {
        let rows = [["漢字", "1"], ["e\u{301}", "2"], ["plain", "3"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            table_lines(["NAME", "N"], &rows),
            ["NAME   N", "漢字   1", "e\u{301}      2", "plain  3"]
        );
    }

    #[test]
    fn indents_later_lines_and_escapes() {
        assert_eq!(block("one\ntwo\u{1b}", 2), "one\n  two\\u{1b}");
    }
}
