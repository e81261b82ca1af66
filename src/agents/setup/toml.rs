//! The MCP server in Codex's `config.toml`.
//!
//! For: `[mcp_servers.agenthub]`, and whether hooks stand in this file.
//! Not for: `notify` and `[otel]`, which are the user's.

use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value, value};

use super::Refusal;

const SERVERS: &str = "mcp_servers";
const SERVER: &str = "agenthub";
/// Codex hands its servers few variables; these say who is speaking and where the file is.
const VARIABLES: [&str; 3] = ["AGENTHUB_AGENT", "AGENTHUB_DB", "CODEX_THREAD_ID"];

fn parse(text: &str) -> Result<DocumentMut, Refusal> {
    text.parse::<DocumentMut>().map_err(|e| {
        let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let why = e.message().lines().next().unwrap_or_default().to_owned();
        format!("line {line} is not valid TOML ({why})")
    })
}

/// Whether the file has hooks of its own. What Codex keeps there about trust is none.
pub(super) fn has_hooks(text: &str) -> bool {
    parse(text).is_ok_and(|document| {
        document
            .get("hooks")
            .and_then(Item::as_table_like)
            .is_some_and(|hooks| hooks.iter().any(|(name, _)| name != "state"))
    })
}

pub(super) fn install_server(text: &str, program: &Path, args: &[String]) -> Result<String, Refusal> {
    let mut document = parse(text)?;
    let servers = document.entry(SERVERS).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let servers = servers.as_table_like_mut().ok_or("\"mcp_servers\" is not a table")?;
    let wanted = [
        ("command", Value::from(program.display().to_string())),
        ("args", Value::Array(args.iter().collect::<Array>())),
        ("env_vars", Value::Array(VARIABLES.into_iter().collect::<Array>())),
    ];
    match servers.get_mut(SERVER) {
        None => {
            let mut server = Table::new();
            for (name, wanted) in wanted {
                server.insert(name, value(wanted));
            }
            servers.insert(SERVER, Item::Table(server));
        }
        Some(found) => {
            let server = found.as_table_like_mut().filter(|server| is_ours(*server));
            let Some(server) = server else {
                return Err(format!("another MCP server has the name \"{SERVER}\""));
            };
            for (name, wanted) in wanted {
                let same = server.get(name).is_some_and(|found| plain(found) == wanted.to_string());
                if !same {
                    server.insert(name, value(wanted));
                }
            }
        }
    }
    Ok(document.to_string())
}

/// A value without what stands around and within it.
fn plain(item: &Item) -> String {
    match item.as_value() {
        Some(Value::Array(array)) => {
            let mut bare = Array::new();
            for value in array {
                let mut value = value.clone();
                value.decor_mut().clear();
                bare.push(value);
            }
            Value::Array(bare).to_string()
        }
        Some(Value::String(text)) => Value::from(text.value().as_str()).to_string(),
        _ => String::new(),
    }
}

fn is_ours(server: &dyn TableLike) -> bool {
    server
        .get("command")
        .and_then(Item::as_str)
        .is_some_and(|command| Path::new(command).file_name().unwrap_or_default() == "agenthub")
}

pub(super) fn remove_server(text: &str) -> Result<String, Refusal> {
    let mut document = parse(text)?;
    let Some(servers) = document.get_mut(SERVERS) else {
        return Ok(text.to_owned());
    };
    let servers = servers.as_table_like_mut().ok_or("\"mcp_servers\" is not a table")?;
    let ours = servers.get(SERVER).and_then(Item::as_table_like).is_some_and(is_ours);
    if !ours {
        return Ok(text.to_owned());
    }
    servers.remove(SERVER);
    if servers.is_empty() {
        document.remove(SERVERS);
    }
    Ok(document.to_string())
}
