//! Who gets in, tried from outside on every route: a web page anywhere on the internet can
//! make the browser talk to this port.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::http::{self, Answer};
use crate::support::{Client, TIMEOUT, TestHub};

/// Every route there is: method, path, whether it needs the token.
const ROUTES: &[(&str, &str, bool)] = &[
    ("GET", "/", false),
    ("GET", "/index.html", false),
    ("GET", "/main.js", false),
    ("GET", "/app.css", false),
    ("GET", "/favicon.svg", false),
    ("GET", "/views/threads.js", false),
    ("GET", "/healthz", false),
    ("GET", "/ws", true),
    ("GET", "/api/status", true),
    ("GET", "/api/threads", true),
    ("GET", "/api/threads/t", true),
    ("GET", "/api/threads/t/messages", true),
    ("POST", "/api/threads/t/messages", true),
    ("GET", "/api/inboxes", true),
    ("GET", "/api/inbox", true),
    ("POST", "/api/inbox", true),
    ("GET", "/api/inbox/x", true),
    ("GET", "/api/agents", true),
    ("GET", "/api/telemetry", true),
    ("GET", "/api/tasks", true),
    ("GET", "/api/tasks/k/events", true),
    ("GET", "/nowhere", true),
    ("DELETE", "/api/threads/t", true),
];

struct Door<'a>(&'a TestHub);

impl Door<'_> {
    fn host(&self) -> (String, String) {
        ("Host".into(), format!("127.0.0.1:{}", self.0.port()))
    }

    fn token(&self) -> (String, String) {
        ("Authorization".into(), format!("Bearer {}", self.0.token()))
    }

    #[track_caller]
    fn knock(&self, method: &str, path: &str, headers: &[(String, String)]) -> Answer {
        let mut headers = headers.to_vec();
        if method != "GET" && !headers.iter().any(|(name, _)| name == "Content-Type") {
            headers.push(("Content-Type".into(), "application/json".into()));
        }
        http::request(self.0.port(), method, path, &headers, "")
    }
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[track_caller]
fn refused(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    let code = answer.code();
    let expected = match status {
        401 => "UNAUTHORIZED",
        403 => "FORBIDDEN",
        _ => "UNSUPPORTED_MEDIA_TYPE",
    };
    assert_eq!(code, expected, "{what}");
    // No page of another origin may read even the refusal.
    assert_eq!(answer.header("access-control-allow-origin"), None, "{what}");
}

/// Without it a page could reach the hub under a name of its own (DNS rebinding).
#[test]
fn the_host_is_this_machine_on_every_route() {
    let hub = TestHub::with_args(&["--allow-host", "hub.test"]);
    let (door, port) = (Door(&hub), hub.port());
    for (method, path, _) in ROUTES {
        for host in [
            "evil.test".to_owned(),
            format!("evil.test:{port}"),
            "127.0.0.1".to_owned(),
            format!("127.0.0.1:{}", port + 1),
            format!("localhost.evil.test:{port}"),
            format!("0.0.0.0:{port}"),
            String::new(),
        ] {
            let answer = door.knock(method, path, &[header("Host", &host), door.token()]);
            refused(&answer, 403, &format!("{method} {path} for {host:?}"));
        }
        let twice = door.knock(method, path, &[door.host(), door.host(), door.token()]);
        refused(&twice, 403, path);
        let none = door.knock(method, path, &[door.token()]);
        assert!(matches!(none.status, 400 | 403), "{path}: {none:?}");
    }
    for host in ["127.0.0.1", "localhost", "LocalHost", "[::1]", "hub.test"] {
        let answer = door.knock(
            "GET",
            "/api/status",
            &[header("Host", &format!("{host}:{port}")), door.token()],
        );
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
    // As if to a proxy.
    let target = format!("http://127.0.0.1:{port}/api/status");
    refused(
        &door.knock("GET", &target, &[door.host(), door.token()]),
        403,
        "absolute target",
    );
}

/// Without it any page could send mail to an agent, even if it could not read the answer.
#[test]
fn the_origin_is_the_hubs_own_on_every_route() {
    let hub = TestHub::start();
    let (door, port) = (Door(&hub), hub.port());
    for (method, path, _) in ROUTES {
        for origin in [
            "http://evil.test".to_owned(),
            "null".to_owned(),
            String::new(),
            format!("https://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{}", port + 1),
            format!("http://127.0.0.1:{port}.evil.test"),
            format!("http://127.0.0.1:{port}/"),
        ] {
            let answer = door.knock(method, path, &[door.host(), door.token(), header("Origin", &origin)]);
            refused(&answer, 403, &format!("{method} {path} from {origin:?}"));
        }
    }
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let origin = format!("http://{host}:{port}");
        let answer = door.knock(
            "GET",
            "/api/status",
            &[door.host(), door.token(), header("Origin", &origin)],
        );
        assert_eq!(answer.status, 200, "{origin}");
        // Not even to itself: there is no CORS at all.
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    // A preflight gets nothing.
    let headers = [
        door.host(),
        header("Origin", "http://evil.test"),
        header("Access-Control-Request-Method", "POST"),
    ];
    refused(&door.knock("OPTIONS", "/api/inbox", &headers), 403, "preflight");
}

/// Without it requests a browser makes for other sites would pass where it sends no Origin.
#[test]
fn other_sites_may_only_link_to_the_page() {
    let hub = TestHub::start();
    let door = Door(&hub);
    for (method, path, _) in ROUTES {
        for site in ["cross-site", "same-site", "anything"] {
            let answer = door.knock(
                method,
                path,
                &[door.host(), door.token(), header("Sec-Fetch-Site", site)],
            );
            refused(&answer, 403, &format!("{method} {path}, {site}"));
        }
    }
    let link = [
        door.host(),
        header("Sec-Fetch-Site", "cross-site"),
        header("Sec-Fetch-Mode", "navigate"),
        header("Sec-Fetch-Dest", "document"),
    ];
    assert_eq!(door.knock("GET", "/", &link).status, 200);
    refused(&door.knock("GET", "/index.html", &link), 403, "not the page's address");
    let mut frame = link.clone();
    frame[3].1 = "iframe".into();
    refused(&door.knock("GET", "/", &frame), 403, "in a frame");
    for site in ["none", "same-origin"] {
        assert_eq!(
            door.knock("GET", "/", &[door.host(), header("Sec-Fetch-Site", site)])
                .status,
            200,
            "{site}"
        );
    }
}

/// Without it every program of every user on this machine could read and write everything.
#[test]
fn the_token_is_needed_on_every_route_but_the_page_and_the_pulse() {
    let hub = TestHub::start();
    let door = Door(&hub);
    let wrong = "0".repeat(64);
    for (method, path, secret) in ROUTES {
        let bare = door.knock(method, path, &[door.host()]);
        if !secret {
            assert_eq!(bare.status, 200, "{path}: {bare:?}");
            assert_eq!(door.knock("HEAD", path, &[door.host()]).status, 200, "{path}");
            assert_eq!(door.knock("POST", path, &[door.host()]).status, 401, "{path}");
            continue;
        }
        refused(&bare, 401, path);
        for credentials in [
            header("Authorization", &format!("Bearer {wrong}")),
            header("Authorization", &format!("Basic {}", hub.token())),
            header("Authorization", hub.token()),
            header("Cookie", &format!("token={}", hub.token())),
            header("X-Token", hub.token()),
        ] {
            refused(&door.knock(method, path, &[door.host(), credentials]), 401, path);
        }
        // The query is for /ws alone: it ends up in histories and logs.
        let query = format!("{path}?token={}", hub.token());
        let answer = door.knock(method, &query, &[door.host()]);
        assert_eq!(answer.status == 401, *path != "/ws", "{path}: {answer:?}");
        let let_in = door.knock(method, path, &[door.host(), door.token()]);
        assert!(!matches!(let_in.status, 401 | 403), "{method} {path}: {let_in:?}");
    }
    assert!(hub.status()["refused"].as_u64().unwrap() > 50);
    let log = hub.log();
    assert!(
        !log.contains(hub.token()) && !log.contains(&wrong),
        "a token is in the log"
    );
}

/// Without it a plain HTML form of any page could post here.
#[test]
fn a_body_is_said_to_be_json_on_every_route() {
    let hub = TestHub::start();
    let door = Door(&hub);
    for (method, path, _) in ROUTES.iter().filter(|(method, _, _)| *method != "GET") {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "",
            "text/plain; application/json",
        ] {
            let answer = door.knock(method, path, &[door.host(), door.token(), header("Content-Type", kind)]);
            refused(&answer, 415, &format!("{method} {path} as {kind:?}"));
        }
    }
}

/// Without it `--no-auth` could open the hub to the network, or open nothing.
#[test]
fn no_auth_is_explicit_loud_and_local() {
    let hub = TestHub::with_args(&["--no-auth"]);
    let door = Door(&hub);
    assert_eq!(door.knock("GET", "/api/status", &[door.host()]).status, 200);
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
    // The other doors stay shut.
    refused(
        &door.knock("GET", "/api/status", &[header("Host", "evil.test")]),
        403,
        "host",
    );
    refused(
        &door.knock(
            "GET",
            "/api/status",
            &[door.host(), header("Origin", "http://evil.test")],
        ),
        403,
        "origin",
    );
    let output = TestHub::not_started(&[]).agenthub(&["serve", "--no-auth", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

/// Without it the page would keep its token under three names, and forget it under two.
#[test]
fn other_names_of_this_machine_lead_to_one_origin() {
    let hub = TestHub::start();
    let (door, port) = (Door(&hub), hub.port());
    for host in ["localhost", "LOCALHOST", "[::1]"] {
        let answer = door.knock("GET", "/", &[header("Host", &format!("{host}:{port}"))]);
        assert_eq!(answer.status, 307, "{answer:?}");
        assert_eq!(
            answer.header("location"),
            Some(format!("http://127.0.0.1:{port}/").as_str())
        );
    }
    assert_eq!(door.knock("GET", "/", &[door.host()]).status, 200);
}

/// Without it a flaw in the page would be a way out for what agents write.
#[test]
fn the_page_may_talk_to_its_own_hub_alone() {
    let hub = TestHub::start();
    let door = Door(&hub);
    for path in ["/", "/main.js", "/app.css"] {
        let answer = door.knock("GET", path, &[door.host()]);
        let policy = answer.header("content-security-policy").unwrap();
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
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    }
    for (method, path, _) in ROUTES {
        let answer = door.knock(method, path, &[door.host(), door.token()]);
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}: {answer:?}"
        );
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(
            answer.header("cross-origin-resource-policy"),
            Some("same-origin"),
            "{path}"
        );
    }
}

/// Without it a slow or endless head would hold a connection for ever.
#[test]
fn a_head_that_does_not_end_is_given_up() {
    use std::io::{Read, Write};
    let hub = TestHub::start();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1").unwrap();
    stream.set_read_timeout(Some(crate::support::TIMEOUT)).unwrap();
    let begun = std::time::Instant::now();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    assert!(
        begun.elapsed().as_secs() >= 4 && begun.elapsed().as_secs() < 15,
        "{:?}",
        begun.elapsed()
    );
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let answer = http::raw(hub.port(), long.as_bytes());
    assert!(matches!(answer.status, 400 | 431), "{answer:?}");
    // HTTP/2 is not spoken, whatever the client says first.
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(crate::support::TIMEOUT)).unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    assert!(!answer.starts_with(&[0]), "{answer:?}");
    assert!(hub.get("/api/status").status == 200);
}

/// Without it a client of another language would be half understood, or two names in a path
/// would become one.
#[test]
fn a_request_is_whole_or_refused() {
    let hub = TestHub::start();
    let door = Door(&hub);
    for version in ["1.0", "1.0\r\nConnection: keep-alive"] {
        let head = format!(
            "GET /api/status HTTP/{version}\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\n\r\n",
            hub.port(),
            hub.token()
        );
        let answer = http::raw(hub.port(), head.as_bytes());
        assert_eq!(
            (answer.status, answer.code()),
            (505, "HTTP_VERSION".into()),
            "{answer:?}"
        );
    }
    for id in ["%FF", "a%C3", "%ED%A0%80"] {
        let path = format!("/api/threads/{id}/messages");
        let answer = hub.send("POST", &path, r#"{"content":"x"}"#);
        assert_eq!((answer.status, answer.code()), (400, "INVALID".into()), "{id}");
        assert_eq!(hub.get(&path).status, 400);
    }
    assert_eq!(hub.status()["counts"]["messages"], 0);
    let handshake = |method: &str, keys: &[&str]| {
        let mut headers = vec![
            door.host(),
            door.token(),
            header("Connection", "Upgrade"),
            header("Upgrade", "websocket"),
            header("Sec-WebSocket-Version", "13"),
        ];
        // The last word counts: an upgrade must not be asked to close.
        headers.extend(keys.iter().map(|key| header("Sec-WebSocket-Key", key)));
        door.knock(method, "/ws", &headers).status
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

/// Without it the command made for a token that has leaked would leave the thief inside.
#[test]
fn a_rotated_token_shuts_the_old_one_out_of_a_running_hub() {
    let hub = TestHub::start();
    let (door, old) = (Door(&hub), hub.token().to_owned());
    let mut client = hub.connect("");
    client.assert_alive();
    // A request that is on its way meanwhile.
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
    let with = |token: &str| {
        let bearer = header("Authorization", &format!("Bearer {token}"));
        door.knock("GET", "/api/status", &[door.host(), bearer]).status
    };
    let begun = std::time::Instant::now();
    crate::support::within("the old token to be shut out", || (with(&old) == 401).then_some(()));
    assert!(begun.elapsed() < TIMEOUT / 4, "{:?}", begun.elapsed());
    assert_eq!(with(&new), 200);
    // Whoever is in with the old one is out.
    late.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    client.read_to_end_of_stream();
    assert!(Client::try_connect(hub.port(), &old, "").is_err());
    Client::connect(hub.port(), &new, "").assert_alive();
    let log = hub.log();
    assert!(!log.contains(&old) && !log.contains(&new), "a token in the log");
    // A file that is gone or half written shuts nobody out.
    std::fs::write(hub.folder().join("hub.db.token"), "short").unwrap();
    let begun = std::time::Instant::now();
    while begun.elapsed().as_millis() < 1200 {
        assert_eq!(with(&new), 200);
    }
}

/// Without it open connections would use up the process's file handles.
#[test]
fn connections_over_the_limit_are_told_so() {
    let hub = TestHub::with_args(&["--max-connections", "3"]);
    let clients: Vec<Client> = (0..3).map(|_| hub.connect("")).collect();
    let answer = http::request(hub.port(), "GET", "/healthz", &hub.headers(), "");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.body.len(), 62);
    drop(clients);
    crate::support::within("room for another", || {
        (http::request(hub.port(), "GET", "/healthz", &hub.headers(), "").status == 200).then_some(())
    });
}
