//! `agenthub demo`: a hub on a temporary database, with agents that follow a script.
//!
//! 1. The database and all other files are in one new temporary directory.
//! 2. A thread plays the story (`story`) with the player (`player`): it writes the rows that real agents write, at
//!    their pace, and reads the person's answers.
//! 3. On Ctrl-C, SIGTERM, SIGHUP or after `--for`, the hub shuts down, the thread ends and the directory is removed.

mod history;
mod player;
mod random;
mod script;
mod stage;
mod story;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser as _;
use tokio::sync::oneshot;

use self::player::Player;
use self::stage::Database;
use self::story::STORY;
use super::{open, serve};
use crate::cli::args::{self, DatabaseArgs};
use crate::cli::{hub_client, terminal};
use crate::error::{Code, Error};
use crate::protocol::now_ms;

/// How much faster the story is with `--fast`.
const FAST: u32 = 12;

/// What `--help` says about the pace.
const HELP: &str = "Six agents of five tools work in three repositories: they divide work by mail, review it, fail, \
take over from each other, and ask you for decisions. One round of the story takes about five minutes; then it \
continues with variations. The agents go on without your answer after a while.

By default the agents work at the pace of real ones: a tool call every few seconds. With --fast, everything is 12 times \
as fast: a round takes half a minute.

The demo has a temporary database with a week of past costs. It is removed when the demo ends, and no other database \
is touched.";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Args {
    /// Play the story 12 times as fast as real agents work
    #[arg(long)]
    fast: bool,
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
}

pub(super) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::create()?;
    let seed = u64::from(args.seed);
    Database::open(&workspace.db())?.write_all(history::week(&STORY, seed, now_ms()))?;
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
        let (mut performance, mut failure) = (None, None);
        let until_end = async {
            while hub_client::running(&workspace.db()).await.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let begun = Performance::begin(&workspace.db(), seed, if args.fast { FAST } else { 1 });
            let failed = match begun {
                Ok((begun, failed)) => {
                    performance = Some(begun);
                    failed
                }
                Err(e) => {
                    failure = Some(e);
                    return;
                }
            };
            if let Err(e) = greet(args, &database, &workspace) {
                failure = Some(e);
                return;
            }
            tokio::select! {
                () = end => {}
                Ok(e) = failed => failure = Some(e),
            }
        };
        let served = Box::pin(serve::serve(&database, hub, until_end)).await;
        drop(performance);
        failure.map_or(served, Err)
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    workspace.remove()?;
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

/// Says what runs and how it ends, and opens the page.
fn greet(args: &Args, database: &DatabaseArgs, workspace: &Workspace) -> Result<()> {
    let pace = if args.fast {
        "fast"
    } else {
        "at the pace of real ones; --fast is 12 times as fast"
    };
    terminal::note(&format!(
        "Simulated agents ({pace}). Ctrl-C stops the demo and removes its data in {}.",
        workspace.dir.display()
    ))?;
    if !args.no_open && terminal::is_terminal() {
        let database = database.clone();
        // In another thread: starting a browser may take a long time.
        drop(thread::spawn(move || open::run(&database, &open::Args { json: false })));
    }
    Ok(())
}

/// The thread that plays the story. Ends when dropped.
struct Performance {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Performance {
    /// Begins to play the story. The receiver gets the error if the story cannot be continued.
    fn begin(db: &Path, seed: u64, speed: u32) -> Result<(Self, oneshot::Receiver<anyhow::Error>)> {
        let (stop, stopped) = channel();
        let (failed, failure) = oneshot::channel();
        let db = db.to_owned();
        let thread = thread::Builder::new()
            .name("agenthub-demo".into())
            .spawn(move || {
                if let Err(e) = play(&db, seed, speed, &stopped) {
                    drop(failed.send(e));
                }
            })
            .context("cannot start a thread")?;
        let performance = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        Ok((performance, failure))
    }
}

impl Drop for Performance {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread was printed, and the data is removed anyway.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Plays the story until the sender of `stopped` is dropped.
fn play(db: &Path, seed: u64, speed: u32, stopped: &Receiver<()>) -> Result<()> {
    let mut database = Database::open(db)?;
    let mut player = Player::new(&STORY, seed);
    let begin = Instant::now();
    loop {
        let now = begin.elapsed() * speed;
        let next = player.play(now, &mut database)?;
        if stopped.recv_timeout(next.saturating_sub(now) / speed) != Err(RecvTimeoutError::Timeout) {
            return Ok(());
        }
    }
}

/// The temporary directory of one demo. Removed when dropped.
struct Workspace {
    dir: PathBuf,
}

impl Workspace {
    fn create() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("agenthub-demo-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&dir).map_err(|e| {
            let message = format!(
                "cannot create {}: {e}; set TMPDIR to a writable directory",
                dir.display()
            );
            Error::new(Code::StoreUnavailable, message)
        })?;
        Ok(Self { dir })
    }

    fn db(&self) -> PathBuf {
        self.dir.join("hub.db")
    }

    /// Removes the directory, and says so.
    fn remove(self) -> Result<()> {
        let dir = self.dir.display();
        match std::fs::remove_dir_all(&self.dir) {
            Ok(()) => terminal::note(&format!("The demo has ended; its data in {dir} is removed.")),
            Err(e) => terminal::note(&format!("cannot remove {dir}: {e}; remove it with: rm -r '{dir}'")),
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // After `remove`, or after an error: then the system removes what is left with other temporary files.
        drop(std::fs::remove_dir_all(&self.dir));
    }
}
