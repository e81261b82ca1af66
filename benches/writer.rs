//! Writer processes: this program started again, with a connection that it opens as an agent would.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use rusqlite::Connection;

/// Content of a message, of typical length.
const TEXT: &str = "All 214 tests pass on the branch now; the flaky one waited for a file that another test removed. \
                    Please have a look at the second commit before I merge, and say whether the name is clear.";

/// Returns the time in nanoseconds of the monotonic clock, which all processes of the machine share.
pub(crate) fn clock() -> i64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

/// Waits until `at` on that clock: sleeps until 150 µs before it, then spins.
fn sleep_until(at: i64) {
    loop {
        let left = at - clock();
        if left <= 0 {
            return;
        }
        if left > 200_000 {
            #[expect(
                clippy::disallowed_methods,
                reason = "a writer at a given rate waits for the time only"
            )]
            std::thread::sleep(Duration::from_nanos(u64::try_from(left - 150_000).unwrap_or(0)));
        } else {
            std::hint::spin_loop();
        }
    }
}

/// Opens a connection as another program does.
pub(crate) fn open(db: &Path) -> Result<Connection> {
    #[expect(clippy::disallowed_methods, reason = "another program does not use the store")]
    let conn = Connection::open(db)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(conn)
}

/// Starts a writer of `rows` rows into `thread` at `rate` rows/s. With rate 0, all rows are one transaction.
pub(crate) fn start(db: &Path, thread: &str, rate: u32, rows: u32) -> Result<Child> {
    Ok(Command::new(std::env::current_exe()?)
        .arg("--write")
        .arg(db)
        .args([thread, &rate.to_string(), &rows.to_string()])
        .stdout(Stdio::piped())
        .spawn()?)
}

/// Waits for a child process and returns the numbers it printed, one per line.
pub(crate) fn numbers(child: Child) -> Result<Vec<i64>> {
    let output = child.wait_with_output()?;
    String::from_utf8(output.stdout)?
        .lines()
        .map(|line| Ok(line.parse()?))
        .collect()
}

fn print(numbers: &[i64]) -> Result<()> {
    let text: String = numbers.iter().map(|n| format!("{n}\n")).collect();
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// The child process of [`start`]: prints the time at which each commit returned.
pub(crate) fn at_a_rate(args: &[String]) -> Result<()> {
    let (thread, rate, rows): (_, i64, i64) = (&args[1], args[2].parse()?, args[3].parse()?);
    let conn = open(Path::new(&args[0]))?;
    let mut insert = conn.prepare("INSERT INTO messages(thread_id, from_id, content) VALUES(?1, 'writer', ?2)")?;
    let mut times = Vec::new();
    if rate == 0 {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..rows {
            insert.execute([thread.as_str(), TEXT])?;
        }
        conn.execute_batch("COMMIT")?;
        return print(&[clock()]);
    }
    let start = clock() + 50_000_000;
    for i in 0..rows {
        sleep_until(start + i * 1_000_000_000 / rate);
        insert.execute([thread.as_str(), TEXT])?;
        times.push(clock());
    }
    print(&times)
}

/// Starts a writer that inserts without a pause for `time` into the table `messages` or `bare`. `sync` is the value of
/// `PRAGMA synchronous`.
pub(crate) fn insert(db: &Path, table: &str, sync: &str, time: Duration) -> Result<Child> {
    Ok(Command::new(std::env::current_exe()?)
        .arg("--insert")
        .arg(db)
        .args([table, sync, &time.as_millis().to_string()])
        .stdout(Stdio::piped())
        .spawn()?)
}

/// The child process of [`insert`]: prints the nanoseconds of each insert.
pub(crate) fn without_pause(args: &[String]) -> Result<()> {
    let (table, sync, time) = (&args[1], &args[2], Duration::from_millis(args[3].parse()?));
    let conn = open(Path::new(&args[0]))?;
    conn.pragma_update(None, "synchronous", sync)?;
    let mut insert = conn.prepare(&format!(
        "INSERT INTO {table}(thread_id, from_id, content) VALUES(?1, 'writer', ?2)"
    ))?;
    let thread = format!("thread-{}", std::process::id());
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let before = clock();
        insert.execute([thread.as_str(), TEXT])?;
        times.push(clock() - before);
    }
    print(&times)
}
