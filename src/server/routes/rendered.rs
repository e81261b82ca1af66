//! `GET /api/rendered`: the texts of rows as trees.
//!
//! Rendering runs on a blocking thread, for two requests at a time, and apart from the reads of the database.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::RawValue;
use warp::reply::Response;

use crate::error::{Code, Error, Result};
use crate::render::{Cache, Source};
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::store::{Reader, TaskEventRow};

/// Maximum number of rows of one request.
const MAX_ROWS: usize = 100;
/// Maximum size of the trees in one response, and of the texts that are read for it, in bytes, roughly.
const MAX_RESPONSE: usize = 8 << 20;
/// Maximum time of one request's rendering. Rows that are left are for the next request.
const MAX_TIME: Duration = Duration::from_secs(1);

/// A kind of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Inbox,
    Event,
}

/// The texts of one row.
enum Texts {
    Message(String),
    Inbox(String),
    Event {
        event: Box<TaskEventRow>,
        /// The input of the tool call that the event ends.
        call_input: String,
    },
}

impl Texts {
    /// Returns the row's texts; `None` if there is no such row.
    fn read(reader: &Reader, kind: Kind, id: &str) -> Result<Option<Self>> {
        Ok(match kind {
            Kind::Message => reader.message(id)?.map(|row| Self::Message(row.content)),
            Kind::Inbox => reader.mail(id)?.map(|row| Self::Inbox(row.payload)),
            Kind::Event => match id.parse().map_or(Ok(None), |id| reader.task_event(id))? {
                Some(event) => Some(Self::Event {
                    call_input: reader.call_input(&event)?,
                    event: Box::new(event),
                }),
                None => None,
            },
        })
    }

    /// Returns the texts by the names of their columns, without empty ones.
    fn fields(&self) -> Vec<(&'static str, Source<'_>)> {
        let all = match self {
            Self::Message(text) => vec![("content", text, Source::Message(text))],
            Self::Inbox(text) => vec![("payload", text, Source::Message(text))],
            Self::Event { event, call_input } => {
                let tool = &event.tool_name;
                let (input, output) = (&event.tool_input, &event.tool_output);
                let of_input = Source::ToolInput { tool, input };
                let of_output = Source::ToolOutput {
                    tool,
                    input: call_input,
                    output,
                };
                vec![
                    ("text", &event.text, Source::Message(&event.text)),
                    ("tool_input", input, of_input),
                    ("tool_output", output, of_output),
                    ("error_msg", &event.error_msg, Source::Terminal(&event.error_msg)),
                ]
            }
        };
        let filled = all.into_iter().filter(|(_, text, _)| !text.is_empty());
        filled.map(|(name, _, source)| (name, source)).collect()
    }

    /// Returns the size of the texts, in bytes.
    fn size(&self) -> usize {
        match self {
            Self::Message(text) | Self::Inbox(text) => text.len(),
            Self::Event { event, call_input } => {
                let texts = [&event.text, &event.tool_input, &event.tool_output, &event.error_msg];
                call_input.len() + texts.map(String::len).iter().sum::<usize>()
            }
        }
    }
}

/// One row of the response.
#[derive(Serialize)]
struct Item {
    /// The id of the request.
    id: String,
    /// The trees of the row's texts, by column.
    #[serde(serialize_with = "serialize_fields")]
    fields: BTreeMap<&'static str, Arc<RawValue>>,
}

fn serialize_fields<S: serde::Serializer>(
    fields: &BTreeMap<&'static str, Arc<RawValue>>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|(name, json)| (name, &**json)))
}

/// `GET /api/rendered?kind&id&id…`: the texts of the rows with these ids as trees, in this order. Rows that do not exist
/// are left out. `next` is the first id that was left for another request.
pub(crate) async fn list(request: ApiRequest) -> Result<Response> {
    let kind = kind(&request)?;
    let ids: Vec<String> = request
        .query
        .iter()
        .filter(|(name, _)| name == "id")
        .map(|(_, id)| id.clone())
        .collect();
    if ids.is_empty() || ids.len() > MAX_ROWS {
        return Err(Error::new(
            Code::Invalid,
            format!("the request has {} ids; send 1 to {MAX_ROWS}, each as id=…", ids.len()),
        ));
    }
    let server = &request.server;
    // Before the texts are read: requests that wait hold none. The semaphore is never closed.
    let place = Arc::clone(&server.rendering).acquire_owned().await.ok();
    let (rows, unread) = server.hub().read(move |reader| read(reader, kind, ids)).await?;
    let server = Arc::clone(server);
    let rendered = tokio::task::spawn_blocking(move || {
        // Released when the rendering ends, even if the client has left.
        let _place = place;
        render(&server.rendered, rows)
    });
    let (items, left) = rendered
        .await
        .map_err(|e| Error::new(Code::Internal, "rendering the texts panicked").because(e))?;
    Ok(response::list(&items, left.or(unread)))
}

fn kind(request: &ApiRequest) -> Result<Kind> {
    match request.query("kind") {
        Some("message") => Ok(Kind::Message),
        Some("inbox") => Ok(Kind::Inbox),
        Some("event") => Ok(Kind::Event),
        _ => Err(Error::new(Code::Invalid, "kind must be message, inbox or event")),
    }
}

type Rows = Vec<(String, Texts)>;

/// Reads rows until they are too large together. Returns them and the first id that is left.
fn read(reader: &Reader, kind: Kind, ids: Vec<String>) -> Result<(Rows, Option<String>)> {
    let (mut rows, mut size) = (Vec::new(), 0);
    for id in ids {
        if size > MAX_RESPONSE {
            return Ok((rows, Some(id)));
        }
        if let Some(texts) = Texts::read(reader, kind, &id)? {
            size += texts.size();
            rows.push((id, texts));
        }
    }
    Ok((rows, None))
}

/// Renders rows until the response is too large or takes too long. Returns them and the first id that is left.
fn render(cache: &Cache, rows: Rows) -> (Vec<Item>, Option<String>) {
    let (begun, mut size, mut items) = (Instant::now(), 0, Vec::new());
    for (id, texts) in rows {
        if !items.is_empty() && (size > MAX_RESPONSE || begun.elapsed() > MAX_TIME) {
            return (items, Some(id));
        }
        let fields = texts.fields().into_iter();
        let fields: BTreeMap<_, _> = fields.map(|(name, source)| (name, cache.render(source))).collect();
        size += fields.values().map(|json| json.get().len()).sum::<usize>();
        items.push(Item { id, fields });
    }
    (items, None)
}
