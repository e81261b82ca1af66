//! The binary: parse, log to stderr, dispatch, turn an error into an exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use agenthub::cli::{self, Cli, LogFormat};
use agenthub::error::{Code, Error};
use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(_) if cli::is_hook(std::env::args_os()) => return ExitCode::SUCCESS,
        Err(e) if e.use_stderr() => {
            say(&cli::explain(&e, std::env::args_os()));
            return ExitCode::from(Code::Usage.exit());
        }
        Err(e) => {
            // Help and version are no errors. Nobody may be reading.
            drop(e.print());
            return ExitCode::SUCCESS;
        }
    };
    start_log(cli.log_format());
    match cli::run(cli) {
        Ok(code) => code,
        Err(e) if reader_is_gone(&e) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::debug!("{e:#}");
            say(&told(&e));
            ExitCode::from(e.downcast_ref::<Error>().map_or(1, |e| e.code().exit()))
        }
    }
}

fn say(line: &str) {
    // If stderr is closed there is nobody left to tell.
    drop(writeln!(io::stderr(), "agenthub: {line}"));
}

/// What went wrong, in one line. Errors of our own have said it all, and what they came of
/// says it again; only a bug has to show where it came from.
fn told(e: &anyhow::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in e.chain() {
        let words = cause.to_string().lines().collect::<Vec<_>>().join(" ");
        if !said.iter().any(|before| before.contains(&words)) {
            said.push(words);
        }
        if cause
            .downcast_ref::<Error>()
            .is_some_and(|own| own.code() != Code::Internal)
        {
            break;
        }
    }
    said.join(": ")
}

fn start_log(format: LogFormat) {
    let (filter, wrong) = filter(std::env::var("AGENTHUB_LOG").ok().as_deref());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // It would say so on stderr, and panic if that is what cannot be written.
        .log_internal_errors(false)
        .with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal() && cli::wants_colour()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    if let Some(wrong) = wrong {
        tracing::warn!("AGENTHUB_LOG is not used: {wrong}; give debug, or agenthub=debug");
    }
}

/// What is logged, and what is wrong with what was asked for.
fn filter(asked: Option<&str>) -> (EnvFilter, Option<String>) {
    let usual = || EnvFilter::new("agenthub=info");
    let Some(asked) = asked.filter(|text| !text.is_empty()) else {
        return (usual(), None);
    };
    let is_level = |word: &str| word.parse::<tracing::level_filters::LevelFilter>().is_ok();
    // A word that is no level is the name of a target, and everything else would be silent.
    if !asked.contains("agenthub") && !asked.split(',').any(is_level) {
        return (
            usual(),
            Some(format!("{asked:?} names no level and nothing of agenthub")),
        );
    }
    match EnvFilter::try_new(asked) {
        Ok(filter) => (filter, None),
        Err(e) => (usual(), Some(format!("cannot read {asked:?}: {e}"))),
    }
}

/// `agenthub tail | head` ends when head has seen enough.
fn reader_is_gone(e: &anyhow::Error) -> bool {
    e.chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|io| io.kind() == io::ErrorKind::BrokenPipe)
}
