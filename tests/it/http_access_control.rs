//! Access control: which requests the hub accepts, and which it refuses.
//!
//! Any web page can make a browser send requests to this port. `route_matrix.rs` sends every kind of
//! forged request to every route; this file has the requests that must be accepted, and the other rules.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::support::http::{self, Response};
use crate::support::{Client, TIMEOUT, TestHub, wait_for};

type Header = (String, String);

fn header(name: &str, value: &str) -> Header {
    (name.to_owned(), value.to_owned())
}

/// The `Host` header that a browser sends to this hub.
fn host(hub: &TestHub) -> Header {
    header("Host", &format!("127.0.0.1:{}", hub.port()))
}

fn bearer(token: &str) -> Header {
    header("Authorization", &format!("Bearer {token}"))
}

/// Sends a request with exactly these headers, and JSON's content type unless the method is GET.
#[track_caller]
fn request(hub: &TestHub, method: &str, path: &str, headers: &[Header]) -> Response {
    let mut headers = headers.to_vec();
    if method != "GET" {
        headers.push(header("Content-Type", "application/json"));
    }
    http::request(hub.port(), method, path, &headers, "")
}

/// Every route, with a value in place of each `{…}`, and whether it needs the token.
fn routes() -> impl Iterator<Item = (&'static str, String, bool)> {
    agenthub::server::routes().map(|(method, path)| {
        let is_file = path == "/" || path.contains('.');
        (
            method,
            path.replace("{id}", "x"),
            !is_file && !["/healthz", "/api/proof"].contains(&path),
        )
    })
}

/// Returns whether only the person may use the route.
fn is_for_the_person(path: &str) -> bool {
    path.starts_with("/api/sessions") || path == "/api/agents/x/wake"
}

#[track_caller]
fn assert_forbidden(response: &Response, what: &str) {
    assert_eq!((response.status, response.code()), (403, "FORBIDDEN".into()), "{what}");
    // A page of another origin must not be able to read the refusal either.
    assert_eq!(response.header("access-control-allow-origin"), None, "{what}");
}

/// Other host names are refused: a web page could reach the hub under its own (DNS rebinding).
#[test]
fn accepts_this_machines_names_and_allowed_hosts() {
    let hub = TestHub::with_args(&["--allow-host", "hub.test"]);
    let (port, token) = (hub.port(), bearer(hub.token()));
    for name in ["127.0.0.1", "localhost", "LocalHost", "[::1]", "hub.test"] {
        let named = header("Host", &format!("{name}:{port}"));
        let response = request(&hub, "GET", "/api/status", &[named, token.clone()]);
        assert_eq!(response.status, 200, "{name}: {response:?}");
    }
    let missing = request(&hub, "GET", "/api/status", std::slice::from_ref(&token));
    assert!(matches!(missing.status, 400 | 403), "{missing:?}");
    let proxy_form = format!("http://127.0.0.1:{port}/api/status");
    assert_forbidden(&request(&hub, "GET", &proxy_form, &[host(&hub), token]), "proxy form");
}

/// Any page could otherwise send mail to an agent, even if it could not read the response.
#[test]
fn accepts_its_own_origin_and_sends_no_cors_headers() {
    let hub = TestHub::start();
    for name in ["127.0.0.1", "localhost", "[::1]"] {
        let origin = format!("http://{name}:{}", hub.port());
        let headers = [host(&hub), bearer(hub.token()), header("Origin", &origin)];
        let response = request(&hub, "GET", "/api/status", &headers);
        assert_eq!(response.status, 200, "{origin}");
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
    let preflight = [
        host(&hub),
        header("Origin", "http://evil.test"),
        header("Access-Control-Request-Method", "POST"),
    ];
    assert_forbidden(&request(&hub, "OPTIONS", "/api/inbox", &preflight), "preflight");
}

/// The headers of a request from a page of another origin, as browsers send them.
fn from_page(hub: &TestHub, origin: &str) -> Vec<Header> {
    vec![
        host(hub),
        header("Origin", origin),
        header("Sec-Fetch-Site", "cross-site"),
        header("Sec-Fetch-Mode", "cors"),
    ]
}

/// Checks that a page of `origin`, and no other, can read the response.
#[track_caller]
fn assert_readable_by(response: &Response, origin: &str, what: &str) {
    assert_eq!(response.header("access-control-allow-origin"), Some(origin), "{what}");
    assert_eq!(response.header("vary"), Some("Origin"), "{what}");
    assert_eq!(response.header("access-control-allow-credentials"), None, "{what}");
}

const ALLOWED_ORIGINS: [&str; 2] = ["https://tools.example", "http://localhost:5173"];

/// Starts a hub that pages of [`ALLOWED_ORIGINS`] may use.
fn hub_with_allowed_origins(args: &[&str]) -> TestHub {
    let origins = ALLOWED_ORIGINS.iter().flat_map(|origin| ["--allow-origin", origin]);
    TestHub::with_args(&args.iter().copied().chain(origins).collect::<Vec<_>>())
}

#[test]
fn pages_of_allowed_origins_need_the_token_and_can_read_every_response() {
    let hub = hub_with_allowed_origins(&["--max-connections", "1"]);
    for origin in ALLOWED_ORIGINS {
        let headers = from_page(&hub, origin);
        let with_token = [headers.clone(), vec![bearer(hub.token())]].concat();
        for (method, path, needs_token) in routes() {
            let what = format!("{method} {path} from {origin}");
            let without = request(&hub, method, &path, &headers);
            // A proof needs a nonce.
            let open = if path == "/api/proof" { 400 } else { 200 };
            assert_eq!(without.status, if needs_token { 401 } else { open }, "{what}");
            assert_readable_by(&without, origin, &what);
            // The place of the connection before may still be taken.
            let secret = match is_for_the_person(&path) {
                // It needs a one-time code.
                true if (method, path.as_str()) == ("POST", "/api/sessions") => continue,
                true => hub.person(),
                false => hub.token(),
            };
            let with_secret = [headers.clone(), vec![bearer(secret)]].concat();
            let with = wait_for("a free connection", || {
                let response = request(&hub, method, &path, &with_secret);
                assert_readable_by(&response, origin, &what);
                (response.body.len() != 62 || response.status != 503).then_some(response)
            });
            assert!(!matches!(with.status, 401 | 403), "{what}: {with:?}");
        }
        // Other errors.
        let not_found = wait_for("a free connection", || {
            let response = request(&hub, "GET", "/nowhere", &with_token);
            (response.status != 503).then_some(response)
        });
        assert_eq!(not_found.status, 404);
        assert_readable_by(&not_found, origin, "404");
        let mut other_host = with_token.clone();
        other_host[0].1 = "evil.test".into();
        let refused = request(&hub, "GET", "/api/status", &other_host);
        assert_eq!(refused.status, 403);
        assert_readable_by(&refused, origin, "403");
        let text = [with_token.clone(), vec![header("Content-Type", "text/plain")]].concat();
        let unsupported = http::request(hub.port(), "POST", "/api/inbox", &text, "x");
        assert_eq!(unsupported.status, 415);
        assert_readable_by(&unsupported, origin, "415");
        let _client = wait_for("a free connection", || {
            let bearer = format!("Bearer {}", hub.token());
            let headers = [
                ("Authorization", bearer.as_str()),
                ("Origin", origin),
                ("Sec-Fetch-Site", "cross-site"),
            ];
            let (mut client, _) = Client::connect_with_headers(hub.port(), "", &headers).ok()?;
            client.assert_alive();
            Some(client)
        });
        let over_limit = request(&hub, "GET", "/api/status", &with_token);
        assert_eq!(over_limit.status, 503);
        assert_readable_by(&over_limit, origin, "503");
    }
    // A browser's WebSocket sends the token as a subprotocol.
    let protocols = format!("agenthub, bearer.{}", hub.token());
    let headers = [
        ("Sec-WebSocket-Protocol", protocols.as_str()),
        ("Origin", ALLOWED_ORIGINS[0]),
    ];
    let protocol = wait_for("a free connection", || {
        Client::connect_with_headers(hub.port(), "", &headers).ok()?.1
    });
    assert_eq!(protocol, "agenthub");
    let headers = [("Origin", ALLOWED_ORIGINS[0])];
    let refused = Client::connect_with_headers(hub.port(), "", &headers).err();
    assert!(matches!(refused, Some(Some((401, _)))), "{refused:?}");
}

#[test]
fn origins_that_are_not_allowed_stay_refused() {
    let hub = hub_with_allowed_origins(&[]);
    let token = bearer(hub.token());
    let other_sites = ["same-site", "cross-site"].map(|site| header("Sec-Fetch-Site", site));
    for (method, path, _) in routes() {
        for origin in [
            "http://tools.example",
            "https://tools.example:444",
            "https://tools.example.evil.test",
            "https://a.tools.example",
            "https://TOOLS.example",
            "http://localhost",
            "http://127.0.0.1:5173",
            "null",
        ] {
            let headers = [host(&hub), token.clone(), header("Origin", origin)];
            assert_forbidden(
                &request(&hub, method, &path, &headers),
                &format!("{method} {path} from {origin}"),
            );
        }
        // Sec-Fetch-Site is checked unless an allowed origin is present.
        for site in &other_sites {
            let headers = [host(&hub), token.clone(), site.clone()];
            assert_forbidden(
                &request(&hub, method, &path, &headers),
                &format!("{method} {path} {site:?}"),
            );
        }
    }
    // The hub's own page needs no CORS headers.
    let own = format!("http://127.0.0.1:{}", hub.port());
    let headers = [
        host(&hub),
        token,
        header("Origin", &own),
        header("Sec-Fetch-Site", "same-origin"),
    ];
    for path in ["/", "/api/status"] {
        let response = request(&hub, "GET", path, &headers);
        assert_eq!(response.status, 200);
        let cors = |(name, _): &&Header| name.starts_with("access-control-") || name == "vary";
        assert_eq!(response.headers.iter().find(cors), None, "{path}");
    }
}

#[test]
fn answers_preflights_of_allowed_origins_only() {
    let hub = hub_with_allowed_origins(&[]);
    let with = |headers: &[Header], name: &str, value: &str| [headers, &[header(name, value)]].concat();
    let ask = |path: &str, headers: &[Header]| http::request(hub.port(), "OPTIONS", path, headers, "");
    for origin in ALLOWED_ORIGINS {
        let page = with(&from_page(&hub, origin), "Access-Control-Request-Method", "PATCH");
        for path in ["/api/inbox/x", "/api/status", "/healthz", "/nowhere"] {
            let response = ask(path, &page);
            assert_eq!((response.status, response.body.as_str()), (204, ""), "{path}");
            assert_readable_by(&response, origin, path);
            let value = |name: &str| response.header(name).unwrap_or_default().to_owned();
            assert!(value("access-control-allow-methods").contains("PATCH"), "{response:?}");
            assert_eq!(value("access-control-allow-headers"), "authorization, content-type");
            assert!(value("access-control-max-age").parse::<u32>().unwrap() > 0);
            assert_eq!(response.header("access-control-allow-private-network"), None);
        }
        let private = with(&page, "Access-Control-Request-Private-Network", "true");
        assert_eq!(
            ask("/api/inbox", &private).header("access-control-allow-private-network"),
            Some("true")
        );
        let mut other_host = page.clone();
        other_host[0].1 = "evil.test".into();
        assert_eq!(ask("/api/inbox", &other_host).status, 403);
        // Not a preflight: it needs the token like any request.
        assert_eq!(ask("/api/inbox", &from_page(&hub, origin)).status, 401);
    }
    for origin in ["https://evil.test", "null", "https://tools.example:444"] {
        let page = with(&from_page(&hub, origin), "Access-Control-Request-Method", "POST");
        assert_forbidden(&ask("/api/inbox", &page), origin);
    }
    let no_origin = with(&[host(&hub)], "Access-Control-Request-Method", "POST");
    assert_eq!(ask("/api/inbox", &no_origin).status, 401);
}

#[test]
fn allow_origin_refuses_other_forms_of_an_origin() {
    let hub = TestHub::not_started(&[]);
    for (origin, advice) in [
        ("null", "serve yours over http"),
        ("*", "repeat the flag"),
        ("https://*.tools.example", "repeat the flag"),
        ("https://tools.example/", "use https://tools.example"),
        ("http://localhost:80", "use http://localhost"),
        ("https://user@tools.example", "use https://tools.example"),
        ("tools.example", "begins with http:// or https://"),
    ] {
        let output = hub.agenthub(&["serve", "--listen", "127.0.0.1:0", "--allow-origin", origin]);
        assert_eq!(output.status.code(), Some(2), "{origin}: {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            stderr.contains(advice) && stderr.contains("--allow-origin <ORIGIN>"),
            "{origin}: {stderr}"
        );
    }
}

/// Browsers send Sec-Fetch-Site also with requests that carry no Origin.
#[test]
fn other_sites_may_only_link_to_the_page() {
    let hub = TestHub::start();
    let link = [
        host(&hub),
        header("Sec-Fetch-Site", "cross-site"),
        header("Sec-Fetch-Mode", "navigate"),
        header("Sec-Fetch-Dest", "document"),
    ];
    assert_eq!(request(&hub, "GET", "/", &link).status, 200);
    assert_forbidden(&request(&hub, "GET", "/index.html", &link), "another path");
    let mut frame = link.clone();
    frame[3].1 = "iframe".into();
    assert_forbidden(&request(&hub, "GET", "/", &frame), "a frame");
    for site in ["none", "same-origin"] {
        let headers = [host(&hub), header("Sec-Fetch-Site", site)];
        assert_eq!(request(&hub, "GET", "/", &headers).status, 200, "{site}");
    }
}

/// Every program of every user on this machine can connect to the port.
#[test]
fn only_the_page_and_healthz_need_no_token() {
    let hub = TestHub::start();
    for (method, path, needs_token) in routes() {
        let without = request(&hub, method, &path, &[host(&hub)]);
        if !needs_token {
            // A proof needs a nonce.
            let ok = if path == "/api/proof" { 400 } else { 200 };
            assert_eq!(without.status, ok, "{path}: {without:?}");
            assert_eq!(request(&hub, "HEAD", &path, &[host(&hub)]).status, ok, "{path}");
            assert_eq!(request(&hub, "POST", &path, &[host(&hub)]).status, 401, "{path}");
            continue;
        }
        assert_eq!(without.status, 401, "{method} {path}: {without:?}");
        let with = |secret: &str| request(&hub, method, &path, &[host(&hub), bearer(secret)]).status;
        let (program, person) = (with(hub.token()), with(hub.person()));
        match (method, path.as_str(), is_for_the_person(&path)) {
            (_, _, false) => assert!(
                ![401, 403].contains(&program) && ![401, 403].contains(&person),
                "{method} {path}: {program} {person}"
            ),
            // It needs a one-time code.
            ("POST", "/api/sessions", _) => assert_eq!((program, person), (401, 401), "{path}"),
            // It is the person's.
            (_, _, true) => assert!(
                program == 403 && ![401, 403].contains(&person),
                "{method} {path}: {person}"
            ),
        }
    }
    // A query ends up in histories and logs; only /ws accepts the token there, for the compatible form.
    let query = format!("/ws?token={}", hub.token());
    assert_eq!(request(&hub, "GET", &query, &[host(&hub)]).status, 400);
    assert!(!hub.log().contains(hub.token()), "the token is in the log");
}

/// A trailing slash is accepted. It must not bypass the token, or show a client without the token that a
/// path exists.
#[test]
fn paths_with_a_trailing_slash_need_the_token() {
    let hub = TestHub::start();
    for path in ["/healthz/", "/api/status/"] {
        assert_eq!(request(&hub, "GET", path, &[host(&hub)]).status, 401, "{path}");
        assert_eq!(hub.get(path).status, 200, "{path}");
    }
    for path in ["/api/status//", "//api/status", "/index.html/"] {
        assert_eq!(hub.get(path).status, 404, "{path}");
    }
}

/// `--no-auth` must not open the hub to the network.
#[test]
fn no_auth_needs_no_token_but_keeps_the_other_checks() {
    let hub = TestHub::with_args(&["--no-auth"]);
    assert_eq!(request(&hub, "GET", "/api/status", &[host(&hub)]).status, 200);
    assert!(
        hub.first_line().ends_with('/') && !hub.first_line().contains("token"),
        "{}",
        hub.first_line()
    );
    hub.wait_for_log("--no-auth");
    Client::connect_with_headers(hub.port(), "", &[])
        .unwrap_or_else(|e| panic!("{e:?}"))
        .0
        .assert_alive();
    let other_host = request(&hub, "GET", "/api/status", &[header("Host", "evil.test")]);
    assert_forbidden(&other_host, "host");
    let other_origin = [host(&hub), header("Origin", "http://evil.test")];
    assert_forbidden(&request(&hub, "GET", "/api/status", &other_origin), "origin");
    let output = TestHub::not_started(&[]).agenthub(&["serve", "--no-auth", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

/// A browser stores the page's token per origin, so the page uses one origin only.
#[test]
fn redirects_other_loopback_names_to_one_origin() {
    let hub = TestHub::start();
    let port = hub.port();
    for name in ["localhost", "LOCALHOST", "[::1]"] {
        let response = request(&hub, "GET", "/", &[header("Host", &format!("{name}:{port}"))]);
        assert_eq!(response.status, 307, "{response:?}");
        assert_eq!(
            response.header("location"),
            Some(format!("http://127.0.0.1:{port}/").as_str())
        );
    }
    assert_eq!(request(&hub, "GET", "/", &[host(&hub)]).status, 200);
}

/// If text of an agent ran as a script in the page, it could still send nothing to another server.
#[test]
fn the_page_may_connect_only_to_its_own_hub() {
    let hub = TestHub::start();
    for path in ["/", "/main.js", "/app.css"] {
        let response = request(&hub, "GET", path, &[host(&hub)]);
        let policy = response.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        for source in policy
            .split([' ', ';'])
            .filter(|word| word.contains(':') || word.contains('*'))
        {
            assert_eq!(source, "data:", "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(response.header("x-frame-options"), Some("DENY"));
    }
    for (method, path, _) in routes() {
        let response = request(&hub, method, &path, &[host(&hub), bearer(hub.token())]);
        assert_eq!(
            response.header("x-content-type-options"),
            Some("nosniff"),
            "{path}: {response:?}"
        );
        assert_eq!(response.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(
            response.header("cross-origin-resource-policy"),
            Some("same-origin"),
            "{path}"
        );
    }
}

/// A client that never finishes a request's head must not occupy a connection.
#[test]
fn closes_connections_with_unfinished_or_oversized_heads() {
    let hub = TestHub::start();
    let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1").unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let begun = Instant::now();
    let mut response = Vec::new();
    drop(stream.read_to_end(&mut response));
    assert!(
        begun.elapsed().as_secs() >= 4 && begun.elapsed().as_secs() < 15,
        "{:?}",
        begun.elapsed()
    );
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let response = http::raw(hub.port(), long.as_bytes());
    assert!(matches!(response.status, 400 | 431), "{response:?}");
    // A client that starts with HTTP/2 gets no HTTP/2 frame.
    let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut response = Vec::new();
    drop(stream.read_to_end(&mut response));
    assert!(!response.starts_with(&[0]), "{response:?}");
    assert!(hub.get("/api/status").status == 200);
}

/// Refuses other HTTP versions, other encodings of names, and incomplete handshakes.
#[test]
fn refuses_malformed_requests() {
    let hub = TestHub::start();
    for version in ["1.0", "1.0\r\nConnection: keep-alive"] {
        let head = format!(
            "GET /api/status HTTP/{version}\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\n\r\n",
            hub.port(),
            hub.token()
        );
        let response = http::raw(hub.port(), head.as_bytes());
        assert_eq!(
            (response.status, response.code()),
            (505, "HTTP_VERSION".into()),
            "{response:?}"
        );
    }
    for id in ["%FF", "a%C3", "%ED%A0%80"] {
        let path = format!("/api/threads/{id}/messages");
        let response = hub.send("POST", &path, r#"{"from_id":"a","content":"x"}"#);
        assert_eq!((response.status, response.code()), (400, "INVALID".into()), "{id}");
        assert_eq!(hub.get(&path).status, 400);
    }
    assert_eq!(hub.status()["counts"]["messages"], 0);
    let handshake = |method: &str, keys: &[&str]| {
        let mut headers = vec![
            host(&hub),
            bearer(hub.token()),
            header("Connection", "Upgrade"),
            header("Upgrade", "websocket"),
            header("Sec-WebSocket-Version", "13"),
        ];
        // `http::request` sends `Connection: close` first; the later header counts.
        headers.extend(keys.iter().map(|key| header("Sec-WebSocket-Key", key)));
        request(&hub, method, "/ws", &headers).status
    };
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    assert_eq!(handshake("GET", &[key]), 101);
    for (method, keys) in [
        ("HEAD", &[key][..]),
        ("GET", &[]),
        ("GET", &[key, key]),
        ("GET", &["x"]),
        ("GET", &["dGhlIHNhbXBsZSBub25jZQ=="[..20].as_ref()]),
        ("GET", &["!!!!!!!!!!!!!!!!!!!!!!=="]),
    ] {
        assert_eq!(handshake(method, keys), 400, "{method} {keys:?}");
    }
}

/// After `token --rotate`, a program with the old token has no access, not even on connections it
/// opened before.
#[test]
fn rotating_the_token_ends_access_with_the_old_one() {
    let hub = TestHub::start();
    let old = hub.token().to_owned();
    let mut client = hub.connect("");
    client.assert_alive();
    // A request whose body arrives after the rotation.
    let (mut late, body) = (
        TcpStream::connect(("127.0.0.1", hub.port())).unwrap(),
        r#"{"to_inbox":"human"}"#,
    );
    let head = "POST /api/inbox HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let (port, length) = (hub.port(), body.len());
    write!(
        late,
        "{head}Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {old}\r\nContent-Length: {length}\r\n\r\n"
    )
    .unwrap();
    let output = hub.agenthub(&["token", "--rotate"]);
    let new = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let with = |token: &str| request(&hub, "GET", "/api/status", &[host(&hub), bearer(token)]).status;
    let begun = Instant::now();
    wait_for("the old token to be refused", || (with(&old) == 401).then_some(()));
    assert!(begun.elapsed() < TIMEOUT / 4, "{:?}", begun.elapsed());
    assert_eq!(with(&new), 200);
    late.write_all(body.as_bytes()).unwrap();
    let mut response = String::new();
    late.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 401"), "{response}");
    client.read_to_end_of_stream();
    assert!(Client::try_connect(hub.port(), &old, "").is_err());
    Client::connect(hub.port(), &new, "").assert_alive();
    let log = hub.log();
    assert!(!log.contains(&old) && !log.contains(&new), "a token is in the log");
    // A missing or half-written token file does not change the token.
    std::fs::write(hub.folder().join("hub.db.token"), "short").unwrap();
    let begun = Instant::now();
    while begun.elapsed().as_millis() < 1200 {
        assert_eq!(with(&new), 200);
    }
}

/// Open connections use file descriptors of the process, so their number has a limit.
#[test]
fn answers_503_over_the_connection_limit() {
    let hub = TestHub::with_args(&["--max-connections", "3"]);
    let clients: Vec<Client> = (0..3).map(|_| hub.connect("")).collect();
    let response = hub.get("/api/status");
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(response.body.len(), 62);
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(response.header("connection"), Some("close"));
    assert!(matches!(
        Client::try_connect(hub.port(), hub.token(), ""),
        Err(Some((503, _)))
    ));
    hub.wait_for_log("3 connections open, which is the limit");
    // A request without the token is refused as before, and those that need none are answered.
    assert_eq!(request(&hub, "GET", "/api/status", &[host(&hub)]).status, 401);
    assert_eq!(request(&hub, "GET", "/healthz", &[host(&hub)]).status, 200);
    drop(clients);
    wait_for("a free connection", || {
        (hub.get("/api/status").status == 200).then_some(())
    });
    assert!(hub.get("/metrics").body.contains("reason=\"TOO_MANY_CONNECTIONS\"}"));
    hub.wait_for_log("below the connection limit again");
}
