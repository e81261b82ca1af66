//! A socket that goes on after its machine was stopped.
//!
//! For: reads and writes with a time limit. The system interrupts those when a process that
//! was stopped (a machine that sleeps, a container that is frozen) goes on; that is no end of a
//! connection.
//! Not for: anything else a socket may say.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;

/// The socket.
#[derive(Debug)]
pub(crate) struct Steady(pub(crate) TcpStream);

fn again<T>(mut f: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match f() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

impl Read for Steady {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        again(|| self.0.read(buffer))
    }
}

impl Write for Steady {
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        again(|| self.0.write(buffer))
    }

    fn flush(&mut self) -> Result<()> {
        again(|| self.0.flush())
    }
}
