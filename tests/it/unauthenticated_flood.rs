//! Many clients without a token at the same time: they do not exhaust memory or connections.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agenthub::server::MAX_UNAUTHENTICATED_CONNECTIONS;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::http;
#[cfg(target_os = "linux")]
use crate::support::process_stats::memory_and_descriptors;
use crate::support::{Client, TIMEOUT, TestHub, wait_for};

/// Returns whether a new connection is served: sends `GET /healthz` without a token.
fn accepts_connections(hub: &TestHub) -> bool {
    let get_healthz = || {
        let mut stream = TcpStream::connect(("127.0.0.1", hub.port()))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let port = hub.port();
        write!(
            stream,
            "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        )?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        Ok::<_, std::io::Error>(response.contains("200 OK"))
    };
    get_healthz().unwrap_or(false)
}

/// Returns `GET /healthz`, which needs no token, for a connection that stays open.
fn get_healthz(port: u16) -> String {
    format!("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n")
}

/// Raises the limit of open files of this process to the maximum.
fn raise_file_limit() {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: most,
            maximum: most,
        },
    )
    .unwrap();
}

/// Keeps `count` connections open, each of which has sent `request`, and replaces the oldest all the
/// time, until `end` is set.
fn flood(port: u16, count: usize, request: &str, is_complete: &AtomicBool, end: &AtomicBool) {
    let mut connections = VecDeque::new();
    while !end.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // The hub may have closed it already.
        drop(stream.write_all(request.as_bytes()));
        connections.push_back(stream);
        if connections.len() > count {
            is_complete.store(true, Ordering::Relaxed);
            connections.pop_front();
        }
    }
}

/// Connections of other users, idle or with requests that need no token, must not take the place of a
/// client with the token.
#[test]
fn clients_with_the_token_are_served_during_a_flood_of_connections() {
    const CONNECTIONS: usize = 1100;
    raise_file_limit();
    for is_idle in [true, false] {
        let hub = TestHub::start();
        let mut subscriber = hub.connect("");
        let request = if is_idle {
            String::new()
        } else {
            get_healthz(hub.port())
        };
        let (is_complete, end) = (AtomicBool::new(false), AtomicBool::new(false));
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            scope.spawn(|| flood(hub.port(), CONNECTIONS, &request, &is_complete, &end));
            wait_for("all connections", || is_complete.load(Ordering::Relaxed).then_some(()));
            let statuses = (0..100).map(|_| hub.get("/api/status").status).collect();
            Client::connect(hub.port(), hub.token(), "").assert_alive();
            end.store(true, Ordering::Relaxed);
            statuses
        });
        assert_eq!(statuses, [200; 100]);
        subscriber.assert_alive();
        let metrics = hub.get("/metrics").body;
        let refused = metrics
            .split_once("reason=\"UNAUTHENTICATED_LIMIT\"} ")
            .and_then(|(_, rest)| rest.lines().next()?.parse::<usize>().ok());
        assert!(
            refused.is_some_and(|count| count >= CONNECTIONS - MAX_UNAUTHENTICATED_CONNECTIONS),
            "{refused:?}"
        );
        assert!(!metrics.contains("TOO_MANY_CONNECTIONS"), "{metrics}");
        hub.wait_for_log("newer connections without a token are open");
    }
}

/// Requests that need no token must not keep a connection open.
#[test]
#[cfg(target_os = "linux")]
fn closes_connections_without_an_authenticated_request_heavy() {
    let hub = TestHub::with_args(&["--write-wait", "60"]);
    hub.status();
    let descriptors = memory_and_descriptors(&hub).1;
    // One client reads its responses, the other does not.
    let mut reading = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    let mut not_reading = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    not_reading.set_nonblocking(true).unwrap();
    // The socket's buffers hold enough requests; the rest may be dropped.
    let get_asset = get_healthz(hub.port()).replace("healthz", "app.css");
    drop(not_reading.write_all(get_asset.repeat(1500).as_bytes()));
    let begun = Instant::now();
    reading.set_read_timeout(Some(TIMEOUT)).unwrap();
    let last = loop {
        reading.write_all(get_healthz(hub.port()).as_bytes()).unwrap();
        let mut buffer = [0; 4096];
        let length = reading.read(&mut buffer).unwrap();
        let response = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response:?}");
        if response.contains("connection: close") {
            break response;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "the connection stays open");
        std::thread::park_timeout(Duration::from_millis(50));
    };
    assert!(begun.elapsed() >= Duration::from_secs(4), "{last}");
    assert_eq!(reading.read(&mut [0; 16]).unwrap(), 0);
    wait_for("both connections to be closed", || {
        (memory_and_descriptors(&hub).1 <= descriptors).then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

/// Without a token, every valid request counts as authenticated.
#[test]
fn with_no_auth_connections_count_from_their_first_valid_request() {
    let hub = TestHub::with_args(&["--no-auth", "--max-connections", "1"]);
    let connect = || TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    let status_of_new_connection = || {
        let host = [("Host", format!("127.0.0.1:{}", hub.port()))];
        http::request(hub.port(), "GET", "/healthz", &host, "").status
    };
    let send = |request: &str| {
        let mut stream = connect();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        (stream, start)
    };
    let _idle = connect();
    let (_refused, start) = send("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    assert_eq!(&start, b"HTTP/1.1 403");
    assert_eq!(status_of_new_connection(), 200);
    // The hub may take a moment to free the place of the connection before.
    let client = wait_for("the place of a connection", || {
        let (stream, start) = send(&get_healthz(hub.port()));
        (&start == b"HTTP/1.1 200").then_some(stream)
    });
    assert_eq!(status_of_new_connection(), 503);
    drop(client);
    wait_for("a free connection", || {
        (status_of_new_connection() == 200).then_some(())
    });
}

/// Clients that send requests and read no responses must not occupy all connections.
#[test]
fn closes_connections_that_do_not_read() {
    // Few, so that a busy machine closes them for this reason before their lifetime ends.
    const CLIENTS: usize = 30;
    // The responses of a client exceed the buffers of its connection.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.css"), "x".repeat(16 << 10)).unwrap();
    let assets = folder.path().to_str().unwrap();
    let hub = TestHub::with_args(&["--write-wait", "1", "--max-connections", "30", "--assets", assets]);
    let request = format!("GET /app.css HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", hub.port());
    let requests = request.repeat(1500);
    let begun = Instant::now();
    let clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
            stream.set_nonblocking(true).unwrap();
            // The socket's buffers hold enough requests; the rest may be dropped.
            drop(stream.write_all(requests.as_bytes()));
            stream
        })
        .collect();
    wait_for("a free connection", || accepts_connections(&hub).then_some(()));
    wait_for("all connections to be closed", || {
        let count = format!("reason=\"NOT_READING\"}} {CLIENTS}\n");
        hub.get("/metrics").body.contains(&count).then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    hub.wait_for_log("read nothing of its responses");
    drop(clients);
    // A client that reads late still gets the whole response.
    let mut late = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    late.write_all(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut response = String::new();
    late.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
}

/// Bodies of requests that need no token must not fill the memory.
#[test]
#[cfg(target_os = "linux")]
fn refuses_bodies_of_get_requests_without_reading_them() {
    const CLIENTS: usize = 400;
    const LARGE: usize = 1 << 20;
    let hub = TestHub::start();
    let with_body = |method: &str, path: &str, length: &str| {
        let (port, token) = (hub.port(), hub.token());
        format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\n{length}\r\n\r\n"
        )
    };
    let gets = agenthub::server::routes().filter(|(method, _)| *method == "GET");
    for (_, path) in gets {
        let path = path.replace("{id}", "x");
        for length in ["Content-Length: 2", "Transfer-Encoding: chunked"] {
            let response = http::raw(hub.port(), with_body("GET", &path, length).as_bytes());
            assert_eq!((response.status, response.code()), (400, "INVALID".into()), "{path}");
        }
    }
    let (memory, handles) = memory_and_descriptors(&hub);
    let head = with_body("GET", "/healthz", &format!("Content-Length: {}", LARGE + 1));
    let part = [head.as_bytes(), &vec![b'x'; LARGE]].concat();
    let clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
            // The hub may refuse and close before the whole body is sent.
            drop(stream.write_all(&part));
            stream
        })
        .collect();
    let grown = memory_and_descriptors(&hub).0.saturating_sub(memory);
    assert!(grown < 32 << 20, "{grown} bytes more for {CLIENTS} bodies of {LARGE}");
    drop(clients);
    wait_for("the file descriptors to be closed", || {
        (memory_and_descriptors(&hub).1 <= handles + 4).then_some(())
    });
    assert!(accepts_connections(&hub));
}

/// Mail programs and shells turn the link with the token into a path.
#[test]
fn tokens_in_paths_are_not_logged() {
    // At the default level, only the first of the refusals is logged.
    let hub = TestHub::with_wrapper(&["env", "AGENTHUB_LOG=agenthub=debug"]);
    let token = hub.token();
    let paths = [
        format!("/%23token={token}"),
        format!("/token={token}"),
        format!("/api/threads/{token}"),
        format!("/{}", "x".repeat(20_000)),
    ];
    for path in &paths {
        let response = http::request(
            hub.port(),
            "GET",
            path,
            &[("Host", format!("127.0.0.1:{}", hub.port()))],
            "",
        );
        assert_eq!(response.status, 401, "{response:?}");
    }
    // A whole URL as the Host.
    let host = format!("127.0.0.1:{}/#token={token}", hub.port());
    assert_eq!(http::request(hub.port(), "GET", "/", &[("Host", host)], "").status, 403);
    wait_for("a log line for each", || {
        (hub.log().matches("refused ").count() == paths.len() + 1).then_some(())
    });
    let log = hub.log();
    assert!(!log.contains(&token[..16]), "{log}");
    assert!(log.lines().all(|line| line.len() < 400), "{log}");
}

/// After a restart of the hub all clients connect at once. A connection beyond the backlog would
/// wait about 1 s for the SYN retry, and none may be evicted as unauthenticated.
#[test]
#[cfg(target_os = "linux")]
fn serves_a_thousand_clients_that_connect_at_once() {
    let system_limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let connections = system_limit.trim().parse::<usize>().unwrap().min(1000);
    raise_file_limit();
    let hub = TestHub::start();
    let request = format!(
        "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\n\r\n",
        hub.port(),
        hub.token()
    );
    hub.signal(rustix::process::Signal::STOP);
    let address = ([127, 0, 0, 1], hub.port()).into();
    let waiting: Vec<_> = (0..connections)
        .map(|i| {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(900))
                .unwrap_or_else(|e| panic!("connection {i} of {connections}: {e}"));
            stream.write_all(request.as_bytes()).unwrap();
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            stream
        })
        .collect();
    hub.signal(rustix::process::Signal::CONT);
    for (i, mut stream) in waiting.iter().enumerate() {
        let mut start = [0; 15];
        stream
            .read_exact(&mut start)
            .unwrap_or_else(|e| panic!("connection {i} of {connections}: {e}"));
        assert_eq!(&start, b"HTTP/1.1 200 OK", "connection {i} of {connections}");
    }
    drop(waiting);
    wait_for("a free connection", || accepts_connections(&hub).then_some(()));
}
