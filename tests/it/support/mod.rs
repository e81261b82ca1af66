//! What the tests stand on: a hub as a child process, clients, foreign writers, waiting.
//!
//! For: saying in a line what a test is about.
//! Not for: assertions about the hub; those stand in the tests.

use std::io::Write as _;

pub(crate) mod agent;
pub(crate) mod chromium;
pub(crate) mod client;
pub(crate) mod dice;
pub(crate) mod follower;
pub(crate) mod http;
pub(crate) mod hub;
pub(crate) mod steady;
pub(crate) mod wait;
#[cfg(target_os = "linux")]
pub(crate) mod weight;
pub(crate) mod writer;

pub(crate) use client::{Client, Event, Heard};
pub(crate) use hub::TestHub;
pub(crate) use wait::{PATIENCE, within};

/// Says something for whoever reads the run's output, also of a test that passes.
pub(crate) fn say(text: &str) {
    // Nobody may be reading.
    drop(writeln!(std::io::stderr(), "{text}"));
}
