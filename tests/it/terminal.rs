//! Text from agents in a terminal must not move the cursor, color the screen, ring the bell, or
//! reorder or hide text.

use std::io::Read;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use crate::support::writer::{self, Process};
use crate::support::{TestHub, wait_for};

/// SQL for text that clears the screen, disguises a link, rings the bell, colors and reorders text.
const HOSTILE: &str = "char(27) || '[2J' || char(27) || ']8;;http://evil.test' || char(7) || char(155) || '31m' || char(8238) || 'x' || char(8294) || char(13) || 'y'";

/// SQL for rows with that text in every column that commands show.
fn hostile_rows() -> String {
    let sql = "INSERT INTO threads(id, title, status) VALUES('t', $, $);
         INSERT INTO messages(thread_id, from_id, id, kind, subject, content) VALUES('t', 'a' || $, 'm1', $, $, 'needle ' || $);
         INSERT INTO inbox_messages(from_agent, to_inbox, id, message_id, correlation_id, message_type, title, payload, priority)
           VALUES('a' || $, 'human', 'i1', 'msg_1', $, $, $, 'needle ' || $, $);
         INSERT INTO inbox_messages(from_agent, to_inbox, payload, claimed_by, claim_expires_at) VALUES('a', 'human', 'x', $, 99999999999999);
         INSERT INTO task_stream(task_id, stream_type, text, agent_id, tool_name) VALUES('k' || $, 'text', 'needle ' || $, $, $);
         INSERT INTO telemetry(instance_id, agent_id, model, status) VALUES('i' || $, 'a', $, $);
         UPDATE agents SET label = $, workspace = $, status = $;
         INSERT INTO receipts(message_id, reader, state, via) VALUES('msg_1', 'r' || $, 'seen', $);
         INSERT INTO subscriptions(instance_id, thread_id) VALUES('s' || $, 't');";
    sql.replace('$', HOSTILE)
}

/// Asserts that `bytes` contain no control character but line breaks, and no direction mark.
#[track_caller]
fn assert_harmless(what: &str, bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
    let hostile = text
        .chars()
        .find(|c| (c.is_control() && *c != '\n') || matches!(*c, '\u{202e}' | '\u{2066}'));
    assert_eq!(hostile, None, "{what}: {text:?}");
    text
}

/// A Python program that runs its other arguments in a pseudoterminal until they print the first one,
/// or to the end.
const TERMINAL: &str = "import os, pty, signal, sys\n\
    pid, fd = pty.fork()\n\
    if pid == 0: os.execv(sys.argv[2], sys.argv[2:])\n\
    seen = b''\n\
    while sys.argv[1].encode() not in seen:\n    \
        try: part = os.read(fd, 65536)\n    \
        except OSError: break\n    \
        if not part: break\n    \
        seen += part\n\
    os.kill(pid, signal.SIGKILL)\n\
    os.write(1, seen)\n";

/// Returns what a command shows in a terminal until `until`.
#[track_caller]
fn in_a_terminal(hub: &TestHub, until: &str, args: &[&str]) -> String {
    let mut command = writer::python();
    command
        .args(["-c", TERMINAL, until, env!("CARGO_BIN_EXE_agenthub")])
        .args(args)
        .env("AGENTHUB_DB", hub.db())
        .env("NO_COLOR", "1");
    let output = command.output().unwrap();
    assert_harmless(&format!("{args:?} in a terminal"), output.stdout)
}

#[test]
fn commands_escape_control_and_direction_characters() {
    let hub = TestHub::start();
    hub.sql(&hostile_rows());
    for args in [
        &["inbox"][..],
        &["agents"],
        &["threads"],
        &["search", "needle"],
        &["status"],
        &["doctor"],
        &["trace", "msg_1"],
        &["trace", "m1"],
        &["read", "msg_1"],
        &["send", "nobody\u{1b}[2J\u{202e}", "x"],
        &["read", "nothing\u{1b}[2J\u{202e}"],
        &["trace", "nothing\u{1b}[2J\u{202e}"],
    ] {
        let output = hub.agenthub(args);
        let what = format!("{args:?}");
        assert_harmless(&what, output.stdout);
        assert_harmless(&what, output.stderr);
    }
    let found = String::from_utf8(hub.agenthub(&["search", "needle"]).stdout).unwrap();
    assert!(found.contains("\\u{1b}[2J") && found.contains("\\u{202e}"), "{found}");
    // In a terminal, as tables and as JSON.
    const END: &str = "no such word";
    for args in [
        &["inbox", "--json"][..],
        &["agents", "--json"],
        &["threads", "--json"],
        &["search", "needle", "--json"],
        &["trace", "msg_1", "--json"],
        &["status", "--json"],
        &["inbox"],
        &["agents"],
    ] {
        let shown = in_a_terminal(&hub, END, args);
        if args.last() == Some(&"--json") {
            serde_json::from_str::<serde_json::Value>(&shown).unwrap_or_else(|e| panic!("{e}: {shown}"));
        }
    }
    let shown = in_a_terminal(&hub, END, &["inbox", "--json"]);
    assert!(shown.contains("\\u2066") && shown.contains("\\u009b"), "{shown}");
    let shown = in_a_terminal(&hub, "needle", &["tail", "t"]);
    assert!(shown.contains("needle"), "{shown}");
}

#[test]
fn tail_escapes_control_and_direction_characters() {
    let hub = TestHub::start();
    let mut command = hub.command(&["tail"]);
    command.stdout(Stdio::piped());
    let mut tail = Process::start(command);
    let mut stdout = tail.0.stdout.take().unwrap();
    let shown = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&shown);
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = stdout.read(&mut buffer) {
            seen.lock().unwrap().extend_from_slice(&buffer[..n]);
        }
    });
    let mut round = 0;
    wait_for("mail, messages and tasks in the output", || {
        round += 1;
        hub.sql(&format!(
            "INSERT INTO messages(thread_id, from_id, subject, content) VALUES('u', 'a' || {HOSTILE}, {HOSTILE}, 'needle ' || {HOSTILE});
             INSERT INTO inbox_messages(from_agent, to_inbox, title, payload) VALUES('a' || {HOSTILE}, 'b' || {HOSTILE}, {HOSTILE}, {HOSTILE});
             INSERT INTO task_stream(task_id, stream_type, text, agent_id) VALUES('k' || {HOSTILE}, 'text', {HOSTILE}, {HOSTILE});
             INSERT INTO telemetry(instance_id, agent_id, status) VALUES('i{round}' || {HOSTILE}, {HOSTILE}, {HOSTILE});"
        ));
        let text = String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
        (text.matches("needle").count() > 2).then_some(())
    });
    drop(tail);
    reader.join().unwrap();
    let shown = assert_harmless("tail", shown.lock().unwrap().clone());
    assert!(shown.contains("\\u{1b}[2J"), "{shown}");
}
