//! The demo's planner: an agent whose only way in is `agenthub mcp`.
//!
//! For: playing an MCP client with lines of JSON, as short as that can be.
//! Not for: the protocol's fine points; the official clients have those.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Seconds of one wait for the person: short, so that the planner is seen to go on.
const PATIENCE: u8 = 4;

/// Plays until the demo's process is gone, which it may be before this one has begun.
pub(super) fn play() -> Result<()> {
    let demo: u32 = std::env::var("DEMO")?.parse()?;
    let mut mcp = Mcp::start()?;
    let mut question = None;
    let mut round = 0;
    while std::os::unix::process::parent_id() == demo {
        round += 1;
        mcp.call(
            "post_status",
            &json!({"status": "running", "text": format!("Planning round {round}"), "task_id": "plan"}),
        )?;
        match round % 3 {
            1 => {
                let text = format!("Please test checkout {round}: a full cart, an empty one, one with a voucher.");
                mcp.call(
                    "send_message",
                    &json!({"to": "tester", "text": text, "priority": "action", "new_recipient": true}),
                )?;
            }
            2 => {
                mcp.call(
                    "send_message",
                    &json!({"to": "analyst", "text": "What do we spend?", "new_recipient": true}),
                )?;
            }
            _ => {
                mcp.call("read_thread", &json!({"thread_id": "build", "limit": 3}))?;
            }
        }
        let mail = mcp.call("check_inbox", &json!({"wait_seconds": 3}))?;
        for one in mail["mail"].as_array().into_iter().flatten() {
            let said = format!(
                "{} says: {}",
                one["from"].as_str().unwrap_or("?"),
                one["text"].as_str().unwrap_or("")
            );
            mcp.call("send_message", &json!({"thread_id": "planning", "text": said}))?;
            mcp.call("ack_message", &json!({"ids": [one["id"]]}))?;
        }
        question = mcp.consult(question.take(), round)?;
    }
    Ok(())
}

/// A session with the server.
struct Mcp {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    last: u64,
}

impl Mcp {
    fn start() -> Result<Self> {
        // It ends with its stdin, which is this process's to hold.
        let mut server = Command::new(std::env::current_exe()?)
            .arg("mcp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = server.stdin.take().context("the MCP server has no stdin")?;
        let output = BufReader::new(server.stdout.take().context("the MCP server has no stdout")?);
        let mut mcp = Self { input, output, last: 0 };
        let me = json!({"name": "demo", "version": env!("CARGO_PKG_VERSION")});
        mcp.request(
            "initialize",
            &json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": me}),
        )?;
        mcp.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(mcp)
    }

    fn say(&mut self, message: &Value) -> Result<()> {
        writeln!(self.input, "{message}")?;
        Ok(self.input.flush()?)
    }

    fn request(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.last += 1;
        self.say(&json!({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}))?;
        loop {
            let mut line = String::new();
            anyhow::ensure!(self.output.read_line(&mut line)? > 0, "the MCP server is gone");
            let mut message: Value = serde_json::from_str(&line)?;
            if message["id"] == self.last {
                return Ok(message["result"].take());
            }
        }
    }

    /// What the tool gives, as data.
    fn call(&mut self, tool: &str, arguments: &Value) -> Result<Value> {
        let mut result = self.request("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        Ok(result["structuredContent"].take())
    }

    /// Asks the person now and then, goes on waiting for an answer that has not come, and
    /// does as it says. Returns the question that is still open.
    fn consult(&mut self, open: Option<Value>, round: u32) -> Result<Option<Value>> {
        let arguments = match open {
            Some(id) => json!({"id": id, "wait_seconds": PATIENCE}),
            None if round % 4 == 1 => {
                let question = format!("Release {round} is ready. May I deploy it? (yes or no)");
                json!({"question": question, "wait_seconds": PATIENCE})
            }
            None => return Ok(None),
        };
        let answer = self.call("ask_human", &arguments)?;
        if answer["answered"] != true {
            return Ok(Some(answer["id"].clone()));
        }
        let said = answer["answer"].as_str().unwrap_or_default();
        let done = if said.trim().to_lowercase().starts_with('y') {
            "Thank you. Deploying now."
        } else {
            "Understood. I hold the release back."
        };
        self.call(
            "send_message",
            &json!({"to": "human", "text": format!("You said: {said}. {done}")}),
        )?;
        self.call(
            "send_message",
            &json!({"thread_id": "planning", "text": format!("The person said: {said}. {done}")}),
        )?;
        Ok(None)
    }
}
