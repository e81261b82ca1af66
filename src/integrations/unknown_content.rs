//! Describes input of which no line was understood as a tool's stream.

use serde_json::Value;

use super::registry;
use super::spec::StreamSpec;
use super::task_builder::{TaskBuilder, TaskInfo};

/// Maximum bytes of the first line that are kept.
const MAX_HEAD: usize = 4096;
/// Maximum lines that are kept for a comparison with the formats of all tools.
const MAX_LINES: usize = 20;
/// Maximum bytes of a line that is kept for the comparison.
const MAX_LINE: usize = 64 << 10;

/// The beginning of such input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UnknownContent {
    lines: u64,
    head: Vec<u8>,
    is_array: bool,
    objects: Vec<Value>,
}

impl UnknownContent {
    /// Adds a line, and its value if it is JSON.
    pub(super) fn add(&mut self, line: &[u8], value: Option<&Value>) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        self.lines += 1;
        if self.lines == 1 {
            self.head = line[..line.len().min(MAX_HEAD)].to_vec();
            // Pretty-printed JSON begins with a line of one bracket.
            self.is_array = matches!(value, Some(Value::Array(_))) || line.trim_ascii() == b"[";
        }
        if let Some(value @ Value::Object(_)) = value
            && self.objects.len() < MAX_LINES
            && line.len() <= MAX_LINE
        {
            self.objects.push(value.clone());
        }
    }

    /// Returns a sentence about what the input seems to be instead of a stream in the format of `spec`, and what to
    /// do.
    pub fn describe(&self, spec: &StreamSpec) -> String {
        let is_utf16 = [&b"\xff\xfe"[..], b"\xfe\xff"]
            .iter()
            .any(|mark| self.head.starts_with(mark));
        if self.lines == 0 {
            return format!("it is empty; it should be the output of: {}", spec.command);
        }
        if is_utf16 || self.head.contains(&0) {
            return "it is UTF-16 text, as PowerShell's > writes it; convert it: iconv -f UTF-16 -t UTF-8".to_owned();
        }
        if self.is_array {
            return format!(
                "it is one JSON array instead of one object per line; it should be the output of: {}",
                spec.command
            );
        }
        if let Some(advice) = self.transcript_advice() {
            return advice.to_owned();
        }
        match self.other_format() {
            Some((name, format)) => format!("it looks like the stream of {name}; use --format {format}"),
            None => format!("none of its lines is one of the output of: {}", spec.command),
        }
    }

    /// Returns the advice for a tool's own record of a session, if the input is one.
    fn transcript_advice(&self) -> Option<&'static str> {
        let transcripts = registry::ALL.iter().filter_map(|tool| tool.transcript.as_ref());
        transcripts
            .filter(|transcript| !self.objects.is_empty() && self.objects.iter().all(transcript.is_line))
            .map(|transcript| transcript.advice)
            .next()
    }

    /// Returns the tool and the format that understands most lines of the input.
    fn other_format(&self) -> Option<(&'static str, &'static str)> {
        let understood = |(tool, spec): &(&'static super::spec::Integration, &'static StreamSpec)| {
            let is_known = |line: &&Value| {
                let mut task = TaskBuilder::new(tool.id, tool.context_tags, TaskInfo::default());
                (spec.parser)().line(line, &mut task);
                task.has_known_line()
            };
            self.objects.iter().filter(is_known).count()
        };
        registry::with_stream()
            .map(|tool| (understood(&tool), tool))
            .filter(|(lines, _)| *lines > 0)
            .max_by_key(|(lines, _)| *lines)
            .map(|(_, (tool, spec))| (tool.name, spec.format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::lenient_json;

    fn described(format: &str, input: &[u8]) -> String {
        let (_, spec) = registry::with_stream().find(|(_, spec)| spec.format == format).unwrap();
        let mut content = UnknownContent::default();
        for line in input.split(|byte| *byte == b'\n') {
            content.add(line, lenient_json::parse(line).as_ref());
        }
        content.describe(spec)
    }

    #[test]
    fn names_what_the_input_is_and_the_right_command() {
        let formats: Vec<&str> = registry::with_stream().map(|(_, spec)| spec.format).collect();
        let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(*b"{\0\"\0t\0\n\0").collect();
        let init = "{\"type\":\"thread.started\",\"thread_id\":\"t\"}";
        let rollout = "{\"timestamp\":\"2026\",\"type\":\"response_item\",\"payload\":{\"type\":\"message\"}}";
        let project = "{\"type\":\"user\",\"sessionId\":\"s\",\"message\":{\"content\":\"hi\"}}";
        let chat = "{\"sessionId\":\"s\",\"projectHash\":\"p\",\"kind\":\"main\"}\n{\"$set\":{}}\n{\"id\":\"a\",\"type\":\"gemini\"}";
        for format in formats {
            assert!(described(format, b"\n").contains("empty"), "{format}");
            assert!(described(format, &utf16).contains("UTF-16"), "{format}");
            assert!(
                described(format, b"[{\"type\":\"system\"}]").contains("one JSON array"),
                "{format}"
            );
            assert!(described(format, b"[\n {}\n]").contains("one JSON array"), "{format}");
            assert!(described(format, rollout.as_bytes()).contains("a rollout"), "{format}");
            assert!(described(format, project.as_bytes()).contains("own record"), "{format}");
            assert!(described(format, chat.as_bytes()).contains("own record"), "{format}");
            assert!(described(format, b"hello").contains("none of its lines"), "{format}");
            let other = described(format, init.as_bytes());
            assert!(other.contains("use --format codex-json"), "{format}: {other}");
        }
    }
}
