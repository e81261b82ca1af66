//! The agent tools that agenthub knows (Claude Code, Codex, Gemini CLI, Cursor …).
//!
//! Each tool has a folder with everything about it: how to run it and parse its JSON stream
//! (`stream`), its hooks (`hooks`), its configuration files (`config`). [`registry`] lists the
//! tools; the rest of agenthub asks the registry and names no tool itself.
//!
//! To add a tool: write its folder with an [`spec::Integration`] value, declare the module
//! below, and add one line to [`registry::ALL`].
//!
//! * [`stream`]: one tool's JSON stream, line by line, into rows. No clock, no file, no process.
//! * [`recorder`]: a thread that writes these rows while the tool runs.
//! * [`hook_handler`]: one call of a hook, into rows and mail for the model.
//! * [`setup`]: what `agenthub init` writes into configuration files.
//! * [`identity`]: which agent the current process speaks for.

pub mod agent_name;
pub mod arguments;
pub mod environment;
pub mod hook_handler;
pub mod identity;
mod json_fields;
pub mod line_splitter;
pub mod mail_text;
pub mod program;
pub mod recorder;
pub mod registry;
pub mod setup;
pub mod spec;
pub mod stream;
pub mod task_builder;
pub mod usage;

mod claude;
mod codex;
mod cursor;
mod gemini;

#[cfg(test)]
mod tests;
