//! Figures of agenthub, measured from outside on real processes.
//!
//! For: `./benches/run`, which builds for release and prints one Markdown table.
//! Not for: judging: it prints a figure beside its goal and never fails for one. What the
//! figures mean, and what was tried, is in `benches/README.md`.
//!
//! The hub is the real binary. Writers, and servers with another way of noticing, are this
//! program started again, so that they are processes of their own. Nothing is random, and
//! nothing leaves this machine.

mod agents;
mod client;
mod crowd;
mod growth;
mod hub;
mod latency;
mod load;
mod report;
mod writer;
mod writing;

use anyhow::{Result, bail};
use report::Report;

/// Measures one group of figures.
type Group = fn(&mut Report) -> Result<()>;

/// The groups of figures, by the names that choose them.
const GROUPS: &[(&str, Group)] = &[
    ("latency", latency::run),
    ("writing", writing::run),
    ("crowd", crowd::run),
    ("growth", growth::run),
    ("load", load::run),
    ("agents", agents::run),
];

fn main() -> Result<()> {
    // `cargo bench` adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("--write") => return writer::at_a_rate(&args[1..]),
        Some("--insert") => return writer::without_pause(&args[1..]),
        Some("--serve") => return hub::serve_polling(&args[1..]),
        _ => {}
    }
    let chosen = |name: &str| args.iter().any(|a| a == name);
    if let Some(odd) = args.iter().find(|a| {
        let known = GROUPS.iter().any(|(name, _)| name == a);
        !known && *a != "--large" && *a != "--soak"
    }) {
        bail!("there is no group {odd}; the groups are: {}", names());
    }
    let all = !GROUPS.iter().any(|(name, _)| chosen(name));
    let mut report = Report::new(chosen("--large"), chosen("--soak"));
    for (name, run) in GROUPS {
        if all || chosen(name) {
            run(&mut report)?;
        }
    }
    report.print()
}

fn names() -> String {
    GROUPS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
