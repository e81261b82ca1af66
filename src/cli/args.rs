//! Arguments, value parsers and help texts that several commands share.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::cli::terminal;
use crate::config::{self, HUMAN, composed, sender_name};
use crate::error::{Code, Error};
use crate::integrations::{hook_spool, identity};
use crate::store::{ALL_INBOXES, Author, InboxMessageRow, NetworkFs, Reader, Store, Writer};
use crate::text::{safe_text, shell};

/// Heading of the options that every command has.
pub(super) const GLOBAL: &str = "Global options";

/// The database file a command works on.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DatabaseArgs {
    #[arg(
        help = "Path of the database [env: AGENTHUB_DB] [default: hub.db in the user's data directory]",
        long,
        global = true,
        value_name = "FILE",
        help_heading = GLOBAL
    )]
    pub(super) db: Option<PathBuf>,
    /// The database that the command line names.
    #[arg(skip)]
    named: Option<PathBuf>,
    /// Allow a database on NFS, SMB, 9p or FUSE, where rows may be lost
    #[arg(long, global = true, help_heading = GLOBAL)]
    allow_network_fs: bool,
}

impl DatabaseArgs {
    /// Adds the database that the environment names, unless the command line names one.
    pub(super) fn with_environment(self) -> Self {
        Self {
            named: self.db.clone(),
            db: self.db.or_else(identity::database_variable),
            ..self
        }
    }

    /// Returns the absolute path of the database.
    pub(super) fn path(&self) -> Result<PathBuf> {
        Ok(config::db_path(self.db.as_deref())?)
    }

    /// Returns `agenthub`, followed by `--db PATH` if a command without that flag would use another
    /// database.
    pub(super) fn command(&self) -> String {
        match self.path() {
            Ok(path) if !config::is_default_db(&path, identity::database_variable().as_deref()) => {
                format!("agenthub --db {}", safe_text::escape(&shell::quote(&path)))
            }
            _ => "agenthub".to_owned(),
        }
    }

    pub(super) fn network_fs(&self) -> NetworkFs {
        if self.allow_network_fs {
            NetworkFs::Allow
        } else {
            NetworkFs::Refuse
        }
    }

    /// Opens the database for writing, and takes in the events that hooks have spooled. Creates it if it
    /// does not exist.
    pub(super) fn writer(&self) -> Result<Writer> {
        let path = self.path()?;
        self.refuse_creation_by_agent(&path)?;
        let writer = Writer::open(&path, self.network_fs())?;
        hook_spool::take_in_first(&writer);
        Ok(writer)
    }

    /// As [`writer`](Self::writer), for a command that changes what exists.
    ///
    /// # Errors
    /// As [`reader`](Self::reader).
    pub(super) fn existing_writer(&self) -> Result<Writer> {
        self.existing_path()?;
        self.writer()
    }

    /// Opens the database for a reading command, which writes only receipts and the reader's own agent.
    ///
    /// # Errors
    /// As [`reader`](Self::reader).
    pub(super) fn receipt_writer(&self) -> Result<Writer> {
        let path = self.existing_path()?;
        self.refuse_creation_by_agent(&path)?;
        Ok(Writer::open(&path, self.network_fs())?)
    }

    /// Refuses `--db` with a path that has no database, in a shell of an agent tool: the commands that the tool may run
    /// without asking must not create files, or turn an empty one into a database.
    fn refuse_creation_by_agent(&self, path: &Path) -> Result<()> {
        let has_content = match std::fs::metadata(path) {
            Ok(file) => file.len() > 0,
            // Opening a file that cannot be examined reports the reason.
            Err(e) => e.kind() != std::io::ErrorKind::NotFound,
        };
        if has_content || self.named.is_none() {
            return Ok(());
        }
        let Some(marker) = identity::agent_shell().filter(|marker| marker.tool.is_some()) else {
            return Ok(());
        };
        let message = format!(
            "there is no database at {}, and {marker}, where commands create none; give the path of the hub's \
             database, or leave out --db",
            safe_text::escape(&path.display().to_string())
        );
        Err(Error::new(Code::StoreUnavailable, message).into())
    }

    /// Creates the database if it does not exist.
    pub(super) fn ensure_created(&self) -> Result<()> {
        let path = self.path()?;
        if !path.exists() {
            drop(Writer::open(&path, self.network_fs())?);
        }
        Ok(())
    }

    /// Returns the path of the database.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if there is no file at the path: a command that only reads must not
    /// create a database at a wrong path.
    fn existing_path(&self) -> Result<PathBuf> {
        let path = self.path()?;
        // Opening a file that cannot be examined reports the reason.
        if path.try_exists().unwrap_or(true) {
            return Ok(path);
        }
        let command = self.command();
        let message = format!(
            "cannot open {}: it does not exist; create it with {command} serve or {command} path, or give the path of \
             another database with --db",
            safe_text::escape(&path.display().to_string())
        );
        Err(Error::new(Code::StoreUnavailable, message).into())
    }

    /// Opens the database for reading. Creates the schema in a file that has no bytes, so that
    /// lists of a new database are empty instead of an error.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] if there is no file at the path; one of the `Store…` codes.
    pub(super) fn reader(&self) -> Result<Reader> {
        let path = self.existing_path()?;
        if std::fs::metadata(&path).is_ok_and(|file| file.len() == 0) {
            drop(self.receipt_writer()?);
        }
        match Reader::open(&path, self.network_fs()) {
            // Another process may be creating the schema right now: the writer waits for it. The
            // writer refuses a database of another program as well.
            Err(e) if e.code() == Code::StoreForeign => {
                drop(self.receipt_writer()?);
                Ok(Reader::open(&path, self.network_fs())?)
            }
            opened => Ok(opened?),
        }
    }

    /// Opens the database for a long-running process.
    pub(super) fn store(&self) -> Result<Store> {
        Ok(Store::open(&self.path()?, self.network_fs())?)
    }

    /// Opens the database for a long-running process that only reads it, as [`DatabaseArgs::reader`] does.
    pub(super) fn followed_store(&self) -> Result<Store> {
        drop(self.reader()?);
        Ok(Store::follow(&self.path()?, self.network_fs())?)
    }
}

/// The identity of the caller.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SpeakerArgs {
    /// Name to act as [default: $AGENTHUB_AGENT, the agent tool's session or shell, or human]
    #[arg(long = "from", visible_alias = "as", value_name = "NAME", value_parser = speaker)]
    name: Option<String>,
}

impl SpeakerArgs {
    /// Returns the caller's name.
    ///
    /// # Errors
    /// [`Code::Usage`] if it is `human` and the process runs in an agent's shell; a `Store…` code.
    pub(super) fn name(&self, reader: &Reader) -> Result<String> {
        Ok(identity::speaker(self.name.as_deref(), reader)?)
    }

    /// Returns the caller's name for work on `mail`: without a name, the owner of its claim if this
    /// process belongs to the worker that has claimed it.
    ///
    /// # Errors
    /// As [`name`](Self::name).
    pub(super) fn worker(&self, mail: &InboxMessageRow, reader: &Reader) -> crate::error::Result<String> {
        let declared = identity::declared_speaker(self.name.as_deref(), reader)?;
        let is_worker = declared.is_none() && identity::is_unnamed_owner(&mail.claimed_by, &mail.to_inbox);
        Ok(match declared {
            Some(name) => name,
            None if is_worker => mail.claimed_by.clone(),
            None => HUMAN.to_owned(),
        })
    }
}

/// Returns whether a command failed because this user cannot write the database.
pub(super) fn is_read_only(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<Error>();
    error.is_some_and(|e| e.code() == Code::StoreReadOnly)
}

/// Replaces the advice of an error in an agent's shell that cannot write the database: `mcp_tool` does what the
/// command does, outside of the shell's sandbox.
pub(super) fn advise_mcp(error: anyhow::Error, mcp_tool: &str) -> anyhow::Error {
    if !is_read_only(&error) || identity::agent_shell().is_none() {
        return error;
    }
    let message = error.to_string();
    let problem = message.split("; ").next().unwrap_or_default();
    let advice = format!("this shell cannot write the database (a sandbox); use the MCP tool {mcp_tool}");
    Error::new(Code::StoreReadOnly, format!("{problem}; {advice}"))
        .because(error)
        .into()
}

/// Returns who writes a row under the caller's name.
pub(super) fn author(name: &str) -> Author {
    if name == HUMAN && identity::person_present().is_ok() {
        Author::Person
    } else {
        Author::Program
    }
}

/// Prints how readers see a row that carries the person's name without a proof.
pub(super) fn note_if_unverified(name: &str, verified: bool) -> Result<()> {
    if name != HUMAN || verified {
        return Ok(());
    }
    match identity::person_present() {
        Err(reason) => terminal::note(&format!(
            "shown as {:?}: {reason}; a script gives its own name with --from",
            sender_name(name, verified)
        )),
        Ok(()) => Ok(()),
    }
}

/// The form in which a command prints agents' text.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct FenceArgs {
    /// Mark agents' text as data for a model, with a bar before each line [default: in an agent's shell]
    #[arg(long)]
    fenced: bool,
}

impl FenceArgs {
    pub(super) fn is_fenced(self) -> bool {
        self.fenced || identity::agent_shell().is_some()
    }
}

/// The `via` of receipts that commands write.
pub(super) const VIA: &str = "cli";

/// Appends the fields of an inbox message, as `--json` prints it, to a help text.
macro_rules! mail_row {
    ($before:literal) => {
        concat!(
            $before,
            "\n  {n, id, message_id, correlation_id, from_agent, to_inbox, message_type, title, payload,\n   \
            priority, status, created_at, read_at, expires_at, claimed_by, claim_expires_at}\n\
            n is the number shown in tables. Times are Unix milliseconds or null. Missing text is \"\".\n\
            A row that the person wrote also has \"verified\": true."
        )
    };
}
pub(super) const JSON_MAIL: &str = mail_row!("--json prints an array of rows:");
pub(super) const JSON_MAIL_ONE: &str = mail_row!("--json prints one row:");
pub(super) const JSON_INBOX: &str = mail_row!(
    "--json prints an array of rows, newest first; with --unread or --claim, urgent mail first, then action,\n\
    then all other priorities, of each the oldest first; with --wait, in that order as JSON Lines with one row\n\
    per line. A row:"
);

pub(super) const JSON_MESSAGE: &str = "--json prints the row:\n  \
    {id, thread_id, message_seq, created_at, from_type, from_id, to_type, to_id, kind, subject,\n   \
    content, metadata_json, reply_to, delivery_state, business_state, deleted_at}\n\
    Times are Unix milliseconds or null. Missing text is \"\".\n\
    A row that the person wrote also has \"verified\": true.";

/// Parses an id, which must not be empty, or a name to look up with
/// [`stored_name`](crate::store::Reader::stored_name).
pub(super) fn id(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    Ok(text.to_owned())
}

/// Parses a name, which must not be empty. Composes it.
pub(super) fn name(text: &str) -> Result<String, String> {
    id(text).map(|name| composed(&name))
}

/// Parses the name of the caller, which must be the name of one agent.
pub(super) fn speaker(text: &str) -> Result<String, String> {
    if text == ALL_INBOXES {
        return Err(format!("{ALL_INBOXES:?} addresses every agent; use the name of one"));
    }
    name(text)
}

/// Parses the name of an agent, which must not be that of the person.
pub(super) fn agent(text: &str) -> Result<String, String> {
    if config::is_human(text) {
        return Err(format!("{text:?} is reserved for the person; use a name for the agent"));
    }
    speaker(text)
}

/// Parses a number of seconds, from 0 to a year.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|s: f64| Duration::try_from_secs_f64(s).ok())
        .filter(|duration| *duration <= Duration::from_secs(366 * 86_400))
        .ok_or_else(|| "expected a number of seconds, 0 or more, such as 0.5".to_owned())
}

/// Parses a text. Replaces bytes that are not UTF-8, as a reader of rows does.
pub(super) fn text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|text| text.to_string_lossy().into_owned())
}

/// Returns a text given on the command line, or all of stdin for `-`, without its last line break.
/// Replaces bytes that are not UTF-8.
pub(super) fn text_or_stdin(given: String) -> Result<String> {
    if given != "-" {
        return Ok(given);
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|e| Error::new(Code::Invalid, format!("cannot read the text from stdin: {e}")))?;
    let text = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
    Ok(text.into_owned())
}
