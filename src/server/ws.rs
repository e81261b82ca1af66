//! The WebSocket: frames in, frames out.
//!
//! For: one task per client that does what its session says: sends,
//! reads, waits.
//! Not for: what a client gets (`hub::session`), or how long it may be silent (`pulse`).
//!
//! The handshake and the socket's set-up are our own around tungstenite's frames: warp's
//! WebSocket keeps 134 KB per idle connection, nearly all of it a read buffer that it does
//! not let one choose.
//!
//! One turn of a client's task:
//! 1. Ask the session for steps until it waits, or enough bytes for one write have come
//!    together ([`BURST_BYTES`]). While a write is under way nothing is asked: a slow
//!    client gets what the file has when it is ready, not what was queued for it.
//! 2. Wait for whatever comes first: the write to end, a frame from the client, an answer
//!    from the file, news, a deadline, the end.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::Server;
use super::metered::{Socket, websocket};
use super::pulse::Pulse;
use super::renewal::while_valid;
use crate::error::{Code, Result};
use crate::hub::connect_options::ConnectQuery;
use crate::hub::encoded_change::EncodedChange;
use crate::hub::session::{Action, Now, Read, Session};
use crate::hub::{ConnectSnapshot, Hub, Signal};
use crate::protocol::now_ms;
use crate::store::{Ack, Start, ThreadOpening, ThreadPage};

/// Bytes gathered for one write.
const BURST_BYTES: usize = 64 << 10;
/// Bytes of messages from the file in one page for one client.
const PAGE_BYTES: usize = 512 << 10;
/// Time a client has to answer our close.
const CLOSE_WAIT: Duration = Duration::from_millis(1000);
/// Time it has to take its last events when the hub is going down.
const FAREWELL_WAIT: Duration = Duration::from_millis(400);
/// Time before the log is asked again after it could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// What a client is told whose file is not the one it has read.
const REPLACED: &str = "the file was replaced; connect anew without since, or with since=0";

/// Counts a client for as long as it is there.
struct Presence(Arc<Server>);

impl Presence {
    fn new(server: Arc<Server>) -> Self {
        server.clients.fetch_add(1, Ordering::Relaxed);
        server.hub.listener_came();
        Self(server)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
        self.0.hub.listener_left();
    }
}

/// Makes the upgraded connection a client's WebSocket, and leaves a task with it, which ends
/// when `sessions` does.
///
/// The client's own task, and not this one going on: for its whole life it would hold the
/// room that the set-up takes, as much as a client that is there.
pub(super) async fn serve(
    server: Arc<Server>,
    upgrade: OnUpgrade,
    query: ConnectQuery,
    arrived: ConnectSnapshot,
    permit: Option<Arc<OwnedSemaphorePermit>>,
    sessions: CancellationToken,
) {
    // A client that is gone before its upgrade is done is none.
    let Ok(upgraded) = upgrade.await else { return };
    let presence = Presence::new(Arc::clone(&server));
    let (socket, written) = websocket(upgraded, server.hub.limits()).await;
    let client = Client::new(presence, permit, query, socket, written);
    // Boxed: each future that it is moved into would hold it once more.
    server.tasks.spawn(while_valid(Box::pin(client.run(arrived)), sessions));
}

/// An answer from the file.
enum Fetched {
    Opened(Result<ThreadOpening>),
    Page(Result<ThreadPage>),
    Log(Result<Vec<Arc<EncodedChange>>>),
}

type Fetch = Pin<Box<dyn Future<Output = Fetched> + Send>>;

/// Why a client's task ends.
pub(super) enum End {
    /// We close, with this code and reason.
    Close(u16, String),
    /// The client closes: tungstenite answers as the socket is read on.
    Answer,
    /// The client is gone.
    Gone,
}

impl End {
    fn over(code: Code, reason: &str) -> Self {
        Self::Close(code.close(), reason.to_owned())
    }
}

/// One client's task.
struct Client {
    server: Arc<Server>,
    _presence: Presence,
    _permit: Option<Arc<OwnedSemaphorePermit>>,
    query: ConnectQuery,
    sink: SplitSink<Socket, Message>,
    stream: SplitStream<Socket>,
    /// Frames on their way into the socket.
    burst: VecDeque<Message>,
    pulse: Pulse,
    /// What is being read for the session, and from the log.
    fetch: Option<Fetch>,
    log: Option<Fetch>,
    log_retry: Option<Instant>,
    started: Instant,
    /// Which file its positions belong to.
    generation: u64,
}

impl Client {
    fn new(
        presence: Presence,
        permit: Option<Arc<OwnedSemaphorePermit>>,
        query: ConnectQuery,
        socket: Socket,
        written: Arc<AtomicU64>,
    ) -> Self {
        let (sink, stream) = socket.split();
        Self {
            server: Arc::clone(&presence.0),
            _presence: presence,
            _permit: permit,
            query,
            sink,
            stream,
            burst: VecDeque::new(),
            pulse: Pulse::new(written),
            fetch: None,
            log: None,
            log_retry: None,
            started: Instant::now(),
            generation: 0,
        }
    }

    async fn run(mut self, arrived: ConnectSnapshot) {
        let mut signal = self.hub().signal();
        let seen = *signal.borrow_and_update();
        self.generation = arrived.generation;
        let end = match self.begin(seen, arrived).await {
            Ok(mut session) => self.converse(&mut session, &mut signal, seen).await,
            Err(end) => end,
        };
        self.server.disconnects.add(match &end {
            End::Close(code, _) => code.to_string(),
            End::Answer | End::Gone => "client".to_owned(),
        });
        match end {
            End::Close(code, reason) => self.close(code, reason).await,
            End::Answer => {
                let _ = tokio::time::timeout(CLOSE_WAIT, async {
                    while let Some(Ok(_)) = self.stream.next().await {}
                })
                .await;
            }
            End::Gone => {}
        }
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.server.hub
    }

    fn now(&self) -> Now {
        Now {
            at: self.started.elapsed(),
            wall_ms: now_ms(),
        }
    }

    /// Finds the client's place and makes its session.
    async fn begin(&mut self, seen: Signal, arrived: ConnectSnapshot) -> std::result::Result<Session, End> {
        let limits = self.hub().limits().clone();
        let greeting =
            |session: &mut Session, now| session.greet(now, env!("CARGO_PKG_VERSION"), &self.query.instance_id);
        let from = self.query.since.clone();
        match self.hub().beginning(from, arrived).await {
            Ok(beginning) => {
                let mut session = Session::new(self.query.options.clone(), limits, beginning.epoch, beginning.pos);
                session.resume(beginning.resumed, beginning.kept);
                if self.query.hello {
                    greeting(&mut session, self.now());
                }
                if seen.troubles > 0
                    && let Some(trouble) = self.hub().trouble()
                {
                    session.warn(self.now(), Code::StoreUnavailable, &trouble.message);
                }
                Ok(session)
            }
            Err(error) => {
                // The client learns where the file is now, and that it has to start anew.
                let (epoch, head) = self.hub().head();
                let mut session = Session::new(self.query.options.clone(), limits, epoch, head);
                greeting(&mut session, self.now());
                session.close(self.now(), error.code(), error.message());
                Ok(session)
            }
        }
    }

    /// Does what the session says until one side ends it.
    async fn converse(&mut self, session: &mut Session, signal: &mut watch::Receiver<Signal>, mut seen: Signal) -> End {
        let stop = self.server.stop.clone();
        // Made once, not at each turn: both are places in lists that all clients share.
        let mut stopped = pin!(stop.cancelled());
        let mut alarm = pin!(tokio::time::sleep(self.hub().limits().ping_period));
        loop {
            let mut wake_at = None;
            if !self.pulse.is_writing() {
                match self.take_steps(session) {
                    Ok(at) => wake_at = at.map(|at| self.started + at),
                    Err(end) if self.burst.is_empty() => return end,
                    // Tell the client why before closing.
                    Err(end) => {
                        self.say_farewell().await;
                        return end;
                    }
                }
            }
            let deadline = match self.check_pulse(session) {
                Ok(deadline) => wake_at.map_or(deadline, |at| at.min(deadline)),
                Err(end) => return end,
            };
            // One that goes off too early is set again then.
            if alarm.is_elapsed() || alarm.deadline() > deadline.into() {
                alarm.as_mut().reset(deadline.into());
            }
            let now = self.now();
            tokio::select! {
                done = poll_fn(|cx| poll_write(&mut self.sink, &mut self.burst, cx)), if self.pulse.is_writing() => match done {
                    Ok(()) => self.pulse.end_write(),
                    Err(_) => return End::Gone,
                },
                message = self.stream.next(), if session.listens() => {
                    self.pulse.hear();
                    match message {
                        Some(Ok(message)) => if let Some(end) = self.receive(session, now, &message) { return end },
                        Some(Err(error)) => return broken(&error),
                        None => return End::Gone,
                    }
                }
                changed = signal.changed() => {
                    if changed.is_err() { return End::Gone }
                    let signal = *signal.borrow_and_update();
                    self.hear(session, now, signal, seen);
                    seen = signal;
                }
                answer = answered(&mut self.fetch), if self.fetch.is_some() => {
                    self.fetch = None;
                    self.take_answer(session, now, answer);
                }
                answer = answered(&mut self.log), if self.log.is_some() => {
                    self.log = None;
                    self.take_answer(session, now, answer);
                }
                () = alarm.as_mut() => {}
                () = stopped.as_mut(), if !stop.is_cancelled() || !session.is_closing() => {
                    session.close(now, Code::ShuttingDown, "the hub is going down; connect again in a moment");
                }
            }
        }
    }

    /// Asks the session for steps until it waits or a write's worth has come together.
    /// Returns when the session wants to be asked again.
    fn take_steps(&mut self, session: &mut Session) -> std::result::Result<Option<Duration>, End> {
        let mut bytes = 0;
        while bytes < BURST_BYTES {
            match session.step(self.now()) {
                Action::Send(frame) => {
                    bytes += frame.len();
                    self.burst.push_back(text(frame.bytes()));
                }
                Action::Read(Read::Page { thread_id, after, rows }) => {
                    match self
                        .hub()
                        .page_in_memory(self.generation, &thread_id, after, rows, PAGE_BYTES)
                    {
                        Some(page) => session.read(self.now(), page),
                        None => self.fetch = Some(self.fetch_page(thread_id, after, rows)),
                    }
                }
                Action::Read(Read::Open { thread_id, start }) => {
                    self.fetch = Some(self.fetch_opening(thread_id, start))
                }
                Action::Feed(pos) => {
                    if let Some(entries) = self.hub().changes_in_memory(pos) {
                        session.feed(entries);
                        continue;
                    }
                    let retry = self.log_retry.filter(|at| *at > Instant::now());
                    if self.log.is_none() && retry.is_none() {
                        let hub = Arc::clone(self.hub());
                        self.log = Some(Box::pin(async move { Fetched::Log(hub.changes_after(pos).await) }));
                    }
                    return Ok(retry.map(|at| at - self.started));
                }
                Action::Ack(ack) => {
                    let instance = self.query.instance_id.clone();
                    let ack = Ack {
                        instance,
                        thread_id: ack.thread_id,
                        seq: ack.ack_seq,
                    };
                    self.hub().acknowledge(self.generation, ack);
                }
                Action::Wait(at) => return Ok(at),
                Action::Close(code) => return Err(End::over(code, code.name())),
            }
        }
        Ok(None)
    }

    /// Begins to read what a subscription starts from.
    fn fetch_opening(&self, thread_id: String, start: Start) -> Fetch {
        let hub = Arc::clone(self.hub());
        let instance = self.query.instance_id.clone();
        Box::pin(async move { Fetched::Opened(hub.open_thread(instance, thread_id, start).await) })
    }

    /// Begins to read a page of a thread from the file.
    fn fetch_page(&self, thread_id: String, after: i64, rows: usize) -> Fetch {
        let hub = Arc::clone(self.hub());
        Box::pin(async move {
            let anchor = hub.head().1;
            let page = hub.read(move |reader| reader.thread_page(&thread_id, after, rows, PAGE_BYTES, anchor));
            Fetched::Page(page.await)
        })
    }

    /// Takes a frame from the client.
    fn receive(&mut self, session: &mut Session, now: Now, message: &Message) -> Option<End> {
        match message {
            Message::Text(text) => session.receive(now, text.as_bytes()),
            Message::Binary(_) => session.receive_binary(now),
            // tungstenite answers pings and closes by itself as it is read on.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            Message::Close(_) => return Some(End::Answer),
        }
        None
    }

    /// Takes in what happened to the file.
    fn hear(&self, session: &mut Session, now: Now, signal: Signal, seen: Signal) {
        session.wake();
        if signal.generation != seen.generation {
            session.close(now, Code::PositionLost, REPLACED);
        }
        if signal.troubles != seen.troubles
            && let Some(trouble) = self.hub().trouble()
        {
            session.warn(now, Code::StoreUnavailable, &trouble.message);
        }
    }

    /// Hands an answer to the session.
    fn take_answer(&mut self, session: &mut Session, now: Now, answer: Fetched) {
        if self.hub().generation() != self.generation {
            // It may be from another file than the question.
            session.close(now, Code::PositionLost, REPLACED);
        }
        match answer {
            Fetched::Opened(Ok(opening)) => session.opened(now, &opening),
            Fetched::Page(Ok(page)) => session.read(now, page),
            Fetched::Opened(Err(error)) | Fetched::Page(Err(error)) => session.read_failed(now, &error),
            Fetched::Log(Ok(entries)) => session.feed(entries),
            Fetched::Log(Err(error)) if error.code() == Code::PositionLost => {
                session.close(now, Code::PositionLost, error.message());
            }
            // What is wrong with the file was noted by the looker, which reads it too.
            Fetched::Log(Err(_)) => self.log_retry = Some(Instant::now() + RETRY),
        }
    }

    /// Pings when it is time to, begins to write what there is, and gives up on a client that
    /// does not answer or does not read. Returns when to check again.
    fn check_pulse(&mut self, session: &Session) -> std::result::Result<Instant, End> {
        let limits = self.server.hub.limits();
        if self.pulse.is_ping_due(limits) {
            self.burst.push_back(Message::Ping(Bytes::new()));
        }
        if !self.burst.is_empty() {
            self.pulse.begin_write();
        }
        if !session.listens() {
            self.pulse.hear();
        }
        self.pulse
            .check(limits)
            .map_err(|(code, reason)| End::Close(code, reason.to_owned()))
    }

    /// Writes what is left, as long as the client may take; less if the hub is going down.
    async fn say_farewell(&mut self) {
        let limit = if self.server.stop.is_cancelled() {
            FAREWELL_WAIT
        } else {
            self.hub().limits().write_wait
        };
        let rest = poll_fn(|cx| poll_write(&mut self.sink, &mut self.burst, cx));
        let _ = tokio::time::timeout(limit, rest).await;
    }

    /// Sends our close and waits a moment for the client's.
    async fn close(mut self, code: u16, reason: String) {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.into(),
        };
        let goodbye = async {
            // A client that does not take it is closed without.
            if self.sink.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        let _ = tokio::time::timeout(CLOSE_WAIT, goodbye).await;
    }
}

/// Moves frames into the socket until all of them, and what tungstenite has gathered, are
/// out. May be dropped and called again: what is not in the socket stays in the queue.
fn poll_write(
    sink: &mut SplitSink<Socket, Message>,
    burst: &mut VecDeque<Message>,
    cx: &mut Context<'_>,
) -> Poll<std::result::Result<(), WsError>> {
    let mut sink = Pin::new(sink);
    while !burst.is_empty() {
        ready!(sink.as_mut().poll_ready(cx))?;
        if let Some(message) = burst.pop_front() {
            sink.as_mut().start_send(message)?;
        }
    }
    sink.poll_flush(cx)
}

/// The answer of a fetch that is under way. May be dropped and called again.
async fn answered(fetch: &mut Option<Fetch>) -> Fetched {
    match fetch {
        Some(fetch) => fetch.await,
        None => std::future::pending().await,
    }
}

/// How to end after the socket gave an error instead of a message.
pub(super) fn broken(error: &WsError) -> End {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
            End::Close(CloseCode::Size.into(), format!("a message is over {max_size} bytes"))
        }
        WsError::Utf8(_) => End::Close(CloseCode::Invalid.into(), "a text is not UTF-8".into()),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        WsError::Protocol(e) => End::Close(CloseCode::Protocol.into(), e.to_string()),
        _ => End::Gone,
    }
}

fn text(frame: &Bytes) -> Message {
    // Frames are made of JSON, which is UTF-8; were one not, it would be sent mended.
    Message::Text(
        Utf8Bytes::try_from(frame.clone()).unwrap_or_else(|_| String::from_utf8_lossy(frame).into_owned().into()),
    )
}
