//! Installs agenthub in the tools' configuration files (`agenthub init`), and removes it again.
//!
//! 1. A change is a function from a file's text to its new text. A second installation changes
//!    nothing; a removal restores the previous text. Comments and other programs' entries stay.
//! 2. A text that cannot be parsed is refused, with the line of the error.
//! 3. A file is replaced atomically, and only if its text is still the one that the plan was made
//!    from. Concurrent installations wait for each other.
//! 4. A hook's command changes only if it has to: Codex trusts a hook by the exact text of its
//!    command, and asks the user again after a change.

pub mod change;
mod extension_file;
mod hook_command;
mod installed;
pub(super) mod json_config;
mod plan;
mod rules_file;
pub(super) mod toml_config;
mod toml_hooks;

pub use change::{Backup, Change, Lock, apply};
pub use hook_command::is_hook_command;
pub use installed::{InstalledCommand, off_switches};
pub use plan::{install, refusal_remark, remove, replace};
