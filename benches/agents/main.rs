//! Figures of the agents' side: how long `inbox --wait` and `send` take, also while eight
//! others write as fast as they can.
//!
//! For: `cargo bench --bench agents`, which prints a Markdown table.
//! Not for: judging: a bench measures and prints.
//!
//! The busy writers are this program started again (`--write FILE`).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agenthub::store::{NetworkFs, NewInbox, NewMessage, Reader, Writer};
use anyhow::{Context, Result, ensure};

const AGENTHUB: &str = env!("CARGO_BIN_EXE_agenthub");
const BUSY: usize = 8;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [flag, db] = args.as_slice()
        && flag == "--write"
    {
        return write_on(Path::new(db));
    }
    say("| figure | value |\n|---|---|")?;
    wait()?;
    send(0)?;
    send(BUSY)
}

fn say(text: &str) -> Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn agenthub(db: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(AGENTHUB);
    command
        .arg("--db")
        .arg(db)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// The time from the commit of a row to the end of a process that waited for it.
fn wait() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = folder.path().join("hub.db");
    let writer = Writer::open(&db, NetworkFs::Refuse)?;
    let reader = Reader::open(&db, NetworkFs::Refuse)?;
    let mut times = Vec::new();
    for i in 0..100 {
        let name = format!("w{i}");
        let mut waiting = Running(agenthub(&db, &["inbox", &name, "--wait", "20"]).spawn()?);
        while !reader.knows_agent(&name)? {
            std::thread::yield_now();
        }
        std::thread::park_timeout(Duration::from_millis(10));
        writer.send(&NewInbox::new("bench", name, "x"))?;
        let written = Instant::now();
        ensure!(waiting.0.wait()?.success());
        times.push(written.elapsed());
    }
    row("inbox --wait: commit → the process has ended", &mut times)
}

/// How long a row takes: by a connection that is open, and by a process of its own.
fn send(busy: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = folder.path().join("hub.db");
    let writer = Writer::open(&db, NetworkFs::Refuse)?;
    let _hub = Running(agenthub(&db, &["serve", "--listen", "127.0.0.1:0"]).spawn()?);
    let me = std::env::current_exe().context("cannot find this program")?;
    let start = || Ok(Running(Command::new(&me).arg("--write").arg(&db).spawn()?));
    let _others = (0..busy).map(|_| start()).collect::<Result<Vec<_>>>()?;
    std::thread::park_timeout(Duration::from_secs(1));
    let timed = |f: &mut dyn FnMut() -> Result<()>, count: usize| -> Result<Vec<Duration>> {
        (0..count)
            .map(|_| {
                let begun = Instant::now();
                f()?;
                Ok(begun.elapsed())
            })
            .collect()
    };
    let mut rows = timed(
        &mut || {
            writer.send(&NewInbox::new("bench", "human", "x"))?;
            Ok(())
        },
        3000,
    )?;
    row(&format!("a row, with {busy} busy writers"), &mut rows)?;
    let mut processes = timed(
        &mut || {
            ensure!(agenthub(&db, &["send", "human", "x"]).status()?.success());
            Ok(())
        },
        300,
    )?;
    row(&format!("agenthub send, with {busy} busy writers"), &mut processes)
}

/// Writes rows until it is killed.
fn write_on(db: &Path) -> Result<()> {
    let writer = Writer::open(db, NetworkFs::Refuse)?;
    let name = format!("busy-{}", std::process::id());
    loop {
        writer.post_message(&NewMessage::new(name.as_str(), name.as_str(), "x"))?;
    }
}

fn row(what: &str, times: &mut [Duration]) -> Result<()> {
    times.sort_unstable();
    let at = |per_mille: usize| times[(times.len() * per_mille / 1000).min(times.len() - 1)].as_secs_f64() * 1000.0;
    say(&format!(
        "| {what}, ms p50 / p99 / p99.9 / max of {} | {:.1} / {:.1} / {:.1} / {:.1} |",
        times.len(),
        at(500),
        at(990),
        at(999),
        at(1000)
    ))
}
