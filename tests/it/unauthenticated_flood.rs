//! Many clients without a token at the same time: they do not exhaust memory or connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::http;
#[cfg(target_os = "linux")]
use crate::support::process_stats::memory_and_descriptors;
use crate::support::{TestHub, wait_for};

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

/// Clients that send requests and read no responses must not occupy all connections.
#[test]
fn closes_connections_that_do_not_read() {
    const CLIENTS: usize = 100;
    let hub = TestHub::with_args(&["--write-wait", "1", "--max-connections", "100"]);
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
/// wait about 1 s for the SYN retry.
#[test]
#[cfg(target_os = "linux")]
fn backlog_holds_a_thousand_connections() {
    let system_limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let connections = system_limit.trim().parse::<usize>().unwrap().min(1000);
    let hub = TestHub::start();
    hub.signal(rustix::process::Signal::STOP);
    let address = ([127, 0, 0, 1], hub.port()).into();
    let waiting: Vec<_> = (0..connections)
        .map(|i| {
            TcpStream::connect_timeout(&address, Duration::from_millis(900))
                .unwrap_or_else(|e| panic!("connection {i} of {connections}: {e}"))
        })
        .collect();
    hub.signal(rustix::process::Signal::CONT);
    drop(waiting);
    wait_for("a free connection", || accepts_connections(&hub).then_some(()));
}
