//! Runs the scripts in `tests/page`: the page in a real browser against a real hub.
//!
//! Each script has a hub and a database of its own; its first comment says what it tests. The scripts need
//! Node.js and Chromium, which `tests/run` finds.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// Maximum time of a script, also in its long form.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs a script and fails with its failed checks. The script's process group is killed on timeout.
fn run_script(script: &str) {
    let root = env!("CARGO_MANIFEST_DIR");
    // The target folder, which contains the temporary folder for tests.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut child = Command::new("node")
        .arg(format!("{root}/tests/page/{script}"))
        .env("AGENTHUB_BIN", env!("CARGO_BIN_EXE_agenthub"))
        .env("AGENTHUB_NPM", target.join("npm"))
        .env("AGENTHUB_OUT", target.join("screenshots"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("node starts");
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).ok();
        sender.send(text).ok();
    });
    let output = receiver.recv_timeout(LIMIT);
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        && output.is_err()
    {
        kill_process_group(group, Signal::KILL).ok();
    }
    let status = child.wait().expect("node can be waited for");
    let output = output.unwrap_or_else(|_| panic!("{script} took longer than {LIMIT:?}"));
    // The scripts report figures that are useful also when every check passes.
    writeln!(std::io::stdout(), "{script}\n{output}").ok();
    let failed: Vec<&str> = output.lines().filter(|line| line.contains("FAIL")).collect();
    assert!(status.success(), "{script}: {status}\n{}", failed.join("\n"));
}

#[test]
fn first_load_is_fast_and_requests_nothing_from_other_hosts() {
    run_script("page_load.mjs");
}

#[test]
fn views_are_accessible_in_both_themes_and_sizes() {
    run_script("visual.mjs");
}

#[test]
fn stays_responsive_and_consistent_under_load_exclusive() {
    // Other tests must not affect the measured times.
    run_script("load.mjs");
}

#[test]
fn replies_go_to_the_request_they_were_meant_for() {
    run_script("approvals.mjs");
}

#[test]
fn long_lists_load_pages_and_keep_the_scroll_position() {
    run_script("long_lists.mjs");
}

#[test]
fn navigation_pause_export_and_setup_work() {
    run_script("navigation.mjs");
}

#[test]
fn every_view_shows_the_data_of_the_demo() {
    run_script("demo.mjs");
}

#[test]
fn recovers_from_restart_hang_and_replaced_database() {
    run_script("faults.mjs");
}

#[test]
fn the_page_has_a_key_that_no_other_program_receives() {
    run_script("access.mjs");
}

#[test]
fn rows_that_nothing_proves_are_shown_as_unverified() {
    run_script("authors.mjs");
}

#[test]
fn shows_which_agents_mail_wakes_and_wakes_one_for_the_person() {
    run_script("waking.mjs");
}

#[test]
fn agents_can_be_told_apart_and_each_has_a_page() {
    run_script("agents.mjs");
}

#[test]
fn a_person_can_use_every_view_by_mouse_and_keyboard() {
    run_script("user_journey.mjs");
}

#[test]
fn what_the_page_shows_is_true() {
    run_script("truth.mjs");
}

#[test]
fn totals_count_rows_that_are_not_loaded() {
    run_script("totals.mjs");
}

#[test]
fn texts_are_shown_as_elements_and_run_nothing() {
    run_script("rendered.mjs");
}

#[test]
fn the_steps_of_a_task_show_what_their_tools_did() {
    run_script("steps.mjs");
}
