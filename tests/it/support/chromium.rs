//! A headless Chromium, controlled through the Chrome `DevTools` Protocol.
//!
//! 1. The browser starts with a temporary profile and prints its debugging address on stderr.
//! 2. One WebSocket controls one page: each command has an id, its response has the same id, and
//!    events arrive in between. Errors of the page are collected.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::client::client;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use super::eventually::{TIMEOUT, wait_for};
use super::http;
use super::writer::Process;

const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-port=0",
    "about:blank",
];

/// A browser process with one page.
pub(crate) struct Page {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    /// Uncaught exceptions and errors in the console, with their source.
    pub(crate) console_errors: Vec<String>,
    process: Process,
    _stderr: JoinHandle<()>,
    _profile: TempDir,
}

impl Page {
    /// Starts a browser.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let program = std::env::var_os("AGENTHUB_TEST_CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Process::start(command);
        let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("the browser prints its debugging address").unwrap();
            if let Some(address) = line.strip_prefix("DevTools listening on ws://127.0.0.1:") {
                break address.split('/').next().unwrap().parse::<u16>().unwrap();
            }
        };
        let stderr = std::thread::spawn(move || lines.for_each(drop));
        let url = wait_for("the browser's page", || {
            let host = format!("127.0.0.1:{port}");
            let pages = http::request(port, "GET", "/json/list", &[("Host", &host)], "").json();
            let page = pages.as_array()?.iter().find(|page| page["type"] == "page")?.clone();
            Some(page["webSocketDebuggerUrl"].as_str()?.to_owned())
        });
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let (socket, _) = client(url, stream).unwrap();
        let mut page = Self {
            socket,
            last_id: 0,
            console_errors: Vec::new(),
            process,
            _stderr: stderr,
            _profile: profile,
        };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, &json!({}));
        }
        page
    }

    /// Runs a script in every page loaded from now on, before the page's own scripts.
    #[track_caller]
    pub(crate) fn run_before_load(&mut self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", &json!({"source": script}));
    }

    /// Opens a URL.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", &json!({"url": url}));
        assert!(answer.get("errorText").is_none(), "{url}: {answer}");
    }

    /// Evaluates an expression in the page and returns its value.
    #[track_caller]
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            &json!({"expression": expression, "returnByValue": true, "awaitPromise": true}),
        );
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let mut shown = String::new();
        let deadline = std::time::Instant::now() + TIMEOUT;
        // While a page loads, the expression may throw.
        let guarded = format!("(() => {{ try {{ return {expression} }} catch {{ return false }} }})()");
        while self.eval(&guarded) != json!(true) {
            if std::time::Instant::now() >= deadline {
                shown = self.eval("document.body.innerText").to_string();
                break;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
        assert!(
            shown.is_empty(),
            "timed out after {TIMEOUT:?} waiting for {expression}; the page shows {shown}"
        );
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let text = json!({"id": id, "method": method, "params": params}).to_string();
        self.socket.send(Message::text(text)).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else {
                continue;
            };
            let reply: Value = serde_json::from_str(&text).unwrap();
            if reply["id"] == id {
                assert!(reply.get("error").is_none(), "{method}: {reply}");
                return reply["result"].clone();
            }
            match reply["method"].as_str() {
                Some("Runtime.exceptionThrown") => {
                    self.console_errors
                        .push(reply["params"]["exceptionDetails"].to_string());
                }
                Some("Log.entryAdded") if reply["params"]["entry"]["level"] == "error" => {
                    self.console_errors.push(reply["params"]["entry"].to_string());
                }
                _ => {}
            }
        }
    }
}

impl Drop for Page {
    /// Closes the browser with all its child processes.
    fn drop(&mut self) {
        let close = json!({"id": 0, "method": "Browser.close"}).to_string();
        drop(self.socket.send(Message::text(close)));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while std::time::Instant::now() < deadline && matches!(self.process.0.try_wait(), Ok(None)) {
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }
}
