//! What the tools take and give, as types: their schemas are made from these.
//!
//! For: the words a model sees. Every field that is not plain says what it is.
//! Not for: what is done with them (`tools`).

use rmcp::model::{ContentBlock, IntoContents};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;

use crate::error::Error;
use crate::store::{InboxRow, MessageRow, SearchHit};

/// Characters of a text in a list; the rest is asked for.
const LISTED: usize = 2_000;

// ---- what goes in ---------------------------------------------------------------------------

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckInbox {
    /// Seconds to wait if there is no mail, 0 to 50
    #[serde(default, deserialize_with = "whole")]
    #[schemars(range(min = 0, max = 50))]
    pub(super) wait_seconds: i64,
    /// Pieces of mail at most, 1 to 50
    #[serde(default = "ten", deserialize_with = "whole")]
    #[schemars(range(min = 1, max = 50))]
    pub(super) limit: i64,
    /// Only mail from this agent
    pub(super) from: Option<String>,
    /// false also lists mail that was dealt with
    #[serde(default = "yes")]
    pub(super) unread_only: bool,
    /// This one piece of mail in full, by its id
    #[serde(default, deserialize_with = "maybe_id")]
    #[schemars(with = "Option<String>")]
    pub(super) id: Option<String>,
    /// Another inbox than your own: one that several agents work on together
    pub(super) inbox: Option<String>,
    /// Take what is listed: for so many seconds nobody else gets it (oldest first)
    #[serde(default, deserialize_with = "maybe_whole")]
    #[schemars(range(min = 1, max = 86400))]
    pub(super) claim_seconds: Option<i64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendMessage {
    /// An agent's name, "human" (the person) or "all"
    pub(super) to: Option<String>,
    /// Post to this thread instead, for everybody who follows it
    pub(super) thread_id: Option<String>,
    /// What to say
    pub(super) text: String,
    /// A subject line; the first line of the text if left out
    pub(super) title: Option<String>,
    /// What kind of message
    #[serde(default)]
    pub(super) priority: Priority,
    /// Send although nobody of this name has been here yet
    #[serde(default)]
    pub(super) new_recipient: bool,
    /// Any text of yours: the same key is sent once, however often you call
    pub(super) idempotency_key: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Priority {
    /// Good to know
    #[default]
    Info,
    /// Somebody has to do something
    Action,
    /// Now
    Urgent,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reply {
    /// The id of the mail you answer
    #[serde(deserialize_with = "id")]
    #[schemars(with = "String")]
    pub(super) id: String,
    /// Your answer
    pub(super) text: String,
    /// Another subject line than "Re: …"
    pub(super) title: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AckMessage {
    /// The ids of mail you have dealt with
    #[serde(deserialize_with = "ids")]
    #[schemars(with = "Vec<String>", length(min = 1, max = 100))]
    pub(super) ids: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadThread {
    /// The thread's name
    pub(super) thread_id: String,
    /// Messages at most, 1 to 100
    #[serde(default = "twenty", deserialize_with = "whole")]
    #[schemars(range(min = 1, max = 100))]
    pub(super) limit: i64,
    /// Only messages before this number, to page back
    #[serde(default, deserialize_with = "maybe_whole")]
    pub(super) before: Option<i64>,
    /// Only messages after this number, to read on
    #[serde(default, deserialize_with = "maybe_whole")]
    pub(super) after: Option<i64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PostStatus {
    /// How it stands
    pub(super) status: Status,
    /// What you are doing or have done, in a line or two
    #[serde(default)]
    pub(super) text: String,
    /// Which piece of work, if you have several; any name
    pub(super) task_id: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Running,
    Completed,
    Failed,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListAgents {
    /// Only those who were active within so many minutes
    #[serde(default, deserialize_with = "maybe_whole")]
    #[schemars(range(min = 0))]
    pub(super) active_minutes: Option<i64>,
    /// At most so many, 50 unless given
    #[serde(default, deserialize_with = "maybe_whole")]
    #[schemars(range(min = 1, max = 1000))]
    pub(super) limit: Option<i64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AskHuman {
    /// The question, with all the person needs to decide
    pub(super) question: Option<String>,
    /// Go on waiting for the answer to a question you asked before: its id
    #[serde(default, deserialize_with = "maybe_id")]
    #[schemars(with = "Option<String>")]
    pub(super) id: Option<String>,
    /// Seconds to wait for the answer, 0 to 50
    #[serde(default = "fifty", deserialize_with = "whole")]
    #[schemars(range(min = 0, max = 50))]
    pub(super) wait_seconds: i64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    /// Words that must all occur
    pub(super) query: String,
    /// Hits at most, 1 to 50
    #[serde(default = "ten", deserialize_with = "whole")]
    #[schemars(range(min = 1, max = 50))]
    pub(super) limit: i64,
}

fn yes() -> bool {
    true
}
fn ten() -> i64 {
    10
}
fn twenty() -> i64 {
    20
}
fn fifty() -> i64 {
    50
}

/// Any number: one that is out of range is for the tool to put right, which knows the range.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Number::deserialize(deserializer).map(|number| nearest(&number))
}

fn maybe_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<Number>::deserialize(deserializer)?.map(|number| nearest(&number)))
}

fn nearest(number: &Number) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a cast goes to the nearest there is")]
    number
        .as_i64()
        .unwrap_or_else(|| number.as_f64().unwrap_or_default() as i64)
}

/// Ids are texts, but a number that looks like one is meant as one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(i64),
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        match id {
            Id::Text(text) => text,
            Id::Number(n) => n.to_string(),
        }
    }
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Id::deserialize(deserializer).map(String::from)
}

fn maybe_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Id>::deserialize(deserializer)?.map(String::from))
}

fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<Id>::deserialize(deserializer)?
        .into_iter()
        .map(String::from)
        .collect())
}

// ---- what comes out -------------------------------------------------------------------------

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Inbox {
    /// Your name
    pub(super) you: String,
    pub(super) mail: Vec<Mail>,
    /// What to do next
    pub(super) note: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Mail {
    /// For `reply` and `ack_message`
    pub(super) id: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) title: String,
    pub(super) text: String,
    /// The text goes on: `check_inbox` with this id gives it all
    pub(super) truncated: bool,
    /// notification, request, response, approval_request, handoff …
    pub(super) kind: String,
    /// info, action, urgent
    pub(super) priority: String,
    /// unread, read …
    pub(super) status: String,
    /// UTC
    pub(super) sent_at: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Sent {
    /// The id of each piece of mail, or of the message
    pub(super) ids: Vec<String>,
    /// To whom, or to which thread
    pub(super) to: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Acked {
    pub(super) acked: Vec<String>,
    /// Those that could not be, and why
    pub(super) refused: Vec<Refused>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Refused {
    pub(super) id: String,
    pub(super) why: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Thread {
    pub(super) thread_id: String,
    pub(super) title: String,
    /// active, paused, resolved, archived
    pub(super) status: String,
    /// In order
    pub(super) messages: Vec<Message>,
    /// There are more: the number to give as before or after
    pub(super) more: Option<i64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Message {
    /// 1, 2, 3 … within the thread
    pub(super) seq: i64,
    pub(super) from: String,
    /// human, agent, system
    pub(super) from_type: String,
    /// directive, question, proposal, status, result
    pub(super) kind: String,
    pub(super) text: String,
    /// UTC
    pub(super) sent_at: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Posted {
    pub(super) task_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Agents {
    /// Your name
    pub(super) you: String,
    /// The last active first. "human" can always be written to
    pub(super) agents: Vec<Agent>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) label: String,
    /// idle, running, error
    pub(super) status: String,
    pub(super) workspace: String,
    pub(super) active_seconds_ago: i64,
    /// Mail it has not read
    pub(super) unread: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Answer {
    /// The question's id
    pub(super) id: String,
    pub(super) answered: bool,
    /// What the person said; empty if nothing yet
    pub(super) answer: String,
    /// What to do next
    pub(super) note: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Found {
    pub(super) hits: Vec<FoundHit>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FoundHit {
    /// messages (in threads), `inbox_messages` (mail) or `task_stream` (work)
    pub(super) table: String,
    pub(super) id: String,
    /// The thread, inbox or task it is in
    pub(super) place: String,
    pub(super) from: String,
    pub(super) title: String,
    pub(super) snippet: String,
    /// UTC
    pub(super) sent_at: String,
}

impl Mail {
    /// A piece of mail in a list.
    pub(super) fn listed(row: &InboxRow) -> Self {
        let (text, truncated) = cut(&row.payload);
        Self {
            truncated,
            ..Self::with(row, text)
        }
    }

    /// A piece of mail in full.
    pub(super) fn full(row: &InboxRow) -> Self {
        Self::with(row, row.payload.clone())
    }

    fn with(row: &InboxRow, text: String) -> Self {
        Self {
            id: row.n.to_string(),
            from: row.from_agent.clone(),
            to: row.to_inbox.clone(),
            title: row.title.clone(),
            text,
            truncated: false,
            kind: row.message_type.clone(),
            priority: row.priority.clone(),
            status: row.status.clone(),
            sent_at: utc(row.created_at),
        }
    }
}

impl From<&MessageRow> for Message {
    fn from(row: &MessageRow) -> Self {
        let (mut text, truncated) = cut(&row.content);
        if truncated {
            text.push_str(" … (cut)");
        }
        Self {
            seq: row.message_seq,
            from: row.from_id.clone(),
            from_type: row.from_type.clone(),
            kind: row.kind.clone(),
            text,
            sent_at: utc(row.created_at),
        }
    }
}

impl From<SearchHit> for FoundHit {
    fn from(hit: SearchHit) -> Self {
        let places = [hit.thread_id, hit.to_inbox, hit.task_id];
        Self {
            table: hit.table.to_owned(),
            id: hit.id,
            place: places.into_iter().find(|place| !place.is_empty()).unwrap_or_default(),
            from: hit.from,
            title: hit.title,
            snippet: hit.snippet,
            sent_at: utc(hit.created_at),
        }
    }
}

/// A mistake, with the way to mend it, as the text of a failed call.
#[derive(Debug)]
pub(super) struct Teach(pub(super) String);

/// What a shell would be told, and what somebody is told who has tools and no shell.
const FOR_TOOLS: &[(&str, &str)] = &[
    (
        "agenthub inbox lists what there is",
        "check_inbox with unread_only false lists yours",
    ),
    (
        "agenthub threads lists what there is",
        "search finds threads by what was said in them",
    ),
    ("give a new id", "give another idempotency_key"),
    (
        " (agenthub doctor names it)",
        "; wait a little and call again, and tell the person if it stays so",
    ),
    (
        "restore a backup (agenthub doctor checks a file)",
        "tell the person, who has to restore a backup",
    ),
    (
        "give another path with --db",
        "tell the person, who has to give another path",
    ),
    ("run agenthub path to make it", "call again"),
];

impl From<Error> for Teach {
    fn from(error: Error) -> Self {
        let said = error.message().to_owned();
        Self(
            FOR_TOOLS
                .iter()
                .fold(said, |said, (shell, tools)| said.replace(shell, tools)),
        )
    }
}

impl IntoContents for Teach {
    fn into_contents(self) -> Vec<ContentBlock> {
        vec![ContentBlock::text(self.0)]
    }
}

fn cut(text: &str) -> (String, bool) {
    match text.char_indices().nth(LISTED) {
        Some((end, _)) => (text[..end].to_owned(), true),
        None => (text.to_owned(), false),
    }
}

fn utc(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(|_| String::new(), |at| at.to_string())
}
