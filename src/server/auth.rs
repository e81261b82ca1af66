//! Who gets in.
//!
//! For: judging every request before anything else looks at it: by where it thinks it is
//! going (Host), where it comes from (Origin, Sec-Fetch-Site), what it brings
//! (Content-Type), and whether it knows the token.
//! Not for: what it asks for.
//!
//! A hub that shows and instructs coding agents is a remote control on its owner's
//! laptop, and any web page can make the browser talk to localhost. Each check stands
//! alone, and every comparison is exact: prefixes and patterns are how others were broken
//! into.

use std::net::SocketAddr;

use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, ORIGIN, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING,
};
use hyper::{Method, Uri, Version, http::request::Parts};
use subtle::ConstantTimeEq;

use crate::error::{Code, Error, Result};
use crate::store::Token;

/// The WebSocket subprotocol this hub speaks.
pub(super) const SUBPROTOCOL: &str = "agenthub";
/// The entry of `Sec-WebSocket-Protocol` that carries a token.
const BEARER_PROTOCOL: &str = "bearer.";
/// Characters of a stranger's word in a log line.
const SHOWN: usize = 80;
/// Hex digits in a row that may be part of a token.
const SECRET_DIGITS: usize = 16;
/// The path that also takes the token from the query, as the seed's clients send it.
const WEBSOCKET_PATH: &str = "/ws";

/// What a request may ask for without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// Anybody who reaches the port: the page itself, and whether the hub is alive.
    Open,
    /// Only who knows the token.
    Token,
}

/// Whether a token is needed at all.
#[derive(Debug, Clone)]
pub enum Guard {
    /// This one.
    Token(Token),
    /// The owner said `--no-auth`.
    Nobody,
}

/// The rules of one hub.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// `host:port`, exactly as a client may write it.
    hosts: Vec<String>,
    /// `http://host:port`, exactly as a browser writes it.
    origins: Vec<String>,
}

impl Policy {
    /// The rules for a hub that listens at `address` and answers to `allowed` beside the
    /// names of this machine itself. `allowed` entries are `host` or `host:port`.
    pub(super) fn new(address: SocketAddr, allowed: &[String]) -> Self {
        let port = address.port();
        let mut hosts: Vec<String> = ["127.0.0.1", "localhost", "[::1]"]
            .iter()
            .map(|host| format!("{host}:{port}"))
            .collect();
        if !address.ip().is_unspecified() {
            hosts.push(address.to_string());
        }
        for host in allowed {
            let has_port = host.rsplit_once(':').is_some_and(|(name, port)| {
                port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']'))
            });
            hosts.push(if has_port {
                host.to_ascii_lowercase()
            } else {
                format!("{}:{port}", host.to_ascii_lowercase())
            });
        }
        if port == 80 {
            // A client leaves the scheme's own port out.
            let bare: Vec<String> = hosts
                .iter()
                .filter_map(|h| h.strip_suffix(":80"))
                .map(str::to_owned)
                .collect();
            hosts.extend(bare);
        }
        let origins = hosts.iter().map(|host| format!("http://{host}")).collect();
        Self { hosts, origins }
    }

    /// Lets a request in, or says why not.
    pub(super) fn admit(&self, request: &Parts, secrecy: Secrecy, guard: &Guard) -> Result<()> {
        check_version(request)?;
        self.check_host(&request.headers, &request.uri)?;
        self.check_origin(&request.headers)?;
        check_fetch_site(request)?;
        check_body(request)?;
        match (guard, secrecy) {
            (Guard::Nobody, _) | (_, Secrecy::Open) => Ok(()),
            (Guard::Token(token), Secrecy::Token) => check_token(request, token),
        }
    }

    fn check_host(&self, headers: &HeaderMap, uri: &Uri) -> Result<()> {
        let refuse = |what: String| Err(forbidden(format!("{what}; allow it with --allow-host if it is yours")));
        if uri.authority().is_some() {
            return refuse("the request names a host in its target, as if to a proxy".into());
        }
        match one(headers, HOST.as_str())? {
            None => refuse("the request names no host".into()),
            Some(host) if self.hosts.iter().any(|h| h.eq_ignore_ascii_case(host)) => Ok(()),
            Some(host) => refuse(format!("the request is for the host {}", quoted(host))),
        }
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<()> {
        match one(headers, ORIGIN.as_str())? {
            None => Ok(()),
            Some(origin) if self.origins.iter().any(|o| o == origin) => Ok(()),
            Some(origin) => Err(forbidden(format!(
                "the request comes from a page of {}, and only the hub's own may talk to it; open it with agenthub open",
                quoted(origin)
            ))),
        }
    }
}

/// Lets the head of a request in that needs the token, or says why not: for a server of one's
/// own around [`Server::websocket`](super::Server::websocket). It listens at `address` and
/// answers to `allowed` (`host` or `host:port`) beside this machine's own names.
///
/// # Errors
/// [`Code::HttpVersion`], [`Code::Forbidden`], [`Code::Invalid`], [`Code::UnsupportedMedia`] or
/// [`Code::Unauthorized`].
pub fn admit(address: SocketAddr, allowed: &[String], request: &Parts, guard: &Guard) -> Result<()> {
    Policy::new(address, allowed).admit(request, Secrecy::Token, guard)
}

fn check_fetch_site(request: &Parts) -> Result<()> {
    let header = |name: &str| one(&request.headers, name);
    match header("sec-fetch-site")? {
        None | Some("none" | "same-origin") => Ok(()),
        Some(site) => {
            // A link to the dashboard on some other page may be followed.
            let followed = request.uri.path() == "/"
                && request.method == Method::GET
                && header("sec-fetch-mode")? == Some("navigate")
                && header("sec-fetch-dest")? == Some("document");
            if followed {
                return Ok(());
            }
            Err(forbidden(format!(
                "the request is {}, not from the hub's own page; open it with agenthub open",
                quoted(site)
            )))
        }
    }
}

fn check_version(request: &Parts) -> Result<()> {
    if request.version == Version::HTTP_11 {
        return Ok(());
    }
    Err(Error::new(
        Code::HttpVersion,
        format!("{:?} is not spoken here; send HTTP/1.1", request.version),
    ))
}

/// A body is asked for and said to be JSON. One that nobody asked for is not even read: it
/// would fill the memory for whoever has no token.
fn check_body(request: &Parts) -> Result<()> {
    if matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        let length = one(&request.headers, CONTENT_LENGTH.as_str())?;
        if length.is_none_or(|length| length == "0") && !request.headers.contains_key(TRANSFER_ENCODING) {
            return Ok(());
        }
        return Err(Error::new(
            Code::Invalid,
            format!("a {} has no body here; leave it out", request.method),
        ));
    }
    let given = one(&request.headers, CONTENT_TYPE.as_str())?;
    let is_json = given.is_some_and(|value| {
        let mut parts = value.split(';').map(str::trim);
        parts
            .next()
            .is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
            && parts.all(|parameter| parameter.eq_ignore_ascii_case("charset=utf-8"))
    });
    if is_json {
        return Ok(());
    }
    Err(Error::new(
        Code::UnsupportedMedia,
        "the body's type is not said to be JSON; send Content-Type: application/json",
    ))
}

fn check_token(request: &Parts, token: &Token) -> Result<()> {
    let known = |given: &str| bool::from(given.as_bytes().ct_eq(token.secret().as_bytes()));
    let bearer = one(&request.headers, AUTHORIZATION.as_str())?.and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
    });
    let in_protocol = || {
        protocols(&request.headers)
            .find_map(|p| p.strip_prefix(BEARER_PROTOCOL))
            .is_some_and(known)
    };
    let in_query = || {
        request.uri.path() == WEBSOCKET_PATH
            && form_urlencoded::parse(request.uri.query().unwrap_or_default().as_bytes())
                .any(|(name, value)| name == "token" && known(&value))
    };
    if bearer.is_some_and(known) || in_protocol() || in_query() {
        return Ok(());
    }
    Err(Error::new(
        Code::Unauthorized,
        "the token is missing or wrong; send Authorization: Bearer with what agenthub token prints, or run agenthub open",
    ))
}

/// The WebSocket subprotocols a client offers.
pub(super) fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(',').map(str::trim))
}

/// The one value of a header that may be there once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(forbidden(format!("the header {name} is there twice; send it once")));
    }
    first
        .map(|value| {
            value
                .to_str()
                .map_err(|_| forbidden(format!("the header {name} is not plain text; send ASCII")))
        })
        .transpose()
}

fn forbidden(why: String) -> Error {
    Error::new(Code::Forbidden, why)
}

/// A stranger's word, safe and short enough for a log line, without what may be a token: mail
/// and shells make a path of `/#token=…`.
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::new();
    let mut digits = 0;
    for c in without_token(text).chars() {
        digits = if c.is_ascii_hexdigit() { digits + 1 } else { 0 };
        shown.push(c);
        if digits == SECRET_DIGITS {
            shown.truncate(shown.len() - digits);
            shown.push('…');
            // The rest of a long run is left out with its beginning.
            break;
        }
    }
    let short: String = shown.chars().take(SHOWN).collect();
    format!("{short:?}")
}

/// The text up to what is said to be a token.
fn without_token(text: &str) -> &str {
    let end = |name: &str| text.to_ascii_lowercase().find(name).map(|at| at + name.len());
    let end = [end("token="), end("token%3d"), end("bearer")]
        .into_iter()
        .flatten()
        .min();
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn policy() -> Policy {
        Policy::new(
            "127.0.0.1:4820".parse().unwrap(),
            &["hub.test".into(), "other:99".into()],
        )
    }

    fn judge(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<()> {
        let mut request = hyper::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let secrecy = if target == "/" { Secrecy::Open } else { Secrecy::Token };
        policy().admit(&parts, secrecy, &Guard::Token(Token::new(SECRET)))
    }

    fn code(outcome: Result<()>) -> Option<Code> {
        outcome.err().map(|e| e.code())
    }

    #[test]
    fn hosts_are_exact() {
        for host in [
            "127.0.0.1:4820",
            "localhost:4820",
            "LOCALHOST:4820",
            "[::1]:4820",
            "hub.test:4820",
            "other:99",
        ] {
            assert_eq!(code(judge("GET", "/", &[("host", host)])), None, "{host}");
        }
        for host in [
            "",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:48200",
            "localhost.evil.test:4820",
            "evil.test",
            "127.0.0.1.nip.io:4820",
            "0.0.0.0:4820",
            "127.0.0.2:4820",
            "localhost:4820@evil.test",
            "[::]:4820",
            "other:4820",
            "hub.test",
            "127.1:4820",
        ] {
            assert_eq!(
                code(judge("GET", "/", &[("host", host)])),
                Some(Code::Forbidden),
                "{host:?}"
            );
        }
        assert_eq!(code(judge("GET", "/", &[])), Some(Code::Forbidden));
        assert_eq!(
            code(judge(
                "GET",
                "/",
                &[("host", "localhost:4820"), ("host", "localhost:4820")]
            )),
            Some(Code::Forbidden)
        );
        assert_eq!(
            code(judge("GET", "http://localhost:4820/", &[("host", "localhost:4820")])),
            Some(Code::Forbidden)
        );
    }

    #[test]
    fn origins_are_exact() {
        let from = |origin| code(judge("GET", "/", &[("host", "localhost:4820"), ("origin", origin)]));
        assert_eq!(from("http://127.0.0.1:4820"), None);
        assert_eq!(from("http://[::1]:4820"), None);
        for origin in [
            "null",
            "",
            "http://127.0.0.1",
            "https://127.0.0.1:4820",
            "http://127.0.0.1:4821",
            "http://localhost:4820.evil.test",
            "http://evil.test",
            "http://127.0.0.1:4820/",
            "http://user@127.0.0.1:4820",
            "file://",
            "http://LOCALHOST:4820",
        ] {
            assert_eq!(from(origin), Some(Code::Forbidden), "{origin:?}");
        }
    }

    #[test]
    fn other_sites_may_only_link_here() {
        let host = ("host", "localhost:4820");
        let navigation = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(code(judge("GET", "/", &navigation)), None);
        assert_eq!(code(judge("GET", "/api/status", &navigation)), Some(Code::Forbidden));
        for site in ["cross-site", "same-site", "x"] {
            assert_eq!(
                code(judge("GET", "/", &[host, ("sec-fetch-site", site)])),
                Some(Code::Forbidden),
                "{site}"
            );
        }
        let frame = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
        ];
        assert_eq!(code(judge("GET", "/", &frame)), Some(Code::Forbidden));
    }

    #[test]
    fn the_token_has_three_places() {
        let host = ("host", "localhost:4820");
        let bearer = format!("Bearer {SECRET}");
        let protocol = format!("agenthub, bearer.{SECRET}");
        let query = format!("/ws?token={SECRET}");
        assert_eq!(
            code(judge("GET", "/api/status", &[host, ("authorization", &bearer)])),
            None
        );
        assert_eq!(
            code(judge("GET", "/ws", &[host, ("sec-websocket-protocol", &protocol)])),
            None
        );
        assert_eq!(code(judge("GET", &query, &[host])), None);
        let short = format!("Bearer {}", &SECRET[..63]);
        let cookie = format!("token={SECRET}");
        for (target, headers) in [
            ("/api/status", vec![host]),
            ("/api/status", vec![host, ("authorization", &short)]),
            ("/api/status", vec![host, ("authorization", SECRET)]),
            ("/api/status", vec![host, ("cookie", &cookie)]),
            (&query.replace("/ws", "/api/status"), vec![host]),
            ("/ws?token=", vec![host]),
        ] {
            assert_eq!(
                code(judge("GET", target, &headers)),
                Some(Code::Unauthorized),
                "{target} {headers:?}"
            );
        }
    }

    #[test]
    fn bodies_are_said_to_be_json() {
        let bearer = format!("Bearer {SECRET}");
        let post = |kind: Option<&str>| {
            let mut headers = vec![("host", "localhost:4820"), ("authorization", bearer.as_str())];
            headers.extend(kind.map(|k| ("content-type", k)));
            code(judge("POST", "/api/inbox", &headers))
        };
        assert_eq!(post(Some("application/json")), None);
        assert_eq!(post(Some("Application/JSON; charset=UTF-8")), None);
        for kind in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("text/plain; application/json"),
            Some(""),
        ] {
            assert_eq!(post(kind), Some(Code::UnsupportedMedia), "{kind:?}");
        }
    }

    #[test]
    fn no_log_line_shows_a_token() {
        for hostile in [
            format!("/%23token={SECRET}"),
            format!("/token={SECRET}"),
            format!("/TOKEN%3D{SECRET}"),
            format!("/{SECRET}"),
            format!("/x{SECRET}{SECRET}"),
            format!("/ws/{}", &SECRET[..32]),
            format!("127.0.0.1:4820/#token={SECRET}"),
        ] {
            assert!(!quoted(&hostile).contains(&SECRET[..16]), "{hostile}");
        }
        assert_eq!(quoted("/api/threads/cafe"), "\"/api/threads/cafe\"");
        assert_eq!(quoted(&"x".repeat(99)).chars().count(), 82);
    }

    #[test]
    fn a_get_brings_no_body_and_every_request_is_http_1_1() {
        let host = ("host", "localhost:4820");
        assert_eq!(code(judge("GET", "/", &[host, ("content-length", "0")])), None);
        for body in [
            ("content-length", "9"),
            ("content-length", "x"),
            ("transfer-encoding", "chunked"),
        ] {
            assert_eq!(code(judge("GET", "/", &[host, body])), Some(Code::Invalid), "{body:?}");
        }
        let request = hyper::Request::builder().version(Version::HTTP_10).body(());
        let (parts, ()) = request.unwrap().into_parts();
        assert_eq!(code(check_version(&parts)), Some(Code::HttpVersion));
    }
}
