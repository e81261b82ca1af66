//! Codex's configuration files: `hooks.json`, the MCP server in `config.toml`, and rules for commands. `notify` and
//! `[otel]` there belong to the user.

use std::path::PathBuf;

use toml_edit::{DocumentMut, Item};

use crate::integrations::setup::change::read;
use crate::integrations::setup::toml_config;
use crate::integrations::spec::{
    AllowRules, ConfigContent, InstallTarget, McpToml, Refusal, RuleWords, ServerPermission,
};

/// The word after `agenthub hook`.
pub(super) const HOOK_WORD: &str = "codex";
pub(super) const HOME_FOLDER: &str = ".codex";
/// The environment variable that moves the directory to another path.
const DIRECTORY_VARIABLE: &str = "CODEX_HOME";

/// Codex passes few environment variables to its MCP servers. It names the session in each call, not in
/// a variable.
static MCP: McpToml = McpToml {
    servers: "mcp_servers",
    env_vars: &["AGENTHUB_AGENT", "AGENTHUB_DB", "AGENTHUB_TASK", "AGENTHUB_TASK_VENDOR"],
};

static ALLOW_TOOLS: ServerPermission = ServerPermission {
    servers: "mcp_servers",
    field: "default_tools_approval_mode",
    value: "\"approve\"",
};

/// Codex compares words, and only in lines that consist of plain commands. It runs allowed commands outside of
/// its sandbox, in which the database cannot be written.
static ALLOW_COMMANDS: AllowRules = AllowRules {
    words: RuleWords::List,
    rule: ("prefix_rule(pattern = [", "], decision = \"allow\")"),
};

fn toml_file(target: &InstallTarget) -> PathBuf {
    target.folder(DIRECTORY_VARIABLE, HOME_FOLDER).join("config.toml")
}

pub(super) fn files(target: &InstallTarget) -> Vec<(PathBuf, ConfigContent)> {
    vec![
        (
            target.folder(DIRECTORY_VARIABLE, HOME_FOLDER).join("hooks.json"),
            ConfigContent::Hooks,
        ),
        (toml_file(target), ConfigContent::McpToml(&MCP)),
        (toml_file(target), ConfigContent::AllowServerToml(&ALLOW_TOOLS)),
        (
            target
                .folder(DIRECTORY_VARIABLE, HOME_FOLDER)
                .join("rules/agenthub.rules"),
            ConfigContent::AllowRules(&ALLOW_COMMANDS),
        ),
    ]
}

/// Returns an obstacle if `config.toml` contains hooks: Codex reads hooks from `hooks.json` or from
/// `config.toml`, not from both.
pub(super) fn hooks_obstacle(target: &InstallTarget, _: bool) -> Option<String> {
    let text = read(&toml_file(target)).ok()??;
    has_hooks(&text).then(|| {
        "Codex: no hooks, because config.toml contains some and Codex reads them from one file only. Move them to \
         hooks.json and run this again."
            .to_owned()
    })
}

/// Returns whether `config.toml` contains hooks. `hooks.state`, Codex's record of trust, is not one.
fn has_hooks(text: &str) -> bool {
    toml_config::parse(text).is_ok_and(|document| {
        document
            .get("hooks")
            .and_then(Item::as_table_like)
            .is_some_and(|hooks| hooks.iter().any(|(name, _)| name != "state"))
    })
}

/// Returns the features that turn hooks off. `codex_hooks` is the older name.
pub(super) fn off_switches(content: ConfigContent, text: &str) -> Result<Vec<&'static str>, Refusal> {
    if !matches!(content, ConfigContent::McpToml(_)) {
        return Ok(Vec::new());
    }
    let document: DocumentMut = toml_config::parse(text)?;
    let is_off = |name: &str| document.get("features").and_then(|of| of.get(name)?.as_bool()) == Some(false);
    let names = [
        ("hooks", "features.hooks = false"),
        ("codex_hooks", "features.codex_hooks = false"),
    ];
    let set = names.into_iter().find(|(name, _)| is_off(name));
    Ok(set.map(|(_, shown)| shown).into_iter().collect())
}
