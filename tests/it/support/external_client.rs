//! Clients on other WebSocket libraries, as processes. Each follows the whole stream, writes what
//! it receives to a log, and resumes where its log ends. The programs and the log's format are in
//! `tests/it/clients`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::hub::TestHub;
use super::writer::{Process, python};

/// A WebSocket library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    /// Python's `websockets`.
    Python,
    /// Node's built-in WebSocket.
    Node,
}

/// A client process and its log.
pub(crate) struct ExternalClient {
    library: Library,
    address: String,
    token: String,
    log: PathBuf,
    process: Process,
}

impl ExternalClient {
    /// Starts a client of this hub. Its log is the file `name` beside the database.
    #[track_caller]
    pub(crate) fn start(hub: &TestHub, library: Library, name: &str) -> Self {
        let (address, token) = (format!("127.0.0.1:{}", hub.port()), hub.token().to_owned());
        let log = hub.folder().join(name);
        Self {
            process: Process::start(command(library, &address, &token, &log)),
            library,
            address,
            token,
            log,
        }
    }

    /// Kills the process and starts it again.
    #[track_caller]
    pub(crate) fn crash_and_restart(&mut self) {
        drop(self.process.0.kill());
        drop(self.process.0.wait());
        self.process = Process::start(command(self.library, &self.address, &self.token, &self.log));
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.0), signal).unwrap();
    }

    /// The ids of the messages in its log: see [`histories`].
    pub(crate) fn histories(&self) -> Vec<Vec<String>> {
        histories(&std::fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// Library, progress and process state, for the message of a failing test.
    pub(crate) fn diagnostics(&mut self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!(
            "{:?}, {} lines, the last {:?}; its process: {:?}",
            self.library,
            log.lines().count(),
            log.lines().last(),
            self.process.0.try_wait(),
        )
    }
}

fn command(library: Library, address: &str, token: &str, log: &Path) -> Command {
    let mut command = match library {
        Library::Python => python(),
        Library::Node => Command::new("node"),
    };
    match library {
        Library::Python => command.arg(client("stream.py")),
        // Node 22 has the WebSocket without the flag, and accepts the flag.
        Library::Node => command.arg("--experimental-websocket").arg(client("stream.cjs")),
    };
    command.args([address, token]).arg(log).stdin(Stdio::null());
    // Python's stderr shows why it ended. Node warns at every start that its WebSocket is new.
    if library == Library::Node {
        command.stderr(Stdio::null());
    }
    command
}

/// The ids of the messages in a client's log, in order: one list for each time the client started
/// from position 0 (the first start, and after each `POSITION_LOST`). A last line without an end
/// is ignored.
pub(crate) fn histories(log: &str) -> Vec<Vec<String>> {
    let complete = log.rfind('\n').map_or("", |end| &log[..end]);
    let mut histories = vec![Vec::new()];
    for line in complete.lines() {
        match (line.split_once(' '), histories.last_mut()) {
            (Some((_, id)), Some(history)) => history.push(id.to_owned()),
            _ => histories.push(Vec::new()),
        }
    }
    histories
}

/// The path of a client program.
pub(crate) fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/clients")
        .join(name)
}
