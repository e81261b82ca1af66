//! Many at once who want nothing but to be in the way, none of them with a token: they take no
//! memory, and there is room again for others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::http;
#[cfg(target_os = "linux")]
use crate::support::process_stats::memory_and_handles;
use crate::support::{TestHub, within};

/// Whether a stranger's `GET /healthz` is answered.
fn has_room(hub: &TestHub) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", hub.port()))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let port = hub.port();
        write!(
            stream,
            "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer.contains("200 OK"))
    };
    ask().unwrap_or(false)
}

/// Without it whoever asks for much and reads nothing would keep every place for ever.
#[test]
fn those_who_do_not_read_make_room() {
    const CROWD: usize = 100;
    let hub = TestHub::with_args(&["--write-wait", "1", "--max-connections", "100"]);
    let request = format!("GET /app.css HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", hub.port());
    let requests = request.repeat(1500);
    let begun = Instant::now();
    let crowd: Vec<TcpStream> = (0..CROWD)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
            stream.set_nonblocking(true).unwrap();
            // What does not fit into the socket is more than enough already.
            drop(stream.write_all(requests.as_bytes()));
            stream
        })
        .collect();
    within("room for others", || has_room(&hub).then_some(()));
    within("all of them to be given up", || {
        (hub.log().matches("read nothing of its answers").count() == CROWD).then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(hub.get("/metrics").body.contains("reason=\"NOT_READING\"} 100"));
    drop(crowd);
    // Who reads, if late, gets everything.
    let mut late = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    late.write_all(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

/// Without it a request that needs no token could bring a body, and a thousand of them would
/// fill the memory.
#[test]
#[cfg(target_os = "linux")]
fn bodies_nobody_asked_for_are_not_read() {
    const CROWD: usize = 400;
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
            let answer = http::raw(hub.port(), with_body("GET", &path, length).as_bytes());
            assert_eq!((answer.status, answer.code()), (400, "INVALID".into()), "{path}");
        }
    }
    let (memory, handles) = memory_and_handles(&hub);
    let head = with_body("GET", "/healthz", &format!("Content-Length: {}", LARGE + 1));
    let part = [head.as_bytes(), &vec![b'x'; LARGE]].concat();
    let crowd: Vec<TcpStream> = (0..CROWD)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
            // The refusal may come, and the connection end, before all of it is out.
            drop(stream.write_all(&part));
            stream
        })
        .collect();
    let grown = memory_and_handles(&hub).0.saturating_sub(memory);
    assert!(grown < 32 << 20, "{grown} bytes more for {CROWD} bodies of {LARGE}");
    drop(crowd);
    within("the handles to be given back", || {
        (memory_and_handles(&hub).1 <= handles + 4).then_some(())
    });
    assert!(has_room(&hub));
}

/// Without it the link with the token, as mail and shells mangle it, would end up in the log.
#[test]
fn a_token_in_the_path_stays_out_of_the_log() {
    let hub = TestHub::start();
    let token = hub.token();
    let paths = [
        format!("/%23token={token}"),
        format!("/token={token}"),
        format!("/api/threads/{token}"),
        format!("/{}", "x".repeat(20_000)),
    ];
    for path in &paths {
        let answer = http::request(
            hub.port(),
            "GET",
            path,
            &[("Host", format!("127.0.0.1:{}", hub.port()))],
            "",
        );
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    // A whole address where only its host belongs.
    let host = format!("127.0.0.1:{}/#token={token}", hub.port());
    assert_eq!(http::request(hub.port(), "GET", "/", &[("Host", host)], "").status, 403);
    within("a line for each", || {
        (hub.log().matches("refused ").count() == paths.len() + 1).then_some(())
    });
    let log = hub.log();
    assert!(!log.contains(&token[..16]), "{log}");
    assert!(log.lines().all(|line| line.len() < 400), "{log}");
}

/// Without it most of those who come back to a restarted hub at once would wait for a second.
#[test]
#[cfg(target_os = "linux")]
fn a_thousand_may_knock_before_the_first_is_let_in() {
    let room = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let knocks = room.trim().parse::<usize>().unwrap().min(1000);
    let hub = TestHub::start();
    hub.signal(rustix::process::Signal::STOP);
    let address = ([127, 0, 0, 1], hub.port()).into();
    let waiting: Vec<_> = (0..knocks)
        .map(|i| {
            TcpStream::connect_timeout(&address, Duration::from_millis(900))
                .unwrap_or_else(|e| panic!("number {i} of {knocks}: {e}"))
        })
        .collect();
    hub.signal(rustix::process::Signal::CONT);
    drop(waiting);
    within("room for others", || has_room(&hub).then_some(()));
}
