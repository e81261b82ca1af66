//! The seed's broadcasts: a write through the library commits a row, and is then seen like
//! anybody else's.
//!
//! For: programs that have the hub in them.
//! Not for: telling clients; there is no second way to them.

use super::Server;
use crate::error::Result;
use crate::protocol::{InboxMessageEvent, MessageEvent, TaskStreamEvent, TelemetryEvent};
use crate::store::{InboxRow, MessageRow, NewInbox, NewMessage, NewTelemetry, TaskRow, TelemetryRow};

impl Server {
    /// Writes a message of a thread; subscribers get it as they get any other (the seed's
    /// `BroadcastMessage`).
    ///
    /// # Errors
    /// What the file refuses, or a `Store…` code.
    pub async fn broadcast_message(&self, message: &MessageEvent) -> Result<MessageRow> {
        let text = |value: &str| Some(value.to_owned()).filter(|v| !v.is_empty());
        let new = NewMessage {
            id: text(&message.id),
            thread_id: message.thread_id.clone(),
            from_type: text(&message.from_type),
            from_id: message.from_id.clone(),
            to_type: text(&message.to_type),
            to_id: text(&message.to_id),
            kind: text(&message.kind),
            subject: text(&message.subject),
            content: message.content.clone(),
            metadata_json: text(&message.metadata_json),
            reply_to: text(&message.reply_to),
        };
        self.hub
            .write(move |writer| Ok(writer.post_message(&new)?.into_row()))
            .await
    }

    /// Writes an inbox message; every client gets it (the seed's `BroadcastInboxMessage`).
    ///
    /// # Errors
    /// What the file refuses, or a `Store…` code.
    pub async fn broadcast_inbox_message(&self, message: &InboxMessageEvent) -> Result<InboxRow> {
        let text = |value: &str| Some(value.to_owned()).filter(|v| !v.is_empty());
        let new = NewInbox {
            id: text(&message.id),
            message_id: text(&message.message_id),
            correlation_id: text(&message.correlation_id),
            from_agent: message.from_agent.clone(),
            to_inbox: message.to_inbox.clone(),
            message_type: text(&message.message_type),
            title: text(&message.title),
            payload: message.payload.clone(),
            priority: text(&message.priority),
            expires_at: Some(message.expires_at).filter(|at| *at > 0),
        };
        self.hub.write(move |writer| Ok(writer.send(&new)?.into_row())).await
    }

    /// Writes an event of a task; every client gets it (the seed's `BroadcastTaskEvent`).
    ///
    /// # Errors
    /// What the file refuses, or a `Store…` code.
    pub async fn broadcast_task_event(&self, stream: &TaskStreamEvent) -> Result<TaskRow> {
        let new = stream.clone();
        self.hub.write(move |writer| writer.record_task_event(&new)).await
    }

    /// Writes telemetry; every client gets it (the seed's `BroadcastTelemetry`).
    ///
    /// # Errors
    /// What the file refuses, or a `Store…` code.
    pub async fn broadcast_telemetry(&self, telemetry: &TelemetryEvent) -> Result<TelemetryRow> {
        let text = |value: &str| Some(value.to_owned()).filter(|v| !v.is_empty());
        let new = NewTelemetry {
            instance_id: telemetry.instance_id.clone(),
            pid: Some(telemetry.pid),
            turns: Some(telemetry.turns),
            tokens_in: Some(telemetry.tokens_in),
            tokens_out: Some(telemetry.tokens_out),
            cost: Some(telemetry.cost),
            status: text(&telemetry.status),
            duration_sec: Some(telemetry.duration_sec),
            agent_id: text(&telemetry.agent_id),
            model: text(&telemetry.model),
            tokens_cached: Some(telemetry.tokens_cached).filter(|n| *n > 0),
            cost_source: text(&telemetry.cost_source),
        };
        self.hub.write(move |writer| writer.record_telemetry(&new)).await
    }
}
