//! Figures of the whole hub, measured from outside on real processes.
//!
//! For: `./benches/run`, which builds for release and prints one Markdown table.
//! Not for: judging: a bench measures and prints. What the figures mean is in
//! `benches/README.md`.
//!
//! The hub is the real binary; writers are this program started again (`--write`), so that
//! they are foreign processes with connections of their own.

mod crowd;
mod latency;
mod start;
mod support;

use support::Report;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if args.first().map(String::as_str) == Some("--write") {
        return support::write_rows(&args[1..]);
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|a| a == name);
    let mut report = Report::new();
    if wanted("latency") {
        latency::run(&mut report)?;
    }
    if wanted("start") {
        start::run(&mut report)?;
    }
    if wanted("crowd") {
        crowd::run(&mut report)?;
    }
    report.print();
    Ok(())
}
