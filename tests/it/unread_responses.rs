//! Clients that send requests and do not read the responses cost the hub a bounded amount of memory.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::process_stats::memory_and_descriptors;
use crate::support::{TestHub, wait_for};

/// A list of 8 MiB, as large as lists get.
const LARGE: &str = "/api/threads/large/messages?limit=1000";

/// Starts a hub whose database has a thread with more than 8 MiB of messages.
fn hub_with_large_thread() -> TestHub {
    // Clients that do not read stay connected for the whole test.
    let hub = TestHub::with_args(&["--write-wait", "300"]);
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, content) WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k \
         WHERE i < 20) SELECT 'large', 'a', hex(zeroblob(262144)) FROM k",
    );
    hub
}

/// Sends `count` requests for `path` on one connection, whose responses are not read.
#[track_caller]
fn request_without_reading(hub: &TestHub, path: &str, count: usize) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    let headers = hub
        .headers()
        .into_iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    let request = format!("GET {path} HTTP/1.1\r\n{}\r\n", headers.collect::<String>());
    stream.write_all(request.repeat(count).as_bytes()).unwrap();
    stream
}

/// Returns the status line of the response to a request for the large list, without the list.
#[track_caller]
fn status_of_large_list(hub: &TestHub) -> String {
    let mut stream = request_without_reading(hub, LARGE, 1);
    let mut line = [0; 12];
    stream.read_exact(&mut line).unwrap();
    String::from_utf8(line.to_vec()).unwrap()
}

#[track_caller]
fn unread_bytes(hub: &TestHub) -> u64 {
    let page = hub.get("/metrics").body;
    let name = "agenthub_unread_response_bytes ";
    page.lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn unread_responses_take_bounded_memory_heavy() {
    let hub = hub_with_large_thread();
    assert_eq!(status_of_large_list(&hub), "HTTP/1.1 200");
    let (before, _) = memory_and_descriptors(&hub);
    let clients: Vec<_> = (0..40).map(|_| request_without_reading(&hub, LARGE, 1)).collect();
    wait_for("the budget to be used up", || {
        (status_of_large_list(&hub) == "HTTP/1.1 503").then_some(())
    });
    let refused = hub.get(LARGE);
    assert_eq!((refused.status, refused.code().as_str()), (503, "OVERLOADED"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let held = unread_bytes(&hub);
    assert!((32 << 20..=64 << 20).contains(&held), "{held}");
    // Other clients get the rest.
    for path in ["/api/status", "/readyz", "/api/threads", "/metrics", "/"] {
        assert_eq!(hub.get(path).status, 200, "{path}");
    }
    let posted = hub.send("POST", "/api/threads/t/messages", r#"{"from_id":"a","content":"x"}"#);
    assert_eq!(posted.status, 201);
    assert_eq!(hub.get("/api/threads/t/messages").items().len(), 1);
    let (after, _) = memory_and_descriptors(&hub);
    // The budget, and responses that are being made.
    assert!(after - before < 250 << 20, "{} MiB", (after - before) >> 20);
    drop(clients);
    wait_for("the budget to be free again", || {
        (unread_bytes(&hub) == 0).then_some(())
    });
    assert_eq!(status_of_large_list(&hub), "HTTP/1.1 200");
}

/// A response counts until its client has read it, not only until the hub has begun to send it.
#[test]
fn a_response_counts_until_it_is_read() {
    let hub = hub_with_large_thread();
    let mut client = request_without_reading(&hub, LARGE, 1);
    wait_for("the response to be made", || {
        (unread_bytes(&hub) > 7 << 20).then_some(())
    });
    let mut first = [0; 16];
    client.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200 OK"));
    assert!(unread_bytes(&hub) > 7 << 20);
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).map(|_| rest.len())
    });
    wait_for("the budget to be free again", || {
        (unread_bytes(&hub) == 0).then_some(())
    });
    drop(hub);
    drop(reader.join().unwrap());
}

/// A client that sends requests without waiting has at most two responses in memory.
#[test]
fn one_connection_takes_little_of_the_budget() {
    let hub = hub_with_large_thread();
    let _client = request_without_reading(&hub, LARGE, 12);
    wait_for("the first response to be made", || {
        (unread_bytes(&hub) > 7 << 20).then_some(())
    });
    for _ in 0..3 {
        assert_eq!(status_of_large_list(&hub), "HTTP/1.1 200");
        assert!(unread_bytes(&hub) < 4 * (9 << 20));
    }
}
