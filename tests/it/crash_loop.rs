//! Kills writers with several SQLite versions, clients, and the hub, at random times.
//!
//! Afterwards:
//! 1. All rows that writers got acknowledged are stored, and at most one more per writer process.
//! 2. The numbers of each thread and of the change log have no gaps.
//! 3. Each client has received the rows of the file once and in order, whether it was killed and resumed
//!    or not.
//! 4. The database passes its integrity check.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::eventually::{eventually, wait_up_to};
use crate::support::external_client::{ExternalClient, Library};
use crate::support::seeded_rng::SeededRng;
use crate::support::writer::{Process, python, script};
use crate::support::{TestHub, print_line};

const WRITERS: usize = 6;
/// Rows per second of each writer.
const RATE: usize = 200;
/// The last two, one of each library, are not killed.
const CLIENTS: [Library; 4] = [Library::Python, Library::Node, Library::Python, Library::Node];
const THREADS: &str = "a,b,c,d";
/// Minimum time between two kills. The maximum is twice as long.
const PAUSE: Duration = Duration::from_millis(70);
/// Maximum time until the clients have received all rows after the last kill.
const LIMIT: Duration = Duration::from_secs(120);

/// Returns the libraries of other SQLite versions that `tests/old_sqlite` has built, if it has.
fn old_libraries() -> Vec<PathBuf> {
    let given = std::env::var_os("AGENTHUB_TEST_OLD_SQLITE");
    let folder = given.as_ref().map_or("target/old-sqlite".into(), PathBuf::from);
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("libsqlite3.so.0").exists())
        .collect();
    found.sort();
    assert!(
        given.is_none() || found.len() > 4,
        "only {found:?}; run tests/old_sqlite"
    );
    found
}

/// A writer that is restarted after each kill. Each of its processes has its own name.
struct Writer<'a> {
    number: usize,
    library: Option<&'a Path>,
    processes: usize,
    process: Process,
}

impl<'a> Writer<'a> {
    fn start(hub: &TestHub, number: usize, library: Option<&'a Path>) -> Self {
        let process = Self::process(hub, number, 0, library);
        Self {
            number,
            library,
            processes: 1,
            process,
        }
    }

    fn process(hub: &TestHub, number: usize, index: usize, library: Option<&Path>) -> Process {
        let name = format!("w{number}.{index}");
        let acked = File::create(acked(hub, &name)).unwrap();
        let synchronous = if number.is_multiple_of(2) { "NORMAL" } else { "FULL" };
        let mut command = python();
        if let Some(folder) = library {
            command.env("LD_LIBRARY_PATH", folder);
        }
        command
            .arg(script("writer.py"))
            .arg(hub.db())
            .args([&name, THREADS, "3600", &RATE.to_string(), synchronous])
            .stdout(acked);
        Process::start(command)
    }

    fn kill(&mut self) {
        let running = self.process.0.try_wait().unwrap().is_none();
        assert!(running, "a writer ended before it was killed");
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    fn crash_and_restart(&mut self, hub: &TestHub) {
        self.kill();
        self.process = Self::process(hub, self.number, self.processes, self.library);
        self.processes += 1;
    }
}

/// Returns the file with the SQLite version of a writer process and the ids it got acknowledged.
fn acked(hub: &TestHub, name: &str) -> PathBuf {
    hub.folder().join(format!("acked-{name}"))
}

#[test]
fn kills_cause_no_lost_or_duplicate_rows_exclusive() {
    let kills = if std::env::var_os("AGENTHUB_SOAK").is_some() {
        500
    } else {
        60
    };
    let mut rng = SeededRng::new("crash_loop");
    let libraries = old_libraries();
    let mut hub = TestHub::start();
    // The writers use versions spread evenly from the oldest to the newest.
    let library = |i: usize| libraries.get(i * libraries.len().saturating_sub(1) / (WRITERS - 1));
    let mut writers: Vec<Writer<'_>> = (0..WRITERS)
        .map(|i| Writer::start(&hub, i, library(i).map(PathBuf::as_path)))
        .collect();
    let mut clients: Vec<ExternalClient> = (CLIENTS.into_iter().enumerate())
        .map(|(i, library)| ExternalClient::start(&hub, library, &format!("client-{i}.log")))
        .collect();

    let mut killed = [0; 3];
    for _ in 0..kills {
        let pause = PAUSE + PAUSE.mul_f64(rng.below(1000) as f64 / 1000.0);
        let until = Instant::now() + pause;
        // Waits for a random time: there is no condition to wait for.
        wait_up_to(LIMIT, "the next kill", || (Instant::now() >= until).then_some(()));
        let kind = match rng.below(10) {
            0..6 => {
                writers[rng.below(WRITERS)].crash_and_restart(&hub);
                0
            }
            6..8 => {
                clients[rng.below(CLIENTS.len() - 2)].crash_and_restart();
                1
            }
            _ => {
                hub.crash_and_restart();
                2
            }
        };
        killed[kind] += 1;
    }
    writers.iter_mut().for_each(Writer::kill);
    let versions = versions(&hub);
    print_line(&format!(
        "killed {} writers, {} clients, {} hubs; SQLite of the writers: {versions:?}",
        killed[0], killed[1], killed[2],
    ));
    assert!(killed.iter().all(|n| *n > 0), "{killed:?}");
    assert!(libraries.is_empty() || versions.len() == WRITERS, "{versions:?}");

    let rows = stored(&hub);
    assert_acknowledged_rows_are_stored(&hub, &rows);
    for i in 0..clients.len() {
        if caught_up(&clients[i], rows.len()) != Some(vec![rows.clone()]) {
            let diagnostics: Vec<String> = clients.iter_mut().map(ExternalClient::diagnostics).collect();
            print_line(&format!(
                "{diagnostics:#?}; the hub: {:?}; its log:\n{}",
                hub.ended(),
                hub.log()
            ));
            panic!(
                "client {i} has not received the {} rows of the file: {:#}",
                rows.len(),
                hub.status()
            );
        }
    }
    assert_eq!(
        hub.sql(
            "SELECT count(*) FROM threads t WHERE last_seq <> (SELECT count(*) FROM messages WHERE thread_id = t.id) \
                 OR last_seq <> (SELECT max(message_seq) FROM messages WHERE thread_id = t.id)"
        ),
        "0"
    );
    assert_eq!(hub.sql("SELECT count(*) = max(seq) AND min(seq) = 1 FROM changes"), "1");
    assert_eq!(hub.sql("PRAGMA integrity_check"), "ok");
    // Starting Python takes part of the time of each writer process.
    assert!(rows.len() > kills * 5, "too few rows for a load test: {}", rows.len());
}

/// Returns the histories of a client once they have `rows` messages, or `None` if it has received none for [`LIMIT`].
/// A client without array frames gets 100 frames per second, and may be many behind.
fn caught_up(client: &ExternalClient, rows: usize) -> Option<Vec<Vec<String>>> {
    let mut received = 0;
    loop {
        let (count, histories) = eventually(LIMIT, || {
            let histories = client.histories();
            let count = histories.iter().map(Vec::len).sum();
            (count >= rows || count > received).then_some((count, histories))
        })?;
        if count >= rows {
            return Some(histories);
        }
        received = count;
    }
}

/// Returns the ids of all messages in the order of the change log.
fn stored(hub: &TestHub) -> Vec<String> {
    hub.sql("SELECT m.id FROM changes c JOIN messages m ON m.n = c.row WHERE tbl = 'messages' AND op = 'insert' ORDER BY seq")
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Returns the output of each writer process.
fn all_acked(hub: &TestHub) -> impl Iterator<Item = String> {
    let files = fs::read_dir(hub.folder()).unwrap().map(|entry| entry.unwrap().path());
    let acked = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("acked-"));
    acked.map(|path| fs::read_to_string(path).unwrap())
}

/// Returns the SQLite versions of the writers.
fn versions(hub: &TestHub) -> BTreeSet<String> {
    let first = |text: String| Some(text.lines().next()?.strip_prefix("SQLite ")?.to_owned());
    all_acked(hub).filter_map(first).collect()
}

/// Checks the ids, which have the form `writer.process-number`.
fn assert_acknowledged_rows_are_stored(hub: &TestHub, rows: &[String]) {
    let stored: HashSet<&str> = rows.iter().map(String::as_str).collect();
    assert_eq!(stored.len(), rows.len(), "a row is stored twice");
    let mut surplus: HashMap<String, i64> = HashMap::new();
    for row in rows {
        *surplus.entry(row.split_once('-').unwrap().0.to_owned()).or_default() += 1;
    }
    for text in all_acked(hub) {
        for id in text.lines().skip(1) {
            assert!(stored.contains(id), "{id} was acknowledged but is not stored");
            *surplus.get_mut(id.split_once('-').unwrap().0).unwrap() -= 1;
        }
    }
    let wrong: Vec<_> = surplus.iter().filter(|(_, n)| !(0..=1).contains(*n)).collect();
    assert!(
        wrong.is_empty(),
        "stored but not acknowledged rows per process: {wrong:?}"
    );
}
