//! One WebSocket client's connection: the task that performs the actions its session asks for.
//!
//! The session (`hub::session`) decides what the client receives and does no I/O. One iteration of
//! the task:
//!
//! 1. Ask the session for actions until it waits, or [`BURST_BYTES`] are ready to write. While a write is
//!    in progress the session is not asked: a slow client later gets the rows that are in the database
//!    at that time, not rows queued for it.
//! 2. Wait for the first of these: the end of the write, a frame from the client, the result of a read
//!    of the database, a signal from the hub, a deadline, the shutdown.

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

use super::keepalive::Keepalive;
use super::socket::{self, Socket};
use crate::error::{Code, Result};
use crate::hub::connect_options::ConnectQuery;
use crate::hub::encoded_change::EncodedChange;
use crate::hub::session::{Action, Now, Read, Session};
use crate::hub::{ConnectSnapshot, Hub, Signal};
use crate::protocol::now_ms;
use crate::server::state::Server;
use crate::store::{Ack, Start, ThreadOpening, ThreadPage};

/// Bytes collected for one write.
const BURST_BYTES: usize = 64 << 10;
/// Maximum bytes of messages in one page read from the database.
const PAGE_BYTES: usize = 512 << 10;
/// Maximum time to wait for the client's answer to a close frame.
const CLOSE_WAIT: Duration = Duration::from_millis(1000);
/// Maximum time to write the last events when the hub shuts down.
const SHUTDOWN_FLUSH_WAIT: Duration = Duration::from_millis(400);
/// Delay before the change log is read again after it could not be read.
const LOG_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Close reason for a client whose position belongs to a replaced database.
const REPLACED: &str = "the database was replaced; connect again without since, or with since=0";

/// Counts the connection while it exists.
struct ConnectionGuard(Arc<Server>);

impl ConnectionGuard {
    fn new(server: Arc<Server>) -> Self {
        server.websocket_count.fetch_add(1, Ordering::Relaxed);
        server.hub.add_listener();
        Self(server)
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.websocket_count.fetch_sub(1, Ordering::Relaxed);
        self.0.hub.remove_listener();
    }
}

/// Completes the upgrade and starts the connection's own task, which ends when `websocket_cancellation` is cancelled.
///
/// The connection gets a new task: the current one would keep the memory of the handshake until it
/// ends, as much as a connection itself needs.
pub(super) async fn serve(
    server: Arc<Server>,
    upgrade: OnUpgrade,
    query: ConnectQuery,
    snapshot: ConnectSnapshot,
    permit: Option<Arc<OwnedSemaphorePermit>>,
    websocket_cancellation: CancellationToken,
) {
    // The client may have disconnected before the upgrade was complete.
    let Ok(upgraded) = upgrade.await else { return };
    let guard = ConnectionGuard::new(Arc::clone(&server));
    let (socket, written) = socket::open(upgraded, server.hub.limits()).await;
    let connection = Connection::new(guard, permit, query, socket, written);
    // Boxed, because every future that contains it would reserve its size again.
    let run = Box::pin(connection.run(snapshot));
    server.tasks.spawn(async move {
        websocket_cancellation.run_until_cancelled(run).await;
    });
}

/// The result of a read of the database.
enum ReadResult {
    Opening(Result<ThreadOpening>),
    Page(Result<ThreadPage>),
    Changes(Result<Vec<Arc<EncodedChange>>>),
}

type ReadFuture = Pin<Box<dyn Future<Output = ReadResult> + Send>>;

/// Why a connection ends.
pub(super) enum CloseReason {
    /// The hub closes, with this code and reason.
    Hub(u16, String),
    /// The client closes; tungstenite replies as long as the socket is read.
    Client,
    /// The connection is lost.
    Lost,
}

impl CloseReason {
    fn from_code(code: Code, reason: &str) -> Self {
        Self::Hub(code.close(), reason.to_owned())
    }
}

/// One client's connection.
struct Connection {
    server: Arc<Server>,
    _guard: ConnectionGuard,
    _permit: Option<Arc<OwnedSemaphorePermit>>,
    query: ConnectQuery,
    sink: SplitSink<Socket, Message>,
    stream: SplitStream<Socket>,
    /// Frames to be written.
    outgoing: VecDeque<Message>,
    keepalive: Keepalive,
    /// The read of a thread in progress.
    thread_read: Option<ReadFuture>,
    /// The read of the change log in progress.
    log_read: Option<ReadFuture>,
    /// After a failed read of the change log: when to try again.
    log_retry_at: Option<Instant>,
    started_at: Instant,
    /// The generation of the database that the session's positions belong to.
    generation: u64,
}

impl Connection {
    fn new(
        guard: ConnectionGuard,
        permit: Option<Arc<OwnedSemaphorePermit>>,
        query: ConnectQuery,
        socket: Socket,
        written: Arc<AtomicU64>,
    ) -> Self {
        let (sink, stream) = socket.split();
        Self {
            server: Arc::clone(&guard.0),
            _guard: guard,
            _permit: permit,
            query,
            sink,
            stream,
            outgoing: VecDeque::new(),
            keepalive: Keepalive::new(written),
            thread_read: None,
            log_read: None,
            log_retry_at: None,
            started_at: Instant::now(),
            generation: 0,
        }
    }

    async fn run(mut self, snapshot: ConnectSnapshot) {
        let mut signal = self.hub().signal();
        let last_signal = *signal.borrow_and_update();
        self.generation = snapshot.generation;
        let mut session = self.open_session(last_signal, snapshot).await;
        let reason = self.run_session(&mut session, &mut signal, last_signal).await;
        self.server.disconnects.increment(match &reason {
            CloseReason::Hub(code, _) => code.to_string(),
            CloseReason::Client | CloseReason::Lost => "client".to_owned(),
        });
        match reason {
            CloseReason::Hub(code, reason) => self.close(code, reason).await,
            CloseReason::Client => {
                let _ = tokio::time::timeout(CLOSE_WAIT, async {
                    while let Some(Ok(_)) = self.stream.next().await {}
                })
                .await;
            }
            CloseReason::Lost => {}
        }
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.server.hub
    }

    fn now(&self) -> Now {
        Now {
            at: self.started_at.elapsed(),
            wall_ms: now_ms(),
        }
    }

    /// Resolves the client's start position and returns its session. If the position is invalid, the
    /// session sends an error and closes.
    async fn open_session(&mut self, signal: Signal, snapshot: ConnectSnapshot) -> Session {
        let limits = self.hub().limits().clone();
        let greet =
            |session: &mut Session, now| session.send_hello(now, env!("CARGO_PKG_VERSION"), &self.query.instance_id);
        let from = self.query.since.clone();
        match self.hub().stream_start(from, snapshot).await {
            Ok(start) => {
                let mut session = Session::new(self.query.options.clone(), limits, start.epoch, start.pos);
                session.resume(start.resumed, start.kept);
                if start.from_oldest {
                    session.start_at_oldest(start.kept);
                }
                if self.query.hello {
                    greet(&mut session, self.now());
                }
                if signal.failures > 0
                    && let Some(failure) = self.hub().failure()
                {
                    session.send_error(self.now(), Code::StoreUnavailable, &failure.message);
                }
                session
            }
            Err(error) => {
                // The `hello` contains the current position, from which the client can start.
                let (epoch, head) = self.hub().head();
                let mut session = Session::new(self.query.options.clone(), limits, epoch, head);
                greet(&mut session, self.now());
                session.close(self.now(), error.code(), error.message());
                session
            }
        }
    }

    /// Performs the session's actions until one side closes.
    async fn run_session(
        &mut self,
        session: &mut Session,
        signal: &mut watch::Receiver<Signal>,
        mut last_signal: Signal,
    ) -> CloseReason {
        let shutdown = self.server.shutdown.clone();
        // Both are created once, not per iteration: each is an entry in a list that all connections
        // share.
        let mut shutdown_begun = pin!(shutdown.cancelled());
        let mut alarm = pin!(tokio::time::sleep(self.hub().limits().ping_period));
        loop {
            let mut wake_at = None;
            if !self.keepalive.is_writing() {
                match self.perform_actions(session) {
                    Ok(at) => wake_at = at.map(|at| self.started_at + at),
                    Err(reason) if self.outgoing.is_empty() => return reason,
                    // The last events contain the reason for the close: write them first.
                    Err(reason) => {
                        self.flush_outgoing().await;
                        return reason;
                    }
                }
            }
            let deadline = match self.check_keepalive(session) {
                Ok(deadline) => wake_at.map_or(deadline, |at| at.min(deadline)),
                Err(reason) => return reason,
            };
            // A timer that is set too early is set again when it fires.
            if alarm.is_elapsed() || alarm.deadline() > deadline.into() {
                alarm.as_mut().reset(deadline.into());
            }
            let now = self.now();
            tokio::select! {
                done = poll_fn(|cx| poll_write(&mut self.sink, &mut self.outgoing, cx)), if self.keepalive.is_writing() => match done {
                    Ok(()) => self.keepalive.end_write(),
                    Err(_) => return CloseReason::Lost,
                },
                message = self.stream.next(), if session.accepts_events() => {
                    self.keepalive.record_received();
                    match message {
                        Some(Ok(message)) => if let Some(reason) = receive(session, now, &message) { return reason },
                        Some(Err(error)) => return close_reason(&error),
                        None => return CloseReason::Lost,
                    }
                }
                changed = signal.changed() => {
                    if changed.is_err() { return CloseReason::Lost }
                    let signal = *signal.borrow_and_update();
                    self.apply_signal(session, now, signal, last_signal);
                    last_signal = signal;
                }
                result = read_result(&mut self.thread_read), if self.thread_read.is_some() => {
                    self.thread_read = None;
                    self.apply_read(session, now, result);
                }
                result = read_result(&mut self.log_read), if self.log_read.is_some() => {
                    self.log_read = None;
                    self.apply_read(session, now, result);
                }
                () = alarm.as_mut() => {}
                () = shutdown_begun.as_mut(), if !shutdown.is_cancelled() || !session.is_closing() => {
                    session.close(now, Code::ShuttingDown, "the hub is shutting down; connect again in a moment");
                }
            }
        }
    }

    /// Asks the session for actions and performs them, until it waits or enough bytes for one write
    /// are ready. Returns the time at which to ask the session again.
    fn perform_actions(&mut self, session: &mut Session) -> std::result::Result<Option<Duration>, CloseReason> {
        let mut bytes = 0;
        while bytes < BURST_BYTES {
            match session.next_action(self.now()) {
                Action::Send(frame) => {
                    bytes += frame.len();
                    self.outgoing.push_back(text_message(frame.bytes()));
                }
                Action::Read(Read::Page { thread_id, after, rows }) => {
                    match self
                        .hub()
                        .page_in_memory(self.generation, &thread_id, after, rows, PAGE_BYTES)
                    {
                        Some(page) => session.read(self.now(), page),
                        None => self.thread_read = Some(self.read_page(thread_id, after, rows)),
                    }
                }
                Action::Read(Read::Open { thread_id, start }) => {
                    self.thread_read = Some(self.read_opening(thread_id, start));
                }
                Action::Feed(pos) => {
                    if let Some(changes) = self.hub().changes_in_memory(pos) {
                        session.feed(changes);
                        continue;
                    }
                    let retry_at = self.log_retry_at.filter(|at| *at > Instant::now());
                    if self.log_read.is_none() && retry_at.is_none() {
                        let hub = Arc::clone(self.hub());
                        let skip_pruned = session.reports_gaps();
                        self.log_read = Some(Box::pin(async move {
                            ReadResult::Changes(hub.changes_after(pos, skip_pruned).await)
                        }));
                    }
                    return Ok(retry_at.map(|at| at - self.started_at));
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
                Action::Close(code) => return Err(CloseReason::from_code(code, code.name())),
            }
        }
        Ok(None)
    }

    /// Starts reading the start of a subscription.
    fn read_opening(&self, thread_id: String, start: Start) -> ReadFuture {
        let hub = Arc::clone(self.hub());
        let instance = self.query.instance_id.clone();
        Box::pin(async move { ReadResult::Opening(hub.open_thread(instance, thread_id, start).await) })
    }

    /// Starts reading a page of a thread from the database.
    fn read_page(&self, thread_id: String, after: i64, rows: usize) -> ReadFuture {
        let hub = Arc::clone(self.hub());
        Box::pin(async move {
            let anchor = hub.head().1;
            let page = hub.read(move |reader| reader.thread_page(&thread_id, after, rows, PAGE_BYTES, anchor));
            ReadResult::Page(page.await)
        })
    }

    /// Applies the hub's signal: new changes, a replaced database, or a new failure of the store.
    fn apply_signal(&self, session: &mut Session, now: Now, signal: Signal, last_signal: Signal) {
        session.wake();
        if signal.generation != last_signal.generation {
            session.close(now, Code::PositionLost, REPLACED);
        }
        if signal.failures != last_signal.failures
            && let Some(failure) = self.hub().failure()
        {
            session.send_error(now, Code::StoreUnavailable, &failure.message);
        }
    }

    /// Passes the result of a read to the session.
    fn apply_read(&mut self, session: &mut Session, now: Now, result: ReadResult) {
        if self.hub().generation() != self.generation {
            // The database may have been replaced between the request and the result.
            session.close(now, Code::PositionLost, REPLACED);
        }
        match result {
            ReadResult::Opening(Ok(opening)) => session.opened(now, &opening),
            ReadResult::Page(Ok(page)) => session.read(now, page),
            ReadResult::Opening(Err(error)) | ReadResult::Page(Err(error)) => session.read_failed(now, &error),
            ReadResult::Changes(Ok(changes)) => session.feed(changes),
            ReadResult::Changes(Err(error)) if error.code() == Code::PositionLost => {
                session.close(now, Code::PositionLost, error.message());
            }
            // The change reader has the same failure and reports it.
            ReadResult::Changes(Err(_)) => self.log_retry_at = Some(Instant::now() + LOG_RETRY_DELAY),
        }
    }

    /// Queues a ping if one is due, begins a write if frames are queued, and returns when to check
    /// again. Closes the connection of a client that does not respond or does not read.
    fn check_keepalive(&mut self, session: &Session) -> std::result::Result<Instant, CloseReason> {
        let limits = self.server.hub.limits();
        if self.keepalive.take_due_ping(limits) {
            self.outgoing.push_back(Message::Ping(Bytes::new()));
        }
        if !self.outgoing.is_empty() {
            self.keepalive.begin_write();
        }
        if !session.accepts_events() {
            self.keepalive.record_received();
        }
        self.keepalive
            .check(limits)
            .map_err(|(code, reason)| CloseReason::Hub(code, reason.to_owned()))
    }

    /// Writes the queued frames within WriteWait, or a shorter time if the hub shuts down.
    async fn flush_outgoing(&mut self) {
        let limit = if self.server.shutdown.is_cancelled() {
            SHUTDOWN_FLUSH_WAIT
        } else {
            self.hub().limits().write_wait
        };
        let flush = poll_fn(|cx| poll_write(&mut self.sink, &mut self.outgoing, cx));
        let _ = tokio::time::timeout(limit, flush).await;
    }

    /// Sends a close frame and waits up to [`CLOSE_WAIT`] for the client's.
    async fn close(mut self, code: u16, reason: String) {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.into(),
        };
        let closing = async {
            if self.sink.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        // A client that does not read the frame is disconnected without it.
        let _ = tokio::time::timeout(CLOSE_WAIT, closing).await;
    }
}

/// Passes a frame from the client to the session. Returns a reason if the client closes.
fn receive(session: &mut Session, now: Now, message: &Message) -> Option<CloseReason> {
    match message {
        Message::Text(text) => session.receive(now, text.as_bytes()),
        Message::Binary(_) => session.receive_binary(now),
        // tungstenite replies to pings and closes as long as the socket is read.
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        Message::Close(_) => return Some(CloseReason::Client),
    }
    None
}

/// Writes all queued frames, and what tungstenite has buffered. It may be dropped and called again:
/// frames that are not in the socket stay in the queue.
fn poll_write(
    sink: &mut SplitSink<Socket, Message>,
    outgoing: &mut VecDeque<Message>,
    cx: &mut Context<'_>,
) -> Poll<std::result::Result<(), WsError>> {
    let mut sink = Pin::new(sink);
    while !outgoing.is_empty() {
        ready!(sink.as_mut().poll_ready(cx))?;
        if let Some(message) = outgoing.pop_front() {
            sink.as_mut().start_send(message)?;
        }
    }
    sink.poll_flush(cx)
}

/// Returns the result of a read in progress. It may be dropped and called again.
async fn read_result(read: &mut Option<ReadFuture>) -> ReadResult {
    match read {
        Some(read) => read.await,
        None => std::future::pending().await,
    }
}

/// Returns how to close after the socket returned an error.
pub(super) fn close_reason(error: &WsError) -> CloseReason {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { max_size, .. }) => CloseReason::Hub(
            CloseCode::Size.into(),
            format!("a message is larger than {max_size} bytes"),
        ),
        WsError::Utf8(_) => CloseReason::Hub(CloseCode::Invalid.into(), "a text message is not UTF-8".into()),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => CloseReason::Lost,
        WsError::Protocol(e) => CloseReason::Hub(CloseCode::Protocol.into(), e.to_string()),
        _ => CloseReason::Lost,
    }
}

fn text_message(frame: &Bytes) -> Message {
    // Frames are JSON and so UTF-8. Invalid bytes would be replaced rather than end the connection.
    Message::Text(
        Utf8Bytes::try_from(frame.clone()).unwrap_or_else(|_| String::from_utf8_lossy(frame).into_owned().into()),
    )
}
