//! Entries of agenthub that the user or an earlier version has written, and entries of other
//! programs beside them.

use super::Home;
use crate::run_and_ingest::output_with_input;

/// A customized command is the one that the tool runs.
#[test]
fn verifies_the_command_in_the_file() {
    let gone = "A=1 /gone/agenthub hook claude-code";
    let file = serde_json::json!({"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": gone}]}]}});
    let home = Home::with(&[(".claude/settings.json", &file.to_string())]);
    let output = home.run(&["--yes", "--only", "claude"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let expected = format!("the hook of Claude Code does not answer; to see why, run: {gone} < /dev/null\n");
    assert!(stderr.ends_with(&expected), "{stderr}");
}

#[test]
fn keeps_commands_that_only_mention_agenthub_or_are_customized() {
    let other = "logger agenthub; my-tool hook claude-code";
    let customized = "AGENTHUB_AGENT=planner /opt/agenthub hook claude-code";
    let file = serde_json::json!({"hooks": {
        "Stop": [{"hooks": [{"type": "command", "command": other}]}],
        "SessionEnd": [{"hooks": [{"type": "command", "command": customized}]}],
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
    assert_eq!(commands("Stop")[0], other);
    assert_eq!(commands("Stop").len(), 2, "the other command and agenthub's");
    assert_eq!(
        commands("SessionEnd"),
        [customized],
        "the customized command is sufficient"
    );
    // With another change in the file, --undo removes entries instead of restoring the backup.
    home.write(".claude/settings.json", &text.replacen('{', "{\"model\": \"opus\",", 1));
    home.succeed(&["--yes", "--undo"]);
    let mut expected = file;
    expected["model"] = "opus".into();
    let now: serde_json::Value = serde_json::from_str(&home.read(".claude/settings.json")).unwrap();
    assert_eq!(now, expected);
}

/// Returns doctor's finding about the tools.
#[track_caller]
fn tools_finding(home: &Home, variables: &[(&str, &str)]) -> serde_json::Value {
    let mut command = home.command(&["doctor", "--json"]);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = report["findings"].as_array().unwrap().clone();
    all.into_iter().find(|finding| finding["check"] == "tools").unwrap()
}

#[test]
fn doctor_says_whether_the_tools_run_the_hooks() {
    let home = Home::with(&[]);
    home.succeed(&["--yes"]);
    let text = |variables: &[(&str, &str)]| {
        let found = tools_finding(&home, variables);
        (
            found["state"].as_str().unwrap().to_owned(),
            found["message"].as_str().unwrap().to_owned(),
        )
    };
    // The script in place of codex does not answer.
    let (state, message) = text(&[]);
    assert_eq!(state, "ok");
    assert!(
        message.contains("Codex: whether it trusts the hooks is unknown"),
        "{message}"
    );
    let silent = |name: &str| format!("{name}: no event of its hooks since ");
    for name in ["Claude Code", "Codex", "Gemini CLI", "Cursor"] {
        assert!(message.contains(&silent(name)), "{message}");
    }
    let folder = home.path("").canonicalize().unwrap();
    let asks = format!(
        "Gemini CLI: it has not been asked yet whether you trust {}",
        folder.display()
    );
    assert!(message.contains(&asks), "{message}");

    // Codex answers with the trust of each hook.
    let hooks = r#"{"command":"/opt/agenthub hook codex","enabled":true,"trustStatus":"TRUST"},{"command":"mine","enabled":true,"trustStatus":"untrusted"}"#;
    let codex = |trust: &str| {
        let answer = format!(
            r#"{{"id":2,"result":{{"data":[{{"cwd":"/","hooks":[{}],"warnings":[],"errors":[]}}]}}}}"#,
            hooks.replace("TRUST", trust)
        );
        home.program(
            "codex",
            &format!("read -r initialize; echo '{{\"id\":1,\"result\":{{}}}}'; read -r initialized; read -r list; echo '{answer}'"),
        );
    };
    codex("untrusted");
    let (state, message) = text(&[]);
    assert_eq!(state, "bad", "{message}");
    assert!(
        message.contains("Codex: it does not run 1 hook of agenthub"),
        "{message}"
    );
    codex("trusted");
    let (state, message) = text(&[]);
    assert_eq!(state, "ok");
    assert!(!message.contains("trusts the hooks"), "{message}");

    // Gemini CLI has the user's answer for each directory.
    home.write(
        ".gemini/trustedFolders.json",
        &format!("{{{:?}: \"DO_NOT_TRUST\"}}", folder.display().to_string()),
    );
    let (state, message) = text(&[]);
    assert_eq!(state, "bad", "{message}");
    assert!(message.contains("Gemini CLI: you do not trust"), "{message}");
    let other = home.path("trusted.json");
    home.write(
        "trusted.json",
        &format!("{{{:?}: \"TRUST_FOLDER\"}}", folder.display().to_string()),
    );
    let (state, message) = text(&[("GEMINI_CLI_TRUSTED_FOLDERS_PATH", other.to_str().unwrap())]);
    assert_eq!(state, "ok");
    assert!(!message.contains("whether you trust"), "{message}");

    // A hook has run.
    let input = br#"{"session_id":"s","hook_event_name":"BeforeAgent","prompt":"go","cwd":"/"}"#;
    let output = output_with_input(home.command(&["hook", "gemini"]), input);
    assert!(output.status.success());
    let (_, message) = text(&[("GEMINI_CLI_TRUSTED_FOLDERS_PATH", other.to_str().unwrap())]);
    assert!(
        !message.contains(&silent("Gemini CLI")) && message.contains(&silent("Cursor")),
        "{message}"
    );
}

#[test]
fn doctor_names_hooks_of_another_version() {
    let home = Home::with(&[]);
    home.succeed(&["--yes", "--only", "claude,cursor"]);
    // A version with another timeout, without one event and with one more.
    let settings = home.read(".claude/settings.json");
    let mut old: serde_json::Value = serde_json::from_str(&settings).unwrap();
    let hooks = old["hooks"].as_object_mut().unwrap();
    hooks["Stop"][0]["hooks"][0]["timeout"] = 30.into();
    let removed = hooks.remove("SessionEnd").unwrap();
    hooks.insert("PreCompact".to_owned(), removed);
    home.write(".claude/settings.json", &old.to_string());
    let found = tools_finding(&home, &[]);
    assert_eq!(found["state"], "bad");
    let message = found["message"].as_str().unwrap();
    let path = home.path(".claude/settings.json").display().to_string();
    let expected =
        format!("Claude Code: {path} is from another version; agenthub init would change PreCompact, SessionEnd, Stop");
    assert!(message.contains(&expected), "{message}");
    assert_eq!(message.matches("another version").count(), 1, "{message}");
    home.succeed(&["--yes", "--only", "claude,cursor"]);
    assert_eq!(tools_finding(&home, &[])["state"], "ok");
    let servers = home.read(".claude.json");
    home.write(".claude.json", &servers.replace("\"type\": \"stdio\",", ""));
    let found = tools_finding(&home, &[]);
    assert!(
        found["message"]
            .as_str()
            .unwrap()
            .contains("would change the MCP server"),
        "{found}"
    );
}

#[test]
fn doctor_reports_what_keeps_tools_from_using_agenthub() {
    let home = Home::with(&[]);
    home.succeed(&["--yes"]);
    let doctor = || tools_finding(&home, &[]);
    let found = doctor();
    assert_eq!(found["state"], "ok", "{found}");
    let message = found["message"].as_str().unwrap();
    assert_eq!(
        message.lines().next(),
        Some("connected: Claude Code, Codex, Gemini CLI, Cursor, OpenCode")
    );

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
    assert_eq!(doctor()["state"], "ok", "no connected tool is no problem");
}

/// These tools give their MCP servers no session. Without a name each start would be another agent,
/// without the mail of the last one.
#[test]
fn tools_without_session_get_a_name_that_the_user_can_change() {
    let home = Home::with(&[]);
    home.succeed(&["--yes"]);
    for (name, agent) in [
        (".gemini/settings.json", "${AGENTHUB_AGENT:-}"),
        (".cursor/mcp.json", "cursor"),
    ] {
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
    let stdout = home.succeed(&["--yes"]);
    assert!(stdout.starts_with("Already connected"), "{stdout}");
    assert!(home.read(".cursor/mcp.json").contains("planner"));
}

/// Earlier versions gave all sessions of Gemini CLI one name.
#[test]
fn fixed_name_of_an_earlier_version_is_replaced() {
    let home = Home::with(&[(".gemini/settings.json", "{}\n")]);
    home.succeed(&["--yes"]);
    let (file, current) = (".gemini/settings.json", "${AGENTHUB_AGENT:-}");
    let installed = home.read(file);
    assert!(installed.contains(current), "{installed}");
    home.write(file, &installed.replace(current, "gemini"));
    home.succeed(&["--yes"]);
    assert_eq!(home.read(file), installed);
    home.write(file, &installed.replace(current, "gemini"));
    home.succeed(&["--undo", "--yes"]);
    assert!(!home.read(file).contains("agenthub"));
}

/// `--undo` recognizes commands by the program's name.
#[test]
fn refuses_to_connect_a_program_with_another_name() {
    let home = Home::with(&[]);
    let other = home.folder.path().join("hub-of-mine");
    std::fs::copy(super::AGENTHUB, &other).unwrap();
    let before = home.files();
    let agenthub = home.command(&["init", "--yes"]);
    let mut command = std::process::Command::new(&other);
    command.args(agenthub.get_args()).env_clear();
    command.envs(agenthub.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.ends_with("rename it to agenthub and run this again\n"),
        "{stderr}"
    );
    assert_eq!(home.files(), before);
}

/// Earlier versions put program and database into double quotes.
#[test]
fn upgrades_double_quoted_commands_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my hub.db").display().to_string();
    for db in [&[][..], &["--db", &path]] {
        let home = Home::with(&[(".claude/settings.json", "{\n  \"model\": \"opus\"\n}\n")]);
        let run = |args: &[&str]| {
            let args = [db, &["init", "--only", "claude,codex", "--yes"], args].concat();
            let output = home.command(&args).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let before = home.files();
        run(&[]);
        let after = home.files();
        for (name, word) in [(".claude/settings.json", "claude-code"), (".codex/hooks.json", "codex")] {
            let program = super::AGENTHUB;
            let (new, old) = if db.is_empty() {
                (
                    format!("{program} hook {word}"),
                    format!("\\\"{program}\\\" hook {word}"),
                )
            } else {
                (
                    format!("{program} --db '{path}' hook {word}"),
                    format!("\\\"{program}\\\" --db \\\"{path}\\\" hook {word}"),
                )
            };
            let text = home.read(name);
            assert!(text.contains(&format!("\"{new}\"")), "{text}");
            home.write(name, &text.replace(&new, &old));
        }
        assert_ne!(home.files(), after);
        let installed_by_an_earlier_version = home.files();
        run(&[]);
        assert_eq!(home.files(), after, "upgraded without duplicates");
        run(&["--undo"]);
        assert_eq!(home.files(), before);
        for (path, text) in &installed_by_an_earlier_version {
            if text.is_empty() {
                std::fs::create_dir_all(path).unwrap();
            } else {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
        }
        run(&["--undo"]);
        assert_eq!(home.files(), before, "restored from the old form");
    }
}

/// Settings that are shared between machines may contain agenthub's entries before the first `init`.
#[test]
fn backs_up_a_users_file_that_already_contains_entries() {
    let name = ".claude/settings.json";
    let shared = r#"{"model": "opus", "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "\"/old/agenthub\" hook claude-code"}]}]}}"#;
    let home = Home::with(&[(name, shared)]);
    let output = home.run(&["--only", "claude", "--yes"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!home.read(name).contains("/old/agenthub"), "{}", home.read(name));
    assert_eq!(home.read(&format!("{name}.agenthub.bak")), shared);
}

/// Some editors begin a file with a byte order mark. It is not part of the JSON or TOML.
#[test]
fn keeps_the_byte_order_mark_of_a_file() {
    let marked: Vec<(&str, String)> = super::COMMENTED_FILES
        .iter()
        .map(|(name, text)| (*name, format!("\u{feff}{text}")))
        .collect();
    let files: Vec<(&str, &str)> = marked.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let home = Home::with(&files);
    home.succeed(&["--yes"]);
    for (name, text) in &files {
        let now = home.read(name);
        assert!(now.starts_with('\u{feff}') && now != *text, "{name}: {now}");
        assert_eq!(now.matches('\u{feff}').count(), 1, "{name}: {now}");
    }
    assert!(home.succeed(&["--yes"]).contains("Already connected"));
    // Entries are removed from a file that was changed since.
    let settings = home.read(".gemini/settings.json");
    home.write(".gemini/settings.json", &settings.replace("Dark", "Light"));
    home.succeed(&["--yes", "--undo"]);
    assert_eq!(
        home.read(".gemini/settings.json"),
        "\u{feff}{\n  // theme\n  \"theme\": \"Light\"\n}\n"
    );
    for (name, text) in files.iter().filter(|(name, _)| !name.starts_with(".gemini")) {
        assert_eq!(home.read(name), *text, "{name}");
    }
}

/// A setting that turns hooks off is found behind a byte order mark, too.
#[test]
fn doctor_reads_files_with_a_byte_order_mark() {
    let home = Home::with(&[]);
    home.succeed(&["--yes"]);
    let settings = home.read(".claude/settings.json");
    home.write(
        ".claude/settings.json",
        &format!("\u{feff}{}", settings.replacen('{', "{\"disableAllHooks\": true,", 1)),
    );
    let output = home.command(&["doctor", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = report["findings"].as_array().unwrap();
    let found = all.iter().find(|finding| finding["check"] == "tools").unwrap();
    assert!(
        found["message"].as_str().unwrap().contains("disableAllHooks"),
        "{found}"
    );
}
