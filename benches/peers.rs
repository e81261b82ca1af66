//! Other programs with a SQLite file as their store, from the Python package index: honker (notifications) and
//! hcom (messages between agents). They run in turns with agenthub.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::agents::{Exchange, exchange};
use super::hub::{AGENTHUB, Detection};
use super::latency::measure;
use super::report::{Goal, Report, Sample};

/// Number of turns. The figures are the medians over the turns.
const TURNS: usize = 3;
/// Rows per turn, and rows per second.
const ROWS: u32 = 300;
const RATE: u32 = 100;
/// Messages per turn.
const MESSAGES: usize = 30;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let programs = PathBuf::from(
        std::env::var_os("AGENTHUB_BENCH_PEERS")
            .context("AGENTHUB_BENCH_PEERS is not set; ./benches/run peers installs honker and hcom and sets it")?,
    );
    for name in ["honker", "hcom"] {
        report.note(format!("version of {name}"), version(&programs, name)?);
    }
    notifications(report, &programs)?;
    messages(report, &programs)
}

fn version(programs: &Path, package: &str) -> Result<String> {
    let code = format!("import importlib.metadata as m; print(m.version('{package}'))");
    let output = Command::new(programs.join("python")).args(["-c", &code]).output()?;
    ensure!(
        output.status.success(),
        "{package} is not installed in {}",
        programs.display()
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// From the commit of a row to the listener of another process.
fn notifications(report: &mut Report, programs: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.push(measure(
            &folder.path().join("hub.db"),
            Detection::Notify,
            RATE,
            1,
            ROWS,
        )?);
        theirs.push(honker(programs, &folder.path().join("honker.db"))?);
    }
    for (name, turns) in [("agenthub", &ours), ("honker", &theirs)] {
        let spread = [0.5, 0.9, 0.99, 1.0].map(|q| super::report::short(median(turns, q)));
        report.note(
            format!("commit → listener, {RATE} rows/s, {name}, µs p50 / p90 / p99 / max, median of {TURNS} turns"),
            spread.join(" / "),
        );
    }
    report.judge(
        "… p50 of agenthub ÷ honker",
        median(&ours, 0.5) / median(&theirs, 0.5),
        Goal::AtMost(1.0),
    );
    report.judge(
        "… p99 of agenthub ÷ honker",
        median(&ours, 0.99) / median(&theirs, 0.99),
        Goal::AtMost(1.0),
    );
    Ok(())
}

fn honker(programs: &Path, db: &Path) -> Result<Sample> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer_honker.py");
    let output = Command::new(programs.join("python"))
        .arg(script)
        .arg(db)
        .args([RATE.to_string(), ROWS.to_string()])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let times = text.lines().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    ensure!(
        times.len() == ROWS as usize,
        "honker: {} of {ROWS} notifications",
        times.len()
    );
    Ok(Sample::new(times))
}

/// From the end of the process that sends a message to the end of the one that waits for it.
fn messages(report: &mut Report, programs: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let hub = Path::new(AGENTHUB);
    let db = folder.path().join("hub.db");
    let hcom = programs.join("hcom");
    let names = [hcom_name(&hcom, folder.path())?, hcom_name(&hcom, folder.path())?];
    let (mut ours, mut theirs) = (Exchange::default(), Exchange::default());
    for turn in 0..TURNS {
        ours.extend(exchange(MESSAGES, |number| {
            let name = format!("waiter-{turn}-{number}");
            let command = |args: &[&str]| {
                let mut command = Command::new(hub);
                command.arg("--db").arg(&db).args(args);
                command
            };
            (
                command(&["inbox", &name, "--wait", "20"]),
                command(&["send", &name, "--new", "--from", "bench", "x"]),
            )
        })?);
        theirs.extend(exchange(MESSAGES, |_| {
            let command = |args: &[&str]| in_folder(&hcom, folder.path(), args);
            (
                command(&["listen", "--name", &names[0], "--timeout", "20"]),
                command(&["send", "--name", &names[1], &format!("@{}", names[0]), "--", "x"]),
            )
        })?);
    }
    let figures = [("agenthub", ours.sorted()), ("hcom", theirs.sorted())];
    for (name, (sends, waits)) in &figures {
        report.note(
            format!("{name}: sending a message, the whole process, ms p50 / p90 / p99 / max"),
            sends.spread(),
        );
        report.note(
            format!("{name}: end of the sender → end of the waiting command, ms"),
            waits.spread(),
        );
    }
    let [(_, (our_sends, our_waits)), (_, (their_sends, their_waits))] = &figures;
    report.judge(
        "… sending, p50 of agenthub ÷ hcom",
        our_sends.median() / their_sends.median(),
        Goal::AtMost(1.0),
    );
    report.judge(
        "… waiting, p50 of agenthub ÷ hcom",
        our_waits.median() / their_waits.median(),
        Goal::AtMost(1.0),
    );
    Ok(())
}

/// Registers an agent and returns its name.
fn hcom_name(hcom: &Path, folder: &Path) -> Result<String> {
    let output = in_folder(hcom, folder, &["start"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let name = text.strip_prefix("[hcom:").and_then(|rest| rest.split(']').next());
    Ok(name.context("hcom start printed no name")?.to_owned())
}

/// Returns the command with an empty home directory.
fn in_folder(program: &Path, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .env("HOME", folder)
        .env("HCOM_DIR", folder.join(".hcom"))
        .stderr(Stdio::null());
    command
}

fn median(turns: &[Sample], quantile: f64) -> f64 {
    Sample::new(turns.iter().map(|turn| turn.at(quantile)).collect()).median()
}
