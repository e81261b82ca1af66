//! When the hub looks: with events, without them, and when they are promised and never come.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::eventually::TIMEOUT;
use crate::support::writer::insert_messages;
use crate::support::{Client, TestHub, gate};

/// The poll underneath everything.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// What a busy machine may add.
const ROOM: Duration = Duration::from_millis(250);

/// Writes a message and says how long it took to be heard of.
#[track_caller]
fn time_of_a_row(hub: &TestHub, client: &mut Client, number: i64) -> Duration {
    hub.sql(&insert_messages("t", number, 1));
    let written = Instant::now();
    assert_eq!(client.expect("message").seqs(), [number]);
    written.elapsed()
}

#[track_caller]
fn median_of_rows(hub: &TestHub, client: &mut Client, numbers: std::ops::Range<i64>) -> Duration {
    let mut times: Vec<_> = numbers.map(|n| time_of_a_row(hub, client, n)).collect();
    times.sort();
    times[times.len() / 2]
}

/// A system that does this instead of setting a watch.
#[cfg(target_os = "linux")]
fn watches(instead: &str) -> Vec<String> {
    let strace = "strace -D -f -qqq -o /dev/null -e trace=inotify_add_watch -e";
    let inject = format!("inject=inotify_add_watch:{instead}");
    strace.split(' ').map(str::to_owned).chain([inject]).collect()
}

fn follower(hub: &TestHub) -> Client {
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    client.expect("batch");
    client
}

/// Without it a machine whose file system says nothing would show rows twice a second.
#[test]
fn the_poll_alone_is_fast_enough_to_look_live() {
    let _alone = gate::alone();
    let hub = TestHub::with_args(&["--watch", "poll"]);
    assert_eq!(hub.status()["watcher"]["using"], json!("poll"));
    let mut client = follower(&hub);
    let median = median_of_rows(&hub, &mut client, 1..21);
    assert!(median < Duration::from_millis(50), "{median:?}");
}

/// Without it a watch that was set and stays silent would be believed for ever.
#[test]
#[cfg(target_os = "linux")]
fn a_deaf_watcher_is_found_out_and_replaced_by_the_poll() {
    let _alone = gate::alone();
    // The system takes the watch and forgets it.
    let hub = TestHub::with_wrapper(&watches("retval=1"));
    assert_eq!(hub.status()["watcher"]["using"], json!("notify"));
    let mut client = follower(&hub);
    let (begun, mut number) = (Instant::now(), 1);
    // Until then a row is never later than the timer.
    while !hub.log().contains("file system events do not come") {
        let took = time_of_a_row(&hub, &mut client, number);
        assert!(took < POLL_INTERVAL + ROOM, "row {number}: {took:?}");
        number += 1;
        assert!(begun.elapsed() < TIMEOUT, "not found out: {}", hub.log());
    }
    assert_eq!(hub.status()["watcher"]["using"], json!("poll"));
    let median = median_of_rows(&hub, &mut client, number..number + 10);
    assert!(median < Duration::from_millis(50), "{median:?}");
}

/// Without it a machine out of watches would not be served, or be served slowly in silence.
#[test]
#[cfg(target_os = "linux")]
fn without_watches_it_polls_and_says_so() {
    let hub = TestHub::with_wrapper(&watches("error=ENOSPC"));
    assert_eq!(hub.status()["watcher"]["using"], json!("poll"));
    let mut client = follower(&hub);
    assert!(time_of_a_row(&hub, &mut client, 1) < TIMEOUT);
    hub.wait_for_log("no file system events");
    assert_eq!(hub.log().matches("no file system events").count(), 1, "{}", hub.log());
    drop(hub);
    // Whoever insists on events is told that there are none.
    let mut hub = TestHub::not_started(&["--watch", "notify"]);
    hub.set_wrapper(&watches("error=ENOSPC"));
    let status = hub.try_launch().unwrap_err();
    assert_eq!(status.code(), Some(3));
    assert!(hub.log().contains("use --watch auto"), "{}", hub.log());
}
