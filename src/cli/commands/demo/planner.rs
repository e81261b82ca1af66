//! The demo's `planner`: a simulated agent that only uses `agenthub mcp`.
//!
//! It contains the smallest MCP client that works: one request at a time, one line of JSON each.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Seconds of one wait for an answer: short, so that the planner visibly keeps working.
const WAIT_SECONDS: u8 = 4;

/// Runs until the demo's process has ended, which may be before this one starts.
pub(super) fn run() -> Result<()> {
    let demo: u32 = std::env::var("DEMO")?.parse()?;
    let mut mcp = McpClient::start()?;
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
                    &json!({"to": "analyst", "text": "How much have we spent so far?", "new_recipient": true}),
                )?;
            }
            _ => {
                mcp.call("read_thread", &json!({"thread_id": "build", "limit": 3}))?;
            }
        }
        let mail = mcp.call("check_inbox", &json!({"wait_seconds": 3}))?;
        for item in mail["mail"].as_array().into_iter().flatten() {
            let text = format!(
                "{} says: {}",
                item["from"].as_str().unwrap_or("?"),
                item["text"].as_str().unwrap_or("")
            );
            mcp.call("send_message", &json!({"thread_id": "planning", "text": text}))?;
            mcp.call("ack_message", &json!({"ids": [item["id"]]}))?;
        }
        question = mcp.ask_person(question.take(), round)?;
    }
    Ok(())
}

/// A client session with the MCP server.
struct McpClient {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    last_id: u64,
}

impl McpClient {
    fn start() -> Result<Self> {
        // The server ends when its stdin is closed, which happens when this process ends.
        let mut server = Command::new(std::env::current_exe()?)
            .arg("mcp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = server.stdin.take().context("the MCP server has no stdin")?;
        let output = BufReader::new(server.stdout.take().context("the MCP server has no stdout")?);
        let mut mcp = Self {
            input,
            output,
            last_id: 0,
        };
        let client_info = json!({"name": "demo", "version": env!("CARGO_PKG_VERSION")});
        mcp.request(
            "initialize",
            &json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client_info}),
        )?;
        mcp.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(mcp)
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        writeln!(self.input, "{message}")?;
        Ok(self.input.flush()?)
    }

    fn request(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.last_id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}))?;
        loop {
            let mut line = String::new();
            anyhow::ensure!(self.output.read_line(&mut line)? > 0, "the MCP server has ended");
            let mut message: Value = serde_json::from_str(&line)?;
            if message["id"] == self.last_id {
                return Ok(message["result"].take());
            }
        }
    }

    /// Calls a tool. Returns its structured content.
    fn call(&mut self, tool: &str, arguments: &Value) -> Result<Value> {
        let mut result = self.request("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        Ok(result["structuredContent"].take())
    }

    /// Asks the person in every fourth round, or keeps waiting for the answer to the open question,
    /// and acts on the answer. Returns the id of the question that is still open.
    fn ask_person(&mut self, open: Option<Value>, round: u32) -> Result<Option<Value>> {
        let arguments = match open {
            Some(id) => json!({"id": id, "wait_seconds": WAIT_SECONDS}),
            None if round % 4 == 1 => {
                let question = format!("Release {round} is ready. May I deploy it? (yes or no)");
                json!({"question": question, "wait_seconds": WAIT_SECONDS})
            }
            None => return Ok(None),
        };
        let answer = self.call("ask_human", &arguments)?;
        if answer["answered"] != true {
            return Ok(Some(answer["id"].clone()));
        }
        let text = answer["answer"].as_str().unwrap_or_default();
        let reaction = if text.trim().to_lowercase().starts_with('y') {
            "Thank you. Deploying now."
        } else {
            "OK, I will not deploy."
        };
        self.call(
            "send_message",
            &json!({"to": "human", "text": format!("You said: {text}. {reaction}")}),
        )?;
        self.call(
            "send_message",
            &json!({"thread_id": "planning", "text": format!("The person said: {text}. {reaction}")}),
        )?;
        Ok(None)
    }
}
