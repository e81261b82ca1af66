//! The agent tools that agenthub knows (Claude Code, Codex, Gemini CLI, Cursor …).
//!
//! Each tool has a directory with all its code: how to run it and parse its JSON stream
//! (`stream`), its hooks (`hooks`), its configuration files (`config`). [`registry`] lists the
//! tools; the rest of agenthub asks the registry and names no tool itself.
//!
//! To add a tool: create its directory with a [`spec::Integration`] value, declare the module
//! below, and add one line to [`registry::ALL`].
//!
//! * [`stream`]: one tool's JSON stream, line by line, into rows. It uses no clock, file or process.
//! * [`recorder`]: a thread that writes these rows while the tool runs.
//! * [`hook_handler`]: one call of a hook, into rows and mail for the model.
//! * [`hook_spool`]: events of hooks that could not get the database's lock in time.
//! * [`setup`]: the changes that `agenthub init` makes to configuration files.
//! * [`allowed_commands`]: the commands that `agenthub init` offers to allow.
//! * [`identity`]: the agent name of the current process, and whether it runs in an agent's shell.
//! * [`session_agent`]: which agent a session is; [`session_check`]: sessions that have ended without a hook.
//! * [`edited_files`]: which files a tool call edits.
//! * [`fence`]: untrusted text as a model gets it.

pub mod agent_name;
pub mod allowed_commands;
pub mod arguments;
pub mod edited_files;
pub mod environment;
pub mod fence;
mod hook_fields;
pub mod hook_handler;
pub mod hook_spool;
pub mod identity;
mod json_fields;
pub mod line_splitter;
pub mod mail_text;
mod message_stream;
pub mod program;
mod prompt_text;
pub mod recorder;
pub mod registry;
pub mod session_agent;
pub mod session_check;
pub mod session_state;
pub mod setup;
pub mod spec;
pub mod stream;
pub mod task_builder;
pub mod transcript;
pub mod unknown_content;
pub mod usage;
pub mod wake;

mod claude;
mod codex;
mod copilot;
mod cursor;
mod gemini;
mod kimi;
mod opencode;
mod qwen;

#[cfg(test)]
mod tests;
