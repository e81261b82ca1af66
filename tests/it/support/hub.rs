//! A hub as a child process, with a database of its own.
//!
//! 1. It creates a temporary folder and removes it after the test (`KEEP_TMP=1` keeps it).
//! 2. It runs the real binary with `serve` in a minimal environment.
//! 3. It waits for the first line of stdout, and reads the secrets from the files beside the database.
//! 4. On drop it kills and reaps the process.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use agenthub::protocol::now_ms;
use agenthub::store::{PageCode, Record, Secret};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;
use super::eventually::{TIMEOUT, wait_up_to};
use super::http::{self, Response};
use super::writer;

/// The binary under test.
pub(crate) const AGENTHUB: &str = env!("CARGO_BIN_EXE_agenthub");

/// A hub, running or not, and its database.
pub(crate) struct TestHub {
    folder: TempDir,
    db: PathBuf,
    port: u16,
    args: Vec<String>,
    /// A program and its arguments that start the hub; they must `exec` it.
    wrapper: Vec<String>,
    run: Option<Run>,
    log: Arc<Mutex<String>>,
}

/// Returns the secret in the file `DB.NAME`: `token` or `person`.
#[track_caller]
pub(crate) fn read_secret(db: &Path, name: &str) -> String {
    let path = format!("{}.{name}", db.display());
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    text.trim_end().to_owned()
}

/// A running hub process.
struct Run {
    child: Child,
    token: String,
    person: String,
    first_line: String,
    readers: Vec<JoinHandle<()>>,
}

impl TestHub {
    /// Starts a hub on a new database.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::with_args(&[])
    }

    /// Starts a hub on a new database with these flags of `serve`.
    #[track_caller]
    pub(crate) fn with_args(args: &[&str]) -> Self {
        let mut hub = Self::not_started(args);
        hub.launch();
        hub
    }

    /// Starts a hub that ignores `SIGXFSZ`, so that a test can simulate a full disk by limiting
    /// the size of its files. (By default the signal ends the process.)
    #[track_caller]
    pub(crate) fn ignoring_sigxfsz() -> Self {
        // A program inherits the ignored signals of the shell that executes it.
        Self::with_wrapper(&["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
    }

    /// Starts a hub through another program, which must `exec` it.
    #[track_caller]
    pub(crate) fn with_wrapper(wrapper: &[impl AsRef<str>]) -> Self {
        let mut hub = Self::not_started(&[]);
        hub.set_wrapper(wrapper);
        hub.launch();
        hub
    }

    /// Starts the hub through another program from now on.
    pub(crate) fn set_wrapper(&mut self, wrapper: &[impl AsRef<str>]) {
        self.wrapper = wrapper.iter().map(|word| word.as_ref().to_owned()).collect();
    }

    /// Creates a folder for a hub, without a process and without a database.
    pub(crate) fn not_started(args: &[&str]) -> Self {
        let mut builder = tempfile::Builder::new();
        builder.prefix("agenthub-");
        if std::env::var_os("KEEP_TMP").is_some() {
            builder.disable_cleanup(true);
        }
        let folder = builder.tempdir().unwrap();
        Self {
            db: folder.path().join("hub.db"),
            folder,
            port: free_port(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            wrapper: Vec::new(),
            run: None,
            log: Arc::default(),
        }
    }

    /// Starts the process and waits until it serves.
    #[track_caller]
    pub(crate) fn launch(&mut self) {
        if let Err(status) = self.try_launch() {
            panic!("the hub ended during startup ({status}):\n{}", self.log());
        }
    }

    /// Starts the process and waits until it serves. Returns its exit status if it ends before.
    #[track_caller]
    pub(crate) fn try_launch(&mut self) -> Result<(), ExitStatus> {
        assert!(self.run.is_none(), "the hub is already running");
        let listen = format!("127.0.0.1:{}", self.port);
        let args = ["serve", "--listen", &listen];
        let mut command = match self.wrapper.split_first() {
            Some((program, words)) => {
                let words: Vec<&str> = words.iter().map(String::as_str).chain([AGENTHUB]).chain(args).collect();
                self.program(program, &words)
            }
            None => self.command(&args),
        };
        command.args(&self.args);
        let mut run = Run::start(command, &self.log);
        if run.first_line.is_empty() {
            return Err(run.wait());
        }
        run.token = read_secret(&self.db, "token");
        run.person = read_secret(&self.db, "person");
        self.run = Some(run);
        Ok(())
    }

    /// `agenthub` with these arguments, for this database, in a minimal environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.program(AGENTHUB, args)
    }

    fn program(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("AGENTHUB_DB", &self.db)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .args(args);
        command
    }

    /// Runs `agenthub` with these arguments and waits for it.
    #[track_caller]
    pub(crate) fn agenthub(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Kills the hub (`SIGKILL`) and waits for it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut run) = self.run.take() {
            run.kill();
        }
    }

    /// Stops the hub (`SIGTERM`). Returns its exit status and how long it took to stop.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        self.signal(Signal::TERM);
        let mut run = self.run.take().unwrap();
        let status = run.wait();
        (status, started.elapsed())
    }

    /// Kills the hub and starts it again on the same port and database.
    #[track_caller]
    pub(crate) fn crash_and_restart(&mut self) {
        self.kill();
        self.launch();
    }

    /// Sends the hub a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// The process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.run.as_ref().unwrap().child)
    }

    /// The exit status, if the process has exited.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.run.as_mut().unwrap().child.try_wait().unwrap()
    }

    /// The folder of the database.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of the database.
    pub(crate) fn db(&self) -> &Path {
        &self.db
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The token.
    pub(crate) fn token(&self) -> &str {
        &self.run.as_ref().unwrap().token
    }

    /// The person's secret.
    pub(crate) fn person(&self) -> &str {
        &self.run.as_ref().unwrap().person
    }

    /// Starts on another port from now on.
    pub(crate) fn use_free_port(&mut self) {
        self.port = free_port();
    }

    /// The first line of its stdout.
    pub(crate) fn first_line(&self) -> &str {
        &self.run.as_ref().unwrap().first_line
    }

    /// Returns the page's address with a new one-time code, as `agenthub open` makes it for the person.
    #[track_caller]
    pub(crate) fn page_link(&self) -> String {
        let record = Record::read(&self.db).unwrap();
        let expires_at = now_ms() + 60_000;
        let code = PageCode::make(&Secret::new(self.person()), &record.run, expires_at).unwrap();
        format!("{}/#code={code}", record.url)
    }

    /// Its stderr, over all its runs.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs SQL in the `sqlite3` shell and returns its output.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        writer::sqlite3(&self.db, sql)
    }

    /// Connects a WebSocket client; `query` is the query string of `/ws`.
    #[track_caller]
    pub(crate) fn connect(&self, query: &str) -> Client {
        Client::connect(self.port, self.token(), query)
    }

    /// Sends a `GET` request with the token.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        http::request(self.port, "GET", path, &self.headers(), "")
    }

    /// Sends a request with the token and a JSON body.
    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, body: &str) -> Response {
        let mut headers = self.headers();
        headers.push(("Content-Type".into(), "application/json".into()));
        http::request(self.port, method, path, &headers, body)
    }

    /// As [`TestHub::send`], with the person's secret.
    #[track_caller]
    pub(crate) fn send_as_person(&self, method: &str, path: &str, body: &str) -> Response {
        let mut headers = self.headers_with(self.person());
        headers.push(("Content-Type".into(), "application/json".into()));
        http::request(self.port, method, path, &headers, body)
    }

    /// The headers `Host` and `Authorization`, with the token.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        self.headers_with(self.token())
    }

    /// The headers `Host` and `Authorization`, with this secret.
    pub(crate) fn headers_with(&self, secret: &str) -> Vec<(String, String)> {
        vec![
            ("Host".into(), format!("127.0.0.1:{}", self.port)),
            ("Authorization".into(), format!("Bearer {secret}")),
        ]
    }

    /// The body of `/api/status`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let response = self.get("/api/status");
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    /// Waits until the hub has read every change in the database, so that a client that starts
    /// "from now on" starts after it.
    #[track_caller]
    pub(crate) fn wait_until_synced(&self) {
        let head = self.sql("SELECT coalesce(max(seq), 0) FROM changes");
        wait_up_to(TIMEOUT, "the hub to read all changes", || {
            let pos = self.status()["pos"].as_str().unwrap().to_owned();
            (pos.split('.').nth(1) == Some(head.as_str())).then_some(())
        });
    }

    /// Waits until a line of the log contains `text`.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_up_to(TIMEOUT, &format!("{text:?} in the log"), || {
            self.log().contains(text).then_some(())
        });
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        let ended = self.run.as_mut().and_then(|run| run.child.try_wait().ok().flatten());
        self.kill();
        if thread::panicking() {
            let how = ended.map_or(String::new(), |status| format!(", which had ended ({status})"));
            let mut text = format!("\n---- log of the hub on {}{how}:\n", self.db.display());
            let _ = write!(text, "{}", self.log());
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}

impl Run {
    /// Starts a process and waits for its first line, which is empty if the process ends without one.
    #[track_caller]
    fn start(mut command: Command, log: &Arc<Mutex<String>>) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tx, rx) = mpsc::channel();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let out = thread::spawn(move || {
            let mut line = String::new();
            // At the end of the stream the line is empty.
            drop(stdout.read_line(&mut line));
            drop(tx.send(line.trim_end().to_owned()));
            drop(std::io::copy(&mut stdout, &mut std::io::sink()));
        });
        let (mut stderr, log) = (child.stderr.take().unwrap(), Arc::clone(log));
        let err = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut buffer) {
                log.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        let mut run = Self {
            child,
            token: String::new(),
            person: String::new(),
            first_line: String::new(),
            readers: vec![out, err],
        };
        match rx.recv_timeout(TIMEOUT) {
            Ok(line) => run.first_line = line,
            Err(_) => panic!("the hub did not print its first line"),
        }
        run
    }

    /// Waits for the process to end.
    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = wait_up_to(TIMEOUT, "the hub to end", || child.try_wait().unwrap());
        self.join();
        status
    }

    fn kill(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        self.join();
    }

    fn join(&mut self) {
        for reader in self.readers.drain(..) {
            drop(reader.join());
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A free port below the system's ephemeral range, so that it is still free when a hub restarts.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const SLOTS: u32 = 16;
    const PORTS_PER_SLOT: u32 = 750;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let slot = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").map_or(0, |slot| slot.parse::<u32>().unwrap());
    let first = FIRST + slot % SLOTS * PORTS_PER_SLOT;
    loop {
        let offset = std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS_PER_SLOT;
        let port = u16::try_from(first + offset).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
