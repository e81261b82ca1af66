//! `agenthub serve`: the hub.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use super::signals;
use super::{File, client, output};
use crate::config::Limits;
use crate::error::{Code, Error};
use crate::protocol;
use crate::server::{AuthMode, DEFAULT_PORT, Server, Settings, bind};
use crate::store::{Record, ServeLock, Token};
use crate::watcher::{POLL, WatchMode};
use rustix::process::Signal;

/// File handles for everything but connections: the database, the log, files of the page.
const SPARE_HANDLES: u64 = 512;

/// How long another hub on the same file may take to begin.
const START_WAIT: Duration = Duration::from_secs(5);

/// Sent to a process whose file would grow over its limit; the same on Linux and macOS.
const SIGXFSZ: i32 = 25;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "AGENTHUB_ADDR", value_name = "ADDR:PORT", default_value_t = SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)))]
    listen: SocketAddr,
    /// How to notice that something was written
    #[arg(long, value_enum, default_value_t = WatchModeArg::Auto)]
    watch: WatchModeArg,
    /// Another name requests may be for, as host or host:port
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Let every program and every user on this machine in without a token
    #[arg(long)]
    no_auth: bool,
    /// Serve the page's files from this folder, while editing them
    #[arg(long, value_name = "DIR")]
    assets: Option<PathBuf>,
    /// Print {"url":…,"db":…} as the first line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum WatchModeArg {
    /// Events where they work, otherwise a poll
    Auto,
    /// File system events, or fail
    Notify,
    /// A poll every few milliseconds while anyone listens
    Poll,
}

/// The protocol's constants.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Messages in one batch
    #[arg(long, value_name = "N", default_value_t = protocol::MAX_BATCH_SIZE, value_parser = at_least_one)]
    max_batch_size: usize,
    /// Message and batch frames a second and connection; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = protocol::MAX_MESSAGES_PER_SECOND)]
    max_messages_per_second: u32,
    /// Changes kept in memory, and messages a client may leave unacknowledged
    #[arg(long, value_name = "N", default_value_t = protocol::MAX_LAG_MESSAGES, value_parser = at_least_one)]
    max_lag_messages: usize,
    /// Seconds a client may take to accept a write
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = seconds)]
    write_wait: Duration,
    /// Seconds without a sign of life after which a client is gone
    #[arg(long, value_name = "SECS", default_value = "60", value_parser = seconds)]
    pong_wait: Duration,
    /// Seconds between pings
    #[arg(long, value_name = "SECS", default_value = "54", value_parser = seconds)]
    ping_period: Duration,
    /// Bytes of one message from a client
    #[arg(long, value_name = "BYTES", default_value_t = protocol::MAX_MESSAGE_SIZE, value_parser = at_least_one)]
    max_message_size: usize,
    /// Seconds between the looks that happen whatever else does
    #[arg(long, value_name = "SECS", default_value = "0.5", value_parser = seconds)]
    poll_interval: Duration,
    /// Events a second from one client, twice as many at once; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_events_per_second)]
    max_events_per_second: u32,
    /// Telemetry events a second and instance
    #[arg(long, value_name = "N", default_value_t = Limits::default().telemetry_per_second, value_parser = at_least_one_each)]
    telemetry_per_second: u32,
    /// States a second and thread
    #[arg(long, value_name = "N", default_value_t = Limits::default().thread_states_per_second, value_parser = at_least_one_each)]
    thread_states_per_second: u32,
    /// Array frames a second and connection
    #[arg(long, value_name = "N", default_value_t = Limits::default().array_frames_per_second, value_parser = at_least_one_each)]
    array_frames_per_second: u32,
    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_connections, value_parser = at_least_one)]
    max_connections: usize,
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let wrong = || "a number of seconds above 0, such as 0.5".to_owned();
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

fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    text.parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| "a whole number above 0".to_owned())
}

/// A rate of which there has to be some: what is held back has to come out.
fn at_least_one_each(text: &str) -> std::result::Result<u32, String> {
    at_least_one(text).and_then(|n| u32::try_from(n).map_err(|_| "a smaller number".to_owned()))
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

pub(super) fn run(file: &File, args: Args) -> Result<()> {
    if args.no_auth && !args.listen.ip().is_loopback() {
        return Err(Error::new(
            Code::Usage,
            format!(
                "{} can be reached from other machines: --no-auth is for localhost alone",
                args.listen
            ),
        )
        .into());
    }
    allow_handles(args.limits.max_connections);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(file, args, std::future::pending()));
    // What is left after the server's own time for shutting down is cut off.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

/// Asks for as many file handles as the connections may need: the usual allowance of 1,024
/// is as many as there are connections alone.
fn allow_handles(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_add(SPARE_HANDLES);
    let allowed = limit.maximum.map_or(wanted, |most| wanted.min(most));
    if limit.current.is_some_and(|current| current < allowed) {
        // Where it is refused, connections are turned away earlier, and the log says so.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(allowed),
                maximum: limit.maximum,
            },
        );
    }
}

/// Serves until `end`, or until this process is told to stop.
pub(super) async fn serve(file: &File, args: Args, end: impl Future<Output = ()>) -> Result<()> {
    let path = file.path()?;
    if let Some(other) = client::running(&path).await {
        return point_to(&other, &args, &path);
    }
    let store = file.store()?;
    let token = Token::of(&path)?;
    let Some(_lock) = ServeLock::take(&path)? else {
        let other = starting(&path).await?;
        return point_to(&other, &args, &path);
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
        assets: args.assets.clone(),
    };
    let auth_mode = if args.no_auth {
        AuthMode::Disabled
    } else {
        AuthMode::Token(token.clone())
    };
    let server = Server::with(store, settings, auth_mode)?;
    let record = Record::new(url.clone())?;
    server.set_run_id(&record);
    record.write(&path)?;
    if args.no_auth {
        tracing::warn!("--no-auth: every program and every user on this machine can read and write everything here");
    }
    if !address.ip().is_loopback() {
        tracing::warn!(
            "{address} can be reached from other machines: whoever has the token gets in, and what is sent can be read on the way"
        );
    }
    tracing::info!("serving {} at {url}", path.display());
    // A limit on file sizes is an error like a full disk, not the end of the process.
    let _too_large = signal(SignalKind::from_raw(SIGXFSZ))?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let hangup = hangup()?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = hangup => {}
            () = end => {}
        }
        tracing::info!("going down");
    };
    announce(
        &args,
        &client::dashboard_url(&url, (!args.no_auth).then_some(&token)),
        &path,
    )?;
    let outcome = server.run(listeners, shutdown).await;
    record.remove(&path);
    Ok(outcome?)
}

/// Ends when the terminal is gone; never if this process is to outlive it, as under `nohup`.
fn hangup() -> Result<impl Future<Output = ()>> {
    // A handler would undo that it is ignored.
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
    // Without /proc: `nohup` redirects stderr away from the terminal.
    signals::is_ignored(Signal::HUP).unwrap_or_else(|| !std::io::stderr().is_terminal())
}

/// Somebody serves the file already: says where.
fn point_to(other: &Record, args: &Args, path: &Path) -> Result<()> {
    let token = Token::of(path)?;
    tracing::info!("{} is served already, by process {}", path.display(), other.pid);
    announce(args, &client::dashboard_url(&other.url, Some(&token)), path)
}

/// The hub that is about to serve the file, once it does.
async fn starting(path: &Path) -> Result<Record> {
    let patience = async {
        loop {
            if let Some(other) = client::running(path).await {
                return other;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(START_WAIT, patience).await;
    Ok(found.map_err(|_| {
        Error::new(
            Code::Conflict,
            format!(
                "another agenthub serve has {} and does not answer; end it (agenthub status names it) and try again",
                path.display()
            ),
        )
    })?)
}

/// An address that leads to this one from here: nobody can go to 0.0.0.0.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

/// The first line of stdout: where the dashboard is.
fn announce(args: &Args, url: &str, path: &Path) -> Result<()> {
    if args.json {
        return output::json_line(&serde_json::json!({"url": url, "db": path.display().to_string()}));
    }
    output::line(url)
}
