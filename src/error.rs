//! What can go wrong, and ONE table that says how each outlet puts it: HTTP status,
//! WebSocket error name, close code, exit code.
//!
//! For: every fallible function of the crate. Errors are returned, never logged here.
//! Not for: wording. The message is written where the error happens: what could not be
//! done, why, and what to do next.

use std::error::Error as StdError;
use std::fmt;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure this is. The kind decides the status codes, the message does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// A frame is not JSON, or not text.
    ParseError,
    /// A frame's type is not one a client may send.
    UnknownEvent,
    /// A subscription makes no sense.
    InvalidSubscribe,
    /// A subscription could not be set up.
    SubscribeFailed,
    /// Rows could not be read from the file.
    FetchFailed,
    /// A batch could not be put together.
    BatchFailed,
    /// An acknowledgement makes no sense.
    InvalidAck,
    /// An acknowledgement could not be stored.
    AckFailed,
    /// An acknowledgement for a thread that was never subscribed to.
    NotSubscribed,
    /// The client's position is not in the file any more, or never was.
    PositionLost,
    /// Too many events from this client.
    RateLimited,
    /// The subscription waits for the client's acks.
    Lagging,
    /// The hub is going down.
    ShuttingDown,
    /// A bug, or a machine out of something.
    Internal,
    /// The request makes no sense.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// It exists, with other content.
    Conflict,
    /// The token is missing or wrong.
    Unauthorized,
    /// This host, origin or site may not talk to the hub.
    Forbidden,
    /// The body is too large.
    TooLarge,
    /// The body is not JSON.
    UnsupportedMedia,
    /// The method does not fit the route.
    MethodNotAllowed,
    /// The request is not in HTTP/1.1.
    HttpVersion,
    /// The command line makes no sense.
    Usage,
    /// The wait ended without the thing waited for.
    Timeout,
    /// The address is taken by another program.
    AddressInUse,
    /// The file cannot be used; the other `Store…` kinds say why where that is known.
    StoreUnavailable,
    /// Somebody holds the write lock.
    StoreLocked,
    /// No room on the disk.
    StoreFull,
    /// The file or its folder cannot be written.
    StoreReadOnly,
    /// The file is damaged.
    StoreCorrupt,
    /// The file at the path is another one than the one that was opened.
    StoreReplaced,
    /// The file is no agenthub database, or one of a newer version.
    StoreForeign,
    /// The file is on a network file system.
    StoreNetwork,
}

/// How one [`Code`] looks from outside.
struct CodeInfo {
    code: Code,
    /// The name in JSON, on the WebSocket and over HTTP.
    name: &'static str,
    http: u16,
    close: u16,
    exit: u8,
    /// The same request may work later.
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

/// The table. Exit codes: 1 failed, 2 usage, 3 the store cannot be used, 4 not found,
/// 124 waited in vain. Close codes are those of RFC 6455 and the contract's 40xx.
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

    /// The name in JSON: `{"error":{"code":…}}` and the WebSocket's `error` event.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The HTTP status.
    pub fn http(self) -> u16 {
        self.info().http
    }

    /// The WebSocket close code, where a connection ends over this.
    pub fn close(self) -> u16 {
        self.info().close
    }

    /// The process's exit code.
    pub fn exit(self) -> u8 {
        self.info().exit
    }

    /// Whether the same request may work later.
    pub fn is_temporary(self) -> bool {
        self.info().temporary
    }

    /// Whether the file itself is the trouble.
    pub fn is_store(self) -> bool {
        self.exit() == 3
    }
}

/// An error: its kind, one line for a person, and what caused it.
#[derive(Debug)]
pub struct Error {
    code: Code,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of kind `code`. `message` says what could not be done and what to do next.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            source: None,
        }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same kind and words, for somebody else who met the same failure. The cause
    /// stays with the original.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.code, self.message.clone())
    }

    /// Its kind.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Its one line, without the cause.
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
    fn the_contracts_exit_codes_stand() {
        assert_eq!(Code::Usage.exit(), 2);
        assert_eq!(Code::StoreFull.exit(), 3);
        assert_eq!(Code::NotFound.exit(), 4);
        assert_eq!(Code::Timeout.exit(), 124);
    }
}
