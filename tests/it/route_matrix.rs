//! Every kind of forged or oversized request, against every route.
//!
//! The routes come from the server's own table, so that a new one is covered. Each request is
//! refused, each refusal is one log line without a secret, and the hub's memory and file
//! descriptors are the same afterwards.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::http::{self, Response};
#[cfg(target_os = "linux")]
use crate::support::process_stats::memory_and_descriptors;
use crate::support::{Client, TIMEOUT, TestHub, print_line, wait_for};

type Headers = Vec<(String, String)>;

/// Every route, with a value in place of each `{…}`; and paths and methods that no route has.
fn routes() -> Vec<(&'static str, String)> {
    let mut routes: Vec<_> = agenthub::server::routes()
        .map(|(method, path)| (method, path.replace("{id}", "x")))
        .collect();
    assert!(routes.len() > 30 && routes.contains(&("POST", "/api/inbox".into())));
    let others = [("GET", "/nowhere"), ("GET", "/healthz/"), ("DELETE", "/api/threads/x")];
    routes.extend(others.map(|(method, path)| (method, path.to_owned())));
    routes
}

/// Returns whether the path needs no token: the page's files, `/healthz` and the hub's proof.
fn is_open(path: &str) -> bool {
    path == "/" || path == "/api/proof" || path == "/healthz" || std::path::Path::new(path).extension().is_some()
}

fn header(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// Starts a hub that logs every refusal: at the default level, it logs only one per reason and 10 s.
fn hub_with_detailed_log() -> TestHub {
    TestHub::with_wrapper(&["env", "AGENTHUB_LOG=agenthub=debug"])
}

/// Returns the number of refusals that have a log line of their own.
fn refusals_in_log(hub: &TestHub) -> usize {
    let log = hub.log();
    let lines = log.lines().filter(|line| line.contains(" refused "));
    lines.filter(|line| !line.contains(" more with ")).count()
}

/// Sends a request that must be refused with one of these statuses.
#[track_caller]
fn assert_refused(hub: &TestHub, (method, path): (&str, &str), headers: &Headers, statuses: &[u16]) {
    let mut headers = headers.clone();
    if method != "GET" && !headers.iter().any(|(name, _)| name == "Content-Type") {
        headers.push(header("Content-Type", "application/json"));
    }
    let response = http::request(hub.port(), method, path, &headers, "");
    assert!(
        statuses.contains(&response.status),
        "{method} {path} with {headers:?}: {response:?}"
    );
    assert_has_advice(&response);
}

/// Checks that a refusal is JSON, says what to do, and cannot be read by another origin.
#[track_caller]
fn assert_has_advice(response: &Response) {
    let code = match response.status {
        401 => "UNAUTHORIZED",
        403 => "FORBIDDEN",
        415 => "UNSUPPORTED_MEDIA_TYPE",
        _ => "INVALID",
    };
    assert_eq!(response.code(), code);
    let json = response.json();
    let message = json["error"]["message"].as_str().unwrap();
    let advice = message.rsplit_once("; ").map_or("", |(_, advice)| advice);
    let verb = advice.split(' ').next().unwrap();
    assert!(
        ["allow", "leave", "open", "send"].contains(&verb),
        "the message has no advice: {message:?}"
    );
    assert_eq!(response.header("access-control-allow-origin"), None);
    assert_eq!(response.header("set-cookie"), None);
}

/// A web page, or another program on this machine, must not get access through a route without checks.
#[test]
fn refuses_forged_requests_on_every_route() {
    let hub = hub_with_detailed_log();
    let (port, token) = (hub.port(), hub.token().to_owned());
    let (host, bearer) = (
        header("Host", format!("127.0.0.1:{port}")),
        header("Authorization", format!("Bearer {token}")),
    );
    let hosts = [
        "".to_owned(),
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
        format!("127.0.0.1:{}", port - 1),
        format!("127.0.0.1:0{port}"),
        format!("127.0.0.2:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0.0.0.0:{port}"),
        format!("[::]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("127.0.0.1.nip.io:{port}"),
        format!("localhost.:{port}"),
        format!("localhost.evil.test:{port}"),
        "evil.test".to_owned(),
        format!("evil.test:{port}"),
        format!("127.0.0.1:{}", port + 1),
        format!("evil.test#127.0.0.1:{port}"),
        format!("user@127.0.0.1:{port}"),
    ];
    let origins = [
        "".to_owned(),
        "null".to_owned(),
        "file://".to_owned(),
        "http://evil.test".to_owned(),
        "http://localhost".to_owned(),
        format!("https://localhost:{port}"),
        format!("http://localhost:{}", port - 1),
        format!("http://127.0.0.1.nip.io:{port}"),
        format!("http://localhost:{port}.evil.test"),
        format!("http://127.0.0.1:{port}.evil.test"),
        format!("http://evil.test:{port}"),
        format!("http://localhost:{port}@evil.test"),
        format!("http://127.0.0.1:{port}/"),
        format!("HTTP://127.0.0.1:{port}"),
        "chrome-extension://abcdefgh".to_owned(),
        "http://192.168.1.7:8000".to_owned(),
    ];
    let half = &token[..32];
    let mut one_digit_off = token.clone();
    one_digit_off.replace_range(63.., if token.ends_with('0') { "1" } else { "0" });
    let without_token: Vec<(String, Headers)> = vec![
        (String::new(), vec![]),
        (String::new(), vec![header("Authorization", "Bearer ")]),
        (String::new(), vec![header("Authorization", format!("Bearer {half}"))]),
        (
            String::new(),
            vec![header("Authorization", format!("Bearer {one_digit_off}"))],
        ),
        (
            String::new(),
            vec![header("Authorization", format!("Bearer {token}{token}"))],
        ),
        (String::new(), vec![header("Authorization", token.as_str())]),
        (String::new(), vec![header("Authorization", format!("Basic {token}"))]),
        (String::new(), vec![header("Cookie", format!("token={token}"))]),
        (String::new(), vec![header("X-Token", token.as_str())]),
        (format!("?token={token}"), vec![]),
        (format!("?access_token={token}"), vec![]),
    ];
    const SITES: [&str; 5] = ["cross-site", "same-site", "anything", "none, same-origin", ""];
    hub.status();
    #[cfg(target_os = "linux")]
    let before = memory_and_descriptors(&hub);
    let mut sent = 0;
    for (method, path) in routes() {
        let route = (method, path.as_str());
        for wrong in &hosts {
            assert_refused(&hub, route, &vec![header("Host", wrong), bearer.clone()], &[403]);
        }
        assert_refused(
            &hub,
            route,
            &vec![host.clone(), host.clone(), bearer.clone()],
            &[400, 403],
        );
        for wrong in &origins {
            assert_refused(
                &hub,
                route,
                &vec![host.clone(), bearer.clone(), header("Origin", wrong)],
                &[403],
            );
        }
        let ours = header("Origin", format!("http://127.0.0.1:{port}"));
        assert_refused(
            &hub,
            route,
            &vec![host.clone(), bearer.clone(), ours.clone(), ours],
            &[403],
        );
        for site in SITES {
            assert_refused(
                &hub,
                route,
                &vec![host.clone(), bearer.clone(), header("Sec-Fetch-Site", site)],
                &[403],
            );
        }
        sent += hosts.len() + origins.len() + SITES.len() + 2;
        for (query, given) in without_token.iter().filter(|_| !is_open(&path)) {
            if path == "/ws" && query.starts_with("?token=") {
                continue; // /ws accepts the token there, for the compatible form.
            }
            let target = format!("{path}{query}");
            let headers = [vec![host.clone()], given.clone()].concat();
            assert_refused(&hub, (method, &target), &headers, &[401]);
            sent += 1;
        }
        for kind in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/jsonp",
            "text/plain; application/json",
        ] {
            if method != "GET" {
                assert_refused(
                    &hub,
                    route,
                    &vec![host.clone(), bearer.clone(), header("Content-Type", kind)],
                    &[415],
                );
                sent += 1;
            }
        }
    }
    wait_for("a log line for each refusal", || {
        (refusals_in_log(&hub) >= sent).then_some(())
    });
    assert_eq!(refusals_in_log(&hub), sent, "one log line for each refusal");
    assert!(!hub.log().contains(half), "a token is in the log");
    assert_eq!(hub.status()["counts"]["messages"], 0);
    assert_eq!(hub.status()["refused"], sent);
    #[cfg(target_os = "linux")]
    assert_as_before(&hub, before);
}

/// Checks that the hub has as many file descriptors as before, and as much memory, except for some
/// megabytes that the allocator keeps.
#[track_caller]
#[cfg(target_os = "linux")]
fn assert_as_before(hub: &TestHub, (memory, descriptors): (u64, usize)) {
    wait_for("the file descriptors to be closed", || {
        (memory_and_descriptors(hub).1 <= descriptors + 4).then_some(())
    });
    let now = memory_and_descriptors(hub).0;
    assert!(now < memory + (16 << 20), "{memory} bytes before, {now} after");
}

/// A path must not reach files outside the dashboard's own.
#[test]
fn serves_no_file_outside_the_page() {
    let hub = TestHub::start();
    for path in [
        "/../../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/views/../../hub.db",
        "/views/..%5c..%5chub.db",
        "/./hub.db.token",
        "/hub.db.token",
        "//etc/passwd",
        "/index.html%00.txt",
        "/api/threads/..%2f..%2fetc%2fpasswd",
        "/api/inbox/%2e%2e%2f",
    ] {
        let response = hub.get(path);
        assert_eq!(response.status, 404, "{path}: {response:?}");
        assert!(!response.body.contains("root:") && !response.body.contains(hub.token()));
    }
}

/// A large or endless body must not fill the memory or occupy a connection.
#[test]
fn refuses_oversized_and_contradictory_bodies() {
    let hub = hub_with_detailed_log();
    let before = refusals_in_log(&hub);
    hub.status();
    #[cfg(target_os = "linux")]
    let before_bodies = memory_and_descriptors(&hub);
    let head = format!(
        "POST /api/inbox HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        hub.port(),
        hub.token()
    );
    let large = format!("{head}Content-Length: {}\r\n\r\n{}", 5 << 20, "x".repeat(5 << 20));
    assert_eq!(http::raw(hub.port(), large.as_bytes()).status, 413);
    // An endless body: the hub closes while it is sent.
    let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let mut taken = 0;
    while taken < 64 << 20 && stream.write_all(chunk.as_bytes()).is_ok() {
        taken += 0x10000;
    }
    assert!(taken < 16 << 20, "{taken} bytes were accepted");
    wait_for("both refusals in the log", || {
        (refusals_in_log(&hub) == before + 2).then_some(())
    });
    // An invalid length, two different ones, and a length together with chunks (request smuggling).
    for lengths in [
        "Content-Length: -1\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let response = http::raw(
            hub.port(),
            format!("{head}{lengths}Connection: close\r\n\r\n0\r\n\r\n").as_bytes(),
        );
        assert!(response.status >= 400, "{lengths:?}: {response:?}");
    }
    assert_eq!(hub.status()["counts"]["inbox_messages"], 0);
    drop(stream);
    #[cfg(target_os = "linux")]
    assert_as_before(&hub, before_bodies);
}

/// A program that opens thousands of connections must not lock out other clients or leak memory.
#[test]
#[cfg(target_os = "linux")]
fn recovers_from_five_thousand_connections_heavy() {
    const CONNECTIONS: usize = 5000;
    let most = getrlimit(Resource::Nofile);
    if most.maximum.is_some_and(|most| most < CONNECTIONS as u64 + 200) {
        panic!(
            "this machine allows {:?} open files; the test needs {CONNECTIONS}",
            most.maximum
        );
    }
    let limits = Rlimit {
        current: most.maximum,
        maximum: most.maximum,
    };
    setrlimit(Resource::Nofile, limits).unwrap();
    // The subscriber answers pings only while it reads. It does not read while the others connect.
    let hub = TestHub::with_args(&["--pong-wait", "3600"]);
    let mut subscriber = hub.connect("");
    subscriber.assert_alive();
    subscriber.subscribe("t", 0);
    subscriber.expect("batch");
    hub.status();
    let (at_rest, descriptors) = memory_and_descriptors(&hub);
    // The allocator keeps a varying part of the memory of one round for the next. A leak grows with
    // each round: it shows from 2 KiB per connection.
    let mut after = vec![at_rest];
    while after.len() < 2 || (after.len() < 5 && last_growth(&after) >= (CONNECTIONS as u64) << 11) {
        connect_and_disconnect(&hub, &mut subscriber, CONNECTIONS);
        wait_for("the file descriptors to be closed", || {
            (memory_and_descriptors(&hub).1 <= descriptors + 4).then_some(())
        });
        after.push(memory_and_descriptors(&hub).0);
    }
    let kib: Vec<u64> = after.iter().map(|bytes| bytes >> 10).collect();
    writeln!(std::io::stderr(), "KiB at rest, and after each round: {kib:?}").unwrap();
    assert!(after[1] < at_rest + (32 << 20), "{kib:?}");
    assert!(
        last_growth(&after) < (CONNECTIONS as u64) << 11,
        "memory grows with each round: {kib:?}"
    );
    let refused = hub.log().matches(" newer connections without a token are open").count();
    assert!((1..=10 * after.len()).contains(&refused), "{refused} log lines");
    subscriber.assert_alive();
}

/// Returns by how many bytes the last value is larger than the one before.
fn last_growth(after: &[u64]) -> u64 {
    match after {
        [.., before, last] => last.saturating_sub(*before),
        _ => u64::MAX,
    }
}

/// Opens `count` connections that send no complete request. Checks that the subscriber still receives
/// messages, and that new clients can connect soon afterwards.
fn connect_and_disconnect(hub: &TestHub, subscriber: &mut Client, count: usize) {
    let connections: Vec<TcpStream> = (0..count)
        .map(|i| {
            let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
            // No bytes, an unfinished line, an unfinished head, another protocol.
            let bytes: &[u8] = [
                &b""[..],
                b"GET /",
                b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ][i % 4];
            drop(stream.write_all(bytes));
            stream
        })
        .collect();
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'x')");
    subscriber.until("message");
    // New connections take the place of the idle ones.
    let begun = Instant::now();
    wait_for("a free connection", || {
        let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).ok()?;
        let request = format!(
            "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
            hub.port()
        );
        stream.write_all(request.as_bytes()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        response.contains("200 OK").then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    drop(connections);
}

/// Another user of the same machine must not be able to read the database or its token.
#[test]
fn files_are_readable_only_by_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let hub = TestHub::start();
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'secret')");
    assert_eq!(hub.get("/api/search?q=secret").items().len(), 1);
    // A directory that agenthub creates is private. This one is made readable, so that the test covers
    // the modes of the files.
    let deep = hub.folder().join("deep/hub.db");
    assert!(hub.agenthub(&["--db", deep.to_str().unwrap(), "path"]).status.success());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(deep.parent().unwrap()), 0o700);
    std::fs::set_permissions(hub.folder(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let as_other_user = |program: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args(program).output()
    };
    let can_switch_user = as_other_user(&["true"]).is_ok_and(|output| output.status.success());
    let mut checked = 0;
    for entry in std::fs::read_dir(hub.folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("hub.db") {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            if can_switch_user {
                let output = as_other_user(&["cat", path.to_str().unwrap()]).unwrap();
                assert!(
                    !output.status.success() && output.stdout.is_empty(),
                    "{}",
                    path.display()
                );
            }
            checked += 1;
        }
    }
    assert!(checked >= 6, "database, log, index, token and record: {checked}");
    if !can_switch_user {
        print_line("skipped: reading the files as another user needs root");
        return;
    }
    let output = as_other_user(&["sqlite3", hub.db().to_str().unwrap(), "SELECT * FROM messages"]).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
}
