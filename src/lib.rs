//! agenthub: a local hub for AI agents. One binary, one SQLite file, one web page.
//!
//! Agents write rows into a SQLite database. The hub detects every commit, from any process, and sends
//! the new rows to all connected clients. This crate contains all of the program; the binary only calls
//! [`cli`]. `ARCHITECTURE.md` follows a row from the database to a client.
//!
//! Each module uses only the modules before it:
//! [`error`], [`fs`], [`process`], [`protocol`], [`render`], [`text`] ← [`config`] ← [`store`] ← [`watcher`] ← [`hub`] ← [`integrations`] ←
//! [`server`], [`mcp`] ← [`cli`].
//!
//! # Compatibility with AILANG
//!
//! The WebSocket protocol is compatible with that of the collaboration hub in AILANG's `websocket`
//! package. Every name that package exports has a counterpart:
//!
//! | AILANG | agenthub |
//! |---|---|
//! | `MaxBatchSize`, `MaxMessagesPerSecond`, `MaxLagMessages` | [`protocol::MAX_BATCH_SIZE`], [`protocol::MAX_MESSAGES_PER_SECOND`], [`protocol::MAX_LAG_MESSAGES`] |
//! | `WriteWait`, `PongWait`, `PingPeriod` | [`protocol::WRITE_WAIT`], [`protocol::PONG_WAIT`], [`protocol::PING_PERIOD`] |
//! | `MaxMessageSize`, `PollInterval` | [`protocol::MAX_MESSAGE_SIZE`], [`protocol::POLL_INTERVAL`] |
//! | `AckEvent`, `BatchEvent`, `ErrorEvent` | [`protocol::AckEvent`], [`protocol::BatchEvent`], [`protocol::ErrorEvent`] |
//! | `MessageEvent`, `InboxMessageEvent` | [`protocol::MessageEvent`], [`protocol::InboxMessageEvent`] |
//! | `SubscribeEvent`, `ThreadStateEvent` | [`protocol::SubscribeEvent`], [`protocol::ThreadStateEvent`] |
//! | `TaskStreamEvent`, `TelemetryEvent` | [`protocol::TaskStreamEvent`], [`protocol::TelemetryEvent`] |
//! | `Event`, `EventType` | [`protocol::Event`], [`protocol::EventType`] |
//! | `EventTypeSubscribe`, `EventTypeAck`, `EventTypeMessage`, `EventTypeBatch` | [`protocol::EventType::SUBSCRIBE`], [`ACK`](protocol::EventType::ACK), [`MESSAGE`](protocol::EventType::MESSAGE), [`BATCH`](protocol::EventType::BATCH) |
//! | `EventTypeError`, `EventTypePing`, `EventTypePong`, `EventTypeThreadState` | [`protocol::EventType::ERROR`], [`PING`](protocol::EventType::PING), [`PONG`](protocol::EventType::PONG), [`THREAD_STATE`](protocol::EventType::THREAD_STATE) |
//! | `EventTypeTelemetry`, `EventTypeInboxMessage`, `EventTypeTaskStream` | [`protocol::EventType::TELEMETRY`], [`INBOX_MESSAGE`](protocol::EventType::INBOX_MESSAGE), [`TASK_STREAM`](protocol::EventType::TASK_STREAM) |
//! | `TaskStreamEventType` | [`protocol::TaskStreamEventType`] |
//! | `TaskStreamTurnStart`, `TaskStreamText`, `TaskStreamToolUse`, `TaskStreamToolResult` | [`protocol::TaskStreamEventType::TURN_START`], [`TEXT`](protocol::TaskStreamEventType::TEXT), [`TOOL_USE`](protocol::TaskStreamEventType::TOOL_USE), [`TOOL_RESULT`](protocol::TaskStreamEventType::TOOL_RESULT) |
//! | `TaskStreamTurnEnd`, `TaskStreamError`, `TaskStreamStatus` | [`protocol::TaskStreamEventType::TURN_END`], [`ERROR`](protocol::TaskStreamEventType::ERROR), [`STATUS`](protocol::TaskStreamEventType::STATUS) |
//! | `NewEvent`, `ParseEvent`, `ParseSubscribe` | [`protocol::Event::new`], [`protocol::Event::parse`], [`protocol::Event::parse_subscribe`] |
//! | `NewBatchEvent`, `NewErrorEvent`, `NewMessageEvent` | [`protocol::Event::batch`], [`protocol::Event::error`], [`protocol::Event::message`] |
//! | `NewInboxMessageEvent`, `NewTaskStreamEvent`, `NewTelemetryEvent` | [`protocol::Event::inbox_message`], [`protocol::Event::task_stream`], [`protocol::Event::telemetry`] |
//! | `NewThreadStateEvent`, `NewPingEvent`, `NewPongEvent` | [`protocol::Event::thread_state`], [`protocol::Event::ping`], [`protocol::Event::pong`] |
//! | `Connection` | [`hub::session::Session`]: the state of one connection |
//! | `Subscription` | [`hub::session::Subscription`]: a client's cursor in one thread |
//! | `BroadcastMessage` | [`hub::encoded_change::EncodedChange`]: one change, encoded once for all clients |
//! | `Server`, `NewServer` | [`server::Server`], [`server::Server::new`] |
//! | `Server.Run`, `Server.HandleWebSocket`, `Server.SetToken` | [`server::Server::run`], [`server::Server::websocket`], [`server::Server::set_token`] |
//! | `Server.GetConnectionCount` | [`server::Server::connection_count`] |
//! | `Server.BroadcastMessage`, `Server.BroadcastInboxMessage` | [`server::Server::broadcast_message`] with a [`store::NewMessage`], [`server::Server::broadcast_inbox_message`] with a [`store::NewInboxMessage`] |
//! | `Server.BroadcastTaskEvent`, `Server.BroadcastTelemetry` | [`server::Server::broadcast_task_event`] with a [`store::NewTaskEvent`], [`server::Server::broadcast_telemetry`] with a [`store::NewTelemetry`] |

pub mod error;
pub mod fs;
pub mod process;
pub mod protocol;
pub mod render;
pub mod text;

pub mod config;
pub mod store;
pub mod watcher;

pub mod hub;

pub mod integrations;

pub mod mcp;
pub mod server;

pub mod cli;
