//! The `agenthub` binary: parses arguments, starts the log, runs the command, and turns errors into
//! messages on stderr and exit codes.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use agenthub::cli::{self, Cli, LogFormat};
use agenthub::error::{Code, Error};
use agenthub::integrations::fence::without_tags;
use agenthub::text::safe_text;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match Cli::parse_args(std::env::args_os()) {
        Ok(cli) => cli,
        // A hook must never fail: see `cli::is_hook`.
        Err(_) if cli::is_hook(std::env::args_os()) => return ExitCode::SUCCESS,
        Err(e) if e.use_stderr() => {
            print_usage_error(&e);
            return ExitCode::from(Code::Usage.exit());
        }
        Err(e) => {
            // `--help` and `--version`. A closed stdout is no error.
            drop(e.print());
            return ExitCode::SUCCESS;
        }
    };
    start_log(cli.log_format());
    match cli::run(cli) {
        Ok(code) => code,
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::debug!("{e:#}");
            // If stderr is closed, the user sees only the exit code.
            drop(writeln!(
                io::stderr(),
                "agenthub: {}",
                safe_text::escape(&without_tags(&one_line(&e)))
            ));
            ExitCode::from(e.downcast_ref::<Error>().map_or(1, |e| e.code().exit()))
        }
    }
}

/// Prints clap's message: what is wrong, a tip, and the usage. It quotes arguments, which may contain
/// hidden characters.
fn print_usage_error(error: &clap::Error) {
    // A removed suggestion leaves two blank lines.
    let text = error.render().to_string().replace("\n\n\n", "\n\n");
    let lines: Vec<String> = text.lines().map(safe_text::escape).collect();
    drop(writeln!(io::stderr(), "{}", lines.join("\n")));
}

/// Returns the messages of the error and its causes in one line. It ends at the first error of this
/// crate, whose message includes its cause; the causes of internal errors are added.
fn one_line(error: &anyhow::Error) -> String {
    let mut messages: Vec<String> = Vec::new();
    for cause in error.chain() {
        let message = cause.to_string().lines().collect::<Vec<_>>().join(" ");
        if !messages.iter().any(|earlier| earlier.contains(&message)) {
            messages.push(message);
        }
        if cause
            .downcast_ref::<Error>()
            .is_some_and(|own| own.code() != Code::Internal)
        {
            break;
        }
    }
    messages.join(": ")
}

fn start_log(format: LogFormat) {
    let (filter, problem) = log_filter(std::env::var("AGENTHUB_LOG").ok().as_deref());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // Otherwise an error in writing to stderr is reported on stderr, which panics.
        .log_internal_errors(false)
        .with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal() && cli::wants_color()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    if let Some(problem) = problem {
        tracing::warn!("AGENTHUB_LOG is ignored: {problem}; set it to debug or agenthub=debug, for example");
    }
}

/// Returns the filter for the value of `AGENTHUB_LOG`, and why that value is ignored.
fn log_filter(value: Option<&str>) -> (EnvFilter, Option<String>) {
    let default = || EnvFilter::new("agenthub=info");
    let Some(value) = value.filter(|text| !text.is_empty()) else {
        return (default(), None);
    };
    let is_level = |word: &str| word.parse::<tracing::level_filters::LevelFilter>().is_ok();
    // `EnvFilter` parses a word that is not a level as a target, and would disable all other targets.
    if !value.contains("agenthub") && !value.split(',').any(is_level) {
        return (
            default(),
            Some(format!("{value:?} contains neither a level nor a target of agenthub")),
        );
    }
    match EnvFilter::try_new(value) {
        Ok(filter) => (filter, None),
        Err(e) => (default(), Some(format!("cannot parse {value:?}: {e}"))),
    }
}

/// Returns whether stdout was closed by its reader, as in `agenthub tail | head`.
fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|io| io.kind() == io::ErrorKind::BrokenPipe)
}
