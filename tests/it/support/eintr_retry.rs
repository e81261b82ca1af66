//! A TCP stream that retries reads and writes interrupted by a signal.
//!
//! Reads and writes with a timeout fail with `EINTR` when a stopped process continues (a machine
//! that slept, a container that was frozen). The connection is still good then.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;

/// A TCP stream whose reads and writes are retried on `EINTR`.
#[derive(Debug)]
pub(crate) struct EintrRetry(pub(crate) TcpStream);

fn retry<T>(mut f: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match f() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

impl Read for EintrRetry {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        retry(|| self.0.read(buffer))
    }
}

impl Write for EintrRetry {
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        retry(|| self.0.write(buffer))
    }

    fn flush(&mut self) -> Result<()> {
        retry(|| self.0.flush())
    }
}
