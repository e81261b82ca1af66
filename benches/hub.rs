//! A hub as a child process: the real binary, or the same server with another way to detect commits.

use std::future;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agenthub::config::Limits;
use agenthub::server::{AuthMode, Server, Settings, bind};
use agenthub::store::{NetworkFs, SecretFile, Store};
use agenthub::watcher::WatchMode;
use anyhow::{Context, Result, bail};
use tempfile::TempDir;

pub(crate) const AGENTHUB: &str = env!("CARGO_BIN_EXE_agenthub");

/// How a hub detects commits.
#[derive(Clone, Copy)]
pub(crate) enum Detection {
    /// The default: file system events.
    Notify,
    /// `--watch poll`, for file systems without such events.
    Poll,
    /// The same server, which polls `data_version` at this interval.
    Every(Duration),
}

/// A running hub.
pub(crate) struct Hub {
    child: Child,
    pub(crate) address: String,
    pub(crate) token: String,
    pub(crate) db: PathBuf,
    _folder: Option<TempDir>,
}

impl Hub {
    /// Starts the binary on a new database.
    pub(crate) fn start(flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut hub = Self::start_on(&folder.path().join("hub.db"), flags)?;
        hub._folder = Some(folder);
        Ok(hub)
    }

    /// Starts the binary on the database `db`.
    pub(crate) fn start_on(db: &Path, flags: &[&str]) -> Result<Self> {
        let mut command = Command::new(AGENTHUB);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--db"])
            .arg(db)
            .args(flags);
        Self::spawn(command, db)
    }

    /// Starts a hub on `db` that detects commits in the given way and does not throttle frames.
    pub(crate) fn detecting(db: &Path, detection: Detection) -> Result<Self> {
        let watch = match detection {
            Detection::Notify => "notify",
            Detection::Poll => "poll",
            Detection::Every(pause) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--serve").arg(db).arg(pause.as_micros().to_string());
                return Self::spawn(command, db);
            }
        };
        Self::start_on(db, &["--watch", watch, "--max-messages-per-second", "0"])
    }

    fn spawn(mut command: Command, db: &Path) -> Result<Self> {
        let mut child = command
            .env("AGENTHUB_LOG", "agenthub=error")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("stdout is not piped")?).read_line(&mut line)?;
        let Some(address) = line.trim().strip_prefix("http://") else {
            bail!("the hub did not start: {line:?}")
        };
        let token = SecretFile::Token.load(db)?.context("the database has no token")?;
        Ok(Self {
            child,
            address: address.trim_end_matches('/').to_owned(),
            token: token.text().to_owned(),
            db: db.to_owned(),
            _folder: None,
        })
    }

    /// Returns the CPU time of the hub in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .context("unexpected /proc/…/stat")?
            .1
            .split_whitespace()
            .collect();
        // Clock ticks; Linux reports 100 per second on all platforms.
        Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
    }

    /// Returns the resident memory of the hub in KiB.
    pub(crate) fn rss(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("unexpected /proc/…/status")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The child process of [`Detection::Every`]: serves the database `args[0]` and polls every `args[1]` microseconds until it
/// is killed.
pub(crate) fn serve_polling(args: &[String]) -> Result<()> {
    let (db, pause) = (Path::new(&args[0]), Duration::from_micros(args[1].parse()?));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let token = SecretFile::Token.load_or_create(db)?;
        let settings = Settings {
            limits: Limits {
                max_messages_per_second: 0,
                ..Limits::default()
            },
            watch: WatchMode::Poll(pause),
            ..Settings::default()
        };
        let server = Server::with(Store::open(db, NetworkFs::Refuse)?, settings, AuthMode::Token(token))?;
        let listeners = bind(([127, 0, 0, 1], 0).into()).await?;
        let address = listeners[0].local_addr()?;
        writeln!(std::io::stdout(), "http://{address}/")?;
        Ok(server.run(listeners, future::pending()).await?)
    })
}
