//! `agenthub init`: connects the agents' tools on this machine, or lets them go again.
//!
//! For: finding them, showing what would change, asking once, and proving that it works.
//! Not for: how a file is changed (`agents::setup`), or how a connection is tried (`proof`).

mod proof;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use super::{File, diff, output};
use crate::agents::Vendor;
use crate::agents::setup::{self, Change, Lock, Part, Place, What};
use crate::error::{Code, Error};
use crate::text::safe_text;

/// The first Claude Code that passes over events it does not know: an older one throws the
/// whole file away over one of them.
const CLAUDE_HOOKS_SINCE: (u32, u32, u32) = (2, 1, 101);
/// How long a program may take to tell its version, or a hook to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Claude Code and Codex get hooks and the MCP server, Gemini CLI and Cursor the MCP server.\n\
    Files are backed up as FILE.agenthub.bak. A second run changes nothing."
)]
pub(super) struct Args {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Only these tools, found or not
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TOOL")]
    only: Vec<Tool>,
    /// Only in this folder's project
    #[arg(long)]
    project: bool,
    /// Take everything out again
    #[arg(long)]
    undo: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Tool {
    Claude,
    Codex,
    Gemini,
    Cursor,
}

impl Tool {
    pub(super) const ALL: [Self; 4] = [Self::Claude, Self::Codex, Self::Gemini, Self::Cursor];

    pub(super) fn vendor(self) -> Vendor {
        match self {
            Self::Claude => Vendor::Claude,
            Self::Codex => Vendor::Codex,
            Self::Gemini => Vendor::Gemini,
            Self::Cursor => Vendor::Cursor,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Claude => "Claude Code",
            Self::Codex => "Codex",
            Self::Gemini => "Gemini CLI",
            Self::Cursor => "Cursor",
        }
    }

    /// Programs and folders of the home that show that it is installed.
    fn traces(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Claude => (&["claude"], ".claude"),
            Self::Codex => (&["codex"], ".codex"),
            Self::Gemini => (&["gemini"], ".gemini"),
            Self::Cursor => (&["cursor", "cursor-agent"], ".cursor"),
        }
    }

    fn is_installed(self, home: &Path) -> bool {
        let (programs, folder) = self.traces();
        programs.iter().any(|name| find(name).is_some()) || home.join(folder).is_dir()
    }
}

/// What is to be done, and what is to be said about it.
#[derive(Default)]
struct Plan {
    changes: Vec<Change>,
    /// What will be there, to be proved.
    connected: Vec<(Tool, Part)>,
    remarks: Vec<String>,
}

pub(super) fn run(file: &File, args: &Args) -> Result<()> {
    let place = place(file, args)?;
    let tools = tools(args, &place)?;
    let shown = plan(&tools, args, &place)?;
    say(&shown)?;
    if shown.changes.is_empty() {
        let word = if args.undo {
            "Nothing of ours is there"
        } else {
            "Everything is connected"
        };
        output::line(&format!("{word}: nothing to change."))?;
    } else {
        if args.dry_run || !(args.yes || ask(shown.changes.len())?) {
            return output::line("Nothing was changed.");
        }
        carry_out(&shown, &tools, args, &place)?;
    }
    if args.undo || args.dry_run {
        return Ok(());
    }
    drop(file.writer()?);
    output::line(&format!("The file: {}", file.path()?.display()))?;
    proof::prove(&shown.connected, &place)
}

fn place(file: &File, args: &Args) -> Result<Place> {
    let home = std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from);
    let home = home.filter(|home| home.is_dir()).ok_or_else(|| {
        Error::new(
            Code::Usage,
            "cannot find this user's home; set HOME to a folder that exists",
        )
    })?;
    Ok(Place {
        home,
        project: args.project.then(std::env::current_dir).transpose()?,
        program: program()?,
        db: file.db.is_some().then(|| file.path()).transpose()?,
    })
}

/// This program by the name it is found under: what a package manager links to stays where
/// it is when the version changes.
fn program() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let whole = this.canonicalize()?;
    let found = find("agenthub").filter(|found| found.canonicalize().is_ok_and(|found| found == whole));
    let program = found.unwrap_or(this);
    if program.file_name().is_none_or(|name| name != "agenthub") {
        // By another name it would not be known again, nor taken out.
        let why = format!(
            "cannot connect {}: name it agenthub and run this again",
            program.display()
        );
        return Err(Error::new(Code::Usage, why).into());
    }
    Ok(program)
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file())
}

fn tools(args: &Args, place: &Place) -> Result<Vec<Tool>> {
    if !args.only.is_empty() {
        return Ok(Tool::ALL.into_iter().filter(|tool| args.only.contains(tool)).collect());
    }
    let found: Vec<Tool> = Tool::ALL
        .into_iter()
        .filter(|tool| tool.is_installed(&place.home))
        .collect();
    if found.is_empty() {
        let why = "found none of Claude Code, Codex, Gemini CLI and Cursor; install one, or name it with --only";
        return Err(Error::new(Code::NotFound, why).into());
    }
    Ok(found)
}

fn plan(tools: &[Tool], args: &Args, place: &Place) -> Result<Plan> {
    let mut plan = Plan::default();
    for tool in tools {
        for part in setup::parts(tool.vendor(), place) {
            let change = if args.undo {
                setup::disconnect(&part, place)?
            } else if let Some(why) = hindrance(*tool, &part, args, place) {
                plan.remarks.push(why);
                None
            } else {
                plan.connected.push((*tool, part.clone()));
                setup::connect(&part, place)?
            };
            plan.changes.extend(change);
        }
    }
    Ok(plan)
}

/// Why a part is left out, though its tool is there.
fn hindrance(tool: Tool, part: &Part, args: &Args, place: &Place) -> Option<String> {
    if part.what != What::Hooks {
        return None;
    }
    if part.is_elsewhere(place) {
        return Some(
            "Codex: no hooks, because config.toml has some and Codex wants them in one place. Move them to hooks.json \
             and run this again."
                .to_owned(),
        );
    }
    if tool != Tool::Claude {
        return None;
    }
    match claude_version() {
        Some(version) if version < CLAUDE_HOOKS_SINCE => Some(format!(
            "Claude Code {}.{}.{}: no hooks, because this version drops a whole settings file over an event it does not \
             know. Update it to 2.1.101 or later and run this again.",
            version.0, version.1, version.2
        )),
        None if args.only.is_empty() => Some(
            "Claude Code: no hooks, because claude --version cannot be run and an old version would drop its whole \
             settings file. If it is 2.1.101 or later: agenthub init --only claude"
                .to_owned(),
        ),
        _ => None,
    }
}

fn claude_version() -> Option<(u32, u32, u32)> {
    let mut command = Command::new(find("claude")?);
    command.arg("--version");
    let said = answer_of(command, b"")?;
    let mut numbers = said.split_whitespace().next()?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Shows the changes, whole: one look, one decision.
fn say(plan: &Plan) -> Result<()> {
    for change in &plan.changes {
        let verb = match (&change.before, &change.after) {
            (None, _) => "new",
            (_, None) => "goes",
            _ => "changes",
        };
        output::line(&format!(
            "{} ({verb})",
            safe_text::escape(&change.path.display().to_string())
        ))?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        for line in diff::lines(&text(&change.before), &text(&change.after)) {
            output::line(&format!("  {}", safe_text::escape(&line)))?;
        }
    }
    plan.remarks.iter().try_for_each(|remark| output::line(remark))
}

fn ask(files: usize) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Error::new(Code::Usage, "nobody is here to say yes; run it again with --yes").into());
    }
    let word = if files == 1 { "file" } else { "files" };
    write!(io::stderr(), "Change {files} {word}? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Carries out what was shown, or what is left of it: somebody else may have done the same
/// meanwhile.
fn carry_out(shown: &Plan, tools: &[Tool], args: &Args, place: &Place) -> Result<()> {
    let lock = Lock::take(place.project.as_ref().unwrap_or(&place.home))?;
    let now = plan(tools, args, place)?;
    if let Some(other) = now.changes.iter().find(|change| !shown.changes.contains(change)) {
        let why = format!(
            "{} has changed since it was shown; run this again",
            other.path.display()
        );
        return Err(Error::new(Code::Conflict, why).into());
    }
    for change in &now.changes {
        setup::apply(change, &lock)?;
        output::line(&format!(
            "Wrote {}",
            safe_text::escape(&change.path.display().to_string())
        ))?;
    }
    Ok(())
}

/// What a program says to `input`, if it succeeds within [`PATIENCE`].
fn answer_of(mut command: Command, input: &[u8]) -> Option<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // It may not want to know.
    drop(child.stdin.take()?.write_all(input));
    let mut stdout = child.stdout.take()?;
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let text = io::read_to_string(&mut stdout);
        // Whoever waits may have given up.
        drop(said.send(text));
    });
    let text = heard.recv_timeout(PATIENCE);
    if text.is_err() {
        drop(child.kill());
    }
    let succeeded = child.wait().is_ok_and(|status| status.success());
    text.ok()?.ok().filter(|_| succeeded)
}
