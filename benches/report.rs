//! The table of results: figures, goals, and a description of the machine. Each figure is also printed to stderr at once.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

/// The goal of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    fn limit(self) -> f64 {
        match self {
            Self::AtMost(goal) | Self::AtLeast(goal) => goal,
        }
    }
}

impl Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if matches!(self, Self::AtMost(_)) { '≤' } else { '≥' };
        write!(f, "{sign} {}", short(self.limit()))
    }
}

pub(crate) struct Report {
    rows: Vec<[String; 4]>,
    started: Instant,
    load: String,
    /// Include databases of ten million messages (`--large`).
    pub(crate) large: bool,
    /// Use the long forms (`--soak`).
    pub(crate) soak: bool,
}

impl Report {
    pub(crate) fn new(large: bool, soak: bool) -> Self {
        Self {
            rows: Vec::new(),
            started: Instant::now(),
            load: first_line("/proc/loadavg"),
            large,
            soak,
        }
    }

    /// Adds a figure without a goal.
    pub(crate) fn note(&mut self, figure: impl Into<String>, value: impl Into<String>) {
        self.row([figure.into(), value.into(), String::new(), String::new()]);
    }

    /// Adds a figure with a goal.
    pub(crate) fn judge(&mut self, figure: impl Into<String>, value: f64, goal: Goal) {
        let verdict = if goal.is_met(value) {
            "met".to_owned()
        } else {
            format!("missed: {:.2} ×", value / goal.limit())
        };
        self.row([figure.into(), short(value), goal.to_string(), verdict]);
    }

    fn row(&mut self, row: [String; 4]) {
        // stderr may be closed.
        drop(writeln!(
            std::io::stderr(),
            "[{:>4} s] {}",
            self.started.elapsed().as_secs(),
            row.join(" | ")
        ));
        self.rows.push(row);
    }

    pub(crate) fn print(&self) -> Result<()> {
        let mut text = String::from("| figure | value | goal | |\n|---|---:|---:|---|\n");
        for row in &self.rows {
            writeln!(text, "| {} |", row.join(" | "))?;
        }
        writeln!(text, "\n{}", self.machine())?;
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(())
    }

    fn machine(&self) -> String {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("an unknown CPU", |rest| rest.trim_start_matches([' ', '\t', ':']));
        let rustc = Command::new("rustc").arg("--version").output();
        let rustc = rustc.map_or_else(
            |_| "unknown".to_owned(),
            |out| String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        );
        format!(
            "{} cores of {cpu}, {} of memory, {} {}, files on {}; load before: {}; agenthub {} ({}), SQLite {}, {rustc}; {} s in total",
            std::thread::available_parallelism().map_or(0, usize::from),
            memory(),
            std::env::consts::OS,
            first_line("/proc/sys/kernel/osrelease"),
            last_line_of("df", &["--output=fstype", &std::env::temp_dir().to_string_lossy()]),
            self.load,
            env!("CARGO_PKG_VERSION"),
            last_line_of("git", &["describe", "--always", "--dirty"]),
            agenthub::store::sqlite_version(),
            self.started.elapsed().as_secs()
        )
    }
}

/// Returns the last line that a program prints.
fn last_line_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map_or_else(
        |_| String::new(),
        |out| String::from_utf8_lossy(&out.stdout).into_owned(),
    );
    text.lines().last().unwrap_or("unknown").trim().to_owned()
}

fn memory() -> String {
    let line = first_line("/proc/meminfo");
    let kib: Option<u64> = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok());
    kib.map_or("unknown".to_owned(), |kib| format!("{} GiB", kib >> 20))
}

fn first_line(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// Formats a number with two or three significant digits, or with thousands separators from 10,000.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 10_000.0 => {
            let digits = format!("{value:.0}");
            let mut out = String::new();
            for (i, c) in digits.chars().enumerate() {
                if i > 0 && (digits.len() - i).is_multiple_of(3) {
                    out.push(',');
                }
                out.push(c);
            }
            out
        }
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A sorted sample.
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// Returns the quantile `q` (0 to 1).
    pub(crate) fn at(&self, q: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let index = ((self.0.len() as f64 - 1.0) * q).round() as usize;
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// Formats p50, p90, p99 and the maximum.
    pub(crate) fn spread(&self) -> String {
        [0.5, 0.9, 0.99, 1.0].map(|q| short(self.at(q))).join(" / ")
    }

    /// Formats p50, p99, p99.9 and the maximum, for rare long waits.
    pub(crate) fn tail(&self) -> String {
        [0.5, 0.99, 0.999, 1.0].map(|q| short(self.at(q))).join(" / ")
    }
}
