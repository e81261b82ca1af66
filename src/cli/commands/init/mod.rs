//! `agenthub init`: connects the agent tools on this machine, or disconnects them.
//!
//! It finds the tools, shows the changes to their files, asks once, applies the changes
//! (`integrations::setup`) and tries each connection (`verify`).

mod diff;
pub(super) mod excluded;
mod verify;
mod waking;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::cli::args::DatabaseArgs;
use crate::cli::terminal;
use crate::config;
use crate::error::{Code, Error};
use crate::integrations::setup::{self, Change, Lock};
use crate::integrations::spec::{ConfigContent, ConfigFile, InstallTarget, Integration};
use crate::integrations::{allowed_commands, program, registry};
use crate::text::quantity::count;
use crate::text::safe_text;

#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
pub(super) struct Args {
    /// Apply the changes without asking
    #[arg(long, short)]
    yes: bool,
    /// Show the changes without applying them
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Only these tools, even if they are not found on this machine
    #[arg(long, value_parser = tool_parser(), value_delimiter = ',', value_name = "TOOL")]
    only: Vec<Tool>,
    /// Connect only the project in the current directory
    #[arg(long)]
    project: bool,
    /// Give agents no permission to use agenthub without asking, and remove the one they have
    #[arg(long, conflicts_with = "undo")]
    no_allow: bool,
    /// Only this: do not record sessions in this directory and below, and do not greet them
    #[arg(long, value_name = "DIR", conflicts_with_all = ["dry_run", "only", "project", "undo", "no_allow"])]
    exclude: Vec<PathBuf>,
    /// Only this: record sessions in this directory again
    #[arg(long, value_name = "DIR", conflicts_with_all = ["dry_run", "only", "project", "undo", "no_allow"])]
    include: Vec<PathBuf>,
    /// Remove everything that init has added
    #[arg(long)]
    undo: bool,
}

type Tool = &'static Integration;

/// Parses a tool's id.
pub(super) fn tool_parser() -> impl TypedValueParser<Value = Tool> {
    let ids = registry::ALL.iter().map(|tool| PossibleValue::new(tool.id));
    PossibleValuesParser::new(ids).try_map(|id| registry::by_id(&id).ok_or("no such tool"))
}

/// Returns the help text that lists what each tool gets.
fn after_help() -> String {
    let names: Vec<&str> = registry::ALL.iter().map(|tool| tool.name).collect();
    format!(
        "{} get hooks and the MCP server. A second question is whether agents may use agenthub without asking: its\n\
         MCP tools, and the commands {}; --yes includes that. In Cursor it is\n\
         the MCP tools only, in OpenCode nothing: its own settings decide what it asks. Files are backed up as\n\
         FILE.agenthub.bak. A second run changes nothing.",
        and_list(&names),
        allowed_commands::SUBCOMMANDS.join(" "),
    )
}

fn and_list(items: &[&str]) -> String {
    match items.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => items.concat(),
    }
}

fn is_installed(tool: Tool, home: &Path) -> bool {
    tool.binaries.iter().any(|name| program::find(name).is_some()) || home.join(tool.home_folder).is_dir()
}

/// The changes to make.
#[derive(Default)]
struct Plan {
    changes: Vec<Change>,
    /// The files that will connect a tool, to verify.
    connected: Vec<ConfigFile>,
    /// The reasons why files are left out.
    remarks: Vec<String>,
}

/// What one question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Hooks and MCP servers.
    Connections,
    /// Permissions too.
    All,
    /// Hooks and MCP servers. Permissions are removed.
    WithoutPermissions,
}

impl Scope {
    fn includes(self, content: ConfigContent) -> bool {
        self == Self::All || !content.is_permission()
    }
}

pub(super) fn run(database: &DatabaseArgs, args: &Args) -> Result<()> {
    if !args.exclude.is_empty() || !args.include.is_empty() {
        return excluded::change(database, &args.exclude, &args.include);
    }
    let target = target(database, args)?;
    let tools = tools(args, &target)?;
    let first = if args.no_allow {
        Scope::WithoutPermissions
    } else if args.yes || args.dry_run || args.undo {
        Scope::All
    } else {
        Scope::Connections
    };
    let Some(connected) = change(&tools, args, &target, first)? else {
        return terminal::line("Nothing was changed.");
    };
    if args.undo || args.dry_run {
        return Ok(());
    }
    let writer = database.writer()?;
    terminal::line(&format!("Database: {}", database.path()?.display()))?;
    excluded::show(&writer)?;
    drop(writer);
    verify::verify(&connected, &target)?;
    if first == Scope::Connections {
        allow(&tools, args, &target)?;
    }
    waking::ask(&database.writer()?, args.yes)
}

/// Shows the changes and applies them if the user agrees. Returns the files that connect a tool, or `None` if
/// nothing was changed.
fn change(tools: &[Tool], args: &Args, target: &InstallTarget, scope: Scope) -> Result<Option<Vec<ConfigFile>>> {
    let shown = plan(tools, args, target, scope)?;
    show(&shown)?;
    if shown.changes.is_empty() {
        terminal::line(if args.undo {
            "Nothing to remove."
        } else {
            "Already connected: nothing to change."
        })?;
        return Ok(Some(shown.connected));
    }
    if args.dry_run || !(args.yes || ask(&format!("Change {}?", count(shown.changes.len(), "file")))?) {
        return Ok(None);
    }
    apply(&shown, tools, args, target, scope)?;
    Ok(Some(shown.connected))
}

/// Asks whether agents may use agenthub without asking, if they may not yet.
fn allow(tools: &[Tool], args: &Args, target: &InstallTarget) -> Result<()> {
    let shown = plan(tools, args, target, Scope::All)?;
    if shown.changes.is_empty() {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return terminal::line("Agents ask before they use agenthub. To allow it: agenthub init --yes");
    }
    show(&shown)?;
    let question = format!(
        "Allow agents to use agenthub's MCP tools and these commands without asking? It changes {}.",
        count(shown.changes.len(), "file")
    );
    if ask(&question)? {
        apply(&shown, tools, args, target, Scope::All)
    } else {
        terminal::line("No permission was added. To leave the question out: --no-allow")
    }
}

fn target(database: &DatabaseArgs, args: &Args) -> Result<InstallTarget> {
    Ok(InstallTarget {
        home: config::home_directory()?,
        project: args.project.then(std::env::current_dir).transpose()?,
        program: this_program()?,
        db: database.db.is_some().then(|| database.path()).transpose()?,
    })
}

/// Returns this program's path, as found on `PATH` if possible: a package manager keeps its link when
/// the version changes.
fn this_program() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let resolved = this.canonicalize()?;
    let found = program::find("agenthub").filter(|found| found.canonicalize().is_ok_and(|found| found == resolved));
    let program = found.unwrap_or(this);
    if program.file_name().is_none_or(|name| name != "agenthub") {
        // Commands with another name would not be recognized, and not be removed by --undo.
        let message = format!(
            "cannot connect {}: rename it to agenthub and run this again",
            program.display()
        );
        return Err(Error::new(Code::Usage, message).into());
    }
    Ok(program)
}

fn tools(args: &Args, target: &InstallTarget) -> Result<Vec<Tool>> {
    let all = registry::ALL.iter().copied();
    if !args.only.is_empty() {
        return Ok(all.filter(|tool| args.only.contains(tool)).collect());
    }
    let found: Vec<Tool> = all.filter(|tool| is_installed(tool, &target.home)).collect();
    if found.is_empty() {
        let names: Vec<&str> = registry::ALL.iter().map(|tool| tool.name).collect();
        let message = format!(
            "found none of {}; install one, or name it with --only",
            and_list(&names)
        );
        return Err(Error::new(Code::NotFound, message).into());
    }
    Ok(found)
}

fn plan(tools: &[Tool], args: &Args, target: &InstallTarget, scope: Scope) -> Result<Plan> {
    let mut plan = Plan::default();
    for tool in tools {
        // One change for each file, with all of its contents.
        for files in tool.files(target).chunk_by(|one, next| one.path == next.path) {
            let change = if args.undo {
                setup::remove(files, target)?
            } else {
                let mut wanted = Vec::new();
                for file in files.iter().filter(|file| scope.includes(file.content)) {
                    plan.remarks.extend(setup::refusal_remark(file)?);
                    match obstacle(file, args, target) {
                        Some(reason) => plan.remarks.push(reason),
                        None => wanted.push(file.clone()),
                    }
                }
                let connecting = wanted.iter().filter(|file| !file.content.is_permission());
                plan.connected.extend(connecting.cloned());
                match scope {
                    Scope::Connections | Scope::All => setup::install(&wanted, target)?,
                    Scope::WithoutPermissions => setup::replace(&wanted, &permissions(files), target)?,
                }
            };
            plan.changes.extend(change);
        }
    }
    Ok(plan)
}

fn permissions(files: &[ConfigFile]) -> Vec<ConfigFile> {
    let permissions = files.iter().filter(|file| file.content.is_permission());
    permissions.cloned().collect()
}

/// Returns why `file` is left out, if it is.
fn obstacle(file: &ConfigFile, args: &Args, target: &InstallTarget) -> Option<String> {
    if !file.content.has_hooks() {
        return None;
    }
    let hooks = file.tool.hooks.as_ref()?;
    (hooks.obstacle)(target, !args.only.is_empty())
}

/// Prints all changes.
fn show(plan: &Plan) -> Result<()> {
    for change in &plan.changes {
        let verb = match (&change.before, &change.after) {
            (None, _) => "new",
            (_, None) => "removed",
            _ => "changed",
        };
        terminal::line(&format!(
            "{} ({verb})",
            safe_text::escape(&change.path.display().to_string())
        ))?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        for line in diff::changed_lines(&text(&change.before), &text(&change.after)) {
            terminal::line(&format!("  {}", safe_text::escape(&line)))?;
        }
    }
    let mut remarks = plan.remarks.iter();
    remarks.try_for_each(|remark| terminal::line(&safe_text::escape(remark)))
}

fn ask(question: &str) -> Result<bool> {
    terminal::confirm(question, "apply")
}

/// Applies the shown changes, except those that another process has applied since.
fn apply(shown: &Plan, tools: &[Tool], args: &Args, target: &InstallTarget, scope: Scope) -> Result<()> {
    let lock = Lock::acquire(target.project.as_ref().unwrap_or(&target.home))?;
    let now = plan(tools, args, target, scope)?;
    if let Some(other) = now.changes.iter().find(|change| !shown.changes.contains(change)) {
        let message = format!(
            "{} has changed since it was shown; run this again",
            other.path.display()
        );
        return Err(Error::new(Code::Conflict, message).into());
    }
    for change in &now.changes {
        setup::apply(change, &lock)?;
        terminal::line(&format!(
            "Wrote {}",
            safe_text::escape(&change.path.display().to_string())
        ))?;
    }
    Ok(())
}
