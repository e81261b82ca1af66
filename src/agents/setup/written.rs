//! What stands in a tool's file for us: the command it will start.
//!
//! For: trying just that, on another database, and finding out that it is not there.
//! Not for: what ought to stand there (`Part::install`).

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Part, Place, What, json, parts, quoted, read, toml, words};
use crate::agents::Vendor;
use crate::error::Result;

/// Where those who manage a machine put Claude Code's settings, on Linux and macOS.
const MANAGED: [&str; 2] = [
    "/etc/claude-code/managed-settings.json",
    "/Library/Application Support/ClaudeCode/managed-settings.json",
];
/// What in Claude Code's settings keeps hooks like ours from being run.
const SWITCHES: [&str; 2] = ["disableAllHooks", "allowManagedHooksOnly"];

/// A command as a tool's file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The program, where the file says that it is; for hooks as a shell reads it.
    pub program: PathBuf,
    /// The name that it gives to the agent, if any.
    pub agent: Option<String>,
    call: Call,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    Shell(words::Call, String),
    Program(Vec<String>, Vec<(String, String)>),
}

impl Part {
    /// What the file has for us by now, if anything: of hooks, the one of `event`.
    ///
    /// # Errors
    /// [`crate::error::Code::Invalid`] if the file cannot be read.
    pub fn written(&self, event: &str) -> Result<Option<Written>> {
        let text = read(&self.path)?.unwrap_or_default();
        Ok(match self.what {
            What::Hooks => json::written_hook(&text, self.vendor, event).and_then(|command| {
                let call = words::call(&command, self.vendor)?;
                Some(Written {
                    program: call.program.clone().into(),
                    agent: call.agent.clone(),
                    call: Call::Shell(call, command),
                })
            }),
            What::McpJson => json::written_server(&text).and_then(|server| from_json(&server)),
            What::McpToml => toml::written_server(&text).map(|(program, args)| Written {
                program: program.into(),
                agent: None,
                call: Call::Program(args, Vec::new()),
            }),
        })
    }
}

/// What keeps `vendor`'s tool from running our hooks: each switch, with its file.
///
/// # Errors
/// [`crate::error::Code::Invalid`] if a file of the tool cannot be read as what it should be.
pub fn switched_off(vendor: Vendor, place: &Place) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for part in parts(vendor, place) {
        let text = read(&part.path)?.unwrap_or_default();
        let switches = match (vendor, part.what) {
            (Vendor::Claude, What::Hooks) => claude_switches(&text),
            (_, What::McpToml) => toml::hooks_off(&text).map(Vec::from_iter),
            _ => json::is_set(&text, "").map(|_| Vec::new()),
        };
        let switches = switches.map_err(|why| part.refused(&why))?;
        found.extend(
            switches
                .iter()
                .map(|switch| format!("{switch} in {}", part.path.display())),
        );
    }
    if vendor == Vendor::Claude {
        for path in MANAGED {
            // They are others' to read and to mend.
            let text = read(Path::new(path)).ok().flatten().unwrap_or_default();
            let switches = claude_switches(&text).unwrap_or_default();
            found.extend(switches.iter().map(|switch| format!("{switch} in {path}")));
        }
    }
    Ok(found)
}

fn claude_switches(text: &str) -> std::result::Result<Vec<&'static str>, super::Refusal> {
    let mut set = Vec::new();
    for name in SWITCHES {
        if json::is_set(text, name)? {
            set.push(name);
        }
    }
    Ok(set)
}

fn from_json(server: &Value) -> Option<Written> {
    let args = server["args"].as_array().into_iter().flatten();
    let env = server["env"].as_object().into_iter().flatten();
    let env: Vec<_> = env
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    let agent = env.iter().find(|(name, _)| name == "AGENTHUB_AGENT");
    Some(Written {
        program: server["command"].as_str()?.into(),
        agent: agent.map(|(_, agent)| agent.clone()),
        call: Call::Program(args.filter_map(Value::as_str).map(str::to_owned).collect(), env.clone()),
    })
}

impl Written {
    /// The command as the tool starts it, on the database `db` instead of its own.
    pub fn on(&self, db: &Path) -> Command {
        let mut command = match &self.call {
            Call::Shell(call, text) => {
                let mut command = Command::new("sh");
                command.args(["-c", &call.on(text, &quoted(db))]);
                command
            }
            Call::Program(args, env) => {
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

    /// The command for a person to try.
    pub fn shown(&self) -> String {
        match &self.call {
            Call::Shell(_, text) => text.clone(),
            Call::Program(args, _) => format!("{} {}", quoted(&self.program), args.join(" ")),
        }
    }
}
