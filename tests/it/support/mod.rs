//! What the tests stand on: a hub as a child process, clients, foreign writers, waiting.
//!
//! For: saying in a line what a test is about.
//! Not for: assertions about the hub; those stand in the tests.

use std::io::Write as _;

pub(crate) mod agent;
pub(crate) mod chromium;
pub(crate) mod client;
pub(crate) mod eintr_retry;
pub(crate) mod eventually;
pub(crate) mod external_client;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod hub;
#[cfg(target_os = "linux")]
pub(crate) mod process_stats;
pub(crate) mod seeded_rng;
pub(crate) mod writer;

pub(crate) use client::{Client, Event, Heard};
pub(crate) use eventually::{PATIENCE, within};
pub(crate) use hub::TestHub;

/// Says something for whoever reads the run's output, also of a test that passes.
pub(crate) fn say(text: &str) {
    // Nobody may be reading.
    drop(writeln!(std::io::stderr(), "{text}"));
}
