//! Test support: a hub as a child process, clients, writers in other processes, waiting for conditions.
//!
//! Assertions about the hub belong in the tests.

use std::io::Write as _;

pub(crate) mod agent;
pub(crate) mod chromium;
pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod eintr_retry;
pub(crate) mod eventually;
pub(crate) mod external_client;
pub(crate) mod http;
pub(crate) mod hub;
pub(crate) mod person;
#[cfg(target_os = "linux")]
pub(crate) mod process_stats;
pub(crate) mod seeded_rng;
pub(crate) mod writer;

pub(crate) use client::{Client, Event, Received};
pub(crate) use eventually::{TIMEOUT, wait_for};
pub(crate) use hub::TestHub;

/// Writes a line to stderr. Unlike `eprintln!`, it is also shown for a test that passes.
pub(crate) fn print_line(text: &str) {
    // stderr may be closed.
    drop(writeln!(std::io::stderr(), "{text}"));
}
