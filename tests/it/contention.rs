//! Many processes that write at the same time.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::TestHub;
use crate::support::writer::python;

/// Number of `agenthub post` processes, and how many of them run at a time.
const POSTS: usize = 200;
const PARALLEL: usize = 100;

/// Each command writes its row within the busy timeout of 5 s, and so does a program that waits with
/// SQLite's own busy timeout.
#[test]
fn a_hundred_commands_at_a_time_and_another_program_all_write_exclusive() {
    let hub = TestHub::not_started(&[]);
    assert!(hub.agenthub(&["path"]).status.success());
    let post = |i: usize| {
        let mut command = hub.command(&["post", "build", "--from", "a", &i.to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let mut other: Command = python();
    other
        .arg("-c")
        .arg(
            "import sqlite3, sys\n\
             db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)\n\
             for _ in range(5): db.execute(\"INSERT INTO messages(thread_id, from_id) VALUES('other', 'b')\")",
        )
        .arg(hub.db());
    let started = AtomicUsize::new(0);
    let failed = thread::scope(|scope| {
        let posts = || {
            let mut failed = Vec::new();
            loop {
                let i = started.fetch_add(1, Ordering::Relaxed);
                if i >= POSTS {
                    return failed;
                }
                let output = post(i).spawn().unwrap().wait_with_output().unwrap();
                if !output.status.success() {
                    failed.push(String::from_utf8_lossy(&output.stderr).into_owned());
                }
            }
        };
        let threads: Vec<_> = (0..PARALLEL).map(|_| scope.spawn(posts)).collect();
        let output = other.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        threads
            .into_iter()
            .flat_map(|posts| posts.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(failed, Vec::<String>::new());
    let counts = hub.sql("SELECT count(*) FROM messages GROUP BY thread_id ORDER BY thread_id");
    assert_eq!(
        counts.split_whitespace().collect::<Vec<_>>(),
        [POSTS.to_string().as_str(), "5"]
    );
}
