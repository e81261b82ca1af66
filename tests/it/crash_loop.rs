//! The kill loop: writers of several SQLite versions, clients and the hub, of which one is
//! killed every moment.
//!
//! What holds whatever dies when:
//! 1. What a writer was told is stored is stored, and of each life at most one row more.
//! 2. The messages of a thread are 1, 2, 3 …, and so is the log.
//! 3. Every client has the file's rows, once, in order: those that are never killed and
//!    those that went on where their log ended.
//! 4. The database is whole.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::eventually::{eventually, within_time};
use crate::support::external_client::{ExternalClient, Library};
use crate::support::seeded_rng::SeededRng;
use crate::support::writer::{Process, python, script};
use crate::support::{TestHub, gate, print_line};

const WRITERS: usize = 6;
/// Rows a second of each.
const RATE: usize = 200;
/// The last two, one of each library, are never killed.
const CLIENTS: [Library; 4] = [Library::Python, Library::Node, Library::Python, Library::Node];
const THREADS: &str = "a,b,c,d";
/// Between two kills: at least so long, and at most as much again.
const PAUSE: Duration = Duration::from_millis(70);
/// How long the clients may take to have everything in the end.
const LIMIT: Duration = Duration::from_secs(120);

/// Libraries of other SQLite versions, as `tests/old_sqlite` has built them; none where it
/// has not.
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

/// A writer's place: one process after the other, each with a name of its own.
struct Writer<'a> {
    number: usize,
    library: Option<&'a Path>,
    lives: usize,
    process: Process,
}

impl<'a> Writer<'a> {
    fn start(hub: &TestHub, number: usize, library: Option<&'a Path>) -> Self {
        let process = Self::process(hub, number, 0, library);
        Self {
            number,
            library,
            lives: 1,
            process,
        }
    }

    fn process(hub: &TestHub, number: usize, life: usize, library: Option<&Path>) -> Process {
        let name = format!("w{number}.{life}");
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
        assert!(running, "a writer has ended by itself");
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    fn crash_and_restart(&mut self, hub: &TestHub) {
        self.kill();
        self.process = Self::process(hub, self.number, self.lives, self.library);
        self.lives += 1;
    }
}

/// What a writer of this name was told is stored, after the version of its library.
fn acked(hub: &TestHub, name: &str) -> PathBuf {
    hub.folder().join(format!("acked-{name}"))
}

/// Without it "nothing is lost" would be a hope.
#[test]
fn whatever_is_killed_nothing_is_lost_or_doubled() {
    let _alone = gate::alone();
    let kills = if std::env::var_os("AGENTHUB_SOAK").is_some() {
        500
    } else {
        60
    };
    let mut dice = SeededRng::new("the kill loop");
    let libraries = old_libraries();
    let mut hub = TestHub::start();
    // From the oldest to the newest, evenly.
    let library = |i: usize| libraries.get(i * libraries.len().saturating_sub(1) / (WRITERS - 1));
    let mut writers: Vec<Writer<'_>> = (0..WRITERS)
        .map(|i| Writer::start(&hub, i, library(i).map(PathBuf::as_path)))
        .collect();
    let mut clients: Vec<ExternalClient> = (CLIENTS.into_iter().enumerate())
        .map(|(i, library)| ExternalClient::start(&hub, library, &format!("client-{i}.log")))
        .collect();

    let mut killed = [0; 3];
    for _ in 0..kills {
        let pause = PAUSE + PAUSE.mul_f64(dice.below(1000) as f64 / 1000.0);
        let until = Instant::now() + pause;
        // The moment of a kill is what is random here; there is no condition to wait for.
        within_time(LIMIT, "the next kill", || (Instant::now() >= until).then_some(()));
        let kind = match dice.below(10) {
            0..6 => {
                writers[dice.below(WRITERS)].crash_and_restart(&hub);
                0
            }
            6..8 => {
                clients[dice.below(CLIENTS.len() - 2)].crash_and_restart();
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
    nothing_acknowledged_is_lost(&hub, &rows);
    for i in 0..clients.len() {
        let lives = eventually(LIMIT, || {
            let lives = clients[i].histories();
            (lives.iter().map(Vec::len).sum::<usize>() >= rows.len()).then_some(lives)
        });
        if lives != Some(vec![rows.clone()]) {
            let stories: Vec<String> = clients.iter_mut().map(ExternalClient::diagnostics).collect();
            print_line(&format!(
                "{stories:#?}; the hub: {:?}; its log:\n{}",
                hub.ended(),
                hub.log()
            ));
            panic!(
                "client {i} has not the {} rows of the file: {:#}",
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
    // Each life of a writer begins with the start of a Python.
    assert!(rows.len() > kills * 20, "{} rows are no load", rows.len());
}

/// The ids of all messages in the order of the log.
fn stored(hub: &TestHub) -> Vec<String> {
    hub.sql("SELECT m.id FROM changes c JOIN messages m ON m.n = c.row WHERE tbl = 'messages' AND op = 'insert' ORDER BY seq")
        .lines()
        .map(str::to_owned)
        .collect()
}

/// What each life of a writer has printed.
fn all_acked(hub: &TestHub) -> impl Iterator<Item = String> {
    let files = fs::read_dir(hub.folder()).unwrap().map(|entry| entry.unwrap().path());
    let acked = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("acked-"));
    acked.map(|path| fs::read_to_string(path).unwrap())
}

/// The SQLite versions that writers said they have.
fn versions(hub: &TestHub) -> BTreeSet<String> {
    let first = |text: String| Some(text.lines().next()?.strip_prefix("SQLite ")?.to_owned());
    all_acked(hub).filter_map(first).collect()
}

/// Ids are "writer.life-number".
fn nothing_acknowledged_is_lost(hub: &TestHub, rows: &[String]) {
    let there: HashSet<&str> = rows.iter().map(String::as_str).collect();
    assert_eq!(there.len(), rows.len(), "a row is there twice");
    let mut more: HashMap<String, i64> = HashMap::new();
    for row in rows {
        *more.entry(row.split_once('-').unwrap().0.to_owned()).or_default() += 1;
    }
    for text in all_acked(hub) {
        for id in text.lines().skip(1) {
            assert!(there.contains(id), "{id} was acknowledged and is not there");
            *more.get_mut(id.split_once('-').unwrap().0).unwrap() -= 1;
        }
    }
    let odd: Vec<_> = more.iter().filter(|(_, more)| !(0..=1).contains(*more)).collect();
    assert!(odd.is_empty(), "rows more than acknowledged, of one life: {odd:?}");
}
