//! `agenthub ingest`: an agent's JSON stream from stdin, as rows.
//!
//! However it ends, by the stream's end or by a signal, the task ends with it.

use std::io::{self, ErrorKind, Read};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::File;
use super::run::{Format, new_task, opener, speaker};
use super::signals::{self, Signals};
use crate::agents::lines::Lines;
use crate::agents::record::{Intake, Recorder};
use crate::agents::{About, Ended, Stream};

/// How long the stream may still go on after a signal.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose stream it is
    #[arg(long, value_enum)]
    format: Format,
    /// Record it as this agent's [default: $AGENTHUB_AGENT unless an agent runs this, or a name from its session]
    #[arg(long = "as", value_name = "NAME", value_parser = super::speaker)]
    speaker: Option<String>,
    /// The task's id [default: a new one]
    #[arg(long, value_name = "ID", value_parser = super::name)]
    task: Option<String>,
}

pub(super) fn run(file: &File, args: &Args) -> Result<ExitCode> {
    let begun = Instant::now();
    let about = About {
        task_id: args.task.clone().unwrap_or_else(new_task),
        agent_id: speaker(args.speaker.as_ref()),
        ..About::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (came, read) = runtime.block_on(async {
        let mut signals = Signals::listen(signals::ENDING)?;
        let stream = Stream::new(args.format.vendor(), about);
        // What goes wrong is told at the end, when it is known whether it went right after all.
        let recorder = Recorder::start(stream, None, opener(file), |_| {})?;
        let mut over = take_in(recorder.intake());
        let (came, read) = tokio::select! {
            read = &mut over => (None, read.ok()),
            caught = signals.next() => {
                // Whoever writes the stream has mostly had the same signal, and ends it now.
                let read = timeout(LAST_WORDS, &mut over).await;
                (Some(caught), read.ok().and_then(std::result::Result::ok))
            }
        };
        let ended = came.map_or(Ended::Cut, |signal| Ended::Signal(signal.as_raw()));
        let seconds = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
        recorder.end(ended, seconds)?;
        anyhow::Ok((came, read))
    })?;
    if let Some(signal) = came {
        return Ok(ExitCode::from(u8::try_from(128 + signal.as_raw()).unwrap_or(1)));
    }
    read.transpose()?;
    Ok(ExitCode::SUCCESS)
}

/// Gives stdin's lines to the recorder, in a thread: a signal cannot end a read. What comes
/// back says when it is over, and how.
fn take_in(intake: Intake) -> oneshot::Receiver<io::Result<()>> {
    let (over, receiver) = oneshot::channel();
    thread::spawn(move || {
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
        // Whoever waits may have given up.
        let _ = over.send(read);
    });
    receiver
}
