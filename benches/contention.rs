//! Many short commands that write at once, compared with the `sqlite3` shell; another program that writes
//! meanwhile.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::hub::AGENTHUB;
use super::report::{Goal, Report, Sample, short};
use super::writer;

/// Number of commands that each round starts.
const COMMANDS: usize = 300;
/// Rounds; agenthub and the shell take turns.
const ROUNDS: usize = 3;
/// Pause of the other program between two inserts.
const PAUSE: Duration = Duration::from_millis(10);

/// A command that writes one row and ends.
#[derive(Clone, Copy)]
enum Program {
    Post,
    Send,
    Shell,
}

impl Program {
    fn command(self, db: &Path) -> Command {
        let mut command = Command::new(match self {
            Self::Post | Self::Send => AGENTHUB,
            Self::Shell => "sqlite3",
        });
        match self {
            Self::Post => command
                .arg("--db")
                .arg(db)
                .args(["post", "build", "--from", "bench", "x"]),
            Self::Send => command
                .arg("--db")
                .arg(db)
                .args(["send", "human", "--from", "bench", "x"]),
            Self::Shell => command
                .args(["-cmd", ".timeout 5000"])
                .arg(db)
                .arg("INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'bench', 'x')"),
        };
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// The result of [`COMMANDS`] commands.
struct Round {
    seconds: f64,
    failures: usize,
    /// Milliseconds of each command.
    times: Vec<f64>,
}

pub(crate) fn run(report: &mut Report) -> Result<()> {
    for parallel in [1, 8, 30, 60, 100, 200] {
        let (mut ours, mut shells) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(on_new_database(|db| commands(Program::Post, db, COMMANDS, parallel))?);
            shells.push(on_new_database(|db| commands(Program::Shell, db, COMMANDS, parallel))?);
        }
        for (name, rounds) in [("`agenthub post`", &ours), ("`sqlite3` shell", &shells)] {
            report.note(
                format!("{name}, {COMMANDS} times, {parallel} at a time: seconds; failed; ms p50 / p90 / p99 / max"),
                format!(
                    "{}; {}; {}",
                    short(seconds(rounds)),
                    failures(rounds),
                    times(rounds).spread()
                ),
            );
        }
        report.judge(
            "… seconds ÷ seconds of the shell",
            seconds(&ours) / seconds(&shells),
            Goal::AtMost(1.2),
        );
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        report.judge("… failed", failures(&ours) as f64, Goal::AtMost(0.0));
    }
    let sends = on_new_database(|db| commands(Program::Send, db, COMMANDS, 32))?;
    report.judge(
        "`agenthub send`, 32 at a time, p50 ms",
        Sample::new(sends.times).median(),
        Goal::AtMost(40.0),
    );
    for (name, program) in [("`agenthub post`", Program::Post), ("the shell", Program::Shell)] {
        let others = on_new_database(|db| beside(db, || commands(program, db, 2 * COMMANDS, 60)))?;
        let figure = format!("another program's insert beside {name}, 60 at a time: p99 ms");
        match program {
            Program::Shell => report.note(figure, short(others.at(0.99))),
            Program::Post | Program::Send => report.judge(figure, others.at(0.99), Goal::AtMost(250.0)),
        }
    }
    Ok(())
}

fn on_new_database<T>(measure: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let folder = tempfile::tempdir()?;
    let db = folder.path().join("hub.db");
    ensure!(Program::Post.command(&db).status()?.success(), "agenthub post failed");
    measure(&db)
}

/// Runs `count` commands, `parallel` of them at a time.
fn commands(program: Program, db: &Path, count: usize, parallel: usize) -> Result<Round> {
    let (started, failures) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let one_after_the_other = || {
        let mut times = Vec::new();
        while started.fetch_add(1, Ordering::Relaxed) < count {
            let begun = Instant::now();
            if !program.command(db).status()?.success() {
                failures.fetch_add(1, Ordering::Relaxed);
            }
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        anyhow::Ok(times)
    };
    let begun = Instant::now();
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..parallel).map(|_| scope.spawn(one_after_the_other)).collect();
        let mut times = Vec::new();
        for thread in threads {
            times.extend(thread.join().ok().context("a thread panicked")??);
        }
        anyhow::Ok(times)
    })?;
    Ok(Round {
        seconds: begun.elapsed().as_secs_f64(),
        failures: failures.into_inner(),
        times,
    })
}

/// Inserts rows as another program does while `load` runs. Returns the milliseconds of each insert that began
/// meanwhile.
fn beside(db: &Path, load: impl FnOnce() -> Result<Round>) -> Result<Sample> {
    let conn = writer::open(db)?;
    let ended = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let inserts = scope.spawn(move || {
            let mut times = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let begun = Instant::now();
                conn.execute(
                    "INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'other', 'x')",
                    [],
                )?;
                times.push(begun.elapsed().as_secs_f64() * 1000.0);
                std::thread::park_timeout(PAUSE);
            }
            anyhow::Ok(times)
        });
        let round = load();
        ended.store(true, Ordering::Relaxed);
        let times = inserts.join().ok().context("the other program panicked")??;
        round?;
        Ok(Sample::new(times))
    })
}

fn seconds(rounds: &[Round]) -> f64 {
    Sample::new(rounds.iter().map(|round| round.seconds).collect()).median()
}

fn failures(rounds: &[Round]) -> usize {
    rounds.iter().map(|round| round.failures).sum()
}

fn times(rounds: &[Round]) -> Sample {
    Sample::new(rounds.iter().flat_map(|round| round.times.iter().copied()).collect())
}
