//! Renders agents' text to a tree of typed nodes ([`tree`]), which the page and the terminal show.
//!
//! Text is data: HTML stays text, links have one of three schemes, terminal escapes become styles or disappear,
//! and hidden characters become visible. A text over a limit ([`MAX_BYTES`], [`MAX_NODES`], [`MAX_TIME`]) has no
//! tree and is shown as plain text. The time of each renderer is linear in its text; the clock is a second bound.

mod budget;
mod cache;
mod diff;
mod highlight;
mod json;
mod markdown;
mod terminal;
mod tool_call;
pub mod tree;

use std::time::Duration;

use budget::Budget;
pub use budget::{MAX_BYTES, MAX_NODES, MAX_TIME};
pub use cache::Cache;
use tree::{Block, PlainReason, Rendered};

use crate::text::safe_text;

/// A text, and what is known about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// A message: Markdown, or a JSON object or array, or a diff.
    Message(&'a str),
    /// The input of a tool's call.
    ToolInput {
        /// The tool's name.
        tool: &'a str,
        /// The input, usually a JSON object.
        input: &'a str,
    },
    /// The output of a tool's call.
    ToolOutput {
        /// The tool's name.
        tool: &'a str,
        /// The input of the call; empty if it is unknown.
        input: &'a str,
        /// The output.
        output: &'a str,
    },
    /// What a program prints on a terminal.
    Terminal(&'a str),
}

/// Renders a text.
pub fn render(source: Source<'_>) -> Rendered {
    render_within(source, MAX_TIME)
}

fn render_within(source: Source<'_>, time: Duration) -> Rendered {
    let size = match source {
        Source::Message(text) | Source::Terminal(text) | Source::ToolInput { input: text, .. } => text.len(),
        // Only the file's name is taken from an input that is too long.
        Source::ToolOutput { output, .. } => output.len(),
    };
    if size > MAX_BYTES {
        return Rendered::plain(PlainReason::TooLong);
    }
    let budget = &mut Budget::new(time);
    let blocks = match source {
        Source::Message(text) => message(text, budget),
        Source::ToolInput { tool, input } => tool_call::input(tool, input, budget),
        Source::ToolOutput { tool, input, output } => tool_call::output(tool, input, output, budget),
        Source::Terminal(text) => terminal::render(text, budget).map(|block| vec![block]),
    };
    blocks.map_or_else(Rendered::plain, Rendered::from)
}

/// Renders a message: JSON and diffs as such, everything else as Markdown.
fn message(text: &str, budget: &mut Budget) -> Result<Vec<Block>, PlainReason> {
    if let Some(block) = structured(text, budget)? {
        return Ok(vec![block]);
    }
    markdown::render(text, budget)
}

/// Renders a text that is completely JSON or a diff.
fn structured(text: &str, budget: &mut Budget) -> Result<Option<Block>, PlainReason> {
    Ok(match json::render(text, budget)? {
        Some(block) => Some(block),
        None if diff::is_diff(text) => diff::render(text, budget)?,
        None => None,
    })
}

/// Returns the text without terminal escapes, with hidden characters made visible. Tabs and line feeds stay.
fn clean(text: &str) -> String {
    safe_text::mark_hidden(&terminal::without_escapes(text))
}

#[cfg(test)]
mod tests;
