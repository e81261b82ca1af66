//! `agenthub demo`: a throw-away file, a hub, and agents that are real processes of
//! different kinds: a moving dashboard in one command.
//!
//! For: seeing in a minute what this is about.
//! Not for: pretending. The agents play, but every row goes the way every agent's rows go:
//! a shell with `sqlite3`, Python, the MCP server, `agenthub run`, this command line.
//!
//! 1. A folder for this run alone, and in it the file and everything else.
//! 2. Each agent is a process group, and lives as long as this process.
//! 3. Ctrl-C, SIGTERM, a closed terminal or the end of `--for`: the hub ends, the agents are killed, the
//!    folder is removed.

mod planner;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Cli, File, client, open, output, serve};
use crate::error::{Code, Error};
use crate::store::{NetworkFs, NewThread, Writer};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End after this many seconds [default: on Ctrl-C]
    #[arg(long = "for", value_name = "SECONDS", value_parser = super::seconds)]
    duration: Option<Duration>,
    /// The same number plays the same roles
    #[arg(long, default_value_t = 7, value_name = "N")]
    seed: u16,
    /// Where the hub listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// Do not open the dashboard in the browser
    #[arg(long)]
    no_open: bool,
    /// Be the agent that speaks MCP
    #[arg(long, hide = true)]
    planner: bool,
}

/// How the agents are played.
const BUILDER: &str = include_str!("../../../assets/demo/builder.sh");
const TESTER: &str = include_str!("../../../assets/demo/tester.sh");
const CODER: &str = include_str!("../../../assets/demo/coder.sh");
const ANALYST: &str = include_str!("../../../assets/demo/analyst.py");

pub(super) fn run(args: &Args) -> Result<()> {
    if args.planner {
        return planner::play();
    }
    let stage = Stage::set(args.seed)?;
    let db = stage.db().display().to_string();
    let given = ["agenthub", "--db", &db, "serve", "--listen", &args.listen];
    let Cli { file, command, .. } = Cli::try_parse_from(given).map_err(|e| Error::new(Code::Usage, e.to_string()))?;
    let super::Command::Serve(hub) = command else {
        // It is what was given.
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let end = async {
            match args.duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        let raise_the_curtain = async {
            while client::running(&stage.db()).await.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let cast = stage.cast()?;
            output::note("The agents play, but they are real processes. Nothing of this is kept; Ctrl-C ends it.")?;
            if !args.no_open && output::is_terminal() {
                open_page(&file);
            }
            anyhow::Ok(cast)
        };
        let (mut cast, mut failed) = (None, None);
        let all = async {
            match raise_the_curtain.await {
                Ok(agents) => {
                    cast = Some(agents);
                    end.await;
                }
                Err(e) => failed = Some(e),
            }
        };
        let served = Box::pin(serve::serve(&file, *hub, all)).await;
        drop(cast);
        failed.map_or(served, Err)
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    drop(stage);
    outcome
}

/// The browser may take its time.
fn open_page(file: &File) {
    let file = file.clone();
    drop(std::thread::spawn(move || {
        open::run(&file, &open::Args { json: false })
    }));
}

/// The folder everything happens in. Removed when dropped.
struct Stage {
    folder: PathBuf,
    program: PathBuf,
    seed: u16,
}

impl Stage {
    fn set(seed: u16) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("agenthub-demo-{}", std::process::id()));
        let stage = Self {
            program: std::env::current_exe().context("cannot find this program to start it again")?,
            folder,
            seed,
        };
        DirBuilder::new().mode(0o700).create(&stage.folder).map_err(|e| {
            let message = format!(
                "cannot make {}: {e}; set TMPDIR to a folder that can be written",
                stage.folder.display()
            );
            Error::new(Code::StoreUnavailable, message)
        })?;
        let writer = Writer::open(&stage.db(), NetworkFs::Refuse)?;
        for (id, title) in [
            ("build", "Builds of main"),
            ("testing", "What is being tested"),
            ("costs", "What it costs"),
        ] {
            writer.create_thread(&NewThread {
                id: id.to_owned(),
                title: Some(title.to_owned()),
                ..NewThread::default()
            })?;
        }
        Ok(stage)
    }

    fn db(&self) -> PathBuf {
        self.folder.join("hub.db")
    }

    /// The agents, as far as this machine can play them.
    fn cast(&self) -> Result<Cast> {
        let mut cast = Cast(Vec::new());
        cast.add(self.agent("planner", &self.program, &["demo", "--planner"]))?;
        cast.add(self.agent("tester", Path::new("sh"), &["-c", TESTER]))?;
        if can_run("sqlite3", "-version") {
            cast.add(self.agent("builder", Path::new("sh"), &["-c", BUILDER]))?;
        } else {
            output::note("without sqlite3 on PATH there is no builder")?;
        }
        if can_run("python3", "-c import sqlite3") {
            cast.add(self.agent("analyst", Path::new("python3"), &["-c", ANALYST]))?;
        } else {
            output::note("without python3 on PATH there is no analyst")?;
        }
        cast.add(self.agent("coder", Path::new("sh"), &["-c", CODER]))?;
        Ok(cast)
    }

    fn agent(&self, name: &str, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(&self.folder)
            .env("AGENTHUB", &self.program)
            .env("AGENTHUB_AGENT", name)
            .env("AGENTHUB_DB", self.db())
            .env("DEMO", std::process::id().to_string())
            .env("SEED", self.seed.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's cleaning of temporary folders.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The agents' processes. Killed, with all they have started, when dropped.
struct Cast(Vec<Child>);

impl Cast {
    fn add(&mut self, mut command: Command) -> Result<()> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        self.0.push(child);
        Ok(())
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // A group that is gone needs no killing.
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            drop(child.wait());
        }
    }
}

fn can_run(program: &str, args: &str) -> bool {
    let (first, rest) = args.split_once(' ').unwrap_or((args, ""));
    let mut command = Command::new(program);
    command.arg(first);
    if !rest.is_empty() {
        command.arg(rest);
    }
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
