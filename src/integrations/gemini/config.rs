//! Gemini CLI's configuration files: the settings, and a policy for commands.

use std::path::PathBuf;

use crate::integrations::spec::{
    AllowRules, CommandForm, ConfigContent, InstallTarget, McpJson, RuleWords, ServerPermission,
};

pub(super) const HOME_FOLDER: &str = ".gemini";

static MCP: McpJson = McpJson {
    servers: "mcpServers",
    fields: &[],
    command: CommandForm::Program,
    // The name of `agenthub run --as`, and none for another session. Gemini CLI expands the variable.
    agent: Some("${AGENTHUB_AGENT:-}"),
    earlier_agent: Some("gemini"),
};

/// Without a terminal, Gemini CLI offers the model only tools that need no confirmation.
static ALLOW_TOOLS: ServerPermission = ServerPermission {
    servers: "mcpServers",
    field: "trust",
    value: "true",
};

/// A separate policy file: with `tools.allowed` in the settings, Gemini CLI refuses all other commands, even with
/// `--yolo`. It compares each command of a line with the prefix and a blank or the end after it, and asks for
/// redirections.
static ALLOW_COMMANDS: AllowRules = AllowRules {
    words: RuleWords::Line,
    rule: (
        "\n[[rule]]\ntoolName = \"run_shell_command\"\ncommandPrefix = ",
        "\ndecision = \"allow\"\npriority = 100",
    ),
};

pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    let settings = target.file(".gemini/settings.json", ".gemini/settings.json");
    let mut files = vec![
        (settings.clone(), ConfigContent::Hooks),
        (settings.clone(), ConfigContent::McpJson(&MCP)),
        (settings, ConfigContent::AllowServerJson(&ALLOW_TOOLS)),
    ];
    // Gemini CLI reads no policies of a project.
    if target.project.is_none() {
        let policy = target.home.join(".gemini/policies/agenthub.toml");
        files.push((policy, ConfigContent::AllowRules(&ALLOW_COMMANDS)));
    }
    files
}
