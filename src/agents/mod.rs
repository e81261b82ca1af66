//! The agents' own tools: what each vendor's program prints, asks and reads.
//!
//! For: turning a vendor's JSON stream into rows, line by line ([`Stream`]); one file per
//! vendor, and [`task`] for what they have in common; and their hooks ([`hook`], [`mail`]).
//! Not for: starting the programs or reading their output (`cli::run`), or writing the rows
//! ([`record`]).
//!
//! 1. A line goes in, rows come out, at once: nothing here has a clock, a file or a process.
//! 2. What is not JSON, or of a type nobody has heard of, is passed over: the vendors' sets
//!    are open. Whatever the stream does, [`Stream::end`] ends the task.
//! 3. Tokens in include cached ones, whatever the vendor's own habit. Costs are the vendor's
//!    or none.

mod claude;
mod codex;
mod cursor;
mod gemini;
pub mod hook;
pub mod lines;
pub mod mail;
pub mod record;
pub mod setup;
pub mod task;

use serde_json::Value;

use crate::store::{NewTask, NewTelemetry};
use crate::text::lenient_json;
use task::Task;

/// One row to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// A step of the task.
    Task(Box<NewTask>),
    /// What the session has used so far.
    Usage(Box<NewTelemetry>),
}

/// Whose stream it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// Claude Code: `claude -p --output-format stream-json --verbose`.
    Claude,
    /// Codex: `codex exec --json`.
    Codex,
    /// Gemini CLI: `gemini -p … --output-format stream-json`.
    Gemini,
    /// Cursor's CLI: `cursor-agent -p --output-format stream-json`.
    Cursor,
}

impl Vendor {
    /// Its short name: in `source_type`, and before the session in an agent's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Cursor => "cursor",
        }
    }

    /// The arguments that make its program print this stream, those that `given` has not
    /// got already; or what stands in the way.
    ///
    /// # Errors
    /// The part of the command line that rules a stream out: another format, or none of the
    /// modes without a screen.
    pub fn flags(self, given: &[String]) -> Result<Vec<String>, &'static str> {
        match self {
            Self::Claude => claude::flags(given),
            Self::Codex => codex::flags(given),
            Self::Gemini => gemini::flags(given),
            Self::Cursor => cursor::flags(given),
        }
    }
}

/// What is known of a task before its first line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The task.
    pub task_id: String,
    /// The agent at work; its session gives it a name if it has none.
    pub agent_id: String,
    /// What it was asked to do.
    pub directive: String,
    /// The working directory.
    pub workspace: String,
    /// The process.
    pub pid: Option<i64>,
}

/// How a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The process exited with this code.
    Exit(i32),
    /// This signal ended the process.
    Signal(i32),
    /// There was no process to watch: nothing more came.
    Cut,
}

/// What a session has used: one set of totals.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Turns of the model.
    pub turns: i64,
    /// Tokens in, cached ones included.
    pub tokens_in: i64,
    /// Tokens out.
    pub tokens_out: i64,
    /// The cached part of `tokens_in`.
    pub tokens_cached: i64,
    /// US dollars, if the vendor reports any.
    pub cost: Option<f64>,
    /// Seconds.
    pub duration_sec: i64,
}

impl Usage {
    /// Both together.
    fn and(self, other: Self) -> Self {
        Self {
            turns: self.turns + other.turns,
            tokens_in: self.tokens_in + other.tokens_in,
            tokens_out: self.tokens_out + other.tokens_out,
            tokens_cached: self.tokens_cached + other.tokens_cached,
            cost: match (self.cost, other.cost) {
                (None, None) => None,
                (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
            },
            duration_sec: self.duration_sec + other.duration_sec,
        }
    }

    /// Of each total the larger.
    fn raised_to(self, other: Self) -> Self {
        Self {
            turns: self.turns.max(other.turns),
            tokens_in: self.tokens_in.max(other.tokens_in),
            tokens_out: self.tokens_out.max(other.tokens_out),
            tokens_cached: self.tokens_cached.max(other.tokens_cached),
            cost: match (self.cost, other.cost) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            },
            duration_sec: self.duration_sec.max(other.duration_sec),
        }
    }
}

/// One vendor's stream on its way into rows.
#[derive(Debug)]
pub struct Stream {
    task: Task,
    parser: Parser,
}

#[derive(Debug)]
enum Parser {
    Claude(claude::Parser),
    Codex(codex::Parser),
    Gemini(gemini::Parser),
    Cursor(cursor::Parser),
}

impl Stream {
    /// A stream about to begin.
    pub fn new(vendor: Vendor, about: About) -> Self {
        Self {
            task: Task::new(vendor, about),
            parser: match vendor {
                Vendor::Claude => Parser::Claude(claude::Parser::default()),
                Vendor::Codex => Parser::Codex(codex::Parser::default()),
                Vendor::Gemini => Parser::Gemini(gemini::Parser::default()),
                Vendor::Cursor => Parser::Cursor(cursor::Parser::default()),
            },
        }
    }

    /// The rows that say the task has begun.
    pub fn begin(&mut self) -> Vec<Row> {
        self.task.status("running", "");
        self.task.take()
    }

    /// The rows in one line, without its line break.
    pub fn line(&mut self, line: &[u8]) -> Vec<Row> {
        if let Some(value @ Value::Object(_)) = lenient_json::parse(line) {
            match &mut self.parser {
                Parser::Claude(parser) => parser.line(&value, &mut self.task),
                Parser::Codex(parser) => parser.line(&value, &mut self.task),
                Parser::Gemini(parser) => parser.line(&value, &mut self.task),
                Parser::Cursor(parser) => parser.line(&value, &mut self.task),
            }
        }
        self.task.take()
    }

    /// The session, once the stream has named it.
    pub fn session(&self) -> Option<&str> {
        self.task.session()
    }

    /// What this session had used before the stream began: a resumed one goes on from there.
    /// To be told once, when the session is known; its totals are rows from then on.
    pub fn earlier(&mut self, used: Usage) -> Vec<Row> {
        self.task.earlier(used);
        self.task.take()
    }

    /// The rows that end the task, `seconds` after it began.
    pub fn end(&mut self, ended: Ended, seconds: i64) -> Vec<Row> {
        match &mut self.parser {
            Parser::Claude(parser) => parser.end_message(&mut self.task),
            Parser::Gemini(parser) => parser.flush(&mut self.task),
            Parser::Codex(_) | Parser::Cursor(_) => {}
        }
        self.task.end(ended, seconds);
        self.task.take()
    }
}

/// The text at `key`, or nothing.
fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// The number at `key`, or 0. Beyond a quadrillion it is no number of tokens.
fn number(value: &Value, key: &str) -> i64 {
    let n = &value[key];
    #[expect(clippy::cast_possible_truncation, reason = "a float is cut to its whole part")]
    n.as_i64()
        .or_else(|| n.as_f64().map(|x| x as i64))
        .unwrap_or(0)
        .clamp(0, 1_000_000_000_000_000)
}

/// Whether `given` has the flag `name`, as `name` or `name=…`; if so, with what value.
fn flag<'a>(given: &'a [String], names: &[&str]) -> Option<&'a str> {
    // What follows `--` is a prompt, whatever it looks like.
    let flags = given.split(|arg| arg == "--").next().unwrap_or_default();
    flags.iter().enumerate().find_map(|(i, arg)| {
        if names.iter().any(|name| is_flag(arg, name)) {
            return Some(flags.get(i + 1).map_or("", String::as_str));
        }
        let (name, value) = arg.split_once('=')?;
        names.contains(&name).then_some(value)
    })
}

/// Letters of short flags that take no value, and so may stand together behind one dash.
const SWITCHES: &str = "cdfpvy";

/// Whether `word` is the flag `name`, or several short ones of which it is one: `-cp`.
pub(crate) fn is_flag(word: &str, name: &str) -> bool {
    let bundled = || {
        let (letters, letter) = (word.strip_prefix('-')?, name.strip_prefix('-')?);
        let short = letter.len() == 1 && letters.chars().all(|c| SWITCHES.contains(c));
        (short && letters.contains(letter)).then_some(())
    };
    word == name || bundled().is_some()
}

#[cfg(test)]
mod tests;
