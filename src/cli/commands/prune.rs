//! `agenthub prune`: deletes old rows.

use anyhow::Result;
use serde_json::json;

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::protocol::now_ms;
use crate::store::{AGENTS_AGE, Pruned, Retention, Unread};
use crate::text::quantity::count;

/// The help text about which rows are deleted and kept, followed by `$more`.
macro_rules! retention_help {
    ($more:literal) => {
        concat!(
            "Deletes the oldest rows first. Keeps unread mail (unless --force is given), claimed mail, the newest totals of each \
             instance, the newest row of each table and threads. Keeps at least 7 days of the change log.\n\
             Deletes agents that have neither written, read mail, subscribed nor acknowledged for 90 days (or the age \
             given by --agents-unseen), with their deliveries and subscriptions. Mail to all is deleted when it is as old \
             as that, unread or not; unread mail to such an agent is kept.\n\
             Other programs can write meanwhile. The file does not shrink: the freed space is reused.",
            $more
        )
    };
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = retention_help!(""),
    after_long_help = retention_help!(
        "\n\n--json prints one document:\n  \
        {dry_run, before, agents_before, pruned: {messages, inbox_messages, receipts, telemetry, task_stream, changes,\n   \
        agents, subscriptions, deliveries, unread_kept, longest_step_ms}}\n\
        before and agents_before are the cutoffs in Unix milliseconds. longest_step_ms is the longest time during which other\n\
        programs could not write. The other values are numbers of rows."
    )
)]
pub(super) struct Args {
    /// Delete rows older than AGE, such as 30d, 12h or 90m
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: i64,
    /// Delete agents that were not seen for AGE, and mail to all of that age [default: 90d]
    #[arg(long, value_name = "AGE", value_parser = age)]
    agents_unseen: Option<i64>,
    /// Delete unread mail too
    #[arg(long)]
    force: bool,
    /// Show what would be deleted without deleting it
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Parses an age such as `30d`. Returns milliseconds.
pub(super) fn age(text: &str) -> std::result::Result<i64, String> {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)];
    units
        .iter()
        .find_map(|(unit, ms)| text.strip_suffix(unit)?.parse::<u32>().ok().map(|n| i64::from(n) * ms))
        .ok_or_else(|| "expected a whole number of days, hours or minutes, such as 30d, 12h or 90m".to_owned())
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let now = now_ms();
    let retention = Retention {
        before: now - args.older_than,
        now,
        unread: if args.force { Unread::Remove } else { Unread::Keep },
        agents_before: now - args.agents_unseen.unwrap_or(AGENTS_AGE),
    };
    let pruned = if args.dry_run {
        database.reader()?.prunable(&retention)?
    } else {
        database.existing_writer()?.prune(&retention)?
    };
    if args.json {
        return terminal::json(&json!({
            "dry_run": args.dry_run,
            "before": retention.before,
            "agents_before": retention.agents_before,
            "pruned": pruned,
        }));
    }
    print(&pruned, if args.dry_run { "would delete" } else { "deleted" })
}

fn print(pruned: &Pruned, verb: &str) -> Result<()> {
    if pruned.rows() == 0 {
        terminal::line("no rows are old enough to delete")?;
    } else {
        terminal::line(&format!(
            "{verb} {}, {} mail, {}, {} telemetry, {}, {}, {}, {}, {}",
            count(pruned.messages, "message"),
            pruned.inbox_messages,
            count(pruned.receipts, "receipt"),
            pruned.telemetry,
            count(pruned.task_stream, "task event"),
            count(pruned.changes, "change"),
            count(pruned.agents, "agent"),
            count(pruned.subscriptions, "subscription"),
            count(pruned.deliveries, "delivery")
        ))?;
    }
    if pruned.unread_kept > 0 {
        terminal::line(&format!(
            "kept {} unread mail (use --force to delete it)",
            pruned.unread_kept
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn parses_ages_with_a_unit() {
        assert_eq!(age("30d"), Ok(30 * 86_400_000));
        assert_eq!(age("0m"), Ok(0));
        for wrong in ["", "30", "d", "-1d", "1.5h", "1w", "99999999999d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
