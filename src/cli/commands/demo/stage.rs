//! What the player writes to, and reads the person's answers from: the demo's database.

use std::path::Path;

use anyhow::Result;

use crate::protocol::now_ms;
use crate::store::{
    AgentState, NetworkFs, NewInboxMessage, NewMessage, NewTaskEvent, NewTelemetry, NewThread, ReadContext, Receipt,
    Writer,
};

/// The channel in receipts: the agents read their mail with the MCP tool.
const VIA: &str = "mcp";

/// One row that the player writes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Row {
    Thread(NewThread),
    Agent(&'static str, AgentState),
    Step(Box<NewTaskEvent>),
    Usage(Box<NewTelemetry>),
    Post(NewMessage),
    Mail(Box<NewInboxMessage>),
    /// The reader has read and acknowledged the mail with this `message_id`.
    Read {
        mail: String,
        reader: &'static str,
    },
}

/// The player's view of a database.
pub(super) trait Stage {
    /// Writes a row.
    ///
    /// # Errors
    /// The database cannot be written.
    fn write(&mut self, row: Row) -> Result<()>;

    /// Returns the person's answer to the question with this `message_id`, if there is one.
    ///
    /// # Errors
    /// The database cannot be read.
    fn answer(&mut self, question: &str) -> Result<Option<String>>;
}

/// The demo's database.
pub(super) struct Database(Writer);

impl Database {
    /// Opens the database at `path`. Creates it if it does not exist.
    ///
    /// # Errors
    /// One of the `Store…` codes.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self(Writer::open(path, NetworkFs::Refuse)?))
    }

    /// Writes rows in one transaction.
    ///
    /// # Errors
    /// The database cannot be written; then it has none of the rows.
    pub(super) fn write_all(&self, rows: impl IntoIterator<Item = Row>) -> Result<()> {
        self.0
            .atomically(|| rows.into_iter().try_for_each(|row| self.insert(row)))?;
        Ok(())
    }

    fn insert(&self, row: Row) -> crate::error::Result<()> {
        let writer = &self.0;
        match row {
            Row::Thread(thread) => drop(writer.create_thread(&thread)?),
            Row::Agent(name, state) => writer.set_agent(name, &state)?,
            Row::Step(event) => drop(writer.record_task_event(&event)?),
            Row::Usage(totals) => drop(writer.record_telemetry(&totals)?),
            Row::Post(message) => drop(writer.post_message(&message)?),
            Row::Mail(mail) => drop(writer.send(&mail)?),
            Row::Read { mail, reader } => {
                let context = Self::context(reader);
                writer.add_receipt(&mail, Receipt::Offered, context)?;
                writer.ack_mail(&mail, context)?;
            }
        }
        Ok(())
    }

    fn context(reader: &str) -> ReadContext<'_> {
        ReadContext {
            reader,
            via: VIA,
            now: now_ms(),
        }
    }
}

impl Stage for Database {
    fn write(&mut self, row: Row) -> Result<()> {
        Ok(self.insert(row)?)
    }

    fn answer(&mut self, question: &str) -> Result<Option<String>> {
        let Some(question) = self.0.mail(question)? else {
            return Ok(None);
        };
        let Some(answer) = self.0.answer_to(&question)? else {
            return Ok(None);
        };
        self.0.ack_mail(&answer.id, Self::context(&question.from_agent))?;
        Ok(Some(answer.payload))
    }
}
