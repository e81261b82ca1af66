//! What the benches share: the hub as a child, writers as children, one clock, the table.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Nanoseconds of a clock that all processes of this machine share.
pub(crate) fn clock() -> i64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

/// Waits until `at` on that clock: coarsely asleep, finely awake.
fn sleep_until(at: i64) {
    loop {
        let left = at - clock();
        if left <= 0 {
            return;
        }
        if left > 200_000 {
            #[expect(
                clippy::disallowed_methods,
                reason = "a writer at a given rate has nothing else to wait for"
            )]
            std::thread::sleep(Duration::from_nanos(u64::try_from(left - 150_000).unwrap_or(0)));
        } else {
            std::hint::spin_loop();
        }
    }
}

/// The hub, running on a file of its own.
pub(crate) struct Hub {
    child: Child,
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) db: PathBuf,
    _folder: Option<TempDir>,
}

impl Hub {
    pub(crate) fn start(flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut hub = Self::start_on(&folder.path().join("hub.db"), flags)?;
        hub._folder = Some(folder);
        Ok(hub)
    }

    pub(crate) fn start_on(db: &Path, flags: &[&str]) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_agenthub"))
            .args(["serve", "--listen", "127.0.0.1:0", "--db"])
            .arg(db)
            .args(flags)
            .env("AGENTHUB_LOG", "agenthub=warn")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the hub has no stdout")?).read_line(&mut line)?;
        let Some((url, token)) = line.trim().split_once("/#token=") else {
            bail!("the hub did not start: {line:?}")
        };
        Ok(Self {
            child,
            url: url.to_owned(),
            token: token.to_owned(),
            db: db.to_owned(),
            _folder: None,
        })
    }

    /// Seconds of processor time it has used.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .context("odd /proc/…/stat")?
            .1
            .split_whitespace()
            .collect();
        Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
    }

    /// Bytes of memory it has in use.
    pub(crate) fn rss(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("odd /proc/…/status")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
    }

    /// A client of the seed's protocol.
    pub(crate) async fn connect(&self, query: &str) -> Result<Client> {
        let address = format!(
            "{}/ws?token={}{query}",
            self.url.replace("http://", "ws://"),
            self.token
        );
        let (socket, _) = connect_async(address.into_client_request()?).await?;
        Ok(Client { socket })
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A WebSocket client.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn send(&mut self, event: &serde_json::Value) -> Result<()> {
        Ok(self.socket.send(Message::text(event.to_string())).await?)
    }

    /// The next event, and when it was here.
    pub(crate) async fn event(&mut self) -> Result<(serde_json::Value, i64)> {
        let text = self.text().await?;
        let at = clock();
        Ok((serde_json::from_str(&text)?, at))
    }

    /// The next frame's text.
    pub(crate) async fn text(&mut self) -> Result<Utf8Bytes> {
        loop {
            match self.socket.next().await.context("the hub hung up")?? {
                Message::Text(text) => return Ok(text),
                Message::Close(frame) => bail!("the hub closed: {frame:?}"),
                _ => {}
            }
        }
    }
}

/// Starts a writer: `rows` rows into the thread `bench` at `rate` a second.
pub(crate) fn writer(db: &Path, rate: u32, rows: u32) -> Result<Child> {
    Ok(Command::new(std::env::current_exe()?)
        .arg("--write")
        .arg(db)
        .args([rate.to_string(), rows.to_string()])
        .stdout(Stdio::piped())
        .spawn()?)
}

/// What a writer printed: the time each commit returned, by row.
pub(crate) fn commits(child: Child) -> Result<Vec<i64>> {
    let output = child.wait_with_output()?;
    String::from_utf8(output.stdout)?
        .lines()
        .map(|line| Ok(line.parse()?))
        .collect()
}

/// The writer's side of [`writer`].
pub(crate) fn write_rows(args: &[String]) -> Result<()> {
    let (db, rate, rows): (_, i64, i64) = (&args[0], args[1].parse()?, args[2].parse()?);
    #[expect(
        clippy::disallowed_methods,
        reason = "a foreign writer opens the file in its own way"
    )]
    let conn = rusqlite::Connection::open(db)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    let mut insert = conn.prepare("INSERT INTO messages(thread_id, from_id, content) VALUES('bench', 'writer', ?1)")?;
    let text = "x".repeat(200);
    let start = clock() + 50_000_000;
    let mut times = Vec::new();
    for i in 0..rows {
        sleep_until(start + i * 1_000_000_000 / rate);
        insert.execute([&text])?;
        times.push(clock());
    }
    let mut out = std::io::stdout().lock();
    times.iter().try_for_each(|t| writeln!(out, "{t}"))?;
    Ok(())
}

/// A sorted sample's value below which the share `q` lies.
pub(crate) fn quantile(sorted: &[i64], q: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = ((sorted.len() as f64 - 1.0) * q).round() as usize;
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    sorted.get(index).map_or(f64::NAN, |ns| *ns as f64 / 1000.0)
}

/// A runtime for the clients.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// The table, printed at the end; progress goes to stderr meanwhile.
pub(crate) struct Report {
    rows: Vec<(String, String)>,
    started: Instant,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            rows: Vec::new(),
            started: Instant::now(),
        }
    }

    #[expect(clippy::print_stderr, reason = "progress of a bench")]
    pub(crate) fn row(&mut self, figure: impl Into<String>, value: impl Into<String>) {
        let (figure, value) = (figure.into(), value.into());
        eprintln!("{figure}: {value}");
        self.rows.push((figure, value));
    }

    #[expect(clippy::print_stdout, reason = "the table is what a bench is for")]
    pub(crate) fn print(&self) {
        println!("| figure | value |\n|---|---|");
        for (figure, value) in &self.rows {
            println!("| {figure} | {value} |");
        }
        println!(
            "\n{} cores, {} s",
            std::thread::available_parallelism().map_or(0, usize::from),
            self.started.elapsed().as_secs()
        );
    }
}
