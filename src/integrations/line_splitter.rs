//! Splits a stream of bytes into lines.

/// Maximum bytes of a line. A longer one is dropped as a whole, so that a program that never ends
/// its line cannot fill the memory.
pub const MAX_LINE: usize = 64 << 20;

/// A line splitter, with the beginning of a line whose end has not arrived.
#[derive(Debug, Default)]
pub struct LineSplitter {
    part: Vec<u8>,
    is_too_long: bool,
}

impl LineSplitter {
    /// Takes the next bytes and calls `line` for each line that they complete, without its line
    /// break.
    pub fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(Vec<u8>)) {
        while let Some(at) = bytes.iter().position(|b| *b == b'\n') {
            self.append(&bytes[..at]);
            bytes = &bytes[at + 1..];
            if let Some(complete) = self.finish() {
                line(complete);
            }
        }
        self.append(bytes);
    }

    /// Returns the last line, if it has no line break.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let part = std::mem::take(&mut self.part);
        let is_too_long = std::mem::take(&mut self.is_too_long);
        (!is_too_long && !part.is_empty()).then_some(part)
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.is_too_long || self.part.len() + bytes.len() > MAX_LINE {
            self.is_too_long = true;
            self.part = Vec::new();
        } else {
            self.part.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_chunks_and_splits_at_line_breaks() {
        let mut splitter = LineSplitter::default();
        let mut found = Vec::new();
        for chunk in [&b"on"[..], b"e\ntwo\n\nth", b"ree"] {
            splitter.feed(chunk, |line| found.push(String::from_utf8(line).unwrap()));
        }
        assert_eq!(found, ["one", "two"]);
        assert_eq!(splitter.finish().unwrap(), b"three");
        assert_eq!(splitter.finish(), None);
    }
}
