//! What a client asks for when it connects: `streams`, `since`, `frames`, `instance_id`.
//!
//! For: reading the query of `GET /ws`. A client written for the seed gives none of the
//! first three and gets what the seed would send.
//! Not for: what follows from it (`session`).

use super::encoded_change::{Since, WireFormat};
use crate::error::{Code, Error, Result};

/// Which rows a client gets without subscribing.
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
    /// What the seed sends to everybody.
    pub const SEED: Self = Self {
        messages: false,
        inbox: true,
        telemetry: true,
        tasks: true,
        threads: false,
    };
    /// Nothing.
    pub const NONE: Self = Self {
        messages: false,
        inbox: false,
        telemetry: false,
        tasks: false,
        threads: false,
    };
}

/// How events become frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One event, one frame.
    Single,
    /// Several events in one frame, as a JSON array.
    Array,
}

/// What a client asked for when it connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Which rows it gets without subscribing.
    pub streams: Streams,
    /// Rows in which form: [`WireFormat::Extended`] for whoever asked for more than the seed has.
    pub form: WireFormat,
    /// How events become frames.
    pub framing: Framing,
}

impl ConnectOptions {
    /// A client written for the seed.
    pub const SEED: Self = Self {
        streams: Streams::SEED,
        form: WireFormat::Compat,
        framing: Framing::Single,
    };
}

/// The whole of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectQuery {
    /// Whose acks these are.
    pub instance_id: String,
    /// Rows and frames.
    pub wishes: ConnectOptions,
    /// Where to go on from.
    pub since: From,
    /// Whether to say hello: the client asked for more than the seed has.
    pub greets: bool,
}

/// Where a client's stream begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// With what comes next.
    Now,
    /// With everything kept.
    Start,
    /// After a position it was given.
    Since(Since),
}

impl ConnectQuery {
    /// Reads the names and values of a query. Names it does not know are left alone.
    ///
    /// # Errors
    /// [`Code::Invalid`] for a value that means nothing.
    pub fn parse<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut query = Self {
            instance_id: "user".into(),
            wishes: ConnectOptions::SEED,
            since: From::Now,
            greets: false,
        };
        for (name, value) in pairs {
            match name {
                "instance_id" if value.is_empty() || value.len() > 255 => {
                    return Err(Error::new(Code::Invalid, "instance_id has 1 to 255 bytes"));
                }
                "instance_id" => query.instance_id = value.to_owned(),
                "streams" => query.wishes.streams = Streams::parse(value)?,
                "since" if value == "0" => query.since = From::Start,
                "since" => {
                    let since = Since::parse(value).ok_or_else(|| {
                        Error::new(
                            Code::Invalid,
                            "since is a pos the hub gave, 0 for everything kept, or absent",
                        )
                    })?;
                    query.since = From::Since(since);
                }
                "frames" if value == "array" => query.wishes.framing = Framing::Array,
                "frames" => return Err(Error::new(Code::Invalid, "frames is array, or absent")),
                _ => continue,
            }
            query.greets |= name != "instance_id";
        }
        if query.greets {
            query.wishes.form = WireFormat::Extended;
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
                        "streams is a comma list of messages, inbox, telemetry, tasks, threads",
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
    fn without_anything_it_is_the_seed() {
        let query = parse("token=x&instance_id=me&other=1").unwrap();
        assert_eq!(query.wishes, ConnectOptions::SEED);
        assert_eq!(
            (query.instance_id.as_str(), query.since, query.greets),
            ("me", From::Now, false)
        );
    }

    #[test]
    fn each_of_the_three_switches_the_rest_on() {
        for one in ["streams=tasks", "since=0", "frames=array"] {
            let query = parse(one).unwrap();
            assert!(query.greets, "{one}");
            assert_eq!(query.wishes.form, WireFormat::Extended, "{one}");
        }
        assert_eq!(parse("frames=array").unwrap().wishes.streams, Streams::SEED);
        let streams = parse("streams=messages,threads").unwrap().wishes.streams;
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
    fn nonsense_is_refused() {
        for bad in ["streams=everything", "since=yesterday", "frames=single", "instance_id="] {
            assert_eq!(parse(bad).unwrap_err().code(), Code::Invalid, "{bad}");
        }
    }
}
