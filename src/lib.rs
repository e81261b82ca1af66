//! agenthub: the local hub for AI agents. One binary, one SQLite file, one page.
//!
//! Agents write rows into the file; the hub sees every commit, whoever made it, and tells
//! everybody who listens. This crate is the whole of it; the binary only parses the command
//! line. `ARCHITECTURE.md` describes one row's way through the house.
//!
//! The modules, each built on those before it alone:
//! [`error`], [`event`] ← [`config`] ← [`store`] ← [`watch`] ← [`hub`] ← [`server`], [`mcp`], [`agents`] ← [`cli`].
//!
//! # Names in the seed, names here
//!
//! The wire protocol continues that of AILANG's `websocket` package. Everything it exports
//! is here:
//!
//! | there | here |
//! |---|---|
//! | `MaxBatchSize`, `MaxMessagesPerSecond`, `MaxLagMessages` | [`event::MAX_BATCH_SIZE`], [`event::MAX_MESSAGES_PER_SECOND`], [`event::MAX_LAG_MESSAGES`] |
//! | `WriteWait`, `PongWait`, `PingPeriod` | [`event::WRITE_WAIT`], [`event::PONG_WAIT`], [`event::PING_PERIOD`] |
//! | `MaxMessageSize`, `PollInterval` | [`event::MAX_MESSAGE_SIZE`], [`event::POLL_INTERVAL`] |
//! | `AckEvent`, `BatchEvent`, `ErrorEvent` | [`event::AckEvent`], [`event::BatchEvent`], [`event::ErrorEvent`] |
//! | `MessageEvent`, `InboxMessageEvent` | [`event::MessageEvent`], [`event::InboxMessageEvent`] |
//! | `SubscribeEvent`, `ThreadStateEvent` | [`event::SubscribeEvent`], [`event::ThreadStateEvent`] |
//! | `TaskStreamEvent`, `TelemetryEvent` | [`event::TaskStreamEvent`], [`event::TelemetryEvent`] |
//! | `Event`, `EventType` | [`event::Event`], [`event::EventType`] |
//! | `EventTypeSubscribe`, `EventTypeAck`, `EventTypeMessage`, `EventTypeBatch` | [`event::EventType::SUBSCRIBE`], [`ACK`](event::EventType::ACK), [`MESSAGE`](event::EventType::MESSAGE), [`BATCH`](event::EventType::BATCH) |
//! | `EventTypeError`, `EventTypePing`, `EventTypePong`, `EventTypeThreadState` | [`event::EventType::ERROR`], [`PING`](event::EventType::PING), [`PONG`](event::EventType::PONG), [`THREAD_STATE`](event::EventType::THREAD_STATE) |
//! | `EventTypeTelemetry`, `EventTypeInboxMessage`, `EventTypeTaskStream` | [`event::EventType::TELEMETRY`], [`INBOX_MESSAGE`](event::EventType::INBOX_MESSAGE), [`TASK_STREAM`](event::EventType::TASK_STREAM) |
//! | `TaskStreamEventType` | [`event::TaskStreamEventType`] |
//! | `TaskStreamTurnStart`, `TaskStreamText`, `TaskStreamToolUse`, `TaskStreamToolResult` | [`event::TaskStreamEventType::TURN_START`], [`TEXT`](event::TaskStreamEventType::TEXT), [`TOOL_USE`](event::TaskStreamEventType::TOOL_USE), [`TOOL_RESULT`](event::TaskStreamEventType::TOOL_RESULT) |
//! | `TaskStreamTurnEnd`, `TaskStreamError`, `TaskStreamStatus` | [`event::TaskStreamEventType::TURN_END`], [`ERROR`](event::TaskStreamEventType::ERROR), [`STATUS`](event::TaskStreamEventType::STATUS) |
//! | `NewEvent`, `ParseEvent`, `ParseSubscribe` | [`event::Event::new`], [`event::Event::parse`], [`event::Event::parse_subscribe`] |
//! | `NewBatchEvent`, `NewErrorEvent`, `NewMessageEvent` | [`event::Event::batch`], [`event::Event::error`], [`event::Event::message`] |
//! | `NewInboxMessageEvent`, `NewTaskStreamEvent`, `NewTelemetryEvent` | [`event::Event::inbox_message`], [`event::Event::task_stream`], [`event::Event::telemetry`] |
//! | `NewThreadStateEvent`, `NewPingEvent`, `NewPongEvent` | [`event::Event::thread_state`], [`event::Event::ping`], [`event::Event::pong`] |
//! | `Connection` | [`hub::session::Session`]: what a connection knows of its client |
//! | `Subscription` | [`hub::session::Subscription`]: a client's place in one thread |
//! | `BroadcastMessage` | [`hub::entry::Entry`]: one change, on its way to everybody |
//! | `Server`, `NewServer` | [`server::Server`], [`server::Server::new`] |
//! | `Server.Run`, `Server.HandleWebSocket`, `Server.SetToken` | [`server::Server::run`], [`server::Server::websocket`], [`server::Server::set_token`] |
//! | `Server.GetConnectionCount` | [`server::Server::connection_count`] |
//! | `Server.BroadcastMessage`, `Server.BroadcastInboxMessage` | [`server::Server::broadcast_message`], [`server::Server::broadcast_inbox_message`] |
//! | `Server.BroadcastTaskEvent`, `Server.BroadcastTelemetry` | [`server::Server::broadcast_task_event`], [`server::Server::broadcast_telemetry`] |

pub mod error;
pub mod event;

pub mod config;
pub mod store;
pub mod watch;

pub mod hub;
pub mod json;
pub mod mcp;
pub mod server;

pub mod agents;

pub mod cli;
