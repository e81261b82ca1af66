//! What the doctor looks at, from the outside in: the folder, who holds locks, the file,
//! how fast a write is noticed, and the hub.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::{client, output};
use super::{Finding, State};
use crate::error::{Code, Error, Result};
use crate::protocol::{POLL_INTERVAL, now_ms};
use crate::store::{
    FileMode, Holder, LockKind, NetworkFs, Reader, Record, Token, Writer, free_bytes, holders,
    processes_with_deleted_file, sqlite_version, with_busy_timeout,
};
use crate::text::shell;
use crate::watcher::{Wake, Watch, WatchMode};

/// Bytes the write-ahead log stays under while writers follow the advice.
const WAL_BOUND: u64 = 32 << 20;
/// Bytes of room below which it is time to think of more.
const ROOM: u64 = 256 << 20;
/// Bytes of room without which not even what makes room can run: it goes through the log.
const NO_ROOM: u64 = 32 << 20;
/// Looks at who holds locks, and the time between them: what is there each time is not
/// just passing by.
const LOOKS: usize = 6;
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long after a commit it may take to be noticed.
const NOTICE: Duration = Duration::from_millis(50);
/// How often that is tried.
const TRIES: u32 = 3;
/// Time a row may claim to be from the future, in milliseconds.
const FUTURE: i64 = 300_000;
/// The oldest SQLite whose writers the file understands.
const SQLITE_FLOOR: [u32; 2] = [3, 26];

/// Everything, in order. What cannot be looked at because of something before is left out.
pub(super) fn all(path: &Path, network_fs: NetworkFs) -> Vec<Finding> {
    if let Some(finding) = missing(path) {
        return vec![finding];
    }
    let hub = ask_hub(path);
    let hub_pid = hub.as_ref().map(|(record, _)| record.pid);
    let reader = Reader::open(path, network_fs);
    let mut findings = Vec::new();
    // What is not ours is nobody's to change.
    if !reader.as_ref().is_err_and(|e| e.code() == Code::StoreForeign) {
        findings.push(modes(path));
    }
    findings.extend([space(free_bytes(path)), libraries()]);
    if let Err(e) = Token::existing(path) {
        findings.push(unusable("token", &e));
    }
    // If the file cannot even be opened, who holds it is the most likely reason.
    findings.push(locks(path, reader.as_ref().ok(), hub_pid));
    match reader.and_then(|reader| inside(&reader, &mut findings)) {
        Ok(()) => findings.push(watcher(path, network_fs).unwrap_or_else(|e| unusable("write", &e))),
        Err(e) => findings.push(unusable("file", &e)),
    }
    findings.push(serving(hub));
    findings
}

/// Why there is nothing to look at, if that is so.
fn missing(path: &Path) -> Option<Finding> {
    let (message, advice) = match std::fs::metadata(path) {
        Ok(file) if file.is_file() => return None,
        Ok(_) => (
            format!("{} is no regular file", path.display()),
            "name another with --db".to_owned(),
        ),
        Err(e) if e.kind() == ErrorKind::NotFound => (
            format!("there is no {}", path.display()),
            format!(
                "agenthub --db {} path makes it; or name another with --db",
                shell::quote(path)
            ),
        ),
        Err(e) => (
            format!("cannot look at {}: {e}", path.display()),
            "mend that, or name another with --db".to_owned(),
        ),
    };
    Some(Finding::new("file", State::Unusable, message, advice))
}

fn unusable(check: &'static str, error: &Error) -> Finding {
    // The message of an error ends with what to do.
    let (message, advice) = error.message().rsplit_once("; ").unwrap_or((error.message(), ""));
    Finding::new(check, State::Unusable, message, advice)
}

/// Nobody else on this machine may read or write.
fn modes(path: &Path) -> Finding {
    let me = rustix::process::getuid().as_raw();
    let files = FileMode::of_all(path);
    let mut wrong = Vec::new();
    let mut mend = Vec::new();
    for file in &files {
        let (name, word) = (file.path.display(), shell::quote(&file.path));
        if file.mode & 0o077 != 0 {
            wrong.push(format!("{name} is open to other users (mode {:04o})", file.mode));
            mend.push(format!("chmod 600 {word}"));
        }
        if file.uid != me {
            wrong.push(format!("{name} belongs to another user (uid {})", file.uid));
            mend.push(format!("sudo chown {me} {word}"));
        }
        if file.links > 1 {
            wrong.push(format!(
                "{name} has {} names: rows written under another are lost",
                file.links
            ));
            mend.push(format!("find / -xdev -samefile {word} shows them: remove all but one"));
        }
    }
    let folder = path.parent().and_then(FileMode::of);
    if let Some(folder) = folder.filter(|f| f.mode & 0o022 != 0 && f.mode & 0o1000 == 0) {
        wrong.push(format!(
            "other users can write to {} (mode {:04o})",
            folder.path.display(),
            folder.mode
        ));
        mend.push(format!("chmod go-w {}", shell::quote(&folder.path)));
    }
    if wrong.is_empty() {
        return Finding::ok("modes", format!("{} files, for this user only", files.len()));
    }
    Finding::bad("modes", wrong.join("\n"), mend.join("; "))
}

fn space(room: Option<u64>) -> Finding {
    match room {
        None => Finding::ok("disk", "its room is not known"),
        Some(bytes) if bytes >= ROOM => Finding::ok("disk", format!("{} free", output::bytes(bytes))),
        Some(bytes) if bytes < NO_ROOM => Finding::bad(
            "disk",
            format!("{} free: agents cannot write", output::bytes(bytes)),
            "free some room on the disk first: agenthub prune needs some, too",
        ),
        Some(bytes) => Finding::bad(
            "disk",
            format!("{} free: agents cannot write when it is full", output::bytes(bytes)),
            "free some room on the disk, or agenthub prune --older-than 30d (its room is used again)",
        ),
    }
}

/// The SQLite of this program, and those that agents on this machine are likely to use.
fn libraries() -> Finding {
    let shell = says("sqlite3", &["--version"]);
    let python = says("python3", &["-c", "import sqlite3; print(sqlite3.sqlite_version)"]);
    let others: Vec<(&'static str, String)> = [("sqlite3", shell), ("python3", python)]
        .into_iter()
        .filter_map(|(name, said)| Some((name, said?.split_whitespace().next()?.to_owned())))
        .collect();
    judge_libraries(&others)
}

fn judge_libraries(others: &[(&'static str, String)]) -> Finding {
    let mut message = format!("SQLite {} here", sqlite_version());
    for (name, version) in others {
        message.push_str(&format!(", {version} in {name}"));
    }
    let old: Vec<&str> = others
        .iter()
        .filter(|(_, version)| version_of(version) < SQLITE_FLOOR)
        .map(|(name, _)| *name)
        .collect();
    if old.is_empty() {
        return Finding::ok("sqlite", message);
    }
    let advice = format!(
        "{} cannot write here: install one with SQLite 3.26 or later",
        old.join(" and ")
    );
    Finding::bad("sqlite", message, advice)
}

fn says(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    String::from_utf8(output.stdout)
        .ok()
        .filter(|_| output.status.success())
}

fn version_of(text: &str) -> [u32; 2] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    [parts.next().unwrap_or(0), parts.next().unwrap_or(0)]
}

/// Who keeps others from writing, or the log from starting anew.
fn locks(path: &Path, reader: Option<&Reader>, hub: Option<u32>) -> Finding {
    let head = || reader.and_then(|reader| reader.head().ok()).map(|pos| pos.seq);
    let before = head();
    let mut seen: BTreeMap<Holder, usize> = BTreeMap::new();
    for look in 0..LOOKS {
        for holder in holders(path) {
            *seen.entry(holder).or_default() += 1;
        }
        if seen.is_empty() || look + 1 == LOOKS {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "a command of its own, with nothing else to do")]
        std::thread::sleep(LOOK_INTERVAL);
    }
    // The system's list, read while it changes, leaves one out now and then.
    let mut held: Vec<Holder> = seen
        .into_iter()
        .filter(|(_, times)| times + 1 >= LOOKS)
        .map(|(holder, _)| holder)
        .collect();
    // Whoever lets others write in between is not in the way.
    let moves = before != head();
    held.retain(|holder| match holder.hold {
        LockKind::Read => Some(holder.pid) != hub,
        LockKind::Write | LockKind::Exclusive => !moves,
    });
    // Whoever reads again and again is not, either: each time he sees what is new.
    if held.iter().any(|holder| holder.hold == LockKind::Read) && is_log_free(path) {
        held.retain(|holder| holder.hold != LockKind::Read);
    }
    let lost = processes_with_deleted_file(path);
    if held.is_empty() && lost.is_empty() {
        return Finding::ok("locks", "nobody holds one for long");
    }
    let mut complaints: Vec<String> = held.iter().map(|holder| holder.describe(path)).collect();
    complaints.extend(lost.iter().map(|(pid, name)| {
        format!(
            "process {pid} ({name}) writes to a file that was removed from {}: its rows are lost; it has to open the file again",
            path.display()
        )
    }));
    let pids = held
        .iter()
        .map(|holder| holder.pid)
        .chain(lost.iter().map(|(pid, _)| *pid));
    let pids: Vec<String> = pids.map(|pid| pid.to_string()).collect();
    Finding::bad(
        "locks",
        complaints.join("\n"),
        format!("ps -p {} shows what it is; kill ends it", pids.join(",")),
    )
}

/// Whether all that is in the log, and one row more, can be moved into the database: nobody
/// reads what was there before.
fn is_log_free(path: &Path) -> bool {
    let Ok(writer) = Writer::open(path, NetworkFs::Allow) else {
        return false;
    };
    if with_busy_timeout(LOOK_INTERVAL, || writer.probe(now_ms())).is_err() {
        return false;
    }
    let moved = || {
        #[expect(clippy::disallowed_methods, reason = "a command of its own, with nothing else to do")]
        std::thread::sleep(LOOK_INTERVAL);
        writer.checkpoint_passive().unwrap_or(false)
    };
    (0..LOOKS).any(|_| moved())
}

/// What is in the file.
fn inside(reader: &Reader, findings: &mut Vec<Finding>) -> Result<()> {
    findings.push(told(
        "integrity",
        &[reader.damage()?, reader.gaps()?.into_iter().map(|gap| format!("a number is missing in {gap}")).collect()].concat(),
        "no damage, no gap",
        "restore a backup (agenthub backup makes them), and look for a program that copies or opens the file by other means than SQLite",
    ));
    findings.push(told(
        "schema",
        &reader.schema_differences()?,
        "as agenthub made it",
        "agenthub schema prints how it should be; what agents add belongs into a file of their own",
    ));
    let mode = reader.journal_mode()?;
    findings.push(if mode == "wal" {
        let bytes = reader.file_status().wal_size;
        if bytes <= WAL_BOUND {
            Finding::ok("log", format!("write-ahead log of {}", output::bytes(bytes)))
        } else {
            Finding::bad(
                "log",
                format!("the write-ahead log has grown to {}", output::bytes(bytes)),
                "let a hub run (agenthub serve keeps it short); end reads that were left open",
            )
        }
    } else {
        Finding::bad(
            "log",
            format!("an agent has set journal_mode={mode}: readers and writers now wait for each other"),
            "agenthub path puts it back; tell the agent to leave journal_mode alone",
        )
    });
    let ahead = reader.newest_at()?.unwrap_or(0) - now_ms();
    findings.push(if ahead <= FUTURE {
        Finding::ok("clock", "no row is from the future")
    } else {
        Finding::bad(
            "clock",
            format!("one of the newest rows is {} s from the future", ahead / 1000),
            "check this machine's clock (claims made while it was ahead run until then: their owners can give them back); an agent \
             that gives created_at itself may give seconds or microseconds",
        )
    });
    Ok(())
}

fn told(check: &'static str, problems: &[String], well: &str, advice: &str) -> Finding {
    if problems.is_empty() {
        return Finding::ok(check, well);
    }
    Finding::bad(check, problems.join("\n"), advice)
}

/// Writes something nobody reads, and sees how long it takes to be noticed.
fn watcher(path: &Path, network_fs: NetworkFs) -> Result<Finding> {
    let writer = Writer::open(path, network_fs)?;
    let reader = Reader::open(path, network_fs)?;
    let (mut watch, _poke) = Watch::start(path, WatchMode::Auto, POLL_INTERVAL, Arc::new(AtomicUsize::new(1)))?;
    let mut least = Duration::MAX;
    // A busy machine may be late once; events that do not come are late each time.
    for _ in 0..TRIES {
        least = least.min(notice(&writer, &reader, &mut watch)?);
        if least <= NOTICE {
            break;
        }
    }
    Ok(noticed(least))
}

/// How long it takes until a commit is noticed.
fn notice(writer: &Writer, reader: &Reader, watch: &mut Watch) -> Result<Duration> {
    // Opening the file has made events of its own: what counts comes after a silence.
    while watch.wait_until(Some(Instant::now() + NOTICE), || true) == Wake::Event {}
    let mut before = reader.data_version()?;
    writer.probe(now_ms())?;
    let committed = Instant::now();
    loop {
        if watch.wait_until(Some(committed + NOTICE), || true) == Wake::Stop {
            return Err(Error::new(Code::Internal, "the watcher ended"));
        }
        let mut moved = || {
            reader
                .data_version()
                .map_or(true, |v| std::mem::replace(&mut before, v) != v)
        };
        let seen = moved();
        let took = committed.elapsed();
        if seen || took > Duration::from_secs(2) {
            return Ok(took);
        }
    }
}

/// How it is that a write is noticed after this long.
fn noticed(took: Duration) -> Finding {
    if took <= NOTICE {
        let millis = took.as_secs_f64() * 1000.0;
        return Finding::ok("watcher", format!("a write is noticed after {millis:.2} ms"));
    }
    Finding::bad(
        "watcher",
        format!("a write is noticed after {} ms only", took.as_millis()),
        "file system events do not come here (a container over a VM?); agenthub serve --watch poll does not need them",
    )
}

/// The hub that serves the file, and what it says; `Null` if it does not take the token.
fn ask_hub(path: &Path) -> Option<(Record, Value)> {
    client::runtime().ok()?.block_on(async {
        let record = client::running(path).await?;
        let status = match Token::at(path) {
            Some(token) => client::status(&record, &token).await,
            None => None,
        };
        Some((record, status.unwrap_or(Value::Null)))
    })
}

fn serving(hub: Option<(Record, Value)>) -> Finding {
    let Some((record, status)) = hub else {
        return Finding::ok("hub", "not running (agenthub serve); rows are kept until it is");
    };
    let at = format!("{} (pid {})", record.url, record.pid);
    if status.is_null() {
        return Finding::bad(
            "hub",
            format!("{at} does not take this file's token"),
            "ask again in a second; if it stays so, restart the hub",
        );
    }
    let mut wrong = Vec::new();
    let mut advice = "see agenthub status, and the hub's log";
    if let Some(message) = status["trouble"]["message"].as_str() {
        wrong.push(format!("{at}: {message}"));
    }
    for blocker in status["keeper"]["blockers"].as_array().into_iter().flatten() {
        let since = now_ms() - blocker["since"].as_i64().unwrap_or(0);
        wrong.push(format!(
            "process {} ({}) has been in the way of others for {} s ({})",
            blocker["pid"],
            blocker["name"].as_str().unwrap_or("?"),
            since / 1000,
            blocker["hold"].as_str().unwrap_or("?")
        ));
        advice = "the process has to end its transaction, or be ended";
    }
    for (table, count) in status["rejected_counts"].as_object().into_iter().flatten() {
        wrong.push(format!("{count} rows of {table} cannot be shown"));
        advice = "/api/status has the reasons; tell the agent that writes them";
    }
    if status["version"] != env!("CARGO_PKG_VERSION") {
        let version = status["version"].as_str().unwrap_or("?");
        wrong.push(format!(
            "{at} is version {version}, this is {}",
            env!("CARGO_PKG_VERSION")
        ));
        advice = "restart the hub";
    }
    if wrong.is_empty() {
        let using = status["watcher"]["using"].as_str().unwrap_or("?");
        return Finding::ok(
            "hub",
            format!("{at}, {} clients, watching with {using}", status["clients"]),
        );
    }
    Finding::bad("hub", wrong.join("\n"), advice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn bad(finding: &Finding, words: &[&str]) {
        let said = format!("{}; {}", finding.message, finding.advice);
        assert!(finding.state == State::Bad && !finding.advice.is_empty(), "{finding:?}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }

    #[test]
    fn room_is_judged_by_what_can_still_be_done() {
        assert_eq!(space(Some(ROOM)).state, State::Ok);
        assert_eq!(space(None).state, State::Ok);
        bad(&space(Some(ROOM - 1)), &["256.0 MiB free", "prune"]);
        bad(&space(Some(0)), &["0 B free", "free some room on the disk first"]);
    }

    #[test]
    fn events_that_do_not_come_are_told() {
        assert_eq!(noticed(NOTICE).state, State::Ok);
        bad(&noticed(Duration::from_millis(500)), &["500 ms", "--watch poll"]);
    }

    #[test]
    fn libraries_too_old_to_write_are_named() {
        let of = |version: &str| judge_libraries(&[("sqlite3", version.to_owned()), ("python3", "3.45.1".to_owned())]);
        assert_eq!(of("3.26.0").state, State::Ok);
        bad(&of("3.25.3"), &["3.25.3 in sqlite3", "sqlite3 cannot write here"]);
        bad(&of("2.8.17"), &["SQLite 3.26 or later"]);
    }

    #[test]
    fn what_the_hub_says_of_itself_is_passed_on() {
        let record = Record::new("http://127.0.0.1:4820".to_owned()).unwrap();
        let said = |status: Value| serving(Some((record.clone(), status)));
        let well = json!({"version": env!("CARGO_PKG_VERSION"), "clients": 3, "watcher": {"using": "notify"}});
        assert_eq!(said(well.clone()).state, State::Ok);
        let with = |name: &str, value: Value| {
            let mut status = well.clone();
            status[name] = value;
            said(status)
        };
        bad(&said(Value::Null), &["does not take this file's token", "restart"]);
        bad(
            &with("trouble", json!({"message": "the disk is full"})),
            &["the disk is full"],
        );
        bad(&with("version", json!("0.0.1")), &["version 0.0.1", "restart the hub"]);
        let blocker = json!({"blockers": [{"pid": 7, "name": "vim", "hold": "write", "since": now_ms() - 20_000}]});
        bad(&with("keeper", blocker), &["process 7 (vim)", "20 s", "be ended"]);
        bad(
            &with("rejected_counts", json!({"agents": 2})),
            &["2 rows of agents", "/api/status"],
        );
    }
}
