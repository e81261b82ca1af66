//! The commands the page shows for copying, as they are to be typed for this hub.
//!
//! For: `GET /api/commands`: how agents come to this file, from several worlds. The file is
//! named where the command line would not find it by itself.
//! Not for: running any of them.

use hyper::header::HOST;
use serde::Serialize;
use warp::reply::Response;

use crate::config;
use crate::error::Result;
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::text::shell;

#[derive(Debug, Serialize)]
struct Command {
    name: &'static str,
    /// What it is for, in a few words.
    about: &'static str,
    /// For a POSIX shell.
    command: String,
    /// Who the row is from that it writes, if it is there for a try.
    from: Option<&'static str>,
}

/// `GET /api/commands`: all of them, in one page.
pub(crate) async fn list(request: ApiRequest) -> Result<Response> {
    let path = request.server.hub().store().path();
    let file = shell::quote(path);
    let agenthub = if config::db_path(None).is_ok_and(|home| home == path) {
        "agenthub".to_owned()
    } else {
        format!("agenthub --db {file}")
    };
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = format!("http://{}", host.unwrap_or_default());
    Ok(response::list(&commands(&agenthub, &file, &origin), None::<()>))
}

fn commands(agenthub: &str, file: &str, origin: &str) -> Vec<Command> {
    let plays = Command {
        name: "demo",
        about: "Agents that only pretend:",
        // On a file of its own.
        command: "agenthub demo".to_owned(),
        from: None,
    };
    let own = |name, about, words: &str| Command {
        name,
        about,
        command: format!("{agenthub} {words}"),
        from: None,
    };
    let row = |from| format!("INSERT INTO messages(thread_id, from_id, content) VALUES('hello', '{from}', 'hi')");
    let post = format!("{origin}/api/threads/hello/messages");
    let tried = |name, about, from, command| Command {
        name,
        about,
        command,
        from: Some(from),
    };
    vec![
        plays,
        own(
            "run",
            "One, and its steps:",
            "run -- claude -p \"fix the failing test\"",
        ),
        own("init", "All on this machine; it shows its changes, and asks:", "init"),
        own("doctor", "Checks every part:", "doctor"),
        own(
            "ask",
            "Ask you, and wait:",
            "ask human \"ship it?\" --wait 600 --from planner",
        ),
        own("send", "Write to you:", "send human 'the build is red' --from planner"),
        tried(
            "sqlite3",
            "Any program that opens SQLite:",
            "try-sqlite3",
            format!("sqlite3 -cmd '.timeout 5000' {file} \"{}\"", row("try-sqlite3")),
        ),
        tried(
            "post",
            "By agenthub:",
            "try-agenthub",
            format!("{agenthub} post hello hi --from try-agenthub"),
        ),
        tried(
            "curl",
            "By HTTP:",
            "try-curl",
            format!(
                "curl -H \"Authorization: Bearer $({agenthub} token)\" -H 'Content-Type: application/json' {post} \
                 -d '{{\"from_id\":\"try-curl\",\"content\":\"hi\"}}'"
            ),
        ),
        tried(
            "python",
            "Python:",
            "try-python",
            format!(
                "python3 -c 'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute(sys.argv[2]); d.commit()' \
                 {file} \"{}\"",
                row("try-python")
            ),
        ),
        tried(
            "node",
            "Node:",
            "try-node",
            format!(
                "node -e 'fetch(process.argv[1], {{method: \"POST\", headers: {{authorization: \"Bearer \" + \
                 process.argv[2], \"content-type\": \"application/json\"}}, body: JSON.stringify({{from_id: \"try-node\", \
                 content: \"hi\"}})}})' {post} \"$({agenthub} token)\""
            ),
        ),
    ]
}
