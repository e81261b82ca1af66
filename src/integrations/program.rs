//! Finds and runs other programs.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Maximum time for a program to print its version, or for a hook to answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the path of the program that a shell would start for `name`. Relative entries of `PATH` are
/// ignored: they depend on the working directory.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|path| is_executable(path))
}

/// Returns whether this process may execute the file.
pub fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Runs a program with `input` on stdin and returns its stdout, if it succeeds within
/// [`TIMEOUT`].
pub fn output(mut command: Command, input: &[u8]) -> Option<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // A program may end without reading its input.
    drop(child.stdin.take()?.write_all(input));
    let mut stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // After the timeout there is no receiver.
        drop(sender.send(io::read_to_string(&mut stdout)));
    });
    let text = receiver.recv_timeout(TIMEOUT);
    if text.is_err() {
        drop(child.kill());
    }
    let succeeded = child.wait().is_ok_and(|status| status.success());
    text.ok()?.ok().filter(|_| succeeded)
}

/// A request to a server on stdio, after its `initialize`.
#[derive(Debug)]
pub struct StdioRequest {
    /// The parameters of `initialize`.
    pub initialize: Value,
    /// The notification after its result.
    pub initialized: &'static str,
    /// The method.
    pub method: &'static str,
    /// Its parameters.
    pub params: Value,
}

/// Starts a server of JSON-RPC lines on stdio, and returns the result of one request, if it comes within
/// `timeout`. The server is ended then.
pub fn ask_server(mut command: Command, request: StdioRequest, timeout: Duration) -> Option<Value> {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut server = piped.spawn().ok()?;
    let result = server
        .stdin
        .take()
        .zip(server.stdout.take())
        .and_then(|(mut input, output)| {
            let (sender, receiver) = mpsc::channel();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    // After the timeout there is no receiver.
                    drop(sender.send(line));
                }
            });
            let deadline = Instant::now() + timeout;
            let mut send = |message: Value| writeln!(input, "{message}").ok();
            let initialize = request.initialize;
            send(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize}))?;
            result_of(&receiver, 1, deadline)?;
            send(json!({"jsonrpc": "2.0", "method": request.initialized}))?;
            send(json!({"jsonrpc": "2.0", "id": 2, "method": request.method, "params": request.params}))?;
            result_of(&receiver, 2, deadline)
        });
    // A server ends when its stdin is closed. Kill one that does not.
    drop(server.kill());
    drop(server.wait());
    result
}

/// Returns the result of request `id`.
fn result_of(lines: &mpsc::Receiver<String>, id: u64, deadline: Instant) -> Option<Value> {
    loop {
        let left: Duration = deadline.checked_duration_since(Instant::now())?;
        let mut message: Value = serde_json::from_str(&lines.recv_timeout(left).ok()?).ok()?;
        if message["id"] == id {
            return Some(message["result"].take());
        }
    }
}
