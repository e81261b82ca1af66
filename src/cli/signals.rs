//! Signals of this process: finds out which are ignored, and waits for the others.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as UnixSignal, SignalKind, signal};

/// Signals by which a user or the system ends a program.
pub(super) const ENDING: &[Signal] = &[Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// Signals that are caught instead of ending this process.
pub(super) struct Signals(Vec<(Signal, UnixSignal)>);

impl Signals {
    /// Catches the signals in `wanted`, except those that this process was started to ignore, so that
    /// `nohup` keeps its effect.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(super) fn listen(wanted: &[Signal]) -> io::Result<Self> {
        let ignored = ignored_mask().unwrap_or(0);
        wanted
            .iter()
            .filter(|wanted| !has(ignored, **wanted))
            .map(|wanted| Ok((*wanted, signal(SignalKind::from_raw(wanted.as_raw()))?)))
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// Waits for the next caught signal. Cancel safe.
    pub(super) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let mut signals = self.0.iter_mut();
            let received = signals.find_map(|(caught, signal)| signal.poll_recv(context).is_ready().then_some(*caught));
            received.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Returns whether this process was started to ignore `signal`; `None` where the system has no
/// `/proc`.
pub(super) fn is_ignored(signal: Signal) -> Option<bool> {
    ignored_mask().map(|mask| has(mask, signal))
}

/// Returns the signals this process ignores, as in `SigIgn` of proc(5): bit 0 is signal 1.
fn ignored_mask() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

fn has(mask: u64, signal: Signal) -> bool {
    mask & (1 << (signal.as_raw() - 1)) != 0
}
