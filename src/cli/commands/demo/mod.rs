//! `agenthub demo`: a hub on a temporary database, with simulated agents.
//!
//! The agents' behavior is scripted, but each is a real process that writes as agents do: a shell
//! with `sqlite3`, Python, the MCP server, `agenthub run`, this command line.
//!
//! 1. The database and all other files are in one new temporary directory.
//! 2. Each agent is a process group that ends with this process.
//! 3. On Ctrl-C, SIGTERM, SIGHUP or after `--for`, the hub shuts down, the agents are killed and the
//!    directory is removed.

mod planner;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser as _;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{open, serve};
use crate::cli::args::{self, DatabaseArgs};
use crate::cli::{hub_client, terminal};
use crate::error::{Code, Error};
use crate::store::{NetworkFs, NewThread, Writer};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Stop after this many seconds [default: run until Ctrl-C]
    #[arg(long = "for", value_name = "SECONDS", value_parser = args::seconds)]
    duration: Option<Duration>,
    /// Seed of the simulation; the same seed repeats the same events
    #[arg(long, default_value_t = 7, value_name = "N")]
    seed: u16,
    /// Address and port to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// Do not open the page in the browser
    #[arg(long)]
    no_open: bool,
    /// Run the simulated agent that uses MCP
    #[arg(long, hide = true)]
    planner: bool,
}

/// The programs of the simulated agents.
const BUILDER: &str = include_str!("../../../../assets/demo/builder.sh");
const TESTER: &str = include_str!("../../../../assets/demo/tester.sh");
const CODER: &str = include_str!("../../../../assets/demo/coder.sh");
const ANALYST: &str = include_str!("../../../../assets/demo/analyst.py");

pub(super) fn run(args: &Args) -> Result<()> {
    if args.planner {
        return planner::run();
    }
    let workspace = Workspace::create(args.seed)?;
    let db = workspace.db().display().to_string();
    let serve_args = ["agenthub", "--db", &db, "--listen", &args.listen];
    let Serve { database, hub } =
        Serve::try_parse_from(serve_args).map_err(|e| Error::new(Code::Usage, e.to_string().trim_end().to_owned()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let end = async {
            match args.duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        let start_agents = async {
            while hub_client::running(&workspace.db()).await.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let agents = workspace.start_agents()?;
            terminal::note("Simulated agents in real processes. Nothing is saved; Ctrl-C stops the demo.")?;
            if !args.no_open && terminal::is_terminal() {
                open_page(&database);
            }
            anyhow::Ok(agents)
        };
        let (mut agents, mut failure) = (None, None);
        let until_end = async {
            match start_agents.await {
                Ok(started) => {
                    agents = Some(started);
                    end.await;
                }
                Err(e) => failure = Some(e),
            }
        };
        let served = Box::pin(serve::serve(&database, hub, until_end)).await;
        drop(agents);
        failure.map_or(served, Err)
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    drop(workspace);
    outcome
}

/// The command line of `agenthub serve`, for its defaults.
#[derive(Debug, clap::Parser)]
struct Serve {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    hub: serve::Args,
}

/// Opens the page from another thread: starting a browser may take a long time.
fn open_page(database: &DatabaseArgs) {
    let database = database.clone();
    drop(std::thread::spawn(move || {
        open::run(&database, &open::Args { json: false })
    }));
}

/// The temporary directory of one demo. Removed when dropped.
struct Workspace {
    dir: PathBuf,
    program: PathBuf,
    seed: u16,
}

impl Workspace {
    fn create(seed: u16) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("agenthub-demo-{}", std::process::id()));
        let workspace = Self {
            program: std::env::current_exe().context("cannot find the path of this program")?,
            dir,
            seed,
        };
        DirBuilder::new().mode(0o700).create(&workspace.dir).map_err(|e| {
            let message = format!(
                "cannot create {}: {e}; set TMPDIR to a writable directory",
                workspace.dir.display()
            );
            Error::new(Code::StoreUnavailable, message)
        })?;
        let writer = Writer::open(&workspace.db(), NetworkFs::Refuse)?;
        for (id, title) in [
            ("build", "Builds of main"),
            ("testing", "Test results"),
            ("costs", "Costs"),
        ] {
            writer.create_thread(&NewThread {
                id: id.to_owned(),
                title: Some(title.to_owned()),
                ..NewThread::default()
            })?;
        }
        Ok(workspace)
    }

    fn db(&self) -> PathBuf {
        self.dir.join("hub.db")
    }

    /// Starts the agents whose interpreters are installed.
    fn start_agents(&self) -> Result<Agents> {
        let mut agents = Agents(Vec::new());
        agents.add(self.agent("planner", &self.program, &["demo", "--planner"]))?;
        agents.add(self.agent("tester", Path::new("sh"), &["-c", TESTER]))?;
        if can_run("sqlite3", "-version") {
            agents.add(self.agent("builder", Path::new("sh"), &["-c", BUILDER]))?;
        } else {
            terminal::note("sqlite3 is not on PATH: the agent \"builder\" is left out")?;
        }
        if can_run("python3", "-c import sqlite3") {
            agents.add(self.agent("analyst", Path::new("python3"), &["-c", ANALYST]))?;
        } else {
            terminal::note("python3 is not on PATH: the agent \"analyst\" is left out")?;
        }
        agents.add(self.agent("coder", Path::new("sh"), &["-c", CODER]))?;
        Ok(agents)
    }

    fn agent(&self, name: &str, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(&self.dir)
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

impl Drop for Workspace {
    fn drop(&mut self) {
        // If this fails, the system removes the directory with other temporary files.
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// The agents' process groups. Killed when dropped.
struct Agents(Vec<Child>);

impl Agents {
    fn add(&mut self, mut command: Command) -> Result<()> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        self.0.push(child);
        Ok(())
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Fails if the group has ended already.
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
