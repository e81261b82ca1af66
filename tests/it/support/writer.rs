//! Writers in other processes, with their own SQLite library: the `sqlite3` shell and Python.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

/// Runs SQL in the `sqlite3` shell and returns its output. Panics if the SQL fails.
#[track_caller]
pub(crate) fn sqlite3(db: &Path, sql: &str) -> String {
    let output = try_sqlite3(db, sql);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{sql}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Runs SQL in the `sqlite3` shell. The SQL is passed through stdin because it may be long.
#[track_caller]
pub(crate) fn try_sqlite3(db: &Path, sql: &str) -> Output {
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), sql).unwrap();
    Command::new("sqlite3")
        .args(["-batch", "-bail", "-cmd", ".timeout 5000"])
        .arg(db)
        .stdin(script.reopen().unwrap())
        .output()
        .unwrap()
}

/// The Python interpreter of the test run: `$AGENTHUB_TEST_PYTHON`, the virtual environment in
/// `target/venv`, or `python3`.
pub(crate) fn python() -> Command {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    let program = std::env::var_os("AGENTHUB_TEST_PYTHON")
        .map(PathBuf::from)
        .or_else(|| venv.exists().then_some(venv))
        .unwrap_or_else(|| "python3".into());
    let mut command = Command::new(program);
    command.env_remove("PYTHONPATH").stdin(Stdio::null());
    command
}

/// The path of a script in this folder.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/support")
        .join(name)
}

/// Runs a Python program and returns its output. Panics if it fails.
#[track_caller]
pub(crate) fn python_run(program: &str, args: &[&str]) -> String {
    let output = python().arg("-c").arg(program).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A child process that is killed and reaped on drop.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Another process that holds a lock on the database until [`LockHolder::release`].
pub(crate) struct LockHolder {
    process: Process,
    stdin: ChildStdin,
}

impl LockHolder {
    /// Starts a process that runs these statements and keeps the locks they take.
    #[track_caller]
    pub(crate) fn take(db: &Path, sql: &str) -> Self {
        let program = "
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
for statement in sys.argv[2].split(';'):
    conn.execute(statement)
print('held', flush=True)
sys.stdin.readline()
";
        let mut command = python();
        command
            .args(["-c", program, db.to_str().unwrap(), sql])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::start(command);
        let mut line = String::new();
        BufReader::new(process.0.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "held\n");
        let stdin = process.0.stdin.take().unwrap();
        Self { process, stdin }
    }

    /// Ends the process and waits for it.
    #[track_caller]
    pub(crate) fn release(self) {
        let Self { mut process, stdin } = self;
        drop(stdin);
        assert!(process.0.wait().unwrap().success());
    }
}

/// SQL that inserts `count` messages to a thread in one transaction, with the contents
/// `text {first}`, `text {first + 1}` …
pub(crate) fn insert_messages(thread: &str, first: i64, count: i64) -> String {
    format!(
        "INSERT INTO messages(thread_id, from_id, content) WITH RECURSIVE k(i) AS \
         (SELECT {first} UNION ALL SELECT i + 1 FROM k WHERE i + 1 < {first} + {count}) \
         SELECT '{thread}', 'writer', 'text ' || i FROM k WHERE {count} > 0;"
    )
}
