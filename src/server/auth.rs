//! Checks the head of every request before its body is read or its route runs.
//!
//! A hub that shows and instructs coding agents can control the user's machine, and any web page can
//! make a browser send requests to localhost. Therefore the checks are independent of each other, and
//! every comparison is exact (no prefixes, no patterns). In this order:
//!
//! 1. the version is HTTP/1.1
//! 2. `Host` is one of the hub's names (DNS rebinding)
//! 3. `Origin`, if present, is the hub's own, or one that the user has allowed
//! 4. `Sec-Fetch-Site`, if present, is `none` or `same-origin`, unless `Origin` is one that the user has
//!    allowed; a link to the dashboard is allowed
//! 5. a GET has no body; any other method has `Content-Type: application/json` (HTML forms)
//! 6. the secrets, which `credentials` compares, unless the route needs none. A preflight (see `cors`)
//!    needs none either

use std::net::SocketAddr;

use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, ORIGIN, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING,
};
use hyper::{Method, Uri, Version, http::request::Parts};

use super::allowed_origin::AllowedOrigin;
use crate::error::{Code, Error, Result};
use crate::store::Secret;

/// The WebSocket subprotocol of this hub.
pub(super) const SUBPROTOCOL: &str = "agenthub";
/// Prefix of the entry of `Sec-WebSocket-Protocol` that carries the token: browsers cannot set
/// `Authorization` on a WebSocket.
const BEARER_PROTOCOL_PREFIX: &str = "bearer.";
/// Maximum characters of a client's text in a log line or an error message.
const MAX_QUOTED_CHARS: usize = 80;
/// Number of consecutive hex digits that are treated as part of a token.
const MIN_TOKEN_DIGITS: usize = 16;
/// The one path that also accepts the token in the query, as clients of AILANG's protocol send it.
pub(super) const WEBSOCKET_PATH: &str = "/ws";

/// The authentication that a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthRequirement {
    /// No token: the dashboard's files, and `/healthz`.
    Open,
    /// The token, or the person's secret or page key.
    Token,
    /// The person's secret, or a page's key.
    Person,
    /// A one-time code for the page.
    Code,
}

/// How requests are authenticated.
#[derive(Debug, Clone)]
pub enum AuthMode {
    /// Requests must carry this token, or prove that they are the person's.
    Token(Secret),
    /// No request needs a token (`--no-auth`). The person's requests still need the person's secret.
    Disabled,
}

/// The hosts and origins that one hub accepts.
#[derive(Debug, Clone)]
pub(super) struct AccessPolicy {
    /// The port at which the hub listens.
    port: u16,
    /// Accepted values of `Host`: `host:port`.
    hosts: Vec<String>,
    /// The hub's own values of `Origin`: `http://host:port`, as browsers write it.
    own_origins: Vec<String>,
    /// The origins of other pages that the user has allowed.
    allowed_origins: Vec<AllowedOrigin>,
}

impl AccessPolicy {
    /// Returns the policy of a hub that listens at `address`. It accepts this machine's own names
    /// and `allowed_hosts`, whose entries are `host` or `host:port`, and pages of `allowed_origins`.
    pub(super) fn new(address: SocketAddr, allowed_hosts: &[String], allowed_origins: &[AllowedOrigin]) -> Self {
        let port = address.port();
        let mut hosts: Vec<String> = ["127.0.0.1", "localhost", "[::1]"]
            .iter()
            .map(|host| format!("{host}:{port}"))
            .collect();
        if !address.ip().is_unspecified() {
            hosts.push(address.to_string());
        }
        for host in allowed_hosts {
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
            // Clients omit the default port of the scheme.
            let without_port: Vec<String> = hosts
                .iter()
                .filter_map(|host| host.strip_suffix(":80"))
                .map(str::to_owned)
                .collect();
            hosts.extend(without_port);
        }
        let own_origins = hosts.iter().map(|host| format!("http://{host}")).collect();
        Self {
            port,
            hosts,
            own_origins,
            allowed_origins: allowed_origins.to_vec(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Checks the head of a request, without its secrets.
    pub(super) fn check_head(&self, request: &Parts) -> Result<()> {
        check_version(request)?;
        self.check_host(&request.headers, &request.uri)?;
        self.check_origin(&request.headers)?;
        if self.allowed_origin(&request.headers).is_none() {
            check_fetch_site(request)?;
        }
        check_body_headers(request)
    }

    fn check_host(&self, headers: &HeaderMap, uri: &Uri) -> Result<()> {
        if uri.authority().is_some() {
            return Err(forbidden(
                "the request target is an absolute URL, as for a proxy; send the path alone".to_owned(),
            ));
        }
        match single_header(headers, HOST.as_str())? {
            None => Err(forbidden("the request has no Host header; send one".to_owned())),
            Some(host) if self.hosts.iter().any(|h| h.eq_ignore_ascii_case(host)) => Ok(()),
            Some(host) => Err(forbidden(format!(
                "the host {} is not one of this hub; allow it with --allow-host if it is yours",
                quoted(host)
            ))),
        }
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<()> {
        match single_header(headers, ORIGIN.as_str())? {
            None => Ok(()),
            Some(origin) if self.own_origins.iter().any(|o| o == origin) => Ok(()),
            Some(_) if self.allowed_origin(headers).is_some() => Ok(()),
            Some(origin) => Err(forbidden(format!(
                "the request comes from a page of {}, which has no access; open the hub's own page with agenthub open, \
                 or allow yours with serve --allow-origin",
                quoted(origin)
            ))),
        }
    }

    /// Returns the request's `Origin`, if it is not the hub's own but one that the user has allowed.
    pub(super) fn allowed_origin(&self, headers: &HeaderMap) -> Option<&AllowedOrigin> {
        let origin = single_header(headers, ORIGIN.as_str()).ok()??;
        if self.own_origins.iter().any(|own| own == origin) {
            return None;
        }
        self.allowed_origins
            .iter()
            .find(|allowed| allowed.header_value() == origin)
    }
}

/// Checks the head of a request for a route that requires the token: for a server that embeds
/// [`Server::websocket`](super::Server::websocket). The server listens at `address` and accepts
/// `allowed` (`host` or `host:port`) in addition to this machine's own names.
///
/// # Errors
/// [`Code::HttpVersion`], [`Code::Forbidden`], [`Code::Invalid`], [`Code::UnsupportedMedia`] or
/// [`Code::Unauthorized`].
pub fn check_embedded_request(address: SocketAddr, allowed: &[String], request: &Parts, mode: &AuthMode) -> Result<()> {
    AccessPolicy::new(address, allowed, &[]).check_head(request)?;
    match mode {
        AuthMode::Disabled => Ok(()),
        AuthMode::Token(token) if given_secrets(request)?.iter().any(|given| token.matches(given)) => Ok(()),
        AuthMode::Token(_) => Err(missing_token()),
    }
}

fn check_version(request: &Parts) -> Result<()> {
    if request.version == Version::HTTP_11 {
        return Ok(());
    }
    Err(Error::new(
        Code::HttpVersion,
        format!("{:?} is not supported; send HTTP/1.1", request.version),
    ))
}

fn check_fetch_site(request: &Parts) -> Result<()> {
    let header = |name: &str| single_header(&request.headers, name);
    match header("sec-fetch-site")? {
        None | Some("none" | "same-origin") => Ok(()),
        Some(site) => {
            // Another page may link to the dashboard.
            let is_link = request.uri.path() == "/"
                && request.method == Method::GET
                && header("sec-fetch-mode")? == Some("navigate")
                && header("sec-fetch-dest")? == Some("document");
            if is_link {
                return Ok(());
            }
            Err(forbidden(format!(
                "the request is {}, not from the hub's own page; open it with agenthub open",
                quoted(site)
            )))
        }
    }
}

/// Checks the headers that describe the body. A body that no route uses is refused without reading it:
/// otherwise clients without a token could use the hub's memory.
fn check_body_headers(request: &Parts) -> Result<()> {
    if matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        let length = single_header(&request.headers, CONTENT_LENGTH.as_str())?;
        if length.is_none_or(|length| length == "0") && !request.headers.contains_key(TRANSFER_ENCODING) {
            return Ok(());
        }
        return Err(Error::new(
            Code::Invalid,
            format!("a {} request must not have a body; leave it out", request.method),
        ));
    }
    let content_type = single_header(&request.headers, CONTENT_TYPE.as_str())?;
    let is_json = content_type.is_some_and(|value| {
        let mut parts = value.split(';').map(str::trim);
        parts
            .next()
            .is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"))
            && parts.all(|parameter| parameter.eq_ignore_ascii_case("charset=utf-8"))
    });
    if is_json {
        return Ok(());
    }
    Err(Error::new(
        Code::UnsupportedMedia,
        "the Content-Type is not JSON; send Content-Type: application/json",
    ))
}

/// Returns the secrets that a request carries: in `Authorization`, as a WebSocket subprotocol, and in the
/// query of `/ws`.
///
/// # Errors
/// [`Code::Forbidden`] if `Authorization` is repeated or is not ASCII text.
pub(super) fn given_secrets(request: &Parts) -> Result<Vec<String>> {
    let bearer = single_header(&request.headers, AUTHORIZATION.as_str())?.and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim().to_owned())
    });
    let in_subprotocol = subprotocols(&request.headers)
        .find_map(|entry| entry.strip_prefix(BEARER_PROTOCOL_PREFIX))
        .map(str::to_owned);
    let mut given: Vec<String> = bearer.into_iter().chain(in_subprotocol).collect();
    if request.uri.path() == WEBSOCKET_PATH {
        let query = form_urlencoded::parse(request.uri.query().unwrap_or_default().as_bytes());
        given.extend(
            query
                .filter(|(name, _)| name == "token")
                .map(|(_, value)| value.into_owned()),
        );
    }
    Ok(given)
}

/// Returns the error for a request without a valid secret.
pub(super) fn missing_token() -> Error {
    Error::new(
        Code::Unauthorized,
        "the token is missing or wrong; send Authorization: Bearer with what agenthub token prints, or run agenthub open",
    )
}

/// Returns the WebSocket subprotocols that a client offers.
pub(super) fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
}

/// Returns the value of a header that may be present at most once.
fn single_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(forbidden(format!("the header {name} is repeated; send it once")));
    }
    first
        .map(|value| {
            value
                .to_str()
                .map_err(|_| forbidden(format!("the header {name} is not ASCII text; send ASCII")))
        })
        .transpose()
}

fn forbidden(message: String) -> Error {
    Error::new(Code::Forbidden, message)
}

/// Returns a client's text in quotes, escaped and shortened for a log line, and cut off before
/// anything that may be a token: mail programs and shells turn the fragment of `/#token=…` into a
/// path.
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::new();
    let mut hex_digits = 0;
    for c in before_token(text).chars() {
        hex_digits = if c.is_ascii_hexdigit() { hex_digits + 1 } else { 0 };
        shown.push(c);
        if hex_digits == MIN_TOKEN_DIGITS {
            shown.truncate(shown.len() - hex_digits);
            shown.push('…');
            // The rest of the text is cut off with the digits.
            break;
        }
    }
    let short: String = shown.chars().take(MAX_QUOTED_CHARS).collect();
    format!("{short:?}")
}

/// Returns the text up to and including the first word that precedes a token, such as `token=`.
fn before_token(text: &str) -> &str {
    let end = |name: &str| text.to_ascii_lowercase().find(name).map(|at| at + name.len());
    let end = [
        end("token="),
        end("token%3d"),
        end("code="),
        end("code%3d"),
        end("bearer"),
    ]
    .into_iter()
    .flatten()
    .min();
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn policy() -> AccessPolicy {
        AccessPolicy::new(
            "127.0.0.1:4820".parse().unwrap(),
            &["hub.test".into(), "other:99".into()],
            &[
                "https://tools.example".parse().unwrap(),
                "http://localhost:5173".parse().unwrap(),
            ],
        )
    }

    fn check(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<()> {
        let mut request = hyper::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        policy().check_head(&parts)?;
        if target == "/" || given_secrets(&parts)?.iter().any(|given| given == SECRET) {
            return Ok(());
        }
        Err(missing_token())
    }

    fn code(outcome: Result<()>) -> Option<Code> {
        outcome.err().map(|e| e.code())
    }

    #[test]
    fn compares_hosts_exactly() {
        for host in [
            "127.0.0.1:4820",
            "localhost:4820",
            "LOCALHOST:4820",
            "[::1]:4820",
            "hub.test:4820",
            "other:99",
        ] {
            assert_eq!(code(check("GET", "/", &[("host", host)])), None, "{host}");
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
                code(check("GET", "/", &[("host", host)])),
                Some(Code::Forbidden),
                "{host:?}"
            );
        }
        assert_eq!(code(check("GET", "/", &[])), Some(Code::Forbidden));
        assert_eq!(
            code(check(
                "GET",
                "/",
                &[("host", "localhost:4820"), ("host", "localhost:4820")]
            )),
            Some(Code::Forbidden)
        );
        assert_eq!(
            code(check("GET", "http://localhost:4820/", &[("host", "localhost:4820")])),
            Some(Code::Forbidden)
        );
    }

    #[test]
    fn compares_origins_exactly() {
        let from = |origin| code(check("GET", "/", &[("host", "localhost:4820"), ("origin", origin)]));
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
    fn accepts_allowed_origins_with_the_token() {
        let (host, bearer) = (("host", "localhost:4820"), format!("Bearer {SECRET}"));
        let from = |headers: &[(&str, &str)]| code(check("GET", "/api/status", &[&[host], headers].concat()));
        let token = ("authorization", bearer.as_str());
        for origin in ["https://tools.example", "http://localhost:5173"] {
            let origin = ("origin", origin);
            assert_eq!(from(&[origin, token]), None);
            assert_eq!(from(&[origin]), Some(Code::Unauthorized));
            for site in ["cross-site", "same-site"] {
                let site = ("sec-fetch-site", site);
                assert_eq!(from(&[origin, token, site]), None);
                // Without the origin, or with another one, other sites have no access.
                assert_eq!(from(&[token, site]), Some(Code::Forbidden));
                for other in ["http://localhost:4820", "https://evil.test"] {
                    assert_eq!(
                        from(&[("origin", other), token, site]),
                        Some(Code::Forbidden),
                        "{other}"
                    );
                }
            }
            assert_eq!(from(&[origin, origin, token]), Some(Code::Forbidden));
        }
        for origin in [
            "http://tools.example",
            "https://tools.example:443",
            "https://tools.example:8443",
            "https://tools.example/",
            "https://tools.example.evil.test",
            "https://a.tools.example",
            "https://TOOLS.example",
            "https://tools.example,https://evil.test",
            "http://localhost",
            "http://127.0.0.1:5173",
            "null",
        ] {
            assert_eq!(from(&[("origin", origin), token]), Some(Code::Forbidden), "{origin}");
        }
    }

    #[test]
    fn other_sites_may_only_link_to_the_dashboard() {
        let host = ("host", "localhost:4820");
        let navigation = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(code(check("GET", "/", &navigation)), None);
        assert_eq!(code(check("GET", "/api/status", &navigation)), Some(Code::Forbidden));
        for site in ["cross-site", "same-site", "x"] {
            assert_eq!(
                code(check("GET", "/", &[host, ("sec-fetch-site", site)])),
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
        assert_eq!(code(check("GET", "/", &frame)), Some(Code::Forbidden));
    }

    #[test]
    fn accepts_the_token_in_three_places() {
        let host = ("host", "localhost:4820");
        let bearer = format!("Bearer {SECRET}");
        let protocol = format!("agenthub, bearer.{SECRET}");
        let query = format!("/ws?token={SECRET}");
        assert_eq!(
            code(check("GET", "/api/status", &[host, ("authorization", &bearer)])),
            None
        );
        assert_eq!(
            code(check("GET", "/ws", &[host, ("sec-websocket-protocol", &protocol)])),
            None
        );
        assert_eq!(code(check("GET", &query, &[host])), None);
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
                code(check("GET", target, &headers)),
                Some(Code::Unauthorized),
                "{target} {headers:?}"
            );
        }
    }

    #[test]
    fn requires_json_content_type() {
        let bearer = format!("Bearer {SECRET}");
        let post = |content_type: Option<&str>| {
            let mut headers = vec![("host", "localhost:4820"), ("authorization", bearer.as_str())];
            headers.extend(content_type.map(|value| ("content-type", value)));
            code(check("POST", "/api/inbox", &headers))
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
    fn quoted_text_contains_no_token() {
        for text in [
            format!("/%23token={SECRET}"),
            format!("/token={SECRET}"),
            format!("/TOKEN%3D{SECRET}"),
            format!("/{SECRET}"),
            format!("/x{SECRET}{SECRET}"),
            format!("/ws/{}", &SECRET[..32]),
            format!("127.0.0.1:4820/#token={SECRET}"),
        ] {
            assert!(!quoted(&text).contains(&SECRET[..16]), "{text}");
        }
        assert_eq!(quoted("/api/threads/cafe"), "\"/api/threads/cafe\"");
        assert_eq!(quoted(&"x".repeat(99)).chars().count(), 82);
    }

    #[test]
    fn refuses_a_body_on_get_and_other_http_versions() {
        let host = ("host", "localhost:4820");
        assert_eq!(code(check("GET", "/", &[host, ("content-length", "0")])), None);
        for body in [
            ("content-length", "9"),
            ("content-length", "x"),
            ("transfer-encoding", "chunked"),
        ] {
            assert_eq!(code(check("GET", "/", &[host, body])), Some(Code::Invalid), "{body:?}");
        }
        let request = hyper::Request::builder().version(Version::HTTP_10).body(());
        let (parts, ()) = request.unwrap().into_parts();
        assert_eq!(code(check_version(&parts)), Some(Code::HttpVersion));
    }
}
