//! The checks of `agenthub doctor`: file modes, disk space, SQLite versions, locks, contents of the
//! database, change detection, and the hub.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Finding, State};
use crate::cli::hub_client::{self, HubConnection};
use crate::error::{Code, Error, Result};
use crate::fs::beside::beside;
use crate::protocol::{POLL_INTERVAL, now_ms};
use crate::store::{
    FileMode, Holder, LockKind, NetworkFs, PageSessions, Reader, Record, SecretFile, Spool, TimesInSeconds, Writer,
    free_bytes, holders, processes_with_deleted_file, sqlite_version, with_busy_timeout,
};
use crate::text::quantity::{self, count};
use crate::text::shell;
use crate::watcher::{Wake, Watch, WatchMode};

/// Size in bytes that the write-ahead log does not exceed while writers follow the schema's advice.
const MAX_WAL_BYTES: u64 = 32 << 20;
/// Free disk space below which a problem is reported, in bytes.
const LOW_SPACE: u64 = 256 << 20;
/// Free disk space below which `agenthub prune` fails too, in bytes: it writes to the log first.
const NO_SPACE: u64 = 32 << 20;
/// Samples of the lock holders, and the time between them: a process that is in every sample holds its
/// lock for a long time.
const LOCK_SAMPLES: usize = 6;
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);
/// Maximum time until a commit is detected.
const MAX_DETECTION: Duration = Duration::from_millis(50);
/// Attempts to measure that time.
const DETECTION_ATTEMPTS: u32 = 3;
/// Maximum time a row's `created_at` may be in the future, in milliseconds.
const MAX_CLOCK_SKEW_MS: i64 = 300_000;
/// The oldest SQLite version whose writes the schema's triggers support.
const MIN_SQLITE: [u32; 2] = [3, 26];

/// Runs all checks in order. A check that depends on a failed one is left out.
pub(super) fn all(path: &Path, network_fs: NetworkFs) -> Vec<Finding> {
    if let Some(finding) = missing_file(path) {
        return vec![finding];
    }
    let hub = running_hub(path);
    let hub_pid = hub.as_ref().map(|(record, _)| record.pid);
    let reader = Reader::open(path, network_fs);
    let mut findings = Vec::new();
    // Give no advice to change the modes of another program's database.
    if !reader.as_ref().is_err_and(|e| e.code() == Code::StoreForeign) {
        findings.push(file_modes(path));
    }
    findings.extend([disk_space(free_bytes(path)), sqlite_versions()]);
    for (name, file) in [("token", SecretFile::Token), ("person", SecretFile::Person)] {
        if let Err(e) = file.load(path) {
            findings.push(unusable(name, &e));
        }
    }
    if let Err(e) = PageSessions::load(path, now_ms()) {
        findings.push(unusable("sessions", &e));
    }
    // This check runs even if the database cannot be opened: a lock is the most likely reason.
    findings.push(locks(path, reader.as_ref().ok(), hub_pid));
    match reader.and_then(|reader| contents(&reader, &mut findings)) {
        Ok(()) => findings.push(change_detection(path, network_fs).unwrap_or_else(|e| unusable("write", &e))),
        Err(e) => findings.push(unusable("file", &e)),
    }
    findings.push(spooled_events(path));
    findings.push(match (&hub, hub_client::obstacle(path)) {
        (None, Some(obstacle)) => Finding::bad("hub", obstacle, "then start agenthub serve"),
        _ => hub_status(hub),
    });
    findings
}

/// Returns a finding if there is no database file at `path`.
fn missing_file(path: &Path) -> Option<Finding> {
    let (message, advice) = match std::fs::metadata(path) {
        Ok(file) if file.is_file() => return None,
        Ok(_) => (
            format!("{} is not a regular file", path.display()),
            "choose another path with --db".to_owned(),
        ),
        Err(e) if e.kind() == ErrorKind::NotFound => (
            format!("{} does not exist", path.display()),
            format!(
                "create it with agenthub --db {} path, or choose another path with --db",
                shell::quote(path)
            ),
        ),
        Err(e) => (
            format!("cannot access {}: {e}", path.display()),
            "fix the permissions, or choose another path with --db".to_owned(),
        ),
    };
    Some(Finding::new("file", State::Unusable, message, advice))
}

fn unusable(check: &'static str, error: &Error) -> Finding {
    // By convention the advice is the last clause of an error message.
    let (message, advice) = error.message().rsplit_once("; ").unwrap_or((error.message(), ""));
    Finding::new(check, State::Unusable, message, advice)
}

/// Checks that no other user has access to the files.
fn file_modes(path: &Path) -> Finding {
    let my_uid = rustix::process::getuid().as_raw();
    let files = FileMode::of_all(path);
    let mut problems = Vec::new();
    let mut advice = Vec::new();
    for file in &files {
        let (name, word) = (file.path.display(), shell::quote(&file.path));
        if file.mode & 0o077 != 0 {
            problems.push(format!("other users can access {name} (mode {:04o})", file.mode));
            // Other users may know a secret that they could read.
            let secret = [SecretFile::Token, SecretFile::Person]
                .into_iter()
                .find(|secret| secret.path(path) == file.path);
            advice.push(secret.map_or_else(|| format!("chmod 600 {word}"), |secret| secret.advice().to_owned()));
        }
        if file.uid != my_uid {
            problems.push(format!("{name} belongs to another user (uid {})", file.uid));
            advice.push(format!("sudo chown {my_uid} {word}"));
        }
        if file.links > 1 {
            problems.push(format!(
                "{name} has {} hard links: rows written through another one are lost",
                file.links
            ));
            advice.push(format!(
                "remove all but one; list them with find / -xdev -samefile {word}"
            ));
        }
    }
    let dir = path.parent().and_then(FileMode::of);
    if let Some(dir) = dir.filter(|f| f.mode & 0o022 != 0 && f.mode & 0o1000 == 0) {
        problems.push(format!(
            "other users can write to {} (mode {:04o})",
            dir.path.display(),
            dir.mode
        ));
        advice.push(format!("chmod go-w {}", shell::quote(&dir.path)));
    }
    if problems.is_empty() {
        return Finding::ok(
            "modes",
            format!("{}, accessible to this user only", count(files.len(), "file")),
        );
    }
    Finding::bad("modes", problems.join("\n"), advice.join("; "))
}

fn disk_space(free: Option<u64>) -> Finding {
    match free {
        None => Finding::ok("disk", "free space unknown"),
        Some(bytes) if bytes >= LOW_SPACE => Finding::ok("disk", format!("{} free", quantity::bytes(bytes))),
        Some(bytes) if bytes < NO_SPACE => Finding::bad(
            "disk",
            format!("{} free: agents cannot write", quantity::bytes(bytes)),
            "free disk space by other means: agenthub prune needs some too",
        ),
        Some(bytes) => Finding::bad(
            "disk",
            format!(
                "{} free: agents cannot write once the disk is full",
                quantity::bytes(bytes)
            ),
            "free disk space, or run agenthub prune --older-than 30d (the freed space is reused)",
        ),
    }
}

/// Checks the SQLite versions that agents on this machine are likely to use.
fn sqlite_versions() -> Finding {
    let shell = output_of("sqlite3", &["--version"]);
    let python = output_of("python3", &["-c", "import sqlite3; print(sqlite3.sqlite_version)"]);
    let others: Vec<(&'static str, String)> = [("sqlite3", shell), ("python3", python)]
        .into_iter()
        .filter_map(|(name, output)| Some((name, output?.split_whitespace().next()?.to_owned())))
        .collect();
    compare_versions(&others)
}

fn compare_versions(others: &[(&'static str, String)]) -> Finding {
    let mut message = format!("SQLite {} in agenthub", sqlite_version());
    for (name, version) in others {
        message.push_str(&format!(", {version} in {name}"));
    }
    let old: Vec<&str> = others
        .iter()
        .filter(|(_, version)| version_of(version) < MIN_SQLITE)
        .map(|(name, _)| *name)
        .collect();
    if old.is_empty() {
        return Finding::ok("sqlite", message);
    }
    let advice = format!(
        "{} cannot write to the database: install a version with SQLite 3.26 or later",
        old.join(" and ")
    );
    Finding::bad("sqlite", message, advice)
}

fn output_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    String::from_utf8(output.stdout)
        .ok()
        .filter(|_| output.status.success())
}

fn version_of(text: &str) -> [u32; 2] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    [parts.next().unwrap_or(0), parts.next().unwrap_or(0)]
}

/// Checks for processes that block writers, or keep the write-ahead log from being reset.
fn locks(path: &Path, reader: Option<&Reader>, hub: Option<u32>) -> Finding {
    let head = || reader.and_then(|reader| reader.head().ok()).map(|pos| pos.seq);
    let before = head();
    let mut seen: BTreeMap<Holder, usize> = BTreeMap::new();
    for sample in 0..LOCK_SAMPLES {
        for holder in holders(path) {
            *seen.entry(holder).or_default() += 1;
        }
        if seen.is_empty() || sample + 1 == LOCK_SAMPLES {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "this command has nothing else to do meanwhile")]
        std::thread::sleep(SAMPLE_INTERVAL);
    }
    // One sample may miss a holder: the system's list changes while it is read.
    let mut held: Vec<Holder> = seen
        .into_iter()
        .filter(|(_, times)| times + 1 >= LOCK_SAMPLES)
        .map(|(holder, _)| holder)
        .collect();
    // If rows were written meanwhile, write locks are released in between.
    let is_written = before != head();
    held.retain(|holder| match holder.hold {
        LockKind::Read => Some(holder.pid) != hub,
        LockKind::Write | LockKind::Exclusive => !is_written,
    });
    // A process that reads again and again has a new snapshot each time, and does not block the reset
    // of the log.
    if held.iter().any(|holder| holder.hold == LockKind::Read) && can_reset_log(path) {
        held.retain(|holder| holder.hold != LockKind::Read);
    }
    let lost = processes_with_deleted_file(path);
    if held.is_empty() && lost.is_empty() {
        return Finding::ok("locks", "no process holds a lock for long");
    }
    let mut complaints: Vec<String> = held.iter().map(|holder| holder.describe(path)).collect();
    complaints.extend(lost.iter().map(|(pid, name)| {
        format!(
            "process {pid} ({name}) writes to a file that was removed from {}: its rows are lost until it opens the file again",
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
        format!(
            "identify it with ps -p {}, and end its transaction or the process",
            pids.join(",")
        ),
    )
}

/// Returns whether the whole log, with one more row, can be checkpointed: no process reads an older
/// snapshot.
fn can_reset_log(path: &Path) -> bool {
    let Ok(writer) = Writer::open(path, NetworkFs::Allow) else {
        return false;
    };
    if with_busy_timeout(SAMPLE_INTERVAL, || writer.probe(now_ms())).is_err() {
        return false;
    }
    let moved = || {
        #[expect(clippy::disallowed_methods, reason = "this command has nothing else to do meanwhile")]
        std::thread::sleep(SAMPLE_INTERVAL);
        writer.checkpoint_passive().unwrap_or(false)
    };
    (0..LOCK_SAMPLES).any(|_| moved())
}

/// Checks the contents of the database.
fn contents(reader: &Reader, findings: &mut Vec<Finding>) -> Result<()> {
    findings.push(finding_of(
        "integrity",
        &[
            reader.damage()?,
            reader
                .gaps()?
                .into_iter()
                .map(|gap| format!("missing row number in {gap}"))
                .collect(),
        ]
        .concat(),
        "no corruption, no missing rows",
        "restore a backup with agenthub restore FILE, and find the program that copies or opens the file without SQLite",
    ));
    findings.push(finding_of(
        "schema",
        &reader.schema_differences()?,
        "unmodified",
        "compare with agenthub schema; agents' own tables belong in a database of their own",
    ));
    findings.push(finding_of(
        "rows",
        &rows_without_triggers(reader)?,
        "all rows are in the change log",
        "end the agents that disable or drop triggers, then run agenthub doctor --repair: it creates missing triggers, and \
         numbers and logs these rows",
    ));
    let mode = reader.journal_mode()?;
    findings.push(if mode == "wal" {
        let bytes = reader.file_status().wal_size;
        if bytes <= MAX_WAL_BYTES {
            Finding::ok("log", format!("write-ahead log: {}", quantity::bytes(bytes)))
        } else {
            Finding::bad(
                "log",
                format!("the write-ahead log has grown to {}", quantity::bytes(bytes)),
                "run agenthub serve, which checkpoints it; end read transactions that were left open",
            )
        }
    } else {
        Finding::bad(
            "log",
            format!("an agent has set journal_mode={mode}: readers and writers block each other"),
            "restore it with agenthub path; change the agent so that it does not set journal_mode",
        )
    });
    let ahead = reader.newest_at()?.unwrap_or(0) - now_ms();
    findings.push(clock(ahead, &reader.times_in_seconds()?));
    Ok(())
}

/// Judges the times of rows. `ahead`: milliseconds from now to the latest `created_at`.
fn clock(ahead: i64, in_seconds: &[TimesInSeconds]) -> Finding {
    let mut problems = Vec::new();
    let mut advice = Vec::new();
    if ahead > MAX_CLOCK_SKEW_MS {
        problems.push(format!(
            "one of the newest rows is dated {} s in the future",
            ahead / 1000
        ));
        advice.push(
            "check the system clock (claims made while it was ahead end at that time, or when their owner releases them)",
        );
    }
    problems.extend(in_seconds.iter().map(|times| {
        format!(
            "{} of {} with {} in seconds, which is a time in 1970; the newest is from {:?}",
            count(times.count, "row"),
            times.table,
            times.column,
            times.writer
        )
    }));
    if problems.is_empty() {
        return Finding::ok("clock", "no row is dated in the future or in seconds");
    }
    advice.push("a program that writes times must use Unix milliseconds, or leave created_at out");
    Finding::bad("clock", problems.join("\n"), advice.join("; "))
}

/// Returns the rows that clients do not get because triggers were missing or disabled, and the missing
/// triggers.
fn rows_without_triggers(reader: &Reader) -> Result<Vec<String>> {
    let unlogged = reader.unlogged_rows()?;
    let unlogged = unlogged
        .iter()
        .map(|rows| format!("not in the change log, so clients do not get them: {}", rows.describe()));
    let mut problems: Vec<String> = unlogged.collect();
    let unnumbered = reader.unnumbered_messages()?;
    if unnumbered > 0 {
        problems.push(format!("messages without a number: {unnumbered}"));
    }
    let differences = reader.schema_differences()?;
    let missing = differences
        .into_iter()
        .filter(|text| text.starts_with("the trigger ") && text.ends_with(" is missing"));
    problems.extend(missing);
    Ok(problems)
}

fn finding_of(check: &'static str, problems: &[String], ok: &str, advice: &str) -> Finding {
    if problems.is_empty() {
        return Finding::ok(check, ok);
    }
    Finding::bad(check, problems.join("\n"), advice)
}

/// Measures the time until a commit is detected.
fn change_detection(path: &Path, network_fs: NetworkFs) -> Result<Finding> {
    let writer = Writer::open(path, network_fs)?;
    let reader = Reader::open(path, network_fs)?;
    let (mut watch, _poke) = Watch::start(path, WatchMode::Auto, POLL_INTERVAL, Arc::new(AtomicUsize::new(1)))?;
    let mut fastest = Duration::MAX;
    // On a busy machine one attempt may be slow; without events all are.
    for _ in 0..DETECTION_ATTEMPTS {
        fastest = fastest.min(detection_time(&writer, &reader, &mut watch)?);
        if fastest <= MAX_DETECTION {
            break;
        }
    }
    Ok(judge_detection(fastest))
}

/// Writes a probe row. Returns the time until `watch` and the reader have seen it.
fn detection_time(writer: &Writer, reader: &Reader, watch: &mut Watch) -> Result<Duration> {
    // Opening the database caused events too: wait until they have passed.
    while watch.wait_until(Some(Instant::now() + MAX_DETECTION), || true) == Wake::Event {}
    let mut before = reader.data_version()?;
    writer.probe(now_ms())?;
    let committed = Instant::now();
    loop {
        if watch.wait_until(Some(committed + MAX_DETECTION), || true) == Wake::Stop {
            return Err(Error::new(Code::Internal, "the watcher thread has ended"));
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

fn judge_detection(took: Duration) -> Finding {
    if took <= MAX_DETECTION {
        let millis = took.as_secs_f64() * 1000.0;
        return Finding::ok("watcher", format!("a commit is detected after {millis:.2} ms"));
    }
    Finding::bad(
        "watcher",
        format!("a commit is detected only after {} ms", took.as_millis()),
        "file system events do not arrive here, as in some containers; run agenthub serve --watch poll",
    )
}

/// Checks for events of hooks that could not be recorded in time.
fn spooled_events(path: &Path) -> Finding {
    let spool = Spool::of(path);
    let (status, failed) = match spool.status().and_then(|status| Ok((status, spool.failed_calls()?))) {
        Ok(found) => found,
        Err(e) => return unusable("hooks", &e),
    };
    let (mut problems, mut advice) = (Vec::new(), Vec::new());
    if status.dropped > 0 {
        problems.push(format!(
            "{} of hooks got lost: too many waited to be recorded",
            count(status.dropped, "event")
        ));
        let counter = shell::quote(&beside(path, ".spool/dropped"));
        advice.push(format!(
            "end the process that holds the lock (see locks); then delete {counter} to count from 0"
        ));
    }
    let waiting = match status.waiting {
        0 => None,
        1 => Some("1 event of a hook waits".to_owned()),
        n => Some(format!("{n} events of hooks wait")),
    };
    if let Some(waiting) = waiting {
        problems.push(format!("{waiting} to be recorded: another process kept the lock"));
        if status.dropped == 0 {
            advice.push(
                "run agenthub path, or agenthub serve, to record them; if it fails, end the process that holds the lock"
                    .to_owned(),
            );
        }
    }
    if failed.count > 0 {
        problems.push(format!(
            "{} of hooks failed; the last error: {}",
            count(failed.count, "call"),
            failed.last
        ));
        let counter = shell::quote(&beside(path, ".spool/failed"));
        advice.push(format!("remove the cause; then delete {counter} to count from 0"));
    }
    if problems.is_empty() {
        return Finding::ok("hooks", "all events of hooks are recorded");
    }
    Finding::bad("hooks", problems.join("\n"), advice.join("; "))
}

/// Returns the running hub and its status; `Null` if it rejects the token.
fn running_hub(path: &Path) -> Option<(Record, Value)> {
    hub_client::runtime().ok()?.block_on(async {
        let mut hub = HubConnection::open(path).await?;
        let status = hub.status(path).await;
        Some((hub.record, status.unwrap_or(Value::Null)))
    })
}

fn hub_status(hub: Option<(Record, Value)>) -> Finding {
    let Some((record, status)) = hub else {
        return Finding::ok(
            "hub",
            "not running (start it with agenthub serve); rows are stored meanwhile",
        );
    };
    let at = format!("{} (pid {})", record.url, record.pid);
    if status.is_null() {
        return Finding::bad(
            "hub",
            format!("{at} rejects this database's token"),
            "run agenthub doctor again in a second; if this persists, restart the hub",
        );
    }
    let mut problems = Vec::new();
    let mut advice = "see agenthub status and the hub's log";
    if let Some(message) = status["trouble"]["message"].as_str() {
        problems.push(format!("{at}: {message}"));
    }
    for blocker in status["keeper"]["blockers"].as_array().into_iter().flatten() {
        let since = now_ms() - blocker["since"].as_i64().unwrap_or(0);
        problems.push(format!(
            "process {} ({}) has blocked others for {} s ({})",
            blocker["pid"],
            blocker["name"].as_str().unwrap_or("?"),
            since / 1000,
            blocker["hold"].as_str().unwrap_or("?")
        ));
        advice = "end the transaction of that process, or the process";
    }
    for (table, rejected) in status["rejected_counts"].as_object().into_iter().flatten() {
        problems.push(format!("{} of {table} cannot be read", count(rejected, "row")));
        advice = "see /api/status for the reasons, and fix the agent that writes them";
    }
    if status["version"] != env!("CARGO_PKG_VERSION") {
        let version = status["version"].as_str().unwrap_or("?");
        problems.push(format!(
            "{at} is version {version}, this program is {}",
            env!("CARGO_PKG_VERSION")
        ));
        advice = "restart the hub";
    }
    if problems.is_empty() {
        let using = status["watcher"]["using"].as_str().unwrap_or("?");
        return Finding::ok(
            "hub",
            format!(
                "{at}, {}, change detection: {using}",
                count(&status["clients"], "client")
            ),
        );
    }
    Finding::bad("hub", problems.join("\n"), advice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn assert_bad(finding: &Finding, facts: &[&str]) {
        let text = format!("{}; {}", finding.message, finding.advice);
        assert!(finding.state == State::Bad && !finding.advice.is_empty(), "{finding:?}");
        assert!(facts.iter().all(|fact| text.contains(fact)), "{text}");
    }

    #[test]
    fn low_disk_space_has_advice_that_works() {
        assert_eq!(disk_space(Some(LOW_SPACE)).state, State::Ok);
        assert_eq!(disk_space(None).state, State::Ok);
        assert_bad(
            &disk_space(Some(LOW_SPACE - 1)),
            &["256.0 MiB", "agenthub prune --older-than"],
        );
        let full = disk_space(Some(0));
        assert_bad(&full, &["0 B"]);
        assert!(!full.advice.contains("--older-than"), "{full:?}");
    }

    #[test]
    fn slow_change_detection_is_reported() {
        assert_eq!(judge_detection(MAX_DETECTION).state, State::Ok);
        assert_bad(
            &judge_detection(Duration::from_millis(500)),
            &["500 ms", "--watch poll"],
        );
    }

    #[test]
    fn sqlite_too_old_to_write_is_reported() {
        let of = |version: &str| compare_versions(&[("sqlite3", version.to_owned()), ("python3", "3.45.1".to_owned())]);
        assert_eq!(of("3.26.0").state, State::Ok);
        assert_bad(&of("3.25.3"), &["3.25.3 in sqlite3", "3.26"]);
        assert_bad(&of("2.8.17"), &["2.8.17 in sqlite3", "3.26"]);
    }

    #[test]
    fn problems_reported_by_the_hub_are_findings() {
        let record = Record::new("http://127.0.0.1:4820".to_owned()).unwrap();
        let finding = |status: Value| hub_status(Some((record.clone(), status)));
        let healthy = json!({"version": env!("CARGO_PKG_VERSION"), "clients": 3, "watcher": {"using": "notify"}});
        assert_eq!(finding(healthy.clone()).state, State::Ok);
        let with = |name: &str, value: Value| {
            let mut status = healthy.clone();
            status[name] = value;
            finding(status)
        };
        assert_bad(&finding(Value::Null), &["token"]);
        assert_bad(
            &with("trouble", json!({"message": "the disk is full"})),
            &["the disk is full"],
        );
        assert_bad(&with("version", json!("0.0.1")), &["0.0.1", "restart"]);
        let blocker = json!({"blockers": [{"pid": 7, "name": "vim", "hold": "write", "since": now_ms() - 20_000}]});
        assert_bad(&with("keeper", blocker), &["process 7 (vim)", "20 s"]);
        assert_bad(
            &with("rejected_counts", json!({"agents": 2})),
            &["2 rows of agents", "/api/status"],
        );
    }
}
