//! One agent, its repository and the files it has edited, over HTTP.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::hooks::event;
use super::run_and_ingest::output_with_input;
use super::support::TestHub;
use super::support::command::{command_as, keys};

const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn add_agent(hub: &TestHub, name: &str, workspace: &str) {
    hub.sql(&format!(
        "INSERT INTO agents(id, workspace, pid) VALUES('{name}', '{workspace}', 4242)"
    ));
}

#[track_caller]
fn agent(hub: &TestHub, name: &str) -> Value {
    let response = hub.get(&format!("/api/agents/{name}"));
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// A worktree of a repository, and an agent that has worked in it in a session.
fn hub_with_session() -> TestHub {
    let hub = TestHub::start();
    let folder = hub.folder().canonicalize().unwrap();
    let git = folder.join("shop/.git/worktrees/cart");
    write(&git.join("HEAD"), "ref: refs/heads/feature/cart\n");
    write(&folder.join("shop-cart/.git"), &format!("gitdir: {}\n", git.display()));
    fs::create_dir(folder.join("shop-cart/src")).unwrap();
    let hook = command_as(&hub, "coder", &["hook", "claude-code"]);
    let start = event("s", "SessionStart", r#""source":"startup","permission_mode":"default""#);
    assert!(output_with_input(hook, &start).status.success());
    let workspace = folder.join("shop-cart/src");
    hub.sql(&format!(
        "UPDATE agents SET workspace = '{}' WHERE id = 'coder'",
        workspace.display()
    ));
    hub
}

#[test]
fn returns_an_agent_with_its_sessions_and_its_repository() {
    let hub = hub_with_session();
    let folder = hub.folder().canonicalize().unwrap();
    let coder = agent(&hub, "coder");
    let root = folder.join("shop-cart");
    assert_eq!(
        coder["repository"],
        json!({"name": "shop", "root": root.to_str().unwrap(), "worktree": "cart", "branch": "feature/cart"})
    );
    let session = &coder["sessions"][0];
    assert_eq!(
        (&session["id"], &session["task_id"]),
        (&json!("claude-s"), &json!("claude-s"))
    );
    assert_eq!(
        (&session["tool"], &session["ended_at"]),
        (&json!("Claude Code"), &json!(null))
    );
    assert_eq!(session["permission_mode"], "default");
    assert!(session["started_at"].as_i64().unwrap() <= session["last_event_at"].as_i64().unwrap());
    let listed = hub.get("/api/repositories").items();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["workspace"], coder["workspace"]);
    assert_eq!(listed[0]["branch"], "feature/cart");

    let missing = hub.get("/api/agents/nobody");
    assert_eq!((missing.status, missing.code().as_str()), (404, "NOT_FOUND"));
}

#[test]
fn documented_agent_has_the_fields_of_the_response() {
    let (_, after) = PROTOCOL
        .split_once("`GET /api/agents/coder`:\n\n```json http\n")
        .expect("an example");
    let (example, _) = after.split_once("```").unwrap();
    let documented: Value = serde_json::from_str(example).unwrap();
    let hub = hub_with_session();
    let real = agent(&hub, "coder");
    assert_eq!(keys(&documented), keys(&real));
    assert_eq!(keys(&documented["repository"]), keys(&real["repository"]));
    assert_eq!(keys(&documented["sessions"][0]), keys(&real["sessions"][0]));
}

/// A row can name any path: it must not make the hub read another file, or wait.
#[test]
fn a_working_directory_reveals_no_other_file() {
    let hub = TestHub::start();
    let folder = hub.folder().canonicalize().unwrap();
    write(&folder.join("secret"), "ref: refs/heads/leaked\n");
    write(
        &folder.join("file/.git"),
        &format!("gitdir: {}\n", folder.join("secret").display()),
    );
    fs::create_dir_all(folder.join("linked/.git")).unwrap();
    std::os::unix::fs::symlink(folder.join("secret"), folder.join("linked/.git/HEAD")).unwrap();
    write(&folder.join("text/.git/HEAD"), "ref: refs/heads/the password is x\n");
    std::os::unix::fs::symlink("loop", folder.join("loop")).unwrap();
    let long = "x".repeat(100_000);
    for (n, path) in ["file", "linked", "text", "loop", "missing", &long, ""]
        .iter()
        .enumerate()
    {
        add_agent(&hub, &format!("a{n}"), folder.join(path).to_str().unwrap());
    }
    for (n, path) in [".", "secret/..", "../..", "file:///"].iter().enumerate() {
        add_agent(&hub, &format!("r{n}"), path);
    }
    let response = hub.get("/api/repositories");
    let items = response.items();
    let names: Vec<&Value> = items.iter().map(|item| &item["name"]).collect();
    assert_eq!(names, [&json!("text")]);
    assert_eq!((&items[0]["branch"], &items[0]["commit"]), (&json!(null), &json!(null)));
    assert!(!response.body.contains("leaked") && !response.body.contains("password"));
    assert_eq!(agent(&hub, "a0")["repository"], json!(null));
}

#[test]
fn lists_the_files_that_a_task_has_edited() {
    let hub = TestHub::start();
    let edit = |name: &str, path: &str, at: i64| {
        hub.sql(&format!(
            "INSERT INTO task_stream(task_id, stream_type, tool_name, tool_input, created_at) \
             VALUES('t', 'tool_use', '{name}', json_object('file_path', '{path}'), {at})"
        ));
    };
    edit("Edit", "/w/a.rs", 1);
    edit("Write", "/w/b.rs", 2);
    edit("Read", "/w/c.rs", 3);
    edit("Edit", "/w/a.rs", 4);
    hub.sql(
        "INSERT INTO task_stream(task_id, stream_type, tool_name, tool_input) VALUES \
         ('t', 'tool_result', 'Edit', '{\"file_path\":\"/w/d.rs\"}'), ('t', 'tool_use', 'Edit', 'cut off'), \
         ('other', 'tool_use', 'Edit', '{\"file_path\":\"/w/e.rs\"}')",
    );
    let files = hub.get("/api/tasks/t/files").json();
    assert_eq!(
        files,
        json!({"items": [
            {"path": "/w/a.rs", "edits": 2, "last_at": 4},
            {"path": "/w/b.rs", "edits": 1, "last_at": 2},
        ], "has_more": false})
    );
    hub.sql(
        "WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 300) \
         INSERT INTO task_stream(task_id, stream_type, tool_name, tool_input) \
         SELECT 'many', 'tool_use', 'Edit', json_object('file_path', CAST(i AS TEXT)) FROM i",
    );
    let files = hub.get("/api/tasks/many/files").json();
    assert_eq!(files["has_more"], true);
    let items = files["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["path"]), (200, &json!("300")));
    assert_eq!(hub.get("/api/tasks/unknown/files").json()["items"], json!([]));
}
