//! What other people's hands have put beside our entries, or instead of them.

use super::Home;

/// Without it a command would be called good that no tool ever starts: the file has another.
#[test]
fn what_is_proved_is_what_stands_in_the_file() {
    let gone = "A=1 /gone/agenthub hook claude-code";
    let file = serde_json::json!({"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": gone}]}]}});
    let home = Home::with(&[(".claude/settings.json", &file.to_string())]);
    let output = home.run(&["--yes", "--only", "claude"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = format!("the hook of Claude Code does not answer; see what this does: {gone} < /dev/null\n");
    assert!(said.ends_with(&expected), "{said}");
}

/// Without it a person's own command would be gone for mentioning this program, and an agent
/// that was given a name would lose it.
#[test]
fn commands_that_only_mention_us_or_carry_a_name_stay() {
    let foreign = "logger agenthub; my-tool hook claude-code";
    let named = "AGENTHUB_AGENT=planner /opt/agenthub hook claude-code";
    let file = serde_json::json!({"hooks": {
        "Stop": [{"hooks": [{"type": "command", "command": foreign}]}],
        "SessionEnd": [{"hooks": [{"type": "command", "command": named}]}],
    }});
    let home = Home::with(&[(".claude/settings.json", &file.to_string())]);
    home.succeed(&["--yes", "--only", "claude"]);
    let text = home.read(".claude/settings.json");
    let now: serde_json::Value = serde_json::from_str(&text).unwrap();
    let commands = |event: &str| -> Vec<String> {
        let groups = now["hooks"][event].as_array().unwrap().iter();
        let handlers = groups.flat_map(|group| group["hooks"].as_array().unwrap());
        handlers
            .map(|handler| handler["command"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(commands("Stop")[0], foreign);
    assert_eq!(commands("Stop").len(), 2, "and ours beside it");
    assert_eq!(commands("SessionEnd"), [named], "there already");
    // Something else changes, so that undoing goes by what is ours.
    home.write(".claude/settings.json", &text.replacen('{', "{\"model\": \"opus\",", 1));
    home.succeed(&["--yes", "--undo"]);
    let mut expected = file;
    expected["model"] = "opus".into();
    let now: serde_json::Value = serde_json::from_str(&home.read(".claude/settings.json")).unwrap();
    assert_eq!(now, expected);
}

/// Without it the doctor would call a machine well whose agents never hear of their mail.
#[test]
fn the_doctor_tells_what_keeps_the_tools_from_us() {
    let home = Home::with(&[]);
    home.succeed(&["--yes"]);
    let doctor = || {
        let output = home.command(&["doctor", "--json"]).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let all = report["findings"].as_array().unwrap().clone();
        all.into_iter().find(|finding| finding["check"] == "tools").unwrap()
    };
    let found = doctor();
    assert_eq!(found["state"], "ok", "{found}");
    assert_eq!(found["message"], "connected: Claude Code, Codex, Gemini CLI, Cursor");

    let settings = home.read(".claude/settings.json");
    let config = home.read(".codex/config.toml");
    for (name, text, word) in [
        (
            ".claude/settings.json",
            settings.replacen('{', "{\"disableAllHooks\": true,", 1),
            "disableAllHooks",
        ),
        (
            ".claude/settings.json",
            settings.replacen('{', "{\"allowManagedHooksOnly\": true,", 1),
            "allowManagedHooksOnly",
        ),
        (
            ".codex/config.toml",
            format!("[features]\nhooks = false\n{config}"),
            "features.hooks",
        ),
        (
            ".cursor/mcp.json",
            "{\"mcpServers\": {\"agenthub\": {\"command\": \"/gone/agenthub\", \"args\": [\"mcp\"]}}}".to_owned(),
            "/gone/agenthub",
        ),
        (".gemini/settings.json", "{oops".to_owned(), "line 1"),
    ] {
        let before = home.read(name);
        home.write(name, &text);
        let found = doctor();
        let message = found["message"].as_str().unwrap();
        assert!(message.contains(word) && message.contains(name), "{found}");
        assert!(!found["advice"].as_str().unwrap().is_empty(), "{found}");
        home.write(name, &before);
    }
    assert_eq!(doctor()["state"], "ok");
    home.succeed(&["--yes", "--undo"]);
    assert_eq!(doctor()["state"], "ok", "whoever wants none is well");
}

/// Without it a Gemini or Cursor that starts again would be somebody else, without its mail.
#[test]
fn tools_that_tell_no_session_have_one_name_and_may_be_given_another() {
    let home = Home::with(&[]);
    home.succeed(&["--yes"]);
    for (name, agent) in [(".gemini/settings.json", "gemini"), (".cursor/mcp.json", "cursor")] {
        let text = home.read(name);
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({"AGENTHUB_AGENT": agent});
        assert_eq!(file["mcpServers"]["agenthub"]["env"], expected);
        home.write(
            name,
            &text.replace(
                &format!("\"AGENTHUB_AGENT\": \"{agent}\""),
                "\"AGENTHUB_AGENT\": \"planner\"",
            ),
        );
    }
    let said = home.succeed(&["--yes"]);
    assert!(said.starts_with("Everything is connected"), "{said}");
    assert!(home.read(".cursor/mcp.json").contains("planner"));
}

/// Without it a program would be connected that `--undo` does not know again.
#[test]
fn a_program_of_another_name_is_not_connected() {
    let home = Home::with(&[]);
    let other = home.folder.path().join("hub-of-mine");
    std::fs::copy(super::AGENTHUB, &other).unwrap();
    let before = home.files();
    let ours = home.command(&["init", "--yes"]);
    let mut command = std::process::Command::new(&other);
    command.args(ours.get_args()).env_clear();
    command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.ends_with("name it agenthub and run this again\n"), "{said}");
    assert_eq!(home.files(), before);
}
