//! Clients that others wrote, as processes of their own: they follow the whole stream into
//! a log, and go on where it ends. `tests/it/clients` says what stands in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::hub::TestHub;
use super::writer::{Process, python};

/// Whose WebSocket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    /// Python's `websockets`.
    Python,
    /// The one that Node has built in.
    Node,
}

/// A client's process and its log.
pub(crate) struct Follower {
    library: Library,
    address: String,
    token: String,
    log: PathBuf,
    process: Process,
}

impl Follower {
    /// Starts a client of this hub; its log is `name` beside the file.
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

    /// Ends it as a crash would, and starts it again.
    #[track_caller]
    pub(crate) fn crash_and_restart(&mut self) {
        drop(self.process.0.kill());
        drop(self.process.0.wait());
        self.process = Process::start(command(self.library, &self.address, &self.token, &self.log));
    }

    /// Sends its process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.0), signal).unwrap();
    }

    /// What it has: the ids of the messages, in order, of each time it began anew.
    pub(crate) fn lives(&self) -> Vec<Vec<String>> {
        lives(&std::fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// How it stands, for a test that fails: whose it is, how far it came, whether it still runs.
    pub(crate) fn story(&mut self) -> String {
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
        // Node 22 has it without being asked; it takes the flag all the same.
        Library::Node => command.arg("--experimental-websocket").arg(client("stream.cjs")),
    };
    command.args([address, token]).arg(log).stdin(Stdio::null());
    // Python says only why it ends by itself; Node says at each start that its WebSocket is new.
    if library == Library::Node {
        command.stderr(Stdio::null());
    }
    command
}

/// Takes a log apart. The last line may still be on its way.
pub(crate) fn lives(log: &str) -> Vec<Vec<String>> {
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let mut lives = vec![Vec::new()];
    for line in whole.lines() {
        match (line.split_once(' '), lives.last_mut()) {
            (Some((_, id)), Some(life)) => life.push(id.to_owned()),
            _ => lives.push(Vec::new()),
        }
    }
    lives
}

/// A client's program.
pub(crate) fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/clients")
        .join(name)
}
