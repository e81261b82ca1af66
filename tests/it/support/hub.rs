//! A hub as a child process, on a file of its own.
//!
//! 1. A folder, made for the test and removed after it (kept with `KEEP_TMP=1`).
//! 2. The real binary with `serve`, its environment empty but for what a program needs.
//! 3. Address and token from the first line of stdout.
//! 4. Dropped: the process is killed and waited for, so that no test leaves one behind.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;
use super::eventually::{PATIENCE, within_time};
use super::gate::{self, Pass};
use super::http::{self, Response};
use super::writer;

/// The binary under test.
pub(crate) const AGENTHUB: &str = env!("CARGO_BIN_EXE_agenthub");

/// A hub, running or not, and its file.
pub(crate) struct TestHub {
    folder: TempDir,
    db: PathBuf,
    port: u16,
    args: Vec<String>,
    /// A program that starts the hub, with its arguments; the process is the hub's in the end.
    wrapper: Vec<String>,
    run: Option<Run>,
    log: Arc<Mutex<String>>,
    _pass: Pass,
}

/// One process, from start to end.
struct Run {
    child: Child,
    token: String,
    first_line: String,
    readers: Vec<JoinHandle<()>>,
}

impl TestHub {
    /// A hub on a new file.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// A hub on a new file, with these flags of `serve`.
    #[track_caller]
    pub(crate) fn with(args: &[&str]) -> Self {
        let mut hub = Self::asleep(args);
        hub.wake();
        hub
    }

    /// A hub whose files may later be kept from growing: to it the disk is full then.
    /// (The system's own answer to that is a signal that ends the process.)
    #[track_caller]
    pub(crate) fn on_a_small_disk() -> Self {
        // What a shell ignores, the program it becomes ignores too.
        Self::under(&["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
    }

    /// A hub started by another program, which becomes the hub or leaves it its place.
    #[track_caller]
    pub(crate) fn under(wrapper: &[impl AsRef<str>]) -> Self {
        let mut hub = Self::asleep(&[]);
        hub.wrap(wrapper);
        hub.wake();
        hub
    }

    /// Has another program start it from now on.
    pub(crate) fn wrap(&mut self, wrapper: &[impl AsRef<str>]) {
        self.wrapper = wrapper.iter().map(|word| word.as_ref().to_owned()).collect();
    }

    /// A folder and a hub that is not running yet; there is no file either.
    pub(crate) fn asleep(args: &[&str]) -> Self {
        let pass = gate::shared();
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
            _pass: pass,
        }
    }

    /// Starts the hub and waits until it serves.
    #[track_caller]
    pub(crate) fn wake(&mut self) {
        if let Err(status) = self.try_wake() {
            panic!("the hub ended at its start ({status}):\n{}", self.log());
        }
    }

    /// Starts the hub; its exit status if it does not come to serve.
    #[track_caller]
    pub(crate) fn try_wake(&mut self) -> Result<(), ExitStatus> {
        assert!(self.run.is_none(), "the hub runs already");
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
        run.token = run
            .first_line
            .split_once("#token=")
            .map_or("", |(_, token)| token)
            .to_owned();
        self.run = Some(run);
        Ok(())
    }

    /// `agenthub` with these arguments, for this file, in an environment without surprises.
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

    /// Runs `agenthub` with these arguments to its end.
    #[track_caller]
    pub(crate) fn agenthub(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Ends the hub as a crash would, and waits for it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut run) = self.run.take() {
            run.kill();
        }
    }

    /// Ends the hub as its owner would; says how it went and how long it took.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        self.signal(Signal::TERM);
        let mut run = self.run.take().unwrap();
        let status = run.wait();
        (status, begun.elapsed())
    }

    /// Kills the hub and starts it again on the same port and file.
    #[track_caller]
    pub(crate) fn crash_and_restart(&mut self) {
        self.kill();
        self.wake();
    }

    /// Sends the hub a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.run.as_ref().unwrap().child)
    }

    /// Whether the process has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.run.as_mut().unwrap().child.try_wait().unwrap()
    }

    /// The folder of the file.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file.
    pub(crate) fn db(&self) -> &Path {
        &self.db
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What lets clients in.
    pub(crate) fn token(&self) -> &str {
        &self.run.as_ref().unwrap().token
    }

    /// The first line of its stdout.
    pub(crate) fn first_line(&self) -> &str {
        &self.run.as_ref().unwrap().first_line
    }

    /// Everything it said on stderr, over all its runs.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs SQL in the `sqlite3` shell, as any agent would. Returns what it printed.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        writer::sqlite3(&self.db, sql)
    }

    /// A WebSocket client; `query` is what stands behind `/ws?`.
    #[track_caller]
    pub(crate) fn connect(&self, query: &str) -> Client {
        Client::connect(self.port, self.token(), query)
    }

    /// `GET` with the token.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        http::request(self.port, "GET", path, &self.headers(), "")
    }

    /// A request with the token and a body in JSON.
    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, body: &str) -> Response {
        let mut headers = self.headers();
        headers.push(("Content-Type".into(), "application/json".into()));
        http::request(self.port, method, path, &headers, body)
    }

    /// `Host` and the token.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        vec![
            ("Host".into(), format!("127.0.0.1:{}", self.port)),
            ("Authorization".into(), format!("Bearer {}", self.token())),
        ]
    }

    /// `/api/status`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let answer = self.get("/api/status");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Waits until the hub has seen everything in the file: "from now on" begins after it.
    #[track_caller]
    pub(crate) fn settle(&self) {
        let head = self.sql("SELECT coalesce(max(seq), 0) FROM changes");
        within_time(PATIENCE, "the hub to see the file", || {
            let pos = self.status()["pos"].as_str().unwrap().to_owned();
            (pos.split('.').nth(1) == Some(head.as_str())).then_some(())
        });
    }

    /// Waits until a line of the log contains `text`.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        within_time(PATIENCE, &format!("{text:?} in the log"), || {
            self.log().contains(text).then_some(())
        });
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        let ended = self.run.as_mut().and_then(|run| run.child.try_wait().ok().flatten());
        self.kill();
        if thread::panicking() {
            let how = ended.map_or(String::new(), |status| format!(", which had ended ({status}),"));
            let mut text = format!("\n---- the hub on {}{how} said:\n", self.db.display());
            let _ = write!(text, "{}", self.log());
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}

impl Run {
    /// Starts a process and waits for its first line. It is empty if there is none.
    #[track_caller]
    fn start(mut command: Command, log: &Arc<Mutex<String>>) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tx, rx) = mpsc::channel();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let out = thread::spawn(move || {
            let mut line = String::new();
            // The end of the stream is an empty line.
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
            first_line: String::new(),
            readers: vec![out, err],
        };
        match rx.recv_timeout(PATIENCE) {
            Ok(line) => run.first_line = line,
            Err(_) => panic!("the hub did not say its first line"),
        }
        run
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = within_time(PATIENCE, "the hub's end", || child.try_wait().unwrap());
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

/// A port nobody has, below those the system gives out by itself: a hub that is started
/// again finds it still free.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 100).unwrap() * 100;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
