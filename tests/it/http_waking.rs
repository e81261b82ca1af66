//! Waking agents over HTTP: what `GET /api/wake` describes, and the person's request to wake an agent.

use std::fs;
use std::path::PathBuf;

use agenthub::integrations::spec::WAKE_PROMPT;
use serde_json::{Value, json};

use super::hooks::event;
use super::run_and_ingest::{output_with_input, stderr};
use super::support::TestHub;
use super::support::command::{command_as, keys};
use super::support::person::run_as_person;

const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

/// Runs a hook of the agent `coder` in Claude Code, which must succeed. Returns its output.
#[track_caller]
fn hook(hub: &TestHub, name: &str, more: &str) -> Value {
    let command = command_as(hub, "coder", &["hook", "claude-code"]);
    let output = output_with_input(command, &event("s", name, more));
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (Some(0), ""),
        "{name}"
    );
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Begins a session of `coder`. Returns the file that its tool watches.
#[track_caller]
fn begin_session(hub: &TestHub) -> PathBuf {
    let output = hook(hub, "SessionStart", r#""source":"startup","permission_mode":"default""#);
    let file = output["hookSpecificOutput"]["watchPaths"][0].as_str();
    file.unwrap_or_else(|| panic!("no file to watch: {output}")).into()
}

fn send_mail(hub: &TestHub, priority: &str) {
    hub.sql(&format!(
        "INSERT INTO inbox_messages(from_agent, to_inbox, payload, priority) VALUES('planner', 'coder', 'look', '{priority}')"
    ));
}

fn state(hub: &TestHub) -> Value {
    let response = hub.get("/api/wake");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// Returns the word for why `coder` is not woken now.
fn obstacle(hub: &TestHub) -> String {
    state(hub)["agents"][0]["obstacle"].as_str().unwrap().to_owned()
}

fn wakes(hub: &TestHub) -> String {
    hub.sql("SELECT agent, mail, state, via, coalesce(asked_by, '') FROM wakes ORDER BY n")
}

/// Asks to wake `coder` as the person, which must be refused. Returns the reason.
#[track_caller]
fn refusal(hub: &TestHub) -> String {
    let response = hub.send_as_person("POST", "/api/agents/coder/wake", "");
    assert_eq!(
        (response.status, response.code().as_str()),
        (409, "CONFLICT"),
        "{response:?}"
    );
    response.json()["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn describes_the_setting_the_limits_and_agents_with_an_open_session() {
    let hub = TestHub::start();
    let limits = json!({"an_hour": 6, "in_a_chain": 3, "pause_ms": 30000});
    assert_eq!(state(&hub), json!({"default": "off", "limits": limits, "agents": []}));
    begin_session(&hub);
    assert_eq!(
        state(&hub)["agents"],
        json!([{
            "agent": "coder", "mode": "off", "can_be_woken": true, "woken_in_last_hour": 0,
            "obstacle": "off", "reason": "waking is off; agenthub wake important turns it on"
        }])
    );
    run_as_person(&hub, &["wake", "important"]);
    let with_setting = state(&hub);
    assert_eq!(with_setting["default"], "important");
    assert_eq!(
        with_setting["agents"],
        json!([{
            "agent": "coder", "mode": "important", "can_be_woken": true, "woken_in_last_hour": 0,
            "obstacle": "no_mail", "reason": "no new mail waits for it"
        }])
    );
    send_mail(&hub, "info");
    assert_eq!(obstacle(&hub), "not_important");
    hook(&hub, "UserPromptSubmit", r#""prompt":"go""#);
    assert_eq!(obstacle(&hub), "working");
    hook(&hub, "SessionEnd", r#""reason":"exit""#);
    assert_eq!(state(&hub)["agents"], json!([]));
}

#[test]
fn documented_state_has_the_fields_of_the_response() {
    let (_, after) = PROTOCOL
        .split_once("`GET /api/wake`:\n\n```json http\n")
        .expect("an example");
    let (example, _) = after.split_once("```").unwrap();
    let documented: Value = serde_json::from_str(example).unwrap();
    let hub = TestHub::start();
    begin_session(&hub);
    let real = state(&hub);
    assert_eq!(keys(&documented), keys(&real));
    assert_eq!(documented["limits"], real["limits"]);
    for agent in documented["agents"].as_array().unwrap() {
        assert_eq!(keys(agent), keys(&real["agents"][0]));
    }
}

/// A session that has begun before its tool knew a file to watch cannot be woken.
#[test]
fn says_which_agents_cannot_be_woken_and_why() {
    let hub = TestHub::start();
    run_as_person(&hub, &["wake", "all"]);
    fs::remove_file(begin_session(&hub)).unwrap();
    let agent = &state(&hub)["agents"][0];
    assert_eq!(
        (&agent["can_be_woken"], &agent["obstacle"]),
        (&json!(false), &json!("not_prepared"))
    );
    let reason = agent["reason"].as_str().unwrap();
    assert!(refusal(&hub).ends_with(reason), "{reason}");
}

#[test]
fn only_the_person_may_wake_an_agent() {
    let hub = TestHub::start();
    let file = begin_session(&hub);
    send_mail(&hub, "urgent");
    for path in ["/api/agents/coder/wake", "/api/agents/coder/wake/"] {
        let response = hub.send("POST", path, "");
        assert_eq!(
            (response.status, response.code().as_str()),
            (403, "FORBIDDEN"),
            "{response:?}"
        );
    }
    assert_eq!(
        (wakes(&hub), fs::read_to_string(&file).unwrap()),
        (String::new(), String::new())
    );
}

#[test]
fn wakes_an_idle_agent_for_the_person_although_waking_is_off() {
    let hub = TestHub::start();
    assert_eq!(refusal(&hub), "coder is not woken: no session of it is open");
    let file = begin_session(&hub);
    assert_eq!(refusal(&hub), "coder is not woken: no new mail waits for it");
    hook(&hub, "UserPromptSubmit", r#""prompt":"go""#);
    let refused = refusal(&hub);
    assert_eq!(
        refused,
        "coder is not woken: its session works and gets the mail with its next step"
    );
    assert!(PROTOCOL.contains(&refused));
    hook(&hub, "Stop", "");
    send_mail(&hub, "info");
    assert_eq!(
        (wakes(&hub), fs::read_to_string(&file).unwrap()),
        (String::new(), String::new())
    );

    let response = hub.send_as_person("POST", "/api/agents/coder/wake", "");
    assert_eq!(
        (response.status, response.json()),
        (200, json!({"agent": "coder", "state": "begun"}))
    );
    assert_eq!(wakes(&hub), "coder|1|begun|hook|human");
    super::support::wait_for("the watched file to change", || {
        (!fs::read_to_string(&file).unwrap().is_empty()).then_some(())
    });
    assert_eq!(refusal(&hub), "coder is not woken: a wake has begun");

    // The tool fetches the prompt, and the session begins a turn with it.
    let command = command_as(&hub, "coder", &["hook", "claude-code"]);
    let output = output_with_input(command, &event("s", "FileChanged", ""));
    assert_eq!((output.status.code(), stderr(&output).trim()), (Some(2), WAKE_PROMPT));
    hook(&hub, "UserPromptSubmit", &format!("\"prompt\":{}", json!(WAKE_PROMPT)));
    assert_eq!(wakes(&hub), "coder|1|woken|hook|human");
    // What the person asks for does not count for the limits.
    assert_eq!(state(&hub)["agents"][0]["woken_in_last_hour"], 0);
}
