//! The end of `agenthub init`: every connection is tried.
//!
//! For: reading each file back, starting what it says as its tool would, on a database of its
//! own, and seeing mail come through the hook and tools in the MCP server.
//! Not for: whether the tool itself is well.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::{PATIENCE, Tool, answer_of, output};
use crate::agents::Vendor;
use crate::agents::hook;
use crate::agents::setup::{Part, Place, What, Written};
use crate::error::{Code, Error};
use crate::protocol::now_ms;
use crate::store::{NetworkFs, NewInbox, Writer};

/// Who gets the test mail, in a file of its own.
const TESTER: &str = "agenthub-init";
/// The event at which mail is handed over in any case.
const START: &str = "SessionStart";

/// Tries each connection, and says what came of it.
pub(super) fn prove(connected: &[(Tool, Part)], place: &Place) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("agenthub-init-{}-{}", std::process::id(), now_ms()));
    let db = folder.join("hub.db");
    let outcome = connected.iter().try_for_each(|(tool, part)| {
        let Some(written) = part.written(START)? else {
            let why = format!(
                "cannot find what was written to {}; run this again",
                part.path.display()
            );
            return Err(Error::new(Code::Conflict, why).into());
        };
        output::line(&match part.what {
            What::Hooks => prove_hook(*tool, &written, place, &db)?,
            What::McpJson | What::McpToml => prove_server(*tool, &written, place, &db)?,
        })
    });
    // What stays behind is in the system's folder for such things.
    drop(std::fs::remove_dir_all(folder));
    outcome
}

/// Sends a test mail through a hook.
fn prove_hook(tool: Tool, written: &Written, place: &Place, db: &Path) -> Result<String> {
    let agent = written.agent.as_deref().unwrap_or(TESTER);
    if agent.contains('$') {
        // Whom it names is known to a shell at another time.
        return Ok(format!(
            "{}: its hook has a name of its own and was not tried.",
            tool.name()
        ));
    }
    let word = format!("test mail for {}", tool.name());
    Writer::open(db, NetworkFs::Allow)?.send(&NewInbox::new("agenthub", agent, word.clone()))?;
    let input = json!({
        "session_id": format!("{TESTER}-{}", tool.vendor().name()),
        "hook_event_name": START,
        "source": "startup",
        "cwd": place.home,
    });
    let begun = Instant::now();
    let said = answer_of(started(written, db), input.to_string().as_bytes()).unwrap_or_default();
    let took = begun.elapsed();
    let heard: Value = serde_json::from_str(&said).unwrap_or_default();
    let context = heard["hookSpecificOutput"]["additionalContext"].as_str();
    if !context.is_some_and(|context| context.contains(&word)) {
        return Err(mute(&format!("the hook of {}", tool.name()), written).into());
    }
    let mut line = format!(
        "{}: a test mail came through its hook in {} ms.",
        tool.name(),
        took.as_millis()
    );
    if tool == Tool::Codex {
        let _ = write!(
            line,
            " It will ask once whether to trust {} hooks (/hooks).",
            hook::hooks(Vendor::Codex).len()
        );
    }
    Ok(line)
}

/// Asks an MCP server for its tools.
fn prove_server(tool: Tool, written: &Written, place: &Place, db: &Path) -> Result<String> {
    drop(Writer::open(db, NetworkFs::Allow)?);
    let mut command = started(written, db);
    command.current_dir(&place.home);
    match tools_of(command) {
        Some(tools) if tools > 0 => Ok(format!("{}: its MCP server has {tools} tools.", tool.name())),
        _ => Err(mute(&format!("the MCP server of {}", tool.name()), written).into()),
    }
}

/// The command, as if its tool had started it.
fn started(written: &Written, db: &Path) -> Command {
    let mut command = written.on(db);
    command.env("AGENTHUB_AGENT", written.agent.as_deref().unwrap_or(TESTER));
    for name in ["AGENTHUB_TASK", "AGENTHUB_TASK_VENDOR", "CURSOR_VERSION"] {
        command.env_remove(name);
    }
    command
}

fn mute(what: &str, written: &Written) -> Error {
    let why = format!(
        "{what} does not answer; see what this does: {} < /dev/null",
        written.shown()
    );
    Error::new(Code::Internal, why)
}

/// How many tools the server that `command` starts has, if it answers within [`PATIENCE`].
fn tools_of(mut command: Command) -> Option<usize> {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut server = piped.spawn().ok()?;
    let count = server
        .stdin
        .take()
        .zip(server.stdout.take())
        .and_then(|(mut input, output)| {
            let (said, heard) = mpsc::channel();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
                    // Whoever waits may have given up.
                    drop(said.send(line));
                }
            });
            let deadline = Instant::now() + PATIENCE;
            let me = json!({"name": TESTER, "version": env!("CARGO_PKG_VERSION")});
            let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": me});
            let mut say = |message: Value| writeln!(input, "{message}").ok();
            say(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}))?;
            answer(&heard, 1, deadline)?;
            say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
            say(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}))?;
            Some(answer(&heard, 2, deadline)?["tools"].as_array()?.len())
        });
    // It has been told by the end of its input; this is for one that does not listen.
    drop(server.kill());
    drop(server.wait());
    count
}

/// The result of request `id`.
fn answer(heard: &mpsc::Receiver<String>, id: u64, deadline: Instant) -> Option<Value> {
    loop {
        let left: Duration = deadline.checked_duration_since(Instant::now())?;
        let mut message: Value = serde_json::from_str(&heard.recv_timeout(left).ok()?).ok()?;
        if message["id"] == id {
            return Some(message["result"].take());
        }
    }
}
