//! Error codes, and one table that maps each to its name, HTTP status, WebSocket close code and
//! exit code.
//!
//! The code that fails writes the message: what could not be done, why, and what to do next. Errors are
//! returned, never logged here.

use std::error::Error as StdError;
use std::fmt;

/// A result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error. It determines all status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// A frame is not JSON, or not text.
    ParseError,
    /// A frame's type is not one a client may send.
    UnknownEvent,
    /// A `subscribe` is invalid.
    InvalidSubscribe,
    /// A subscription could not be started.
    SubscribeFailed,
    /// Rows could not be read from the database.
    FetchFailed,
    /// A batch could not be created.
    BatchFailed,
    /// An acknowledgement is invalid.
    InvalidAck,
    /// An acknowledgement could not be stored.
    AckFailed,
    /// An acknowledgement for a thread without a subscription.
    NotSubscribed,
    /// The client's position is not, or no longer, in the database.
    PositionLost,
    /// The client sends too many events.
    RateLimited,
    /// Too many messages are unacknowledged; the subscription is paused.
    Lagging,
    /// The responses that clients have not read take too much memory.
    Overloaded,
    /// The hub is shutting down.
    ShuttingDown,
    /// A bug, or the system is out of a resource.
    Internal,
    /// The request is invalid.
    Invalid,
    /// The requested item does not exist.
    NotFound,
    /// The item exists with other content.
    Conflict,
    /// The token is missing or wrong.
    Unauthorized,
    /// Requests for this host, or from this origin or site, are refused.
    Forbidden,
    /// The body is too large.
    TooLarge,
    /// The body is not JSON.
    UnsupportedMedia,
    /// The route does not support the method.
    MethodNotAllowed,
    /// The request is not HTTP/1.1.
    HttpVersion,
    /// The command line is invalid.
    Usage,
    /// Timed out.
    Timeout,
    /// The address is in use.
    AddressInUse,
    /// The database cannot be used. The other `Store…` codes give the reason if it is known.
    StoreUnavailable,
    /// Another process holds the write lock.
    StoreLocked,
    /// The disk is full.
    StoreFull,
    /// The database or its directory is not writable.
    StoreReadOnly,
    /// The database is corrupt.
    StoreCorrupt,
    /// The file at the path is not the one that was opened.
    StoreReplaced,
    /// The file is not an agenthub database, or has a newer schema version.
    StoreForeign,
    /// The database is on a network file system.
    StoreNetwork,
}

/// The name and status codes of a [`Code`].
struct CodeInfo {
    code: Code,
    /// The name in JSON, on the WebSocket and over HTTP.
    name: &'static str,
    http: u16,
    close: u16,
    exit: u8,
    /// The same request may succeed later.
    temporary: bool,
}

const fn info(code: Code, name: &'static str, http: u16, close: u16, exit: u8) -> CodeInfo {
    CodeInfo {
        code,
        name,
        http,
        close,
        exit,
        temporary: false,
    }
}

const fn temporary(code: Code, name: &'static str, http: u16, close: u16, exit: u8) -> CodeInfo {
    CodeInfo {
        code,
        name,
        http,
        close,
        exit,
        temporary: true,
    }
}

/// All codes, in the order of [`Code`]. Exit codes: 1 failed, 2 usage, 3 the database cannot be
/// used, 4 not found, 124 timed out. Close codes are those of RFC 6455, and 40xx of this protocol.
const CODES: &[CodeInfo] = &[
    info(Code::ParseError, "PARSE_ERROR", 400, 1007, 1),
    info(Code::UnknownEvent, "UNKNOWN_EVENT", 400, 1008, 1),
    info(Code::InvalidSubscribe, "INVALID_SUBSCRIBE", 400, 1008, 1),
    info(Code::SubscribeFailed, "SUBSCRIBE_FAILED", 503, 1011, 3),
    info(Code::FetchFailed, "FETCH_FAILED", 503, 1011, 3),
    info(Code::BatchFailed, "BATCH_FAILED", 503, 1011, 3),
    info(Code::InvalidAck, "INVALID_ACK", 400, 1008, 1),
    info(Code::AckFailed, "ACK_FAILED", 503, 1011, 3),
    info(Code::NotSubscribed, "NOT_SUBSCRIBED", 409, 1008, 1),
    info(Code::PositionLost, "POSITION_LOST", 410, 4010, 1),
    temporary(Code::RateLimited, "RATE_LIMITED", 429, 4013, 1),
    temporary(Code::Lagging, "LAGGING", 429, 4008, 1),
    temporary(Code::Overloaded, "OVERLOADED", 503, 1013, 1),
    temporary(Code::ShuttingDown, "SHUTTING_DOWN", 503, 1001, 1),
    temporary(Code::Internal, "INTERNAL", 500, 1011, 1),
    info(Code::Invalid, "INVALID", 400, 1008, 1),
    info(Code::NotFound, "NOT_FOUND", 404, 1008, 4),
    info(Code::Conflict, "CONFLICT", 409, 1008, 1),
    info(Code::Unauthorized, "UNAUTHORIZED", 401, 1008, 1),
    info(Code::Forbidden, "FORBIDDEN", 403, 1008, 1),
    info(Code::TooLarge, "TOO_LARGE", 413, 1009, 1),
    info(Code::UnsupportedMedia, "UNSUPPORTED_MEDIA_TYPE", 415, 1003, 1),
    info(Code::MethodNotAllowed, "METHOD_NOT_ALLOWED", 405, 1008, 1),
    info(Code::HttpVersion, "HTTP_VERSION", 505, 1008, 1),
    info(Code::Usage, "USAGE", 400, 1008, 2),
    info(Code::Timeout, "TIMEOUT", 504, 1008, 124),
    info(Code::AddressInUse, "ADDRESS_IN_USE", 500, 1011, 1),
    temporary(Code::StoreUnavailable, "STORE_UNAVAILABLE", 503, 1011, 3),
    temporary(Code::StoreLocked, "STORE_LOCKED", 503, 1011, 3),
    temporary(Code::StoreFull, "STORE_FULL", 507, 1011, 3),
    temporary(Code::StoreReadOnly, "STORE_READ_ONLY", 503, 1011, 3),
    temporary(Code::StoreCorrupt, "STORE_CORRUPT", 500, 1011, 3),
    temporary(Code::StoreReplaced, "STORE_REPLACED", 503, 4010, 3),
    info(Code::StoreForeign, "STORE_FOREIGN", 503, 1011, 3),
    info(Code::StoreNetwork, "STORE_NETWORK_FS", 503, 1011, 3),
];

// The table is indexed by `Code`: it has one line for each code, in the order of the enum.
const _: () = {
    assert!(CODES.len() == Code::StoreNetwork as usize + 1);
    let mut i = 0;
    while i < CODES.len() {
        assert!(CODES[i].code as usize == i);
        i += 1;
    }
};

impl Code {
    fn info(self) -> &'static CodeInfo {
        &CODES[self as usize]
    }

    /// Returns the name in `{"error":{"code":…}}` and in the WebSocket's `error` event.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Returns the HTTP status.
    pub fn http(self) -> u16 {
        self.info().http
    }

    /// Returns the WebSocket close code.
    pub fn close(self) -> u16 {
        self.info().close
    }

    /// Returns the exit code of the process.
    pub fn exit(self) -> u8 {
        self.info().exit
    }

    /// Returns whether the same request may succeed later.
    pub fn is_temporary(self) -> bool {
        self.info().temporary
    }

    /// Returns whether the database cannot be used.
    pub fn is_store(self) -> bool {
        self.exit() == 3
    }
}

/// An error: its code, a message of one line, and its cause.
#[derive(Debug)]
pub struct Error {
    code: Code,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error. `message` says what could not be done and what to do next.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns an error with the same code and message, without the cause, for another caller that
    /// waits for the same operation.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.code, self.message.clone())
    }

    /// Returns the code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns the message, without the cause.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|s| &**s as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_line_of_each_code() {
        for line in CODES {
            assert_eq!(line.code.name(), line.name);
        }
    }

    #[test]
    fn exit_codes_are_those_documented() {
        assert_eq!(Code::Usage.exit(), 2);
        assert_eq!(Code::StoreFull.exit(), 3);
        assert_eq!(Code::NotFound.exit(), 4);
        assert_eq!(Code::Timeout.exit(), 124);
    }
}
