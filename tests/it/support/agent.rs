//! An agent in Python, step by step, and what the doctor says of it.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::Value;

use super::hub::TestHub;
use super::writer::{self, Process};

/// A Python agent that does something to the file, says so, and stays as it is until it is
/// told to go on.
pub(crate) struct Agent {
    process: Process,
    lines: BufReader<std::process::ChildStdout>,
}

impl Agent {
    /// `program` knows `db`, a connection in autocommit, and calls `pause()`.
    #[track_caller]
    pub(crate) fn start(hub: &TestHub, program: &str) -> Self {
        let head = "import sqlite3, sys\n\
                    def pause():\n    print('so', flush=True)\n    sys.stdin.readline()\n\
                    db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)\n";
        let mut command = writer::python();
        command.args(["-c", &format!("{head}{program}")]).arg(hub.db());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(command);
        let lines = BufReader::new(process.0.stdout.take().unwrap());
        let mut agent = Self { process, lines };
        assert_eq!(agent.line(), "so");
        agent
    }

    /// The next line it says.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Lets it go on after its `pause()`.
    pub(crate) fn go_on(&mut self) {
        writeln!(self.process.0.stdin.as_mut().unwrap()).unwrap();
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// The doctor's findings by check that are not well.
pub(crate) fn ill(hub: &TestHub) -> Vec<Value> {
    let output = hub.agenthub(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().clone();
    findings.into_iter().filter(|f| f["state"] != "ok").collect()
}

/// Whether the doctor names this process, with advice.
#[track_caller]
pub(crate) fn doctor_names(hub: &TestHub, pid: u32) {
    let findings = ill(hub);
    let found = findings.iter().find(|f| f["check"] == "locks");
    let found = found.unwrap_or_else(|| panic!("no word of locks: {findings:?}"));
    assert!(
        found["message"].as_str().unwrap().contains(&format!("process {pid} ")),
        "{found}"
    );
    assert!(found["advice"].as_str().unwrap().contains(&pid.to_string()), "{found}");
}
