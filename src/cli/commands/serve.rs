//! `agenthub serve`: runs the hub.
//!
//! 1. If a hub already serves the database, print its URL and exit.
//! 2. Open the database, take the serve lock, bind the address, write the record by which other
//!    commands find the hub. On a full disk the record is written as soon as there is space.
//! 3. Print the page's URL, and serve until a signal. For the person at a terminal, the URL has a one-time
//!    code.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::prune;
use crate::cli::args::DatabaseArgs;
use crate::cli::{hub_client, signals, terminal};
use crate::config::{DEFAULT_PORT, Limits};
use crate::error::{Code, Error};
use crate::integrations::{identity, session_check};
use crate::protocol;
use crate::server::{AllowedOrigin, AuthMode, MAX_UNAUTHENTICATED_CONNECTIONS, Server, Settings, bind};
use crate::store::{Record, SecretFile, ServeLock};
use crate::text::quantity::count;
use crate::watcher::{POLL, WatchMode};

/// File descriptors for everything but connections: database, log, files of the page.
const SPARE_FDS: u64 = 512;

/// Maximum time another hub that holds the serve lock may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between two attempts to write the record, while the disk is full.
const RECORD_INTERVAL: Duration = Duration::from_secs(1);

/// Time in which the page must redeem the code that `serve` prints.
const CODE_LIFETIME: Duration = Duration::from_secs(600);

/// The signal for a write beyond the file size limit (setrlimit(2)); the same number on Linux and macOS.
const SIGXFSZ: i32 = 25;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address and port to listen on; port 0 picks a free one
    #[arg(long, env = "AGENTHUB_ADDR", value_name = "ADDR:PORT", default_value_t = SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)))]
    listen: SocketAddr,
    /// How to detect changes of the database
    #[arg(long, value_enum, default_value_t = WatchModeArg::Auto)]
    watch: WatchModeArg,
    /// Accept requests for this host too, as HOST or HOST:PORT
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Accept requests with the token from pages of this origin too: scheme, host and port
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<AllowedOrigin>,
    /// Disable the access token: every program and user on this machine has access
    #[arg(long)]
    no_auth: bool,
    /// Serve the page from this directory, for developing it
    #[arg(long, value_name = "DIR")]
    assets: Option<PathBuf>,
    /// Delete rows older than AGE, such as 90d or 12h, at the start and then every hour, as `agenthub prune` does
    #[arg(long, value_name = "AGE", value_parser = kept_age)]
    keep: Option<i64>,
    /// Print {"url":…,"db":…} as JSON on the first line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum WatchModeArg {
    /// File system events where they work, otherwise polling
    Auto,
    /// File system events only; fail if unavailable
    Notify,
    /// Poll every few milliseconds while clients are connected
    Poll,
}

/// The limits of [`Limits`].
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Maximum messages in one batch
    #[arg(long, value_name = "N", default_value_t = protocol::MAX_BATCH_SIZE, value_parser = at_least_one)]
    max_batch_size: usize,
    /// Maximum message and batch frames per second and connection; 0 disables the limit
    #[arg(long, value_name = "N", default_value_t = protocol::MAX_MESSAGES_PER_SECOND)]
    max_messages_per_second: u32,
    /// Changes kept in memory, and maximum unacknowledged messages per subscription
    #[arg(long, value_name = "N", default_value_t = protocol::MAX_LAG_MESSAGES, value_parser = at_least_one)]
    max_lag_messages: usize,
    /// Seconds a client may take to accept a write before it is disconnected
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = seconds)]
    write_wait: Duration,
    /// Seconds without a pong or message before a client is disconnected
    #[arg(long, value_name = "SECS", default_value = "60", value_parser = seconds)]
    pong_wait: Duration,
    /// Seconds between pings
    #[arg(long, value_name = "SECS", default_value = "54", value_parser = seconds)]
    ping_period: Duration,
    /// Maximum size of one message from a client, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = protocol::MAX_MESSAGE_SIZE, value_parser = at_least_one)]
    max_message_size: usize,
    /// Seconds between checks of the database that need no event
    #[arg(long, value_name = "SECS", default_value = "0.5", value_parser = seconds)]
    poll_interval: Duration,
    /// Maximum events per second from one client, with bursts of twice as many; 0 disables the limit
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_events_per_second)]
    max_events_per_second: u32,
    /// Maximum telemetry events per second and instance
    #[arg(long, value_name = "N", default_value_t = Limits::default().telemetry_per_second, value_parser = nonzero_rate)]
    telemetry_per_second: u32,
    /// Maximum thread states per second and thread
    #[arg(long, value_name = "N", default_value_t = Limits::default().thread_states_per_second, value_parser = nonzero_rate)]
    thread_states_per_second: u32,
    /// Maximum array frames per second and connection
    #[arg(long, value_name = "N", default_value_t = Limits::default().array_frames_per_second, value_parser = nonzero_rate)]
    array_frames_per_second: u32,
    /// Maximum simultaneous connections that have sent the token
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_connections, value_parser = at_least_one)]
    max_connections: usize,
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let wrong = || "expected a number of seconds greater than 0 and at most 86400, such as 0.5".to_owned();
    let duration = text
        .parse()
        .ok()
        .and_then(|s: f64| Duration::try_from_secs_f64(s).ok())
        .ok_or_else(wrong)?;
    if duration.is_zero() || duration > Duration::from_secs(86_400) {
        Err(wrong())
    } else {
        Ok(duration)
    }
}

/// Parses the age of `--keep`. Returns milliseconds.
fn kept_age(text: &str) -> std::result::Result<i64, String> {
    match prune::age(text)? {
        0 => Err("0 would delete all rows; give an age such as 90d".to_owned()),
        age => Ok(age),
    }
}

fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    text.parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| "expected a whole number greater than 0".to_owned())
}

/// Parses a rate, which must not be 0: events that are held back would never be sent.
fn nonzero_rate(text: &str) -> std::result::Result<u32, String> {
    at_least_one(text).and_then(|n| u32::try_from(n).map_err(|_| "number too large".to_owned()))
}

impl LimitArgs {
    fn limits(&self) -> Limits {
        Limits {
            max_batch_size: self.max_batch_size,
            max_messages_per_second: self.max_messages_per_second,
            max_lag_messages: self.max_lag_messages,
            write_wait: self.write_wait,
            pong_wait: self.pong_wait,
            ping_period: self.ping_period,
            max_message_size: self.max_message_size,
            poll_interval: self.poll_interval,
            max_events_per_second: self.max_events_per_second,
            telemetry_per_second: self.telemetry_per_second,
            thread_states_per_second: self.thread_states_per_second,
            array_frames_per_second: self.array_frames_per_second,
            max_connections: self.max_connections,
        }
    }
}

pub(super) fn run(database: &DatabaseArgs, args: Args) -> Result<()> {
    if args.no_auth && !args.listen.ip().is_loopback() {
        return Err(Error::new(
            Code::Usage,
            format!(
                "--no-auth requires a loopback address, but other machines can reach {}; remove --no-auth or change --listen",
                args.listen
            ),
        )
        .into());
    }
    raise_fd_limit(args.limits.max_connections);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(database, args, std::future::pending()));
    // Abandon tasks that outlast the server's own shutdown timeout.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

/// Raises the limit of file descriptors to what `connections` need, and as many without an
/// authenticated request as are allowed: the usual soft limit of 1,024 is the default number of
/// connections alone.
fn raise_fd_limit(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(connections.saturating_add(MAX_UNAUTHENTICATED_CONNECTIONS))
        .unwrap_or(u64::MAX)
        .saturating_add(SPARE_FDS);
    let allowed = limit.maximum.map_or(wanted, |max| wanted.min(max));
    if limit.current.is_some_and(|current| current < allowed) {
        // If this fails, connections are refused earlier, and the log says so.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(allowed),
                maximum: limit.maximum,
            },
        );
    }
}

/// Serves until `end` is ready or the process receives SIGTERM, SIGINT or SIGHUP.
pub(super) async fn serve(database: &DatabaseArgs, args: Args, end: impl Future<Output = ()>) -> Result<()> {
    let path = database.path()?;
    if let Some(other) = hub_client::running(&path).await {
        return point_to(database, &args, &other);
    }
    let store = database.store()?;
    let token = SecretFile::Token.load_or_create(&path)?;
    let Some(_lock) = ServeLock::take(&path)? else {
        let other = wait_for_other_hub(&path).await?;
        return point_to(database, &args, &other);
    };
    let listeners = bind(args.listen).await?;
    let address = listeners[0].local_addr()?;
    let url = format!("http://{}", reachable(address));
    let settings = Settings {
        limits: args.limits.limits(),
        watch: match args.watch {
            WatchModeArg::Auto => WatchMode::Auto,
            WatchModeArg::Notify => WatchMode::Notify,
            WatchModeArg::Poll => WatchMode::Poll(POLL),
        },
        allowed_hosts: args.allow_host.clone(),
        allowed_origins: args.allow_origin.clone(),
        assets: args.assets.clone(),
    };
    let auth_mode = if args.no_auth {
        AuthMode::Disabled
    } else {
        AuthMode::Token(token)
    };
    if let Some(age) = args.keep {
        store.keep(age);
    }
    store.check_sessions(session_check::record_ends);
    let server = Server::with(store, settings, auth_mode)?;
    let record = Record::new(url.clone())?;
    server.set_record(&record);
    let written = record.write(&path);
    if let Err(error) = &written {
        tracing::error!("{error}; until then, other commands do not find this hub (they use the database without it)");
    }
    if args.no_auth {
        tracing::warn!("--no-auth: every program and user on this machine can read and write all data");
    }
    if !address.ip().is_loopback() {
        tracing::warn!(
            "other machines can reach {address}: anyone with the token has access, and traffic is unencrypted"
        );
    }
    tracing::info!(
        "serving {} at {url}; open the page with {} open",
        path.display(),
        database.command()
    );
    // With a handler, a write beyond the file size limit fails with EFBIG instead of ending the process.
    let _file_too_large = signal(SignalKind::from_raw(SIGXFSZ))?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let hangup = hangup()?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = hangup => {}
            () = end => {}
        }
        tracing::info!("shutting down");
    };
    announce(database, &args, &record)?;
    let is_written = written.is_ok();
    let outcome = tokio::select! {
        outcome = server.run(listeners, shutdown) => outcome,
        () = retry_record(&record, &path, is_written) => Ok(()),
    };
    record.remove(&path);
    Ok(outcome?)
}

/// Writes the record again and again until it is written, then waits forever.
async fn retry_record(record: &Record, path: &Path, mut is_written: bool) {
    while !is_written {
        tokio::time::sleep(RECORD_INTERVAL).await;
        let (record, path) = (record.clone(), path.to_owned());
        let written = tokio::task::spawn_blocking(move || record.write(&path)).await;
        is_written = matches!(written, Ok(Ok(())));
        if is_written {
            tracing::info!("other commands find this hub now");
        }
    }
    std::future::pending().await
}

/// Returns a future that is ready when the process receives SIGHUP, and never if the process ignores
/// that signal, as under `nohup`.
fn hangup() -> Result<impl Future<Output = ()>> {
    // A handler would replace the ignored state.
    let signals = if ignores_hangup() {
        None
    } else {
        Some(signal(SignalKind::hangup())?)
    };
    Ok(async {
        match signals {
            Some(mut signals) => drop(signals.recv().await),
            None => std::future::pending().await,
        }
    })
}

fn ignores_hangup() -> bool {
    // Without /proc, guess: `nohup` redirects stderr away from the terminal.
    signals::is_ignored(Signal::HUP).unwrap_or_else(|| !std::io::stderr().is_terminal())
}

/// Prints the URL of the hub that already serves the database.
fn point_to(database: &DatabaseArgs, args: &Args, other: &Record) -> Result<()> {
    let path = database.path()?;
    tracing::info!("{} is already served by process {}", path.display(), other.pid);
    announce(database, args, other)
}

/// Waits for the hub that holds the serve lock to answer.
async fn wait_for_other_hub(path: &Path) -> Result<Record> {
    let answer = async {
        loop {
            if let Some(other) = hub_client::running(path).await {
                return other;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(START_TIMEOUT, answer).await;
    Ok(found.map_err(|_| {
        let message = hub_client::obstacle(path).unwrap_or_else(|| {
            format!(
                "another agenthub serve has locked {} but does not answer; end that process and try again",
                path.display()
            )
        });
        Error::new(Code::Conflict, message)
    })?)
}

/// Returns an address that clients on this machine can connect to, which 0.0.0.0 and :: are not.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

/// Prints the page's URL on the first line of stdout. Only the person at a terminal gets a code: stdout
/// may be a file that other users can read.
fn announce(database: &DatabaseArgs, args: &Args, record: &Record) -> Result<()> {
    let (path, url) = (database.path()?, hub_client::page_url(record));
    if args.json {
        return terminal::json_line(&serde_json::json!({"url": url, "db": path.display().to_string()}));
    }
    if identity::person_present().is_err() {
        return terminal::line(&url);
    }
    match hub_client::page_url_with_code(&path, record, CODE_LIFETIME) {
        Ok(url) => terminal::line(&url)?,
        Err(error) => {
            // The person's secret cannot be created, for instance on a full disk: the hub serves reading.
            terminal::line(&url)?;
            return terminal::note(&format!("No link for the person: {error}"));
        }
    }
    let minutes = CODE_LIFETIME.as_secs() / 60;
    terminal::note(&format!(
        "The link works once, within {}. Later: {} open",
        count(minutes, "minute"),
        database.command()
    ))
}
