//! Options of a WebSocket connection: `streams`, `since`, `frames` and `instance_id` in the query
//! of `GET /ws`.
//!
//! A client of AILANG's protocol gives none of the first three, and gets the compatible form. Each of
//! them selects the extended form.

use super::encoded_change::{Since, WireFormat};
use crate::error::{Code, Error, Result};

/// The rows a client gets without subscribing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    /// Every message of every thread.
    pub messages: bool,
    /// Inbox messages.
    pub inbox: bool,
    /// Telemetry.
    pub telemetry: bool,
    /// Task events.
    pub tasks: bool,
    /// The state of every thread.
    pub threads: bool,
}

impl Streams {
    /// The rows every client in the compatible form gets.
    pub const COMPAT: Self = Self {
        messages: false,
        inbox: true,
        telemetry: true,
        tasks: true,
        threads: false,
    };
    /// No rows.
    pub const NONE: Self = Self {
        messages: false,
        inbox: false,
        telemetry: false,
        tasks: false,
        threads: false,
    };
}

/// How events are packed into frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One event per frame.
    Single,
    /// Several events per frame, as a JSON array.
    Array,
}

/// The rows a client gets, and their format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The rows the client gets without subscribing.
    pub streams: Streams,
    /// [`WireFormat::Extended`] if the client gave any option that the compatible form does not have.
    pub format: WireFormat,
    /// How events are packed into frames.
    pub framing: Framing,
}

impl ConnectOptions {
    /// The options of a client in the compatible form.
    pub const COMPAT: Self = Self {
        streams: Streams::COMPAT,
        format: WireFormat::Compat,
        framing: Framing::Single,
    };
}

/// The parsed query of `GET /ws`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectQuery {
    /// The name under which acknowledgements are stored.
    pub instance_id: String,
    /// The rows the client gets, and their format.
    pub options: ConnectOptions,
    /// The start of the stream.
    pub since: From,
    /// Whether to send `hello`: the client gave an option that the compatible form does not have.
    pub hello: bool,
}

/// The start of a client's stream, as requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// The next change.
    Now,
    /// The oldest change kept.
    Start,
    /// After a position that the hub sent to the client.
    Since(Since),
}

impl ConnectQuery {
    /// Parses the names and values of a query. Unknown names are ignored.
    ///
    /// # Errors
    /// [`Code::Invalid`] for an invalid value.
    pub fn parse<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut query = Self {
            instance_id: "user".into(),
            options: ConnectOptions::COMPAT,
            since: From::Now,
            hello: false,
        };
        for (name, value) in pairs {
            match name {
                "instance_id" if value.is_empty() || value.len() > 255 => {
                    return Err(Error::new(Code::Invalid, "instance_id must have 1 to 255 bytes"));
                }
                "instance_id" => query.instance_id = value.to_owned(),
                "streams" => query.options.streams = Streams::parse(value)?,
                "since" if value == "0" => query.since = From::Start,
                "since" => {
                    let since = Since::parse(value).ok_or_else(|| {
                        Error::new(
                            Code::Invalid,
                            "since must be a pos the hub sent, 0 for everything kept, or absent",
                        )
                    })?;
                    query.since = From::Since(since);
                }
                "frames" if value == "array" => query.options.framing = Framing::Array,
                "frames" => return Err(Error::new(Code::Invalid, "frames must be array, or absent")),
                _ => continue,
            }
            query.hello |= name != "instance_id";
        }
        if query.hello {
            query.options.format = WireFormat::Extended;
        }
        Ok(query)
    }
}

impl Streams {
    fn parse(list: &str) -> Result<Self> {
        let mut streams = Self::NONE;
        for name in list.split(',') {
            match name {
                "messages" => streams.messages = true,
                "inbox" => streams.inbox = true,
                "telemetry" => streams.telemetry = true,
                "tasks" => streams.tasks = true,
                "threads" => streams.threads = true,
                "" => {}
                _ => {
                    return Err(Error::new(
                        Code::Invalid,
                        "streams must be a comma-separated list of messages, inbox, telemetry, tasks, threads",
                    ));
                }
            }
        }
        Ok(streams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<ConnectQuery> {
        ConnectQuery::parse(query.split('&').filter_map(|pair| pair.split_once('=')))
    }

    #[test]
    fn defaults_to_the_compatible_form() {
        let query = parse("token=x&instance_id=me&other=1").unwrap();
        assert_eq!(query.options, ConnectOptions::COMPAT);
        assert_eq!(
            (query.instance_id.as_str(), query.since, query.hello),
            ("me", From::Now, false)
        );
    }

    #[test]
    fn any_further_option_selects_the_extended_form() {
        for one in ["streams=tasks", "since=0", "frames=array"] {
            let query = parse(one).unwrap();
            assert!(query.hello, "{one}");
            assert_eq!(query.options.format, WireFormat::Extended, "{one}");
        }
        assert_eq!(parse("frames=array").unwrap().options.streams, Streams::COMPAT);
        let streams = parse("streams=messages,threads").unwrap().options.streams;
        assert_eq!(
            streams,
            Streams {
                messages: true,
                threads: true,
                ..Streams::NONE
            }
        );
    }

    #[test]
    fn rejects_invalid_values() {
        for bad in ["streams=everything", "since=yesterday", "frames=single", "instance_id="] {
            assert_eq!(parse(bad).unwrap_err().code(), Code::Invalid, "{bad}");
        }
    }
}
