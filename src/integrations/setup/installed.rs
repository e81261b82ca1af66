//! Finds the commands that are installed in configuration files, to check and to run them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::change::read_unmarked;
use super::hook_command::HookCommand;
use super::{extension_file, hook_command, json_config, toml_config, toml_hooks};
use crate::error::Result;
use crate::integrations::spec::{ConfigContent, ConfigFile, InstallTarget, Integration, Refusal};
use crate::text::shell;

/// A command in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledCommand {
    /// The program. In a hook it may contain variables, which only a shell expands.
    pub program: PathBuf,
    /// The agent's name, if the command sets it.
    pub agent: Option<String>,
    invocation: Invocation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Invocation {
    /// A command line that a shell runs.
    Shell { parsed: HookCommand, line: String },
    /// A program with its arguments and variables.
    Program {
        args: Vec<String>,
        env: Vec<(String, String)>,
    },
}

impl ConfigFile {
    /// Returns agenthub's command in the file: the hook of a new session, or the MCP server.
    ///
    /// # Errors
    /// [`crate::error::Code::Invalid`] if the file cannot be read.
    pub fn installed(&self) -> Result<Option<InstalledCommand>> {
        let text = read_unmarked(&self.path)?;
        Ok(match self.content {
            ConfigContent::Hooks => self.tool.hooks.as_ref().and_then(|hooks| {
                let line = json_config::hook(&text, hooks, hooks.start_event())?;
                from_hook(line, hooks.word)
            }),
            ConfigContent::HooksToml => self.tool.hooks.as_ref().and_then(|hooks| {
                let line = toml_hooks::hook(&text, hooks, hooks.start_event())?;
                from_hook(line, hooks.word)
            }),
            ConfigContent::McpJson(form) => json_config::server(&text, form).and_then(|server| from_json(&server)),
            ConfigContent::McpToml(form) => {
                toml_config::server(&text, form).map(|(program, args)| from_words(program.into(), args))
            }
            ConfigContent::Extension(_) => {
                extension_file::installed_command(&text).map(|(program, args)| from_words(program, args))
            }
            ConfigContent::AllowList(_)
            | ConfigContent::AllowServerJson(_)
            | ConfigContent::AllowServerToml(_)
            | ConfigContent::AllowRules(_) => None,
        })
    }
}

impl ConfigFile {
    /// Returns what an earlier version has installed and `init` would change or remove, apart from the program:
    /// the events of hooks, the MCP server's entry, or the extension.
    ///
    /// # Errors
    /// [`crate::error::Code::Invalid`] if the file cannot be read.
    pub fn outdated(&self) -> Result<Vec<String>> {
        let text = read_unmarked(&self.path)?;
        let mut name = "the MCP server";
        let reinstalled = match (self.content, &self.tool.hooks) {
            (ConfigContent::Hooks, Some(hooks)) => {
                return json_config::outdated_events(&text, hooks).map_err(|reason| self.refused(&reason));
            }
            (ConfigContent::HooksToml, Some(hooks)) => {
                return toml_hooks::outdated_events(&text, hooks).map_err(|reason| self.refused(&reason));
            }
            (ConfigContent::McpJson(form), _) => json_config::server(&text, form)
                .and_then(|server| from_json(&server))
                .and_then(|server| server.program_and_args())
                .map(|(program, args)| json_config::install_server(&text, form, &program, &args)),
            (ConfigContent::McpToml(form), _) => toml_config::server(&text, form)
                .map(|(program, args)| toml_config::install_server(&text, form, Path::new(&program), &args)),
            (ConfigContent::Extension(form), _) => {
                name = "the extension";
                extension_file::installed_command(&text)
                    .map(|(program, args)| extension_file::install(&text, form, &program, &args))
            }
            _ => None,
        };
        let reinstalled = reinstalled.transpose().map_err(|reason| self.refused(&reason))?;
        let is_outdated = reinstalled.is_some_and(|reinstalled| reinstalled != text);
        Ok(is_outdated.then(|| name.to_owned()).into_iter().collect())
    }
}

/// Returns the settings that keep `tool` from running agenthub's hooks, each with its file.
///
/// # Errors
/// [`crate::error::Code::Invalid`] if a configuration file of the tool cannot be read or parsed.
pub fn off_switches(tool: &'static Integration, target: &InstallTarget) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut add = |switches: Vec<&str>, path: &Path| {
        found.extend(switches.iter().map(|switch| format!("{switch} in {}", path.display())));
    };
    for file in tool.files(target) {
        let text = read_unmarked(&file.path)?;
        let switches = check(file.content, &text).and_then(|()| match &tool.hooks {
            Some(hooks) => (hooks.off_switches)(file.content, &text),
            None => Ok(Vec::new()),
        });
        add(switches.map_err(|reason| file.refused(&reason))?, &file.path);
    }
    if let Some(hooks) = &tool.hooks {
        for path in hooks.managed_files.iter().map(Path::new) {
            // The user cannot fix these files: one that cannot be read is skipped.
            let text = read_unmarked(path).unwrap_or_default();
            add(
                (hooks.off_switches)(ConfigContent::Hooks, &text).unwrap_or_default(),
                path,
            );
        }
    }
    Ok(found)
}

/// Refuses a text that cannot be parsed.
fn check(content: ConfigContent, text: &str) -> std::result::Result<(), Refusal> {
    match content {
        ConfigContent::Hooks
        | ConfigContent::McpJson(_)
        | ConfigContent::AllowList(_)
        | ConfigContent::AllowServerJson(_) => json_config::check(text),
        ConfigContent::HooksToml | ConfigContent::McpToml(_) | ConfigContent::AllowServerToml(_) => {
            toml_config::parse(text).map(drop)
        }
        ConfigContent::AllowRules(_) | ConfigContent::Extension(_) => Ok(()),
    }
}

fn from_hook(line: String, hook_word: &str) -> Option<InstalledCommand> {
    let parsed = hook_command::parse(&line, hook_word)?;
    Some(InstalledCommand {
        program: parsed.program.clone().into(),
        agent: parsed.agent.clone(),
        invocation: Invocation::Shell { parsed, line },
    })
}

fn from_words(program: PathBuf, args: Vec<String>) -> InstalledCommand {
    InstalledCommand {
        program,
        agent: None,
        invocation: Invocation::Program { args, env: Vec::new() },
    }
}

fn from_json(server: &Value) -> Option<InstalledCommand> {
    let words = |value: &Value| -> Vec<String> {
        let words = value.as_array().into_iter().flatten();
        words.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (program, args) = match server["command"].as_str() {
        Some(program) => (program.to_owned(), words(&server["args"])),
        None => {
            let mut words = words(&server["command"]).into_iter();
            (words.next()?, words.collect())
        }
    };
    let env = ["env", "environment"]
        .iter()
        .filter_map(|name| server[*name].as_object());
    let env = env.flatten();
    let env: Vec<_> = env
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    let agent = env.iter().find(|(name, _)| name == "AGENTHUB_AGENT");
    Some(InstalledCommand {
        program: program.into(),
        agent: agent.map(|(_, agent)| agent.clone()),
        invocation: Invocation::Program { args, env: env.clone() },
    })
}

impl InstalledCommand {
    /// Returns the command as the tool starts it, but with the database `db`.
    pub fn with_db(&self, db: &Path) -> Command {
        let mut command = match &self.invocation {
            Invocation::Shell { parsed, line } => {
                let mut command = Command::new("sh");
                command.args(["-c", &parsed.with_db(line, &shell::quote(db))]);
                command
            }
            Invocation::Program { args, env } => {
                let mut command = Command::new(&self.program);
                let mut args = args.clone();
                if let [flag, value, ..] = args.as_mut_slice()
                    && flag == "--db"
                {
                    *value = db.display().to_string();
                }
                command.args(args).envs(env.iter().map(|(name, value)| (name, value)));
                command
            }
        };
        command.env("AGENTHUB_DB", db);
        command
    }

    /// Returns the program and its arguments, if no shell runs it.
    fn program_and_args(&self) -> Option<(PathBuf, Vec<String>)> {
        match &self.invocation {
            Invocation::Shell { .. } => None,
            Invocation::Program { args, .. } => Some((self.program.clone(), args.clone())),
        }
    }

    /// Returns the command line for the user to run.
    pub fn shown(&self) -> String {
        match &self.invocation {
            Invocation::Shell { line, .. } => line.clone(),
            Invocation::Program { args, .. } => {
                let args = args.iter().map(Path::new);
                let words: Vec<String> = [self.program.as_path()]
                    .into_iter()
                    .chain(args)
                    .map(shell::quote)
                    .collect();
                words.join(" ")
            }
        }
    }
}
