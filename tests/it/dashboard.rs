//! The page, in a real browser against a real hub.
//!
//! For: running the scripts under `tests/page`, each on a hub and a file of its own.
//! Not for: what they look at; each says that at its head. They need Node and Chromium,
//! which `tests/run` finds.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::support::gate;

/// One browser at a time: they take their time and half the machine.
static TURN: Mutex<()> = Mutex::new(());
/// No script takes longer, the long forms included.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs a script; everything it started is gone afterwards.
fn page(script: &str) {
    let _pass = gate::shared();
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let root = env!("CARGO_MANIFEST_DIR");
    let mut child = Command::new("node")
        .arg(format!("{root}/tests/page/{script}"))
        .env("AGENTHUB_BIN", env!("CARGO_BIN_EXE_agenthub"))
        .env("AGENTHUB_NPM", format!("{root}/target/npm"))
        .env("AGENTHUB_OUT", format!("{root}/target/screenshots"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("node starts");
    let mut stdout = child.stdout.take().expect("it was piped");
    let (ended, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).ok();
        ended.send(text).ok();
    });
    let said = said.recv_timeout(LIMIT);
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        && said.is_err()
    {
        kill_process_group(group, Signal::KILL).ok();
    }
    let status = child.wait().expect("node can be waited for");
    let said = said.unwrap_or_else(|_| panic!("{script} took longer than {LIMIT:?}"));
    // The figures are worth seeing when all is well, too.
    writeln!(std::io::stdout(), "{script}\n{said}").ok();
    let wrong: Vec<&str> = said.lines().filter(|line| line.contains("FAIL")).collect();
    assert!(status.success(), "{script}: {status}\n{}", wrong.join("\n"));
}

#[test]
fn the_page_is_light_and_asks_nobody_else() {
    page("weight.mjs");
}

#[test]
fn every_view_looks_right_in_both_themes() {
    page("looks.mjs");
}

#[test]
fn a_flood_leaves_it_smooth_and_true() {
    // Its figures are the machine's and the page's, not those of other tests.
    let _alone = gate::alone();
    page("flood.mjs");
}

#[test]
fn an_answer_goes_to_the_question_it_was_meant_for() {
    page("asks.mjs");
}

#[test]
fn what_is_long_is_found_counted_and_kept_in_place() {
    page("long.mjs");
}

#[test]
fn the_ways_through_it_lead_somewhere() {
    page("ways.mjs");
}

#[test]
fn every_view_is_pictured_from_the_demo() {
    page("demo.mjs");
}

#[test]
fn it_survives_restart_sleep_and_another_file() {
    page("breaks.mjs");
}

#[test]
fn a_person_makes_their_round() {
    page("round.mjs");
}
