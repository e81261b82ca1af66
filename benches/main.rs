//! Benchmarks of agenthub. `./benches/run` builds for release and prints one Markdown table.
//!
//! All processes are real: the hub is the release binary; writers, and servers that detect commits in another way, are
//! this program, started again with another argument. A missed goal is printed and is not an error. Nothing is random, and
//! nothing connects to other machines. `benches/README.md` explains the figures.

mod agents;
mod client;
mod contention;
mod database_size;
mod fan_out;
mod hub;
mod latency;
mod peers;
mod report;
mod resources;
mod writer;
mod writing;

use anyhow::{Result, bail};
use report::Report;

/// Measures the figures of one group.
type Group = fn(&mut Report) -> Result<()>;

/// The groups, by their names on the command line.
const GROUPS: &[(&str, Group)] = &[
    ("latency", latency::run),
    ("writing", writing::run),
    ("contention", contention::run),
    ("fan_out", fan_out::run),
    ("database_size", database_size::run),
    ("resources", resources::run),
    ("agents", agents::run),
];

/// Groups that run only if they are named: they need other programs.
const NAMED_GROUPS: &[(&str, Group)] = &[("peers", peers::run)];

fn main() -> Result<()> {
    // `cargo bench` passes `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("--write") => return writer::at_a_rate(&args[1..]),
        Some("--insert") => return writer::without_pause(&args[1..]),
        Some("--serve") => return hub::serve_polling(&args[1..]),
        _ => {}
    }
    let chosen = |name: &str| args.iter().any(|a| a == name);
    if let Some(unknown) = args.iter().find(|a| {
        let known = groups().any(|(name, _)| name == a);
        !known && *a != "--large" && *a != "--soak"
    }) {
        bail!("no group {unknown}; the groups are: {}", names());
    }
    let all = !groups().any(|(name, _)| chosen(name));
    let mut report = Report::new(chosen("--large"), chosen("--soak"));
    for (name, run) in groups() {
        let is_default = all && GROUPS.iter().any(|(default, _)| default == name);
        if is_default || chosen(name) {
            run(&mut report)?;
        }
    }
    report.print()
}

fn groups() -> impl Iterator<Item = &'static (&'static str, Group)> {
    GROUPS.iter().chain(NAMED_GROUPS)
}

fn names() -> String {
    groups().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
