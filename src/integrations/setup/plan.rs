//! Plans the changes that install agenthub in a tool's configuration files, or remove it.

use std::path::{Path, PathBuf};

use super::change::{Backup, Change, backup_path, read, read_unmarked, split_mark};
use super::{extension_file, hook_command, json_config, rules_file, toml_config, toml_hooks};
use crate::error::{Code, Error, Result};
use crate::integrations::allowed_commands;
use crate::integrations::spec::{ConfigContent, ConfigFile, HookSpec, InstallTarget};

/// Returns the change that installs the entries of `files`, which all have the same path, if one is needed.
///
/// # Errors
/// [`Code::Invalid`] if the file cannot be read or parsed, naming file and line.
pub fn install(files: &[ConfigFile], target: &InstallTarget) -> Result<Option<Change>> {
    let Some(path) = common_path(files)? else {
        return Ok(None);
    };
    let before = read(path)?;
    let after = installed_text(files, before.as_deref(), target)?;
    installation(path, before, after, files, target)
}

/// Returns the change that installs the entries of `files` and removes those of `withdrawn`, which all have the same
/// path, if one is needed.
///
/// # Errors
/// As [`install`].
pub fn replace(files: &[ConfigFile], withdrawn: &[ConfigFile], target: &InstallTarget) -> Result<Option<Change>> {
    let all = [files, withdrawn].concat();
    let Some(path) = common_path(&all)? else {
        return Ok(None);
    };
    if files.is_empty() {
        return remove(withdrawn, target);
    }
    let before = read(path)?;
    let kept = before.as_ref().map(|text| removed_text(withdrawn, text)).transpose()?;
    let after = installed_text(files, kept.as_deref(), target)?;
    installation(path, before, after, files, target)
}

/// Returns the change of the file to the text `after`, which has the entries of `files`, if it differs.
fn installation(
    path: &Path,
    before: Option<String>,
    after: String,
    files: &[ConfigFile],
    target: &InstallTarget,
) -> Result<Option<Change>> {
    if before.as_deref() == Some(after.as_str()) {
        return Ok(None);
    }
    let is_installed = match &before {
        Some(text) => removed_text(files, text)? != *text,
        None => false,
    };
    // A backup is the text before the first installation: an upgrade keeps the one there is, and a file
    // with nothing but agenthub's entries needs none.
    let is_backup_unneeded =
        || -> Result<bool> { Ok(backup_path(path).exists() || installed_text(files, None, target)? == after) };
    let backup = if before.is_none() || is_installed && is_backup_unneeded()? {
        Backup::Keep
    } else {
        Backup::Create
    };
    Ok(Some(Change {
        path: path.to_owned(),
        before,
        after: Some(after),
        backup,
    }))
}

/// Returns the change that removes the entries of `files`, which all have the same path, if one is needed. If
/// the file was not changed since the installation, it is restored byte for byte; otherwise only the entries
/// are removed.
///
/// # Errors
/// As [`install`].
pub fn remove(files: &[ConfigFile], target: &InstallTarget) -> Result<Option<Change>> {
    let Some(path) = common_path(files)? else {
        return Ok(None);
    };
    let Some(before) = read(path)? else {
        return Ok(None);
    };
    let without = removed_text(files, &before)?;
    if without == before {
        return Ok(None);
    }
    let backup = read(&backup_path(path))?;
    // An earlier version may have written its entries in another form.
    let current = installed_text(files, Some(&before), target)?;
    let is_unchanged_since = |original: Option<&str>| {
        let is_clean = original.is_none_or(|text| removed_text(files, text).is_ok_and(|without| without == text));
        is_clean && installed_text(files, original, target).is_ok_and(|text| text == current)
    };
    let (after, backup) = match backup {
        Some(original) if is_unchanged_since(Some(&original)) => (Some(original), Backup::Remove),
        None if is_unchanged_since(None) => (None, Backup::Keep),
        _ => (Some(without), Backup::Keep),
    };
    Ok(Some(Change {
        path: path.clone(),
        before: Some(before),
        after,
        backup,
    }))
}

/// Returns the remark that the user's refusal of a permission stays, if `file` has one.
///
/// # Errors
/// As [`install`].
pub fn refusal_remark(file: &ConfigFile) -> Result<Option<String>> {
    let text = || read_unmarked(&file.path);
    let (field, value) = match file.content {
        ConfigContent::AllowServerJson(form) => (form.field, json_config::user_permission(&text()?, form)),
        ConfigContent::AllowServerToml(form) => (form.field, toml_config::user_permission(&text()?, form)),
        _ => return Ok(None),
    };
    let value = value.map_err(|reason| file.refused(&reason))?;
    Ok(value.map(|value| {
        format!(
            "{}: no permission for the MCP tools: {field} is {value} in {}; remove it there to permit them",
            file.tool.name,
            file.path.display()
        )
    }))
}

/// Returns the path that all `files` have; `None` without files.
fn common_path(files: &[ConfigFile]) -> Result<Option<&PathBuf>> {
    let mut paths = files.iter().map(|file| &file.path);
    let first = paths.next();
    match paths.all(|path| Some(path) == first) {
        true => Ok(first),
        false => Err(Error::new(Code::Internal, "one change is of one file")),
    }
}

/// Returns the file's text with the entries. `text` is `None` if the file does not exist.
fn installed_text(files: &[ConfigFile], text: Option<&str>, target: &InstallTarget) -> Result<String> {
    let text = text.unwrap_or_default().to_owned();
    files.iter().try_fold(text, |text, file| {
        let (mark, text) = split_mark(&text);
        let args = mcp_args(target);
        let new = match file.content {
            ConfigContent::Hooks => {
                let hooks = hooks(file)?;
                let command = hook_command::for_target(target, hooks.word);
                json_config::install_hooks(text, &command, hooks)
            }
            ConfigContent::HooksToml => {
                let hooks = hooks(file)?;
                toml_hooks::install(text, &hook_command::for_target(target, hooks.word), hooks)
            }
            ConfigContent::McpJson(form) => json_config::install_server(text, form, &target.program, &args),
            ConfigContent::McpToml(form) => toml_config::install_server(text, form, &target.program, &args),
            ConfigContent::AllowList(form) => {
                json_config::install_permissions(text, form, &allowed_commands::lines(target))
            }
            ConfigContent::AllowServerJson(form) => json_config::install_server_permission(text, form),
            ConfigContent::AllowServerToml(form) => toml_config::install_server_permission(text, form),
            ConfigContent::AllowRules(form) => rules_file::install(text, form, target),
            ConfigContent::Extension(form) => {
                let (program, args) = extension_file::command(target, hooks(file)?.word);
                extension_file::install(text, form, &program, &args)
            }
        };
        new.map(|new| format!("{mark}{new}"))
            .map_err(|reason| file.refused(&reason))
    })
}

/// Returns the file's text without the entries.
fn removed_text(files: &[ConfigFile], text: &str) -> Result<String> {
    files.iter().rev().try_fold(text.to_owned(), |text, file| {
        let (mark, text) = split_mark(&text);
        let new = match file.content {
            ConfigContent::Hooks => json_config::remove_hooks(text, hooks(file)?),
            ConfigContent::HooksToml => toml_hooks::remove(text, hooks(file)?),
            ConfigContent::McpJson(form) => json_config::remove_server(text, form),
            ConfigContent::McpToml(form) => toml_config::remove_server(text, form),
            ConfigContent::AllowList(form) => json_config::remove_permissions(text, form),
            ConfigContent::AllowServerJson(form) => json_config::remove_server_permission(text, form),
            ConfigContent::AllowServerToml(form) => toml_config::remove_server_permission(text, form),
            ConfigContent::AllowRules(_) => Ok(rules_file::remove(text)),
            ConfigContent::Extension(_) => Ok(extension_file::remove(text)),
        };
        new.map(|new| format!("{mark}{new}"))
            .map_err(|reason| file.refused(&reason))
    })
}

fn hooks(file: &ConfigFile) -> Result<&'static HookSpec> {
    let hooks = file.tool.hooks.as_ref();
    hooks.ok_or_else(|| Error::new(Code::Internal, format!("{} has no hooks", file.tool.name)))
}

fn mcp_args(target: &InstallTarget) -> Vec<String> {
    let db = target.db.iter();
    let db = db.flat_map(|db| ["--db".to_owned(), db.display().to_string()]);
    db.chain(["mcp".to_owned()]).collect()
}

impl ConfigFile {
    /// Returns the error for a text that cannot be parsed.
    pub(super) fn refused(&self, reason: &str) -> Error {
        Error::new(
            Code::Invalid,
            format!(
                "cannot change {}: {reason}; fix the file, or leave this tool out with --only (nothing was changed)",
                self.path.display()
            ),
        )
    }
}
