//! `agenthub ingest`: an agent's JSON stream from stdin, as rows.

use std::io::{self, ErrorKind, Read};
use std::time::Instant;

use anyhow::Result;

use super::File;
use super::run::{Format, new_task, opener, speaker};
use crate::agents::lines::Lines;
use crate::agents::record::Recorder;
use crate::agents::{About, Ended, Stream};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose stream it is
    #[arg(long, value_enum)]
    format: Format,
    /// Record it as this agent's [default: $AGENTHUB_AGENT, or a name from its session]
    #[arg(long = "as", value_name = "NAME")]
    speaker: Option<String>,
    /// The task's id [default: a new one]
    #[arg(long, value_name = "ID")]
    task: Option<String>,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let begun = Instant::now();
    let about = About {
        task_id: args.task.clone().unwrap_or_else(new_task),
        agent_id: speaker(args.speaker.as_ref()),
        ..About::default()
    };
    let stream = Stream::new(args.format.vendor(), about);
    // What goes wrong is told at the end, when it is known whether it went right after all.
    let recorder = Recorder::start(stream, None, opener(file), |_| {})?;
    let intake = recorder.intake();
    let mut lines = Lines::default();
    let mut buffer = vec![0; 64 << 10];
    let mut stdin = io::stdin().lock();
    let read = loop {
        match stdin.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(n) => lines.feed(&buffer[..n], |line| intake.line(line)),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => break Err(e),
        }
    };
    if let Some(line) = lines.finish() {
        intake.line(line);
    }
    let seconds = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
    recorder.end(Ended::Cut, seconds)?;
    Ok(read?)
}
