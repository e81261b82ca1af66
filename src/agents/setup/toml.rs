//! The MCP server in Codex's `config.toml`.
//!
//! For: `[mcp_servers.agenthub]`, and whether hooks stand in this file.
//! Not for: `notify` and `[otel]`, which are the user's.

use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, RawString, Table, TableLike, Value, value};

use super::Refusal;

const SERVERS: &str = "mcp_servers";
const SERVER: &str = "agenthub";
/// Codex hands its servers few variables; these say who is speaking and where the file is. Its
/// session is in no variable: it says that with each call.
const VARIABLES: [&str; 2] = ["AGENTHUB_AGENT", "AGENTHUB_DB"];

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

/// The switch that turns hooks off, if it is set. (`codex_hooks` is its older name.)
pub(super) fn hooks_off(text: &str) -> Result<Option<&'static str>, Refusal> {
    let document = parse(text)?;
    let is_off = |name: &str| document.get("features").and_then(|of| of.get(name)?.as_bool()) == Some(false);
    let names = [
        ("hooks", "features.hooks = false"),
        ("codex_hooks", "features.codex_hooks = false"),
    ];
    Ok(names.into_iter().find(|(name, _)| is_off(name)).map(|(_, shown)| shown))
}

pub(super) fn install_server(text: &str, program: &Path, args: &[String]) -> Result<String, Refusal> {
    let mut document = parse(text)?;
    let wanted = [
        ("command", Value::from(program.display().to_string())),
        ("args", Value::Array(args.iter().collect::<Array>())),
        ("env_vars", Value::Array(VARIABLES.into_iter().collect::<Array>())),
    ];
    let table: Table = wanted
        .iter()
        .map(|(name, wanted)| (*name, value(wanted.clone())))
        .collect();
    let servers = match document.get_mut(SERVERS) {
        None => return Ok(appended(text, &table)),
        Some(servers) => {
            let has_header = servers.as_table().is_some_and(|servers| !servers.is_dotted());
            let servers = servers.as_table_like_mut().ok_or("\"mcp_servers\" is not a table")?;
            if has_header && !servers.contains_key(SERVER) {
                return Ok(appended(text, &table));
            }
            servers
        }
    };
    match servers.get_mut(SERVER) {
        None => drop(servers.insert(SERVER, Item::Table(table))),
        Some(found) => {
            let server = found.as_table_like_mut().filter(|server| is_ours(*server));
            let Some(server) = server else {
                return Err(format!("another MCP server has the name \"{SERVER}\""));
            };
            for (name, wanted) in wanted {
                if server.get(name).is_none_or(|found| plain(found) != wanted.to_string()) {
                    put(server, name, wanted);
                }
            }
        }
    }
    Ok(ended_as(text, &document.to_string()))
}

/// `new` with the ends of lines of `text`, which do not survive being parsed.
fn ended_as(text: &str, new: &str) -> String {
    if text.contains("\r\n") {
        new.replace("\r\n", "\n").replace('\n', "\r\n")
    } else {
        new.to_owned()
    }
}

/// The text with our table at its end: whatever stands before it keeps its comments.
fn appended(text: &str, table: &Table) -> String {
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let empty = if text.is_empty() { "" } else { "\n" };
    let ours = format!("{end}{empty}[{SERVERS}.{SERVER}]\n{table}");
    format!("{text}{}", ended_as(text, &ours))
}

/// The server's program and its arguments, as the file has them.
pub(super) fn written_server(text: &str) -> Option<(String, Vec<String>)> {
    let document = parse(text).ok()?;
    let server = document.get(SERVERS)?.get(SERVER)?;
    let args = server.get("args").and_then(Item::as_array).into_iter().flatten();
    Some((
        server.get("command")?.as_str()?.to_owned(),
        args.filter_map(Value::as_str).map(str::to_owned).collect(),
    ))
}

/// Changes a value in its place, between the comments around it.
fn put(server: &mut dyn TableLike, name: &str, mut wanted: Value) {
    match server.get_mut(name).and_then(Item::as_value_mut) {
        Some(found) => {
            *wanted.decor_mut() = found.decor().clone();
            *found = wanted;
        }
        None => drop(server.insert(name, value(wanted))),
    }
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
    // Never written by us: a header of its own is somebody's.
    let is_implicit = servers.as_table().is_some_and(Table::is_implicit);
    let servers = servers.as_table_like_mut().ok_or("\"mcp_servers\" is not a table")?;
    let ours = servers.get(SERVER).and_then(Item::as_table_like).is_some_and(is_ours);
    if !ours {
        return Ok(text.to_owned());
    }
    let table = servers.remove(SERVER).and_then(|item| item.into_table().ok());
    if servers.is_empty() && is_implicit {
        document.remove(SERVERS);
    }
    if let Some(table) = table {
        leave_comments(&mut document, &table);
    }
    Ok(ended_as(text, &document.to_string()))
}

/// What stood before the header of a table that is gone, given to what follows it.
fn leave_comments(document: &mut DocumentMut, gone: &Table) {
    let comments = gone.decor().prefix().and_then(RawString::as_str).unwrap_or_default();
    // The empty line before the header goes with it.
    let comments = comments.strip_suffix('\n').unwrap_or(comments).to_owned();
    if !comments.contains('#') {
        return;
    }
    match next_after(document.as_table_mut(), gone.position()) {
        Some(next) => {
            let own = next.decor().prefix().and_then(RawString::as_str).unwrap_or_default();
            let all = format!("{comments}{own}");
            next.decor_mut().set_prefix(all);
        }
        None => {
            let all = format!("{comments}{}", document.trailing().as_str().unwrap_or_default());
            document.set_trailing(all);
        }
    }
}

/// The table whose header is the first after `position`.
fn next_after(table: &mut Table, position: Option<isize>) -> Option<&mut Table> {
    let children = table.iter_mut().flat_map(|(_, item)| match item {
        Item::Table(table) => vec![table],
        Item::ArrayOfTables(tables) => tables.iter_mut().collect(),
        _ => Vec::new(),
    });
    children
        .filter_map(|child| {
            let is_next = !child.is_implicit() && child.position() > position;
            if is_next {
                Some(child)
            } else {
                next_after(child, position)
            }
        })
        .min_by_key(|child| child.position())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(text: &str, program: &str) -> String {
        install_server(text, Path::new(program), &["mcp".to_owned()]).unwrap()
    }

    #[test]
    fn comments_stay_where_they_are() {
        let text = "[mcp_servers]\n# none\n\n# mine\n[otel]\na = 1\n# the end\n";
        let ours = install(text, "/a/agenthub");
        assert!(ours.starts_with(text), "{ours}");
        assert_eq!(remove_server(&ours).unwrap(), text);
        let windows = text.replace('\n', "\r\n");
        assert_eq!(install(&windows, "/a/agenthub"), ours.replace('\n', "\r\n"));
        assert_eq!(remove_server(&install(&windows, "/a/agenthub")).unwrap(), windows);
        // Something was written behind ours meanwhile.
        let more = "\n# theirs\n[tui]\nb = 2\n";
        assert_eq!(
            remove_server(&format!("{ours}{more}")).unwrap(),
            format!("{text}{more}")
        );

        let remarks = ours
            .replace("/agenthub\"", "/agenthub\" # mine")
            .replace("[\"mcp\"]", "[\"mcp\"] # too");
        assert_eq!(install(&remarks, "/a/agenthub"), remarks);
        assert_eq!(
            install(&remarks, "/new/agenthub"),
            remarks.replace("/a/agenthub", "/new/agenthub")
        );
    }

    #[test]
    fn servers_of_every_form_are_joined() {
        for text in [
            "",
            "a = 1",
            "[mcp_servers.b]\ncommand = \"b\"\n",
            "mcp_servers.b.command = \"b\"\n",
            "mcp_servers = { b = { command = \"b\" } }\n",
        ] {
            let ours = install(text, "/a/agenthub");
            assert_eq!(install(&ours, "/a/agenthub"), ours, "{text}");
            assert_eq!(
                parse(&ours).unwrap()[SERVERS][SERVER]["command"].as_str(),
                Some("/a/agenthub")
            );
            assert!(!remove_server(&ours).unwrap().contains("agenthub"));
        }
    }
}
