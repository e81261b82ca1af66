//! `agenthub ingest`: records an agent's JSON stream from stdin. The task ends when the stream ends or
//! a signal arrives.

use std::io::{self, ErrorKind, Read};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::run::{Tool, format_parser, new_task, opener, require_no_label, speaker};
use crate::cli::args::{self, DatabaseArgs};
use crate::cli::signals::{self, Signals};
use crate::error::{Code, Error};
use crate::integrations::line_splitter::LineSplitter;
use crate::integrations::recorder::{LineSender, Recorder};
use crate::integrations::stream::{Stream, StreamSource};
use crate::integrations::task_builder::{StreamEnd, TaskInfo};

/// Maximum time that the stream may continue after a signal.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The stream's format
    #[arg(long, value_parser = format_parser())]
    format: Tool,
    /// Record it as this agent [default: $AGENTHUB_AGENT unless an agent runs this, or a name from its session]
    #[arg(long = "as", value_name = "NAME", value_parser = args::agent)]
    speaker: Option<String>,
    /// The task's id [default: a new one]
    #[arg(long, value_name = "ID", value_parser = args::id)]
    task: Option<String>,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<ExitCode> {
    let begun = Instant::now();
    let agent_id = speaker(args.speaker.as_ref());
    require_no_label(database, &agent_id)?;
    let info = TaskInfo {
        task_id: args.task.clone().unwrap_or_else(new_task),
        agent_id,
        ..TaskInfo::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (caught, read, unknown) = runtime.block_on(async {
        let mut signals = Signals::listen(signals::ENDING)?;
        let stream = Stream::new(args.format.0, args.format.1, StreamSource::Input, info);
        // An error is reported at the end: later attempts to write may succeed.
        let recorder = Recorder::start(stream, None, opener(database), |_| {})?;
        let mut input_ended = read_input(recorder.sender());
        let (caught, read) = tokio::select! {
            read = &mut input_ended => (None, read.ok()),
            signal = signals.next() => {
                // Usually the program that writes the stream gets the same signal and ends the stream.
                let read = timeout(GRACE, &mut input_ended).await;
                (Some(signal), read.ok().and_then(std::result::Result::ok))
            }
        };
        let end = caught.map_or(StreamEnd::Eof, |signal| StreamEnd::Signal(signal.as_raw()));
        let seconds = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
        let end = recorder.end(end, seconds);
        end.written?;
        anyhow::Ok((caught, read, end.unknown))
    })?;
    if let Some(signal) = caught {
        return Ok(ExitCode::from(u8::try_from(128 + signal.as_raw()).unwrap_or(1)));
    }
    read.transpose()?;
    if let Some(unknown) = unknown {
        let reason = unknown.describe(args.format.1);
        return Err(Error::new(
            Code::Invalid,
            format!("nothing in the input was understood, so nothing is recorded: {reason}"),
        )
        .into());
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends stdin's lines to the recorder, in a thread: a signal cannot interrupt a read there. The
/// returned channel reports the end of the input.
fn read_input(lines: LineSender) -> oneshot::Receiver<io::Result<()>> {
    let (ended, receiver) = oneshot::channel();
    thread::spawn(move || {
        let mut splitter = LineSplitter::default();
        let mut buffer = vec![0; 64 << 10];
        let mut stdin = io::stdin().lock();
        let read = loop {
            match stdin.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(n) => splitter.feed(&buffer[..n], |line| lines.send(line)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        if let Some(line) = splitter.finish() {
            lines.send(line);
        }
        // After GRACE there is no receiver.
        let _ = ended.send(read);
    });
    receiver
}
