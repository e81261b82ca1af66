//! Everything at once against every route there is: the table of routes itself says which,
//! so a new one cannot be forgotten. Nothing gets through, each refusal is one line in the
//! log without a secret, and afterwards the hub is as it was.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::http::{self, Answer};
#[cfg(target_os = "linux")]
use crate::support::process_stats::memory_and_handles;
use crate::support::{Client, TIMEOUT, TestHub, print_line, within};

type Headers = Vec<(String, String)>;

/// Every route, with something in the place of each `{…}`.
fn routes() -> Vec<(&'static str, String)> {
    let routes: Vec<_> = agenthub::server::routes()
        .map(|(method, path)| (method, path.replace("{id}", "x")))
        .collect();
    assert!(routes.len() > 30 && routes.contains(&("POST", "/api/inbox".into())));
    routes
}

/// Whether anybody may ask: the page's files and the pulse.
fn is_open(path: &str) -> bool {
    path == "/" || path == "/healthz" || std::path::Path::new(path).extension().is_some()
}

fn header(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

fn refusals(hub: &TestHub) -> usize {
    hub.log().matches("refused ").count()
}

/// Sends a request that must be refused with one of these statuses.
#[track_caller]
fn refused(hub: &TestHub, (method, path): (&str, &str), headers: &Headers, statuses: &[u16]) {
    let mut headers = headers.clone();
    if method != "GET" && !headers.iter().any(|(name, _)| name == "Content-Type") {
        headers.push(header("Content-Type", "application/json"));
    }
    let answer = http::request(hub.port(), method, path, &headers, "");
    assert!(
        statuses.contains(&answer.status),
        "{method} {path} with {headers:?}: {answer:?}"
    );
    advises(&answer);
}

/// A refusal is JSON, says what to do, and shows nothing to another origin.
#[track_caller]
fn advises(answer: &Answer) {
    assert!(!answer.code().is_empty());
    let json = answer.json();
    let message = json["error"]["message"].as_str().unwrap();
    let advice = message.rsplit_once("; ").map_or("", |(_, advice)| advice);
    let verb = advice.split(' ').next().unwrap();
    assert!(
        ["allow", "leave", "open", "send"].contains(&verb),
        "what is the owner to do? {message:?}"
    );
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("set-cookie"), None);
}

/// Without it a page on the internet, or another program on this machine, would be let in by
/// the one route nobody thought of.
#[test]
fn nothing_gets_through_on_any_route() {
    let hub = TestHub::start();
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
        format!("http://evil.test:{port}"),
        format!("http://localhost:{port}@evil.test"),
        format!("http://127.0.0.1:{port}/"),
        format!("HTTP://127.0.0.1:{port}"),
        "chrome-extension://abcdefgh".to_owned(),
        "http://192.168.1.7:8000".to_owned(),
    ];
    let half = &token[..32];
    let mut turned = token.clone();
    turned.replace_range(63.., if token.ends_with('0') { "1" } else { "0" });
    let strangers: Vec<(String, Headers)> = vec![
        (String::new(), vec![]),
        (String::new(), vec![header("Authorization", "Bearer ")]),
        (String::new(), vec![header("Authorization", format!("Bearer {half}"))]),
        (String::new(), vec![header("Authorization", format!("Bearer {turned}"))]),
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
    hub.status();
    #[cfg(target_os = "linux")]
    let before = memory_and_handles(&hub);
    let mut sent = 0;
    for (method, path) in routes() {
        let route = (method, path.as_str());
        for wrong in &hosts {
            refused(&hub, route, &vec![header("Host", wrong), bearer.clone()], &[403]);
        }
        refused(
            &hub,
            route,
            &vec![host.clone(), host.clone(), bearer.clone()],
            &[400, 403],
        );
        for wrong in &origins {
            refused(
                &hub,
                route,
                &vec![host.clone(), bearer.clone(), header("Origin", wrong)],
                &[403],
            );
        }
        let ours = header("Origin", format!("http://127.0.0.1:{port}"));
        refused(
            &hub,
            route,
            &vec![host.clone(), bearer.clone(), ours.clone(), ours],
            &[403],
        );
        for site in ["cross-site", "same-site", "none, same-origin", ""] {
            refused(
                &hub,
                route,
                &vec![host.clone(), bearer.clone(), header("Sec-Fetch-Site", site)],
                &[403],
            );
        }
        sent += hosts.len() + origins.len() + 6;
        for (query, given) in strangers.iter().filter(|_| !is_open(&path)) {
            if path == "/ws" && query.starts_with("?token=") {
                continue; // The seed's clients send it there.
            }
            let target = format!("{path}{query}");
            let headers = [vec![host.clone()], given.clone()].concat();
            refused(&hub, (method, &target), &headers, &[401]);
            sent += 1;
        }
        for kind in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/jsonp",
        ] {
            if method != "GET" {
                refused(
                    &hub,
                    route,
                    &vec![host.clone(), bearer.clone(), header("Content-Type", kind)],
                    &[415],
                );
                sent += 1;
            }
        }
    }
    within("a line for each refusal", || (refusals(&hub) >= sent).then_some(()));
    assert_eq!(refusals(&hub), sent, "one line each, no more");
    assert!(!hub.log().contains(half), "a secret in the log");
    assert_eq!(hub.status()["counts"]["messages"], 0);
    assert_eq!(hub.status()["refused"], sent);
    #[cfg(target_os = "linux")]
    is_as_before(&hub, before);
}

/// Whether the hub holds what it did: its handles, and its memory but for some megabytes that
/// stay with the allocator.
#[track_caller]
#[cfg(target_os = "linux")]
fn is_as_before(hub: &TestHub, (memory, handles): (u64, usize)) {
    within("the handles to be given back", || {
        (memory_and_handles(hub).1 <= handles + 4).then_some(())
    });
    let now = memory_and_handles(hub).0;
    assert!(now < memory + (16 << 20), "{memory} bytes before, {now} after");
}

/// Without it whoever reaches the port could read the owner's files.
#[test]
fn no_path_leads_out_of_the_page() {
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
        let answer = hub.get(path);
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert!(!answer.body.contains("root:") && !answer.body.contains(hub.token()));
    }
}

/// Without it a request could fill the memory, or hold a connection for ever.
#[test]
fn bodies_have_an_end() {
    let hub = TestHub::start();
    let before = refusals(&hub);
    hub.status();
    #[cfg(target_os = "linux")]
    let held = memory_and_handles(&hub);
    let head = format!(
        "POST /api/inbox HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        hub.port(),
        hub.token()
    );
    let large = format!("{head}Content-Length: {}\r\n\r\n{}", 5 << 20, "x".repeat(5 << 20));
    assert_eq!(http::raw(hub.port(), large.as_bytes()).status, 413);
    // Without end: it is cut off while it is being sent.
    let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let mut taken = 0;
    while taken < 64 << 20 && stream.write_all(chunk.as_bytes()).is_ok() {
        taken += 0x10000;
    }
    assert!(taken < 16 << 20, "{taken} bytes were taken");
    within("both refusals in the log", || {
        (refusals(&hub) == before + 2).then_some(())
    });
    // A length that is none, two that differ, and a head smuggled behind a body.
    for lengths in [
        "Content-Length: -1\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let answer = http::raw(
            hub.port(),
            format!("{head}{lengths}Connection: close\r\n\r\n0\r\n\r\n").as_bytes(),
        );
        assert!(answer.status >= 400, "{lengths:?}: {answer:?}");
    }
    assert_eq!(hub.status()["counts"]["inbox_messages"], 0);
    drop(stream);
    #[cfg(target_os = "linux")]
    is_as_before(&hub, held);
}

/// Without it one program that opens sockets would shut everybody else out, for ever.
#[test]
#[cfg(target_os = "linux")]
fn five_thousand_connections_leave_the_hub_as_it_was() {
    const CROWD: usize = 5000;
    let most = getrlimit(Resource::Nofile);
    if most.maximum.is_some_and(|most| most < CROWD as u64 + 200) {
        panic!(
            "this machine allows {:?} open files; the test needs {CROWD}",
            most.maximum
        );
    }
    let limits = Rlimit {
        current: most.maximum,
        maximum: most.maximum,
    };
    setrlimit(Resource::Nofile, limits).unwrap();
    // The friend answers pings while it reads, which it does not while the crowd comes and goes.
    let hub = TestHub::with_args(&["--pong-wait", "3600"]);
    let mut friend = hub.connect("");
    friend.assert_alive();
    friend.subscribe("t", 0);
    friend.expect("batch");
    hub.status();
    let (at_rest, handles) = memory_and_handles(&hub);
    // What a crowd used stays with the allocator, for the next one; how much is left to chance.
    // What is lost would be lost each time: 2 KiB a connection and nothing less is seen.
    let mut after = vec![at_rest];
    while after.len() < 2 || (after.len() < 5 && grown(&after) >= (CROWD as u64) << 11) {
        crowd(&hub, &mut friend, CROWD);
        within("the handles to be given back", || {
            (memory_and_handles(&hub).1 <= handles + 4).then_some(())
        });
        after.push(memory_and_handles(&hub).0);
    }
    let kib: Vec<u64> = after.iter().map(|bytes| bytes >> 10).collect();
    writeln!(std::io::stderr(), "KiB at rest, and after each crowd: {kib:?}").unwrap();
    assert!(after[1] < at_rest + (32 << 20), "{kib:?}");
    assert!(
        grown(&after) < (CROWD as u64) << 11,
        "each crowd leaves something behind: {kib:?}"
    );
    let told = hub.log().matches("connections are open").count();
    assert!((1..=10 * after.len()).contains(&told), "told {told} times");
    friend.assert_alive();
}

/// Bytes by which the last is more than the one before.
fn grown(after: &[u64]) -> u64 {
    match after {
        [.., before, last] => last.saturating_sub(*before),
        _ => u64::MAX,
    }
}

/// So many connections that say nothing of sense, while a friend goes on; and the time it
/// takes until there is room again.
fn crowd(hub: &TestHub, friend: &mut Client, many: usize) {
    let crowd: Vec<TcpStream> = (0..many)
        .map(|i| {
            let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
            // Some say nothing, some dribble, some speak another language.
            let words: &[u8] = [
                &b""[..],
                b"GET /",
                b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ][i % 4];
            drop(stream.write_all(words));
            stream
        })
        .collect();
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'x')");
    friend.until("message");
    // Those who say nothing are sent away by themselves.
    let begun = Instant::now();
    within("room for others", || {
        let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).ok()?;
        let request = format!(
            "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
            hub.port()
        );
        stream.write_all(request.as_bytes()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.contains("200 OK").then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    drop(crowd);
}

/// Without it a file of another user on the same machine would show everything.
#[test]
fn another_user_of_this_machine_sees_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let hub = TestHub::start();
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'secret')");
    assert_eq!(hub.get("/api/search?q=secret").items().len(), 1);
    // A folder of agenthub's own making is closed; this one is opened, so that the files have
    // to keep their secrets by themselves.
    let deep = hub.folder().join("deep/hub.db");
    assert!(hub.agenthub(&["--db", deep.to_str().unwrap(), "path"]).status.success());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(deep.parent().unwrap()), 0o700);
    std::fs::set_permissions(hub.folder(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let stranger = |program: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args(program).output()
    };
    let may_be_another = stranger(&["true"]).is_ok_and(|output| output.status.success());
    let mut seen = 0;
    for entry in std::fs::read_dir(hub.folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("hub.db") {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            if may_be_another {
                let output = stranger(&["cat", path.to_str().unwrap()]).unwrap();
                assert!(
                    !output.status.success() && output.stdout.is_empty(),
                    "{}",
                    path.display()
                );
            }
            seen += 1;
        }
    }
    assert!(seen >= 6, "database, log, index, token and record: {seen}");
    if !may_be_another {
        print_line("only root may be another user: what that one sees is left out");
        return;
    }
    let output = stranger(&["sqlite3", hub.db().to_str().unwrap(), "SELECT * FROM messages"]).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
}
