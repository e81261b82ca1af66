//! Functions for programs that embed the hub (AILANG's `Server.Broadcast…`).
//!
//! Each function commits one row. Clients then receive it through the change log, like a row written by
//! any other process.

use super::state::Server;
use crate::error::Result;
use crate::store::{
    InboxMessageRow, MessageRow, NewInboxMessage, NewMessage, NewTaskEvent, NewTelemetry, TaskEventRow, TelemetryRow,
};

impl Server {
    /// Writes a message of a thread; the thread's subscribers receive it (AILANG's `BroadcastMessage`).
    ///
    /// # Errors
    /// [`Code::Invalid`](crate::error::Code::Invalid) or [`Code::Conflict`](crate::error::Code::Conflict)
    /// if the database refuses the row, or a `Store…` code.
    pub async fn broadcast_message(&self, new: NewMessage) -> Result<MessageRow> {
        self.hub
            .write(move |writer| Ok(writer.post_message(&new)?.into_row()))
            .await
    }

    /// Writes an inbox message; every client receives it (AILANG's `BroadcastInboxMessage`).
    ///
    /// # Errors
    /// As [`Server::broadcast_message`].
    pub async fn broadcast_inbox_message(&self, new: NewInboxMessage) -> Result<InboxMessageRow> {
        self.hub.write(move |writer| Ok(writer.send(&new)?.into_row())).await
    }

    /// Writes an event of a task; every client receives it (AILANG's `BroadcastTaskEvent`).
    ///
    /// # Errors
    /// As [`Server::broadcast_message`].
    pub async fn broadcast_task_event(&self, new: NewTaskEvent) -> Result<TaskEventRow> {
        self.hub.write(move |writer| writer.record_task_event(&new)).await
    }

    /// Writes the running totals of an instance; every client receives them (AILANG's
    /// `BroadcastTelemetry`).
    ///
    /// # Errors
    /// As [`Server::broadcast_message`].
    pub async fn broadcast_telemetry(&self, new: NewTelemetry) -> Result<TelemetryRow> {
        self.hub.write(move |writer| writer.record_telemetry(&new)).await
    }
}
