//! Connecting the agents' tools: what goes into whose configuration file.
//!
//! For: the plan (`parts` of each vendor, as texts before and after) and carrying it out so
//! that nothing of anybody else's is lost.
//! Not for: showing it and asking (`cli::init`).
//!
//! 1. A change is a function from a file's text to its new text. Done twice, it changes
//!    nothing; undone, it leaves what was there. Comments and foreign entries stay.
//! 2. A text that cannot be read as what it should be is refused, with its line.
//! 3. A file is replaced whole, and only if it still says what the plan was made from.
//!    Whoever else connects tools at the same time waits.
//! 4. Command lines never change from one release to the next: Codex trusts a hook by its
//!    very words.

mod files;
mod json;
mod toml;
mod words;
mod written;

use std::path::{Path, PathBuf};

use super::hook::{self, Hook};
use super::{Vendor, claude, codex, cursor, gemini};
use crate::error::{Code, Error, Result};

pub use files::{Lock, apply, read};
pub use written::{Written, switched_off};

/// Where to connect, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The user's home.
    pub home: PathBuf,
    /// Only within this project's folder.
    pub project: Option<PathBuf>,
    /// This program, as the tools are to call it.
    pub program: PathBuf,
    /// The database, if it is not the usual one.
    pub db: Option<PathBuf>,
}

impl Place {
    /// A file in the project, or one in the home.
    pub(super) fn file(&self, in_project: &str, in_home: &str) -> PathBuf {
        match &self.project {
            Some(project) => project.join(in_project),
            None => self.home.join(in_home),
        }
    }

    /// The tool's own folder: where `variable` says, or `name` in the home or project.
    pub(super) fn folder(&self, variable: &str, name: &str) -> PathBuf {
        match (&self.project, std::env::var_os(variable)) {
            (None, Some(folder)) if !folder.is_empty() => folder.into(),
            _ => self.file(name, name),
        }
    }

    /// The words after the program's name, for `command`.
    fn args(&self, command: &[&str]) -> Vec<String> {
        let db = self
            .db
            .iter()
            .flat_map(|db| ["--db".to_owned(), db.display().to_string()]);
        db.chain(command.iter().map(|word| (*word).to_owned())).collect()
    }

    /// The command line of a hook, for a shell.
    pub fn hook_command(&self, vendor: Vendor) -> String {
        let db = self
            .db
            .as_ref()
            .map_or_else(String::new, |db| format!(" --db {}", quoted(db)));
        format!("{}{db} hook {}", quoted(&self.program), hook::tool(vendor))
    }
}

/// A path in double quotes, as shells read them.
fn quoted(path: &Path) -> String {
    let mut out = String::from("\"");
    for c in path.display().to_string().chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// What goes into one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Whose file.
    pub vendor: Vendor,
    /// The file.
    pub path: PathBuf,
    /// What.
    pub what: What,
}

/// What can go into a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Hooks, in JSON.
    Hooks,
    /// The MCP server, in JSON.
    McpJson,
    /// The MCP server, in TOML.
    McpToml,
}

/// Why a text was refused: one line for a person.
pub(super) type Refusal = String;

/// The files to which `vendor`'s tool is connected.
pub fn parts(vendor: Vendor, place: &Place) -> Vec<Part> {
    let files = match vendor {
        Vendor::Claude => claude::files(place),
        Vendor::Codex => codex::files(place),
        Vendor::Gemini => gemini::files(place),
        Vendor::Cursor => cursor::files(place),
    };
    files
        .into_iter()
        .map(|(path, what)| Part { vendor, path, what })
        .collect()
}

impl Part {
    /// The file's text with what belongs there. `None` is a file that is not there.
    ///
    /// # Errors
    /// [`Code::Invalid`] if the text cannot be read, naming file and line.
    pub fn install(&self, text: Option<&str>, place: &Place) -> Result<String> {
        let text = text.unwrap_or_default();
        let new = match self.what {
            What::Hooks => {
                let hooks: &[Hook] = hook::hooks(self.vendor);
                json::install_hooks(text, &place.hook_command(self.vendor), self.vendor, hooks)
            }
            What::McpJson => json::install_server(text, self.vendor, &place.program, &place.args(&["mcp"])),
            What::McpToml => toml::install_server(text, &place.program, &place.args(&["mcp"])),
        };
        new.map_err(|why| self.refused(&why))
    }

    /// The file's text without what is ours.
    ///
    /// # Errors
    /// As [`Part::install`].
    pub fn remove(&self, text: &str) -> Result<String> {
        let new = match self.what {
            What::Hooks => json::remove_hooks(text, self.vendor),
            What::McpJson => json::remove_server(text),
            What::McpToml => toml::remove_server(text),
        };
        new.map_err(|why| self.refused(&why))
    }

    /// Whether the tool has hooks in another file, which ours must not stand beside.
    pub fn is_elsewhere(&self, place: &Place) -> bool {
        let codex_hooks = self.vendor == Vendor::Codex && self.what == What::Hooks;
        codex_hooks
            && parts(Vendor::Codex, place)
                .iter()
                .filter(|part| part.what == What::McpToml)
                .any(|part| read(&part.path).is_ok_and(|text| text.is_some_and(|text| toml::has_hooks(&text))))
    }

    fn refused(&self, why: &str) -> Error {
        Error::new(
            Code::Invalid,
            format!(
                "cannot change {}: {why}; mend it, or leave this tool out with --only (nothing was changed)",
                self.path.display()
            ),
        )
    }
}

/// One file's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// What it says; `None` if it is not there.
    pub before: Option<String>,
    /// What it is to say; `None` if it is to go.
    pub after: Option<String>,
    /// The copy of what it said before, which is made, or goes.
    pub backup: Backup,
}

/// What happens to the copy beside the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backup {
    /// The text before is kept there.
    Make,
    /// It stays as it is: it has the text from before anything of ours.
    Keep,
    /// It has served and goes.
    Drop,
}

/// What connecting `part` does to its file, if it does anything.
///
/// # Errors
/// [`Code::Invalid`] if the file cannot be read as what it should be.
pub fn connect(part: &Part, place: &Place) -> Result<Option<Change>> {
    let before = read(&part.path)?;
    let after = part.install(before.as_deref(), place)?;
    if before.as_deref() == Some(after.as_str()) {
        return Ok(None);
    }
    let ours_already = match &before {
        Some(text) => part.remove(text)? != *text,
        None => false,
    };
    let backup = if before.is_none() || ours_already && files::backup(&part.path).exists() {
        Backup::Keep
    } else {
        Backup::Make
    };
    Ok(Some(Change {
        path: part.path.clone(),
        before,
        after: Some(after),
        backup,
    }))
}

/// What disconnecting `part` does to its file, if it does anything: the file as it was, byte
/// for byte, if nobody has changed it since; otherwise as it is, without what is ours.
///
/// # Errors
/// As [`connect`].
pub fn disconnect(part: &Part, place: &Place) -> Result<Option<Change>> {
    let Some(before) = read(&part.path)? else {
        return Ok(None);
    };
    let without = part.remove(&before)?;
    if without == before {
        return Ok(None);
    }
    let kept = read(&files::backup(&part.path))?;
    let is_untouched = |original: Option<&str>| {
        let clean = original.is_none_or(|text| part.remove(text).is_ok_and(|without| without == text));
        clean && part.install(original, place).is_ok_and(|text| text == before)
    };
    let (after, backup) = match kept {
        Some(kept) if is_untouched(Some(&kept)) => (Some(kept), Backup::Drop),
        None if is_untouched(None) => (None, Backup::Keep),
        _ => (Some(without), Backup::Keep),
    };
    Ok(Some(Change {
        path: part.path.clone(),
        before: Some(before),
        after,
        backup,
    }))
}
