//! `agenthub tail`: follows one thread or all activity.
//!
//! Runs the hub's change reader and a session in this process, with the terminal as its client, so
//! no hub has to be running.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;

use crate::cli::args::DatabaseArgs;
use crate::cli::{hub_client, terminal};
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

/// Maximum bytes of messages in one page read from the database.
const PAGE_BYTES: usize = 1 << 20;
/// Time before the next attempt after the database could not be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_long_help = "--json prints one event per line, as on the hub's WebSocket:\n  \
    {type, timestamp, pos, data}\n\
    Run agenthub schema --wire for the fields of each type.")]
pub(super) struct Args {
    /// Follow only this thread, starting with its last messages
    thread: Option<String>,
    /// Number of earlier messages of the thread to show
    #[arg(short = 'n', long, default_value_t = 10, value_name = "N")]
    lines: u32,
    /// Start after the message with this number in the thread
    #[arg(long, value_name = "SEQ", requires = "thread", conflicts_with = "lines")]
    from_seq: Option<i64>,
    /// Print events as JSON Lines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    let limits = Limits {
        max_messages_per_second: 0,
        ..Limits::default()
    };
    let (hub, change_reader) = Hub::start(database.store()?, limits, WatchMode::Auto)?;
    hub.add_listener();
    let outcome = hub_client::runtime()?.block_on(async {
        tokio::select! {
            outcome = follow(&hub, args) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    });
    change_reader.stop();
    outcome
}

/// Executes the session's actions until an error or the end of stdout.
async fn follow(hub: &std::sync::Arc<Hub>, args: &Args) -> Result<()> {
    let mut signal = hub.signal();
    // Read the generation before the position: the database may be replaced in between.
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
    let options = ConnectOptions {
        streams,
        format: WireFormat::Extended,
        framing: Framing::Single,
    };
    let mut session = Session::new(options, hub.limits().clone(), epoch, head);
    if let Some(thread_id) = &args.thread {
        let id = thread_id.clone();
        let thread = hub
            .read(move |reader| reader.open_thread("", &id, Start::After(0), head))
            .await?;
        // Older messages may have been pruned.
        let before_last_lines = (thread.last_seq - i64::from(args.lines))
            .max(thread.first_seq - 1)
            .max(0);
        let from_seq = args.from_seq.unwrap_or(before_last_lines);
        let subscribe = SubscribeEvent {
            thread_id: thread_id.clone(),
            from_seq,
            from_id: None,
        };
        session.receive(
            now(),
            &serde_json::to_vec(&Event::new(EventType::SUBSCRIBE, &subscribe)?)?,
        );
    }
    loop {
        match session.next_action(now()) {
            Action::Send(frame) => show(&frame, args)?,
            Action::Read(Read::Open { thread_id, start }) => {
                let anchor = hub.head().1;
                let opening = hub.read(move |reader| reader.open_thread("", &thread_id, start, anchor));
                // If the thread cannot be opened, the command fails.
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
                // Temporary; the change reader logs the reason.
                Err(error) if error.code().is_store() => tokio::time::sleep(RETRY_INTERVAL).await,
                Err(error) => return Err(error.into()),
            },
            Action::Ack(_) => {}
            Action::Wait(at) => {
                wait(&mut signal, at.map(|at| started + at)).await?;
                if signal.borrow().generation != generation {
                    return Err(Error::new(
                        Code::StoreReplaced,
                        "the database file was replaced; run agenthub tail again",
                    )
                    .into());
                }
                session.wake();
            }
            Action::Close(code) => return Err(Error::new(code, "the stream ended; run agenthub tail again").into()),
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
        // A frame is one line of JSON.
        return terminal::json_text(&String::from_utf8_lossy(frame.bytes()));
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
                &terminal::short(&text, 200),
            )
        }
        "error" => {
            let error: ErrorEvent = serde_json::from_str(data)?;
            if error.code == Code::FetchFailed.name() {
                // The session retries.
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
    terminal::line(&format!(
        "{}  {}  {}",
        terminal::time(at),
        terminal::short(who, 80),
        terminal::block(text, 4)
    ))
}
