//! What a person or a script gets to see on stdout.
//!
//! For: tables, JSON, times, and making other people's text safe for a terminal: what an
//! agent wrote must not move the cursor, recolour the screen or pretend to be something
//! else.
//! Not for: stderr; that is for `main` and the log.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use serde::Serialize;

use crate::store::InboxRow;
use crate::text::safe_text::{escape, escape_json};

/// Prints a line. Ends the process quietly, through the error, when nobody reads any more.
pub(super) fn line(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    // Whoever follows along wants it now.
    out.flush()?;
    Ok(())
}

/// Says something on stderr that is no data.
pub(super) fn note(text: &str) -> Result<()> {
    writeln!(io::stderr(), "{text}")?;
    Ok(())
}

/// Whether a person reads along.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The text in bold, where people read it and have not asked for none of that.
pub(super) fn strong(text: &str) -> String {
    if is_terminal() && wants_colour() {
        format!("\u{1b}[1m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// Whether the person has not switched colours off (`NO_COLOR`, <https://no-color.org>).
pub fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// In one word or a few, how mail stands.
pub(super) fn mail_state(mail: &InboxRow, now: i64) -> String {
    match mail.holder(now) {
        Some(holder) => format!("claimed by {}", short(holder, 24)),
        None => short(&mail.status, 10),
    }
}

/// Prints one JSON document: for people with line breaks, for pipes without.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    if is_terminal() {
        line(&escape_json(&serde_json::to_string_pretty(value)?))
    } else {
        line(&serde_json::to_string(value)?)
    }
}

/// Prints one line of JSON Lines.
pub(super) fn json_line(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value)?;
    json_text(&text)
}

/// Prints a line of JSON as it is, unless a person looks at it.
pub(super) fn json_text(text: &str) -> Result<()> {
    if is_terminal() {
        line(&escape_json(text))
    } else {
        line(text)
    }
}

/// Prints rows under headings, in columns as wide as they need to be; the last one takes
/// what it wants.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Result<()> {
    let width = |i: usize| {
        rows.iter()
            .map(|row| row[i].chars().count())
            .chain([headings[i].len()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let render = |cells: [&str; N]| {
        let mut text = String::new();
        for (i, cell) in cells.iter().enumerate() {
            if i + 1 == N {
                text.push_str(cell);
            } else {
                // Writing to a String cannot fail.
                let _ = write!(text, "{cell:<width$}  ", width = widths[i]);
            }
        }
        text.trim_end().to_owned()
    };
    line(&strong(&render(headings)))?;
    for row in rows {
        line(&render(std::array::from_fn(|i| row[i].as_str())))?;
    }
    Ok(())
}

/// Somebody's text in one line of at most `most` characters.
pub(super) fn short(text: &str, most: usize) -> String {
    let mut shown: String = escape(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    if shown.chars().count() > most {
        shown = shown.chars().take(most.saturating_sub(1)).collect();
        shown.push('…');
    }
    shown
}

/// Somebody's text with its line breaks, later lines set in by `indent`.
pub(super) fn block(text: &str, indent: usize) -> String {
    let margin = format!("\n{:indent$}", "");
    text.lines().map(escape).collect::<Vec<_>>().join(&margin)
}

/// A time of day if it was today, otherwise with the date; in this machine's time zone.
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

/// A number of bytes for people.
pub(super) fn bytes(n: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.1} MiB", n as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_by_characters() {
        assert_eq!(short("ä\nb   c", 10), "ä b c");
        assert_eq!(short("ääääää", 4), "äää…");
        assert_eq!(block("one\ntwo\u{1b}", 2), "one\n  two\\u{1b}");
    }
}
