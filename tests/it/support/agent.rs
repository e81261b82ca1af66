//! A Python program that uses the database step by step, and the findings of `agenthub doctor`.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::Value;

use super::hub::TestHub;
use super::writer::{self, Process};

/// A Python process with a connection to the database. It stops at each `pause()` of its program
/// until [`ScriptedAgent::resume`].
pub(crate) struct ScriptedAgent {
    process: Process,
    lines: BufReader<std::process::ChildStdout>,
}

impl ScriptedAgent {
    /// Starts `program` and waits for its first `pause()`. The program can use `db`, a connection
    /// in autocommit mode, and `pause()`.
    #[track_caller]
    pub(crate) fn start(hub: &TestHub, program: &str) -> Self {
        let prelude = "import sqlite3, sys\n\
                       def pause():\n    print('paused', flush=True)\n    sys.stdin.readline()\n\
                       db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)\n";
        let mut command = writer::python();
        command.args(["-c", &format!("{prelude}{program}")]).arg(hub.db());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(command);
        let lines = BufReader::new(process.0.stdout.take().unwrap());
        let mut agent = Self { process, lines };
        assert_eq!(agent.line(), "paused");
        agent
    }

    /// Reads the next line of its stdout.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Ends the current `pause()`.
    pub(crate) fn resume(&mut self) {
        writeln!(self.process.0.stdin.as_mut().unwrap()).unwrap();
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// The findings of `agenthub doctor` whose state is not `ok`.
pub(crate) fn doctor_problems(hub: &TestHub) -> Vec<Value> {
    let output = hub.agenthub(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().clone();
    findings.into_iter().filter(|f| f["state"] != "ok").collect()
}

/// Asserts that `agenthub doctor` names this process as a lock holder, with advice.
#[track_caller]
pub(crate) fn assert_doctor_names(hub: &TestHub, pid: u32) {
    let findings = doctor_problems(hub);
    let found = findings.iter().find(|f| f["check"] == "locks");
    let found = found.unwrap_or_else(|| panic!("no finding about locks: {findings:?}"));
    assert!(
        found["message"].as_str().unwrap().contains(&format!("process {pid} ")),
        "{found}"
    );
    assert!(found["advice"].as_str().unwrap().contains(&pid.to_string()), "{found}");
}
