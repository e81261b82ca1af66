//! `agenthub init` with many kinds of configuration files: other entries stay, a second run changes
//! nothing, `--undo` restores the files.

mod third_party_config;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::run_and_ingest::output_with_input;
use super::support::hub::AGENTHUB;
use super::support::writer;

/// A home directory, and scripts in place of the tools.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// A home with only Claude Code, in this version.
    fn new(claude: &str) -> Self {
        let home = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        home.program("claude", &format!("echo '{claude} (Claude Code)'"));
        home
    }

    /// A home with all tools and these files.
    fn with(files: &[(&str, &str)]) -> Self {
        let home = Self::new("2.1.330");
        for tool in ["codex", "gemini", "cursor"] {
            home.program(tool, "exit 1");
        }
        for (name, text) in files {
            home.write(name, text);
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("home").join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.folder.path().join("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::create_dir_all(self.path("")).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(AGENTHUB);
        let path = format!("{}:/usr/bin:/bin", self.folder.path().join("bin").display());
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.path(""))
            .current_dir(self.path(""))
            .stdin(Stdio::null())
            .args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(&[&["init"], args].concat()).output().unwrap()
    }

    #[track_caller]
    fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the text of every file in the home except the hub's, and every folder.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_name() == ".local" {
                    continue;
                } else if entry.file_type().unwrap().is_dir() {
                    found.insert(entry.path().join(""), String::new());
                    walk(&entry.path(), found);
                } else {
                    found.insert(entry.path(), fs::read_to_string(entry.path()).unwrap());
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(&self.path(""), &mut found);
        found
    }
}

/// Files with comments, entries of other programs and various formats.
const COMMENTED_FILES: &[(&str, &str)] = &[
    (
        ".claude/settings.json",
        r#"{
    // my own settings
    "model": "opus",
    "statusLine": { "type": "command", "command": "my-line" }, /* keep */
    "env": {"OTEL_LOGS_EXPORTER": "otlp"},
    "hooks": {
        "Stop": [
            { "hooks": [ { "type": "command", "command": "say done" } ] } // loud
        ],
        "PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "guard \"$PWD\""}]}],
        "TeammateIdle": [],
    },
    "permissions": {"allow": ["Bash(ls:*)"]}
}"#,
    ),
    (
        ".claude.json",
        "{\n\t\"numStartups\": 7,\n\t\"mcpServers\": {\n\t\t\"other\": {\"command\": \"npx\", \"args\": [\"-y\", \"other\"], \"env\": {\"K\": \"V\"}}\n\t},\n\t\"projects\": {\"/p\": {\"x\": 1.50, \"big\": 12345678901234567890}}\n}\n",
    ),
    (
        ".codex/hooks.json",
        "{\"hooks\":{\"Stop\":[{\"hooks\":[{\"type\":\"command\",\"command\":\"mine\"}]}]}}",
    ),
    (
        ".codex/config.toml",
        "# my codex\nmodel = \"gpt-5\"   # the best\nnotify = [\"notify-send\", \"Codex\"]\n\n[mcp_servers.other]\ncommand = \"npx\"\nargs = [\n  \"-y\", # yes\n  \"other\",\n]\n\n[otel]\nenvironment = \"home\"\n\n[hooks.state.\"x\"]\ntrusted_hash = \"abc\"\n",
    ),
    (
        ".gemini/settings.json",
        "{\n  // theme\n  \"theme\": \"Dark\",\n  \"mcpServers\": {}\n}\n",
    ),
    (
        ".cursor/hooks.json",
        "{\"version\": 1, \"hooks\": {\"stop\": [{\"command\": \"./mine\", \"loop_limit\": 3}]}}\n",
    ),
    (
        ".cursor/mcp.json",
        "{ \"mcpServers\": { \"a\": { \"url\": \"http://x\" } } }\n",
    ),
];

#[test]
fn second_run_changes_nothing_and_undo_restores_the_files() {
    let empty: &[(&str, &str)] = &[];
    let blank: &[(&str, &str)] = &[
        (".claude/settings.json", ""),
        (".claude.json", "{}"),
        (".codex/hooks.json", "{}\n"),
        (".codex/config.toml", ""),
        (".gemini/settings.json", "// nothing yet\n"),
        (".cursor/mcp.json", "{\n}\n"),
    ];
    let windows: Vec<(&str, String)> = COMMENTED_FILES
        .iter()
        .map(|(name, text)| (*name, text.replace('\n', "\r\n")))
        .collect();
    let windows: Vec<(&str, &str)> = windows.iter().map(|(name, text)| (*name, text.as_str())).collect();
    for files in [empty, blank, COMMENTED_FILES, &windows] {
        let home = Home::with(files);
        let before = home.files();
        let stdout = home.succeed(&["--yes"]);
        for tool in ["Claude Code", "Codex", "Gemini CLI", "Cursor"] {
            let expected = format!("{tool}: its hook delivered a test message in");
            assert!(stdout.contains(&expected), "{stdout}");
        }
        for tool in ["Claude Code", "Codex", "Gemini CLI", "Cursor"] {
            let expected = format!("{tool}: its MCP server has 9 tools.");
            assert!(stdout.contains(&expected), "{stdout}");
        }
        assert!(stdout.contains("ask once whether to trust 8 hooks"), "{stdout}");
        let after = home.files();
        for (name, text) in files {
            assert_eq!(home.read(&format!("{name}.agenthub.bak")), *text);
            assert_ne!(home.read(name), *text);
        }
        let stdout = home.succeed(&["--yes"]);
        assert!(stdout.starts_with("Already connected: nothing to change."), "{stdout}");
        assert_eq!(home.files(), after, "a second run changes no byte");
        home.succeed(&["--undo", "--yes"]);
        assert_eq!(home.files(), before, "undo restores every byte");
        assert_eq!(home.succeed(&["--undo", "--yes"]), "Nothing to remove.\n");
    }
}

#[test]
fn keeps_entries_of_other_programs_in_place() {
    let home = Home::with(COMMENTED_FILES);
    home.succeed(&["--yes"]);
    for (name, text) in COMMENTED_FILES {
        let now = home.read(name);
        let mut lines = now.lines().map(str::trim);
        for line in text.lines().map(str::trim).filter(|line| line.len() > 2) {
            // A comma or a line break may be added to a line. Its words must not change.
            let words = line.trim_end_matches(['}', ']', ' ', ',']);
            if name.ends_with("hooks.json") || *name == ".cursor/mcp.json" {
                continue;
            }
            assert!(
                lines.any(|new| new.replace(',', "").contains(&words.replace(',', ""))),
                "{name}: {words:?} is gone or moved:\n{now}"
            );
        }
    }
    assert!(home.read(".codex/hooks.json").contains("\"command\":\"mine\""));
    assert!(home.read(".cursor/mcp.json").contains("\"url\": \"http://x\""));
    let toml = home.read(".codex/config.toml");
    assert!(toml.contains("[mcp_servers.agenthub]\ncommand = "), "{toml}");
    assert!(
        toml.starts_with(&COMMENTED_FILES[3].1[..COMMENTED_FILES[3].1.find("[otel]").unwrap()]),
        "{toml}"
    );
    let settings = home.read(".claude/settings.json");
    assert_eq!(settings.matches(" hook claude-code\"").count(), 12, "{settings}");
    assert!(!settings.contains("agenthub\\\" hook statusline"));
    let hooks: serde_json::Value = serde_json::from_str(&home.read(".codex/hooks.json")).unwrap();
    assert_eq!(hooks["hooks"]["Stop"].as_array().unwrap().len(), 2);
    assert_eq!(hooks["hooks"].as_object().unwrap().len(), 8);
    for (event, seconds) in [("Stop", 10), ("Interrupt", 3), ("SessionEnd", 3)] {
        let groups = hooks["hooks"][event].as_array().unwrap();
        assert_eq!(groups.last().unwrap()["hooks"][0]["timeout"], seconds, "{event}");
    }
    let hooks: serde_json::Value = serde_json::from_str(&home.read(".cursor/hooks.json")).unwrap();
    assert_eq!(hooks["version"], 1);
    let stop = hooks["hooks"]["stop"].as_array().unwrap();
    assert_eq!(stop.len(), 2, "{hooks}");
    assert_eq!(stop[0], serde_json::json!({"command": "./mine", "loop_limit": 3}));
    assert!(stop[1]["command"].as_str().unwrap().ends_with(" hook cursor"));
    assert!(home.read(".gemini/settings.json").contains("\"timeout\": 10000"));
}

#[test]
fn undo_keeps_later_changes_of_the_user() {
    let home = Home::with(COMMENTED_FILES);
    home.succeed(&["--yes"]);
    for (name, old, new) in [
        (".claude/settings.json", "\"model\": \"opus\"", "\"model\": \"haiku\""),
        (".claude.json", "\"numStartups\": 7", "\"numStartups\": 8"),
        (".codex/config.toml", "gpt-5", "gpt-6"),
        (".gemini/settings.json", "Dark", "Light"),
    ] {
        home.write(name, &home.read(name).replace(old, new));
    }
    home.succeed(&["--undo", "--yes"]);
    for (name, changed) in [
        (".claude/settings.json", "\"model\": \"haiku\""),
        (".claude.json", "\"numStartups\": 8"),
        (".codex/config.toml", "gpt-6"),
        (".gemini/settings.json", "Light"),
    ] {
        let text = home.read(name);
        assert!(text.contains(changed) && !text.contains("agenthub"), "{name}:\n{text}");
    }
    assert!(
        home.read(".claude/settings.json")
            .contains("{ \"hooks\": [ { \"type\": \"command\", \"command\": \"say done\" } ] } // loud")
    );
    assert!(home.read(".codex/config.toml").contains("[mcp_servers.other]"));
}

#[test]
fn refuses_invalid_files_with_their_line() {
    for (name, text, line) in [
        (".claude/settings.json", "{\n  \"a\": 1,\n  oops\n}", "line 3"),
        (".claude/settings.json", "[]", "line 1"),
        (".claude/settings.json", "{\"hooks\": []}", "\"hooks\" is not an object"),
        (
            ".claude/settings.json",
            "{\"hooks\": {\"Stop\": {}}}",
            "\"Stop\" is not an array",
        ),
        (
            ".claude/settings.json",
            "{\"hooks\": {}, \"hooks\": {\"Stop\": []}}",
            "\"hooks\" occurs twice",
        ),
        (
            ".codex/hooks.json",
            "{\"hooks\": {\"Stop\": [], \"Stop\": []}}",
            "\"Stop\" occurs twice",
        ),
        (
            ".gemini/settings.json",
            "{\"mcpServers\": {\"agenthub\": {}, \"agenthub\": {}}}",
            "\"agenthub\" occurs twice",
        ),
        (
            ".claude.json",
            "{\"mcpServers\": {\"agenthub\": {\"command\": \"other-program\"}}}",
            "another MCP server",
        ),
        (".codex/config.toml", "a = 1\n\nb = = 2\n", "line 3"),
        (
            ".codex/config.toml",
            "mcp_servers = 3\n",
            "\"mcp_servers\" is not a table",
        ),
        (".gemini/settings.json", "{\"theme\": \"Dark\"", "line 1"),
        (".cursor/mcp.json", "{\n\"a\": 'b'\n}", "line 2"),
    ] {
        let home = Home::with(&[(name, text)]);
        let before = home.files();
        let output = home.run(&["--yes"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name} {text}: {stderr}");
        assert!(
            stderr.lines().count() == 1 && stderr.contains(name) && stderr.contains(line),
            "{stderr}"
        );
        assert_eq!(home.files(), before, "nothing was changed");
    }
    let home = Home::with(&[]);
    fs::create_dir_all(home.path(".gemini/settings.json")).unwrap();
    assert_eq!(home.run(&["--yes"]).status.code(), Some(1));
}

#[test]
fn installs_no_hooks_for_old_missing_or_conflicting_tools() {
    let home = Home::new("2.1.99");
    let stdout = home.succeed(&["--yes"]);
    assert!(stdout.contains("Update it to 2.1.101"), "{stdout}");
    assert!(!home.read(".claude/settings.json").contains("hook claude-code") && home.path(".claude.json").exists());

    let home = Home::new("2.1.330");
    fs::remove_file(home.folder.path().join("bin/claude")).unwrap();
    fs::create_dir(home.path(".claude")).unwrap();
    let stdout = home.succeed(&["--yes"]);
    assert!(stdout.contains("--only claude"), "{stdout}");
    assert!(!home.read(".claude/settings.json").contains("hook claude-code"));
    home.succeed(&["--yes", "--only", "claude"]);
    assert!(home.read(".claude/settings.json").contains("hook claude-code"));

    let home = Home::with(&[(".codex/config.toml", "[[hooks.Stop]]\nhooks = []\n")]);
    let stdout = home.succeed(&["--yes", "--only", "codex"]);
    assert!(stdout.contains("Codex: no hooks"), "{stdout}");
    assert!(!home.path(".codex/hooks.json").exists());
    assert!(home.read(".codex/config.toml").contains("agenthub"));
}

#[test]
fn changes_nothing_without_consent() {
    let home = Home::with(COMMENTED_FILES);
    let before = home.files();
    let stdout = home.succeed(&["--dry-run"]);
    assert!(
        stdout.contains("+ ") && stdout.ends_with("Nothing was changed.\n"),
        "{stdout}"
    );
    // Stdin is not a terminal, so init cannot ask.
    let output = home.run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "agenthub: not a terminal; pass --yes to apply\n"
    );
    assert_eq!(home.files(), before);

    let bare = Home::new("2.1.330");
    fs::remove_dir_all(bare.folder.path().join("bin")).unwrap();
    assert_eq!(bare.run(&["--yes"]).status.code(), Some(4));
    let output = bare
        .command(&["init", "--yes"])
        .env("HOME", "/proc/nowhere")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
}

#[test]
fn connects_only_the_project_and_the_named_tools() {
    let home = Home::with(&[("work/.mcp.json", "{}")]);
    let mut command = home.command(&["init", "--yes", "--project", "--only", "claude,cursor"]);
    assert!(
        command
            .current_dir(home.path("work"))
            .output()
            .unwrap()
            .status
            .success()
    );
    let names: Vec<_> = home
        .files()
        .into_keys()
        .filter(|path| path.is_file())
        .map(|path| path.strip_prefix(home.path("")).unwrap().display().to_string())
        .collect();
    assert_eq!(
        names,
        [
            "work/.claude/settings.local.json",
            "work/.cursor/cli.json",
            "work/.cursor/hooks.json",
            "work/.cursor/mcp.json",
            "work/.mcp.json",
            "work/.mcp.json.agenthub.bak"
        ]
    );
}

/// The commands that agents may run without asking.
const ALLOWED: [&str; 11] = [
    "send", "post", "inbox", "read", "reply", "ack", "ask", "threads", "agents", "trace", "search",
];

/// Returns the list at a path of keys in a JSON file; empty if there is none.
fn list_at(home: &Home, file: &str, path: [&str; 2]) -> Vec<String> {
    let Ok(text) = fs::read_to_string(home.path(file)) else {
        return Vec::new();
    };
    let text: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let list = document[path[0]][path[1]].as_array();
    let entries = list.into_iter().flatten();
    entries.map(|entry| entry.as_str().unwrap().to_owned()).collect()
}

#[test]
fn allows_single_commands_and_never_the_program() {
    let claude = (".claude/settings.json", ["permissions", "allow"]);
    let cursor = (".cursor/cli-config.json", ["permissions", "allow"]);
    let before: &[(&str, &str)] = &[
        (
            claude.0,
            r#"{"permissions": {"allow": ["Bash(ls:*)", "Bash(agenthub status:*)"]}}"#,
        ),
        (
            ".cursor/cli-config.json",
            r#"{"version": 1, "permissions": {"allow": ["Shell(ls)"], "deny": []}}"#,
        ),
    ];
    let home = Home::with(before);
    let files = home.files();
    home.succeed(&["--yes"]);
    let of = |template: fn(&str) -> String| ALLOWED.map(template).to_vec();
    let expected = |own: &[&str], more: Vec<String>| {
        let own = own.iter().map(|entry| (*entry).to_owned());
        own.chain(more).collect::<Vec<_>>()
    };
    assert_eq!(
        list_at(&home, claude.0, claude.1),
        expected(
            &["Bash(ls:*)", "Bash(agenthub status:*)", "mcp__agenthub"],
            of(|command| format!("Bash(agenthub {command}:*)"))
        )
    );
    let settings = home.read(".gemini/settings.json");
    assert!(settings.contains("\"trust\": true"), "{settings}");
    assert!(
        !settings.contains("allowed"),
        "a list there would forbid other commands"
    );
    let policy = home.read(".gemini/policies/agenthub.toml");
    assert_eq!(
        policy.matches("decision = \"allow\"").count(),
        ALLOWED.len(),
        "{policy}"
    );
    for command in ALLOWED {
        let prefix = format!("toolName = \"run_shell_command\"\ncommandPrefix = \"agenthub {command}\"\n");
        assert!(policy.contains(&prefix), "{policy}");
    }
    assert_eq!(list_at(&home, cursor.0, cursor.1), ["Shell(ls)", "Mcp(agenthub, *)"]);
    let toml = home.read(".codex/config.toml");
    assert!(toml.contains("default_tools_approval_mode = \"approve\"\n"), "{toml}");
    let rules = home.read(".codex/rules/agenthub.rules");
    let lines: Vec<&str> = rules.lines().skip(1).collect();
    assert_eq!(
        lines,
        of(|command| format!("prefix_rule(pattern = [\"agenthub\", \"{command}\"], decision = \"allow\")"))
    );
    home.succeed(&["--undo", "--yes"]);
    assert_eq!(home.files(), files);

    // The commands name the database if it is not the default one; the entries of another one are replaced.
    home.succeed(&["--yes"]);
    let mut command = home.command(&["--db", ".local/my hub.db", "init", "--yes"]);
    assert!(command.output().unwrap().status.success());
    let path = home.path(".local/my hub.db").display().to_string();
    let allowed = list_at(&home, claude.0, claude.1);
    assert_eq!(allowed.len(), 3 + ALLOWED.len(), "{allowed:?}");
    assert!(
        allowed.contains(&format!("Bash(agenthub --db '{path}' send:*)")),
        "{allowed:?}"
    );
    assert!(
        home.read(".codex/rules/agenthub.rules")
            .contains(&format!("[\"agenthub\", \"--db\", \"{path}\", \"send\"]"))
    );
    home.succeed(&["--undo", "--yes"]);
    assert_eq!(home.files(), files);
}

#[test]
fn permissions_are_a_question_of_their_own() {
    let home = Home::new("2.1.330");
    let answer = |answers: &str| {
        let agenthub = home.command(&["init"]);
        let mut command = writer::python();
        command
            .args(["-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"])
            .arg(agenthub.get_program())
            .args(agenthub.get_args())
            .env_clear();
        command.envs(agenthub.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = output_with_input(command, answers.as_bytes());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let allowed = || list_at(&home, ".claude/settings.json", ["permissions", "allow"]).len();
    let shown = answer("n\n");
    assert!(
        shown.contains("Change 2 files?") && shown.contains("Nothing was changed."),
        "{shown}"
    );
    assert!(!home.path(".claude.json").exists());
    let shown = answer("y\nn\n\n");
    assert!(shown.contains("Wake idle agents"), "{shown}");
    assert!(shown.contains("Important mail wakes idle agents."), "{shown}");
    assert!(shown.contains("Allow agents to use agenthub's MCP tools"), "{shown}");
    assert!(shown.contains("No permission was added."), "{shown}");
    assert!(home.path(".claude.json").exists());
    assert_eq!(allowed(), 0);
    let shown = answer("y\n");
    assert!(
        shown.contains("Already connected") && shown.contains("Wrote "),
        "{shown}"
    );
    assert_eq!(allowed(), 1 + ALLOWED.len());
    let shown = answer("");
    assert!(!shown.contains('?'), "{shown}");
}

#[test]
fn permissions_are_left_out_on_request() {
    let home = Home::with(COMMENTED_FILES);
    let before = home.files();
    let all = home.succeed(&["--dry-run"]);
    assert!(all.contains("mcp__agenthub"), "{all}");
    let stdout = home.succeed(&["--yes", "--no-allow"]);
    let allows = |text: &str| text.contains("mcp__agenthub") || text.contains("trust\"") || text.contains("approval");
    assert!(!allows(&stdout), "{stdout}");
    for (name, _) in COMMENTED_FILES {
        assert!(!allows(&home.read(name)), "{name}");
    }
    assert!(!home.path(".codex/rules").exists());
    let connected = home.files();
    assert!(home.succeed(&["--yes", "--no-allow"]).starts_with("Already connected"));
    assert_eq!(home.files(), connected);
    // Without a terminal, the second question cannot be answered.
    let stdout = home.succeed(&[]);
    assert!(stdout.contains("To allow it: agenthub init --yes"), "{stdout}");
    assert_eq!(home.files(), connected);
    home.succeed(&["--undo", "--yes"]);
    assert_eq!(home.files(), before);
    // A file of this name that another program wrote stays, and is refused.
    home.write(".codex/rules/agenthub.rules", "# mine\n");
    let output = home.run(&["--yes"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("agenthub did not write this file"), "{stderr}");
}

#[test]
fn permissions_are_withdrawn_on_request() {
    for files in [&[], COMMENTED_FILES] {
        let home = Home::with(files);
        let before = home.files();
        home.succeed(&["--yes", "--no-allow"]);
        let connected = home.files();
        home.succeed(&["--yes"]);
        let allowed = home.files();
        assert_ne!(allowed, connected);
        let stdout = home.succeed(&["--dry-run", "--no-allow"]);
        assert!(stdout.contains("- ") && stdout.contains("mcp__agenthub"), "{stdout}");
        // A run without the option keeps them.
        home.succeed(&[]);
        assert_eq!(home.files(), allowed);
        home.succeed(&["--yes", "--no-allow"]);
        assert_eq!(home.files(), connected);
        let stdout = home.succeed(&["--yes", "--no-allow"]);
        assert!(stdout.starts_with("Already connected"), "{stdout}");
        home.succeed(&["--yes", "--undo"]);
        assert_eq!(home.files(), before);
    }
    // The user's own entries and refusal stay.
    let home = Home::with(COMMENTED_FILES);
    home.succeed(&["--yes"]);
    let codex = ".codex/config.toml";
    home.write(codex, &home.read(codex).replace("\"approve\"", "\"prompt\""));
    home.write(".codex/rules/agenthub.rules", "# mine\n");
    let refused = home.read(codex);
    home.succeed(&["--yes", "--no-allow"]);
    assert_eq!(home.read(codex), refused);
    assert_eq!(home.read(".codex/rules/agenthub.rules"), "# mine\n");
    let settings = home.read(".claude/settings.json");
    assert!(
        settings.contains("\"permissions\": {\"allow\": [\"Bash(ls:*)\"]}"),
        "{settings}"
    );
}

#[test]
fn refused_permissions_stay() {
    let (codex, gemini) = (".codex/config.toml", ".gemini/settings.json");
    for (set_codex, set_gemini) in [("\"prompt\" # mine", "false"), ("{ a = 1 }", "null")] {
        let home = Home::with(&[]);
        home.succeed(&["--yes"]);
        let (allowed, trusted) = ("default_tools_approval_mode = \"approve\"", "\"trust\": true");
        let refused_codex = home
            .read(codex)
            .replace(allowed, &format!("default_tools_approval_mode = {set_codex}"));
        let refused_gemini = home.read(gemini).replace(trusted, &format!("\"trust\": {set_gemini}"));
        home.write(codex, &refused_codex);
        home.write(gemini, &refused_gemini);
        let refused = home.files();
        let stdout = home.succeed(&["--yes"]);
        let value = set_codex.trim_end_matches(" # mine");
        let codex_remark =
            format!("Codex: no permission for the MCP tools: default_tools_approval_mode is {value} in ");
        let gemini_remark = format!("Gemini CLI: no permission for the MCP tools: trust is {set_gemini} in ");
        for remark in [&codex_remark, &gemini_remark] {
            assert_eq!(
                stdout.lines().filter(|line| line.starts_with(remark)).count(),
                1,
                "{stdout}"
            );
        }
        assert_eq!(home.files(), refused);
        // A program in another place changes the server, not the refusal.
        home.write(codex, &refused_codex.replace("command = \"", "command = \"/old"));
        home.write(
            gemini,
            &refused_gemini.replace("\"command\": \"/", "\"command\": \"/old/"),
        );
        home.succeed(&["--yes"]);
        assert!(home.read(codex) == refused_codex && home.read(gemini) == refused_gemini);
    }
}

#[test]
fn keeps_symbolic_links_and_file_modes() {
    let home = Home::with(&[("dotfiles/settings.json", "{}\n")]);
    fs::create_dir(home.path(".claude")).unwrap();
    std::os::unix::fs::symlink(home.path("dotfiles/settings.json"), home.path(".claude/settings.json")).unwrap();
    fs::set_permissions(home.path("dotfiles/settings.json"), Permissions::from_mode(0o640)).unwrap();
    home.succeed(&["--yes"]);
    assert!(home.path(".claude/settings.json").is_symlink());
    assert!(home.read("dotfiles/settings.json").contains("hook claude-code"));
    assert_eq!(
        fs::metadata(home.path("dotfiles/settings.json")).unwrap().mode() & 0o777,
        0o640
    );
    assert_eq!(fs::metadata(home.path(".claude.json")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn concurrent_runs_install_once() {
    let home = Home::with(COMMENTED_FILES);
    let outputs: Vec<Output> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| home.run(&["--yes"]))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for output in &outputs {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for (name, text) in COMMENTED_FILES {
        assert_eq!(
            home.read(&format!("{name}.agenthub.bak")),
            *text,
            "the backup has the text from before the first run"
        );
    }
    assert!(home.succeed(&["--yes"]).starts_with("Already connected"));
    assert_eq!(
        home.read(".claude/settings.json")
            .matches(" hook claude-code\"")
            .count(),
        12
    );
}

#[test]
fn entries_are_updated_when_the_database_changes() {
    let home = Home::with(COMMENTED_FILES);
    let mut command = home.command(&["--db", "my hub.db", "init", "--yes", "--only", "claude,codex"]);
    assert!(command.output().unwrap().status.success());
    let settings = home.read(".claude/settings.json");
    let path = home.path("my hub.db").display().to_string();
    assert!(
        settings.contains(&format!("--db '{path}' hook claude-code\"")),
        "{settings}"
    );
    assert!(
        home.read(".codex/config.toml")
            .contains(&format!("args = [\"--db\", \"{path}\", \"mcp\"]"))
    );
    // Back to the default database: the entries are changed in place.
    home.succeed(&["--yes", "--only", "claude,codex"]);
    let settings = home.read(".claude/settings.json");
    assert_eq!(settings.matches(" hook claude-code\"").count(), 12);
    assert!(!settings.contains("--db"));
    home.succeed(&["--yes", "--undo"]);
    for (name, text) in &COMMENTED_FILES[..4] {
        assert_eq!(home.read(name), *text);
    }
}

#[test]
fn full_disk_changes_nothing() {
    let home = Home::with(COMMENTED_FILES);
    let before = home.files();
    let agenthub = home.command(&["init", "--yes"]);
    // Files cannot grow: every write fails.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]);
    command
        .arg(agenthub.get_program())
        .args(agenthub.get_args())
        .env_clear();
    command.envs(agenthub.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.current_dir(home.path("")).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.starts_with("agenthub: cannot write ") && stderr.lines().count() == 1,
        "{stderr}"
    );
    assert_eq!(home.files(), before);
}
