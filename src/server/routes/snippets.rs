//! `GET /api/commands`: the shell commands that the page offers for copying.
//!
//! Each command works as shown for this hub: it names the database if that is not the default path,
//! and the address the page was opened with. The server runs none of them.

use std::net::SocketAddr;

use hyper::header::HOST;
use serde::Serialize;
use warp::reply::Response;

use crate::config::{self, DEFAULT_PORT};
use crate::error::Result;
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::text::shell;

#[derive(Debug, Serialize)]
struct Command {
    name: &'static str,
    /// A description of the command, shown as a heading above it.
    about: &'static str,
    /// For a POSIX shell.
    command: String,
    /// The sender of the row that the command writes; only for commands that write a test row.
    from: Option<&'static str>,
}

/// Returns all commands in one page.
pub(crate) async fn list(request: ApiRequest) -> Result<Response> {
    let path = request.server.hub().store().path();
    let quoted_path = shell::quote(path);
    let agenthub = if config::db_path(None).is_ok_and(|default| default == path) {
        "agenthub".to_owned()
    } else {
        format!("agenthub --db {quoted_path}")
    };
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.unwrap_or_default();
    let mut commands = commands(&agenthub, &quoted_path, &format!("http://{host}"));
    commands.push(Command {
        name: "serve",
        about: "Start the hub again:",
        command: format!("{agenthub} serve{}", listen_option(host)),
        from: None,
    });
    Ok(response::list(&commands, None::<()>))
}

/// Returns the option with which the hub is at this address again; nothing for the default port or a name.
fn listen_option(host: &str) -> String {
    let address = host.parse::<SocketAddr>().ok();
    let address = address.filter(|address| address.port() != DEFAULT_PORT);
    address.map_or_else(String::new, |address| format!(" --listen {address}"))
}

/// `agenthub` is the program with its `--db` option, `path` the quoted path of the database.
fn commands(agenthub: &str, path: &str, origin: &str) -> Vec<Command> {
    let agenthub_command = |name, about, arguments: &str| Command {
        name,
        about,
        command: format!("{agenthub} {arguments}"),
        from: None,
    };
    let test_row = |name, about, from, command| Command {
        name,
        about,
        command,
        from: Some(from),
    };
    let insert = |from| format!("INSERT INTO messages(thread_id, from_id, content) VALUES('hello', '{from}', 'hi')");
    let messages_url = format!("{origin}/api/threads/hello/messages");
    vec![
        Command {
            name: "demo",
            about: "Try it with simulated agents:",
            // The demo has its own database.
            command: "agenthub demo".to_owned(),
            from: None,
        },
        agenthub_command(
            "run",
            "Run one agent and record its steps:",
            "run -- claude -p \"fix the failing test\"",
        ),
        agenthub_command(
            "init",
            "Connect the agents on this machine (shows the changes and asks first):",
            "init",
        ),
        agenthub_command("doctor", "Diagnose problems:", "doctor"),
        agenthub_command(
            "wake",
            "Let important mail wake idle agents (all: each mail; off: none):",
            "wake important",
        ),
        agenthub_command(
            "ask",
            "Ask you a question and wait for the reply:",
            "ask human \"ship it?\" --wait 600 --from planner",
        ),
        agenthub_command(
            "send",
            "Send you a message:",
            "send human 'the build is red' --from planner",
        ),
        test_row(
            "sqlite3",
            "From any program that can open SQLite:",
            "try-sqlite3",
            format!("sqlite3 -cmd '.timeout 5000' {path} \"{}\"", insert("try-sqlite3")),
        ),
        test_row(
            "post",
            "From the command line:",
            "try-agenthub",
            format!("{agenthub} post hello hi --from try-agenthub"),
        ),
        test_row(
            "curl",
            "Over HTTP:",
            "try-curl",
            format!(
                "curl -H \"Authorization: Bearer $({agenthub} token)\" -H 'Content-Type: application/json' {messages_url} \
                 -d '{{\"from_id\":\"try-curl\",\"content\":\"hi\"}}'"
            ),
        ),
        test_row(
            "python",
            "From Python:",
            "try-python",
            format!(
                "python3 -c 'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute(sys.argv[2]); d.commit()' \
                 {path} \"{}\"",
                insert("try-python")
            ),
        ),
        test_row(
            "node",
            "From Node.js:",
            "try-node",
            format!(
                "node -e 'fetch(process.argv[1], {{method: \"POST\", headers: {{authorization: \"Bearer \" + \
                 process.argv[2], \"content-type\": \"application/json\"}}, body: JSON.stringify({{from_id: \"try-node\", \
                 content: \"hi\"}})}})' {messages_url} \"$({agenthub} token)\""
            ),
        ),
    ]
}
