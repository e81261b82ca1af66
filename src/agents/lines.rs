//! Bytes into lines, however they arrive.
//!
//! For: a pipe's chunks, cut where the writer ended its lines.
//! Not for: what is in a line.

/// The longest line kept. One that is longer is passed over whole, so that a program that
/// never ends its line cannot fill the memory.
pub const MAX_LINE: usize = 64 << 20;

/// What has come of a line that is not finished.
#[derive(Debug, Default)]
pub struct Lines {
    part: Vec<u8>,
    too_long: bool,
}

impl Lines {
    /// Takes the next bytes and gives every line they finish to `line`, without its break.
    pub fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(Vec<u8>)) {
        while let Some(at) = bytes.iter().position(|b| *b == b'\n') {
            self.keep(&bytes[..at]);
            bytes = &bytes[at + 1..];
            if let Some(whole) = self.finish() {
                line(whole);
            }
        }
        self.keep(bytes);
    }

    /// The last line, if it had no break.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let part = std::mem::take(&mut self.part);
        let too_long = std::mem::take(&mut self.too_long);
        (!too_long && !part.is_empty()).then_some(part)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.too_long || self.part.len() + bytes.len() > MAX_LINE {
            self.too_long = true;
            self.part = Vec::new();
        } else {
            self.part.extend_from_slice(bytes);
        }
    }
}
