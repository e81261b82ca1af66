//! `agenthub tail`: what happens, in the terminal, as it happens.
//!
//! Looks and thinks with the hub's own code, in this process: no hub has to be running.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;

use super::{File, client, output};
use crate::config::Limits;
use crate::error::{Code, Error};
use crate::hub::connect_options::{ConnectOptions, Framing, Streams};
use crate::hub::encoded_change::{Frame, WireFormat};
use crate::hub::session::{Action, Now, Read, Session};
use crate::hub::{Hub, Signal};
use crate::protocol::{
    BatchEvent, ErrorEvent, Event, EventType, InboxMessageEvent, MessageEvent, SubscribeEvent, TaskStreamEvent,
    TelemetryEvent, now_ms,
};
use crate::store::Start;
use crate::watcher::WatchMode;

/// Bytes of messages read from the file at a time.
const PAGE_BYTES: usize = 1 << 20;
/// Time before the file is asked again after it could not be read.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "--json prints an event a line, as the hub's WebSocket has them:\n  \
    {type, timestamp, pos, data}\n\
    agenthub schema --wire shows each type."
)]
pub(super) struct Args {
    /// Only this thread, beginning with its last messages
    thread: Option<String>,
    /// Messages of the thread to begin with
    #[arg(short = 'n', long, default_value_t = 10, value_name = "N")]
    lines: u32,
    /// Begin after this message of the thread
    #[arg(long, value_name = "SEQ", requires = "thread", conflicts_with = "lines")]
    from_seq: Option<i64>,
    /// Print the events as JSON Lines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let limits = Limits {
        max_messages_per_second: 0,
        ..Limits::default()
    };
    let (hub, looker) = Hub::start(file.store()?, limits, WatchMode::Auto)?;
    hub.listener_came();
    let outcome = client::runtime()?.block_on(async {
        tokio::select! {
            outcome = follow(&hub, args) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    });
    looker.stop();
    outcome
}

/// Does what the session says, with the terminal for a client.
async fn follow(hub: &std::sync::Arc<Hub>, args: &Args) -> Result<()> {
    let mut signal = hub.signal();
    // Before the place in it: another file may come in between.
    let generation = signal.borrow().generation;
    let (epoch, head) = hub.head();
    let started = std::time::Instant::now();
    let now = || Now {
        at: started.elapsed(),
        wall_ms: now_ms(),
    };
    let everything = Streams {
        messages: true,
        inbox: true,
        telemetry: true,
        tasks: true,
        threads: false,
    };
    let streams = if args.thread.is_some() {
        Streams::NONE
    } else {
        everything
    };
    let wishes = ConnectOptions {
        streams,
        format: WireFormat::Extended,
        framing: Framing::Single,
    };
    let mut session = Session::new(wishes, hub.limits().clone(), epoch, head);
    if let Some(thread_id) = &args.thread {
        let id = thread_id.clone();
        let thread = hub
            .read(move |reader| reader.open_thread("", &id, Start::After(0), head))
            .await?;
        // Not before the first that is kept.
        let last_lines = (thread.last_seq - i64::from(args.lines))
            .max(thread.first_seq - 1)
            .max(0);
        let from_seq = args.from_seq.unwrap_or(last_lines);
        let wish = SubscribeEvent {
            thread_id: thread_id.clone(),
            from_seq,
            from_id: None,
        };
        session.receive(now(), &serde_json::to_vec(&Event::new(EventType::SUBSCRIBE, &wish)?)?);
    }
    loop {
        match session.step(now()) {
            Action::Send(frame) => show(&frame, args)?,
            Action::Read(Read::Open { thread_id, start }) => {
                let anchor = hub.head().1;
                let opening = hub.read(move |reader| reader.open_thread("", &thread_id, start, anchor));
                // There is nothing to follow then.
                session.opened(now(), &opening.await?);
            }
            Action::Read(Read::Page { thread_id, after, rows }) => {
                let anchor = hub.head().1;
                let page = hub.read(move |reader| reader.thread_page(&thread_id, after, rows, PAGE_BYTES, anchor));
                match page.await {
                    Ok(page) => session.read(now(), page),
                    Err(error) => session.read_failed(now(), &error),
                }
            }
            Action::Feed(pos) => match hub.changes_after(pos).await {
                Ok(entries) => session.feed(entries),
                // What is wrong with the file may pass; the looker says what it is.
                Err(error) if error.code().is_store() => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(error.into()),
            },
            Action::Ack(_) => {}
            Action::Wait(at) => {
                wait(&mut signal, at.map(|at| started + at)).await?;
                if signal.borrow().generation != generation {
                    return Err(Error::new(Code::StoreReplaced, "the file was replaced; run tail again").into());
                }
                session.wake();
            }
            Action::Close(code) => return Err(Error::new(code, "the stream ended").into()),
        }
    }
}

async fn wait(signal: &mut watch::Receiver<Signal>, until: Option<std::time::Instant>) -> Result<()> {
    match until {
        None => signal.changed().await?,
        Some(at) => tokio::select! {
            changed = signal.changed() => changed?,
            () = tokio::time::sleep_until(at.into()) => {}
        },
    }
    Ok(())
}

fn show(frame: &Frame, args: &Args) -> Result<()> {
    if args.json {
        // A frame is one line of JSON already.
        return output::json_text(&String::from_utf8_lossy(frame.bytes()));
    }
    let event = Event::parse(frame.bytes())?;
    let data = event.data.as_ref().map_or("null", |raw| raw.get());
    match event.event_type.as_str() {
        "message" => message(&serde_json::from_str::<MessageEvent>(data)?),
        "batch" => serde_json::from_str::<BatchEvent>(data)?
            .messages
            .iter()
            .try_for_each(message),
        "inbox_message" => {
            let mail: InboxMessageEvent = serde_json::from_str(data)?;
            let text = if mail.title.is_empty() {
                &mail.payload
            } else {
                &mail.title
            };
            row(
                mail.created_at,
                &format!("✉ {} → {}", mail.from_agent, mail.to_inbox),
                &format!("[{}] {text}", mail.status),
            )
        }
        "telemetry" => {
            let t: TelemetryEvent = serde_json::from_str(data)?;
            let text = format!(
                "{}: turn {}, {} in, {} out, ${:.4}",
                t.status, t.turns, t.tokens_in, t.tokens_out, t.cost
            );
            row(event.timestamp, &t.instance_id, &text)
        }
        "task_stream" => {
            let t: TaskStreamEvent = serde_json::from_str(data)?;
            let parts = [
                &t.tool_name,
                &t.text,
                &t.tool_input,
                &t.tool_output,
                &t.error_msg,
                &t.status,
            ];
            let text = parts
                .into_iter()
                .filter(|p| !p.is_empty())
                .cloned()
                .collect::<Vec<_>>()
                .join(" ");
            row(
                t.created_at,
                &format!("▸ {} {}", t.task_id, t.stream_type.as_str()),
                &output::short(&text, 200),
            )
        }
        "error" => {
            let error: ErrorEvent = serde_json::from_str(data)?;
            if error.code == Code::FetchFailed.name() {
                // The session tries again.
                tracing::warn!("{}", error.message);
                return Ok(());
            }
            let code = if error.code == Code::PositionLost.name() {
                Code::PositionLost
            } else {
                Code::Internal
            };
            Err(Error::new(code, error.message).into())
        }
        _ => Ok(()),
    }
}

fn message(message: &MessageEvent) -> Result<()> {
    let who = format!("{} #{} {}", message.thread_id, message.message_seq, message.from_id);
    row(message.created_at, &who, &message.content)
}

fn row(at: i64, who: &str, text: &str) -> Result<()> {
    output::line(&format!(
        "{}  {}  {}",
        output::time(at),
        output::short(who, 80),
        output::block(text, 4)
    ))
}
