//! How the hub detects commits: with file system events, by polling, and when events never arrive.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::eventually::TIMEOUT;
use crate::support::writer::insert_messages;
use crate::support::{Client, TestHub};

/// The hub's timer, which runs with every method.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Tolerance for a busy machine.
const TOLERANCE: Duration = Duration::from_millis(250);

/// Writes a message and returns the time until the client received it.
#[track_caller]
fn delivery_time(hub: &TestHub, client: &mut Client, number: i64) -> Duration {
    hub.sql(&insert_messages("t", number, 1));
    let written = Instant::now();
    assert_eq!(client.expect("message").seqs(), [number]);
    written.elapsed()
}

#[track_caller]
fn median_delivery_time(hub: &TestHub, client: &mut Client, numbers: std::ops::Range<i64>) -> Duration {
    let mut times: Vec<_> = numbers.map(|n| delivery_time(hub, client, n)).collect();
    times.sort();
    times[times.len() / 2]
}

/// A wrapper that replaces the result of `inotify_add_watch` by `result`.
#[cfg(target_os = "linux")]
fn inject_inotify(result: &str) -> Vec<String> {
    let strace = "strace -D -f -qqq -o /dev/null -e trace=inotify_add_watch -e";
    let inject = format!("inject=inotify_add_watch:{result}");
    strace.split(' ').map(str::to_owned).chain([inject]).collect()
}

fn subscriber(hub: &TestHub) -> Client {
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    client.expect("batch");
    client
}

/// Rows appear immediately also on file systems without events.
#[test]
fn polling_alone_delivers_rows_within_50_ms_exclusive() {
    let hub = TestHub::with_args(&["--watch", "poll"]);
    assert_eq!(hub.status()["watcher"]["using"], json!("poll"));
    let mut client = subscriber(&hub);
    let median = median_delivery_time(&hub, &mut client, 1..21);
    assert!(median < Duration::from_millis(50), "{median:?}");
}

/// A watch can succeed and never deliver events, for example in some containers.
#[test]
#[cfg(target_os = "linux")]
fn switches_to_polling_if_events_never_arrive_exclusive() {
    // The system call returns success without setting a watch.
    let hub = TestHub::with_wrapper(&inject_inotify("retval=1"));
    assert_eq!(hub.status()["watcher"]["using"], json!("notify"));
    let mut client = subscriber(&hub);
    let (started, mut number) = (Instant::now(), 1);
    // Until the switch, the timer limits the delay.
    while hub.status()["watcher"]["using"] != json!("poll") {
        let took = delivery_time(&hub, &mut client, number);
        assert!(took < POLL_INTERVAL + TOLERANCE, "row {number}: {took:?}");
        number += 1;
        assert!(started.elapsed() < TIMEOUT, "no switch to polling: {}", hub.log());
    }
    let median = median_delivery_time(&hub, &mut client, number..number + 10);
    assert!(median < Duration::from_millis(50), "{median:?}");
}

/// The system may have no inotify watches left.
#[test]
#[cfg(target_os = "linux")]
fn polls_and_logs_it_if_no_watch_can_be_set() {
    let hub = TestHub::with_wrapper(&inject_inotify("error=ENOSPC"));
    assert_eq!(hub.status()["watcher"]["using"], json!("poll"));
    let mut client = subscriber(&hub);
    delivery_time(&hub, &mut client, 1);
    hub.wait_for_log("no file system events");
    assert_eq!(hub.log().matches("no file system events").count(), 1, "{}", hub.log());
    drop(hub);
    // `--watch notify` fails instead.
    let mut hub = TestHub::not_started(&["--watch", "notify"]);
    hub.set_wrapper(&inject_inotify("error=ENOSPC"));
    let status = hub.try_launch().unwrap_err();
    assert_eq!(status.code(), Some(3));
    assert!(hub.log().contains("use --watch auto"), "{}", hub.log());
}
