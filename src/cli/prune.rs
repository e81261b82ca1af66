//! `agenthub prune`: old rows go.

use anyhow::Result;
use serde_json::json;

use super::{File, output};
use crate::protocol::now_ms;
use crate::store::{Pruned, Retention, Unread};

macro_rules! what_goes {
    ($more:literal) => {
        concat!(
            "Rows go in the order in which they came. Unread mail stays without --force; so do mail somebody works on, \
             the newest totals of each instance, the newest row of each kind, agents and threads. The log of changes keeps 7 days at least.\n\
             Everybody goes on writing meanwhile. The file does not get smaller: its room is used again.",
            $more
        )
    };
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = what_goes!(""),
    after_long_help = what_goes!(
        "\n\n--json prints one document:\n  \
        {dry_run, before, pruned: {messages, inbox_messages, receipts, telemetry, task_stream, changes,\n   \
        unread_kept, longest_step_ms}}\n\
        before is Unix milliseconds: what is older goes, or went. longest_step_ms is how long others could not\n\
        write; the rest are numbers of rows."
    )
)]
pub(super) struct Args {
    /// Remove what is older than this: 30d, 12h, 90m
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: i64,
    /// Remove unread mail as well
    #[arg(long)]
    force: bool,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// `30d` in milliseconds.
fn age(text: &str) -> std::result::Result<i64, String> {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)];
    units
        .iter()
        .find_map(|(unit, ms)| text.strip_suffix(unit)?.parse::<u32>().ok().map(|n| i64::from(n) * ms))
        .ok_or_else(|| "a whole number of days, hours or minutes, such as 30d, 12h or 90m".to_owned())
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let now = now_ms();
    let retention = Retention {
        before: now - args.older_than,
        now,
        unread: if args.force { Unread::Remove } else { Unread::Keep },
    };
    let pruned = if args.dry_run {
        file.reader()?.prunable(&retention)?
    } else {
        file.writer()?.prune(&retention)?
    };
    if args.json {
        return output::json(&json!({"dry_run": args.dry_run, "before": retention.before, "pruned": pruned}));
    }
    let [gone, nothing] = if args.dry_run {
        ["would go", "nothing would go"]
    } else {
        ["gone", "nothing was old enough"]
    };
    print(&pruned, gone, nothing)
}

/// `gone` is what happened to the rows, `nothing` what to say if there were none.
fn print(pruned: &Pruned, gone: &str, nothing: &str) -> Result<()> {
    if pruned.rows() == 0 {
        output::line(nothing)?;
    } else {
        output::line(&format!(
            "{gone}: {} messages, {} mail, {} receipts, {} telemetry, {} task events, {} changes",
            pruned.messages,
            pruned.inbox_messages,
            pruned.receipts,
            pruned.telemetry,
            pruned.task_stream,
            pruned.changes
        ))?;
    }
    if pruned.unread_kept > 0 {
        output::line(&format!(
            "kept: {} old mail that nobody has read (--force removes it)",
            pruned.unread_kept
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_have_a_unit() {
        assert_eq!(age("30d"), Ok(30 * 86_400_000));
        assert_eq!(age("0m"), Ok(0));
        for wrong in ["", "30", "d", "-1d", "1.5h", "1w", "99999999999d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
