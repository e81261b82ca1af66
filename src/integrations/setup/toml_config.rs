//! MCP servers in TOML files. Comments, order and formatting of everything else stay.

use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, RawString, Table, TableLike, Value, value};

use crate::integrations::spec::{McpToml, Refusal, ServerPermission};

/// The name of the MCP server.
const SERVER: &str = "agenthub";

pub(in crate::integrations) fn parse(text: &str) -> Result<DocumentMut, Refusal> {
    text.parse::<DocumentMut>().map_err(|e| {
        let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let reason = e.message().lines().next().unwrap_or_default();
        format!("line {line} is not valid TOML ({reason})")
    })
}

pub(super) fn install_server(text: &str, form: &McpToml, program: &Path, args: &[String]) -> Result<String, Refusal> {
    let mut document = parse(text)?;
    let wanted = [
        ("command", Value::from(program.display().to_string())),
        ("args", Value::Array(args.iter().collect::<Array>())),
        (
            "env_vars",
            Value::Array(form.env_vars.iter().copied().collect::<Array>()),
        ),
    ];
    let table: Table = wanted
        .iter()
        .map(|(name, wanted)| (*name, value(wanted.clone())))
        .collect();
    let servers = match document.get_mut(form.servers) {
        None => return Ok(append_table(text, form, &table)),
        Some(servers) => {
            let has_header = servers.as_table().is_some_and(|servers| !servers.is_dotted());
            let servers = as_table_like(servers, form)?;
            if has_header && !servers.contains_key(SERVER) {
                return Ok(append_table(text, form, &table));
            }
            servers
        }
    };
    match servers.get_mut(SERVER) {
        None => drop(servers.insert(SERVER, Item::Table(table))),
        Some(found) => {
            let server = found.as_table_like_mut().filter(|server| is_agenthub(*server));
            let Some(server) = server else {
                return Err(format!("another MCP server has the name \"{SERVER}\""));
            };
            for (name, wanted) in wanted {
                if server
                    .get(name)
                    .is_none_or(|found| undecorated(found) != wanted.to_string())
                {
                    set(server, name, wanted);
                }
            }
        }
    }
    Ok(with_line_ends_of(text, &document.to_string()))
}

/// Returns `new` with the line ends of `text`. Parsing turns `\r\n` into `\n`.
pub(super) fn with_line_ends_of(text: &str, new: &str) -> String {
    if text.contains("\r\n") {
        new.replace("\r\n", "\n").replace('\n', "\r\n")
    } else {
        new.to_owned()
    }
}

/// Appends the server's table: comments before it stay in place.
fn append_table(text: &str, form: &McpToml, table: &Table) -> String {
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let empty = if text.is_empty() { "" } else { "\n" };
    let added = format!("{end}{empty}[{}.{SERVER}]\n{table}", form.servers);
    format!("{text}{}", with_line_ends_of(text, &added))
}

/// Returns the program and arguments of agenthub's server.
pub(super) fn server(text: &str, form: &McpToml) -> Option<(String, Vec<String>)> {
    let document = parse(text).ok()?;
    let server = document.get(form.servers)?.get(SERVER)?;
    let args = server.get("args").and_then(Item::as_array).into_iter().flatten();
    Some((
        server.get("command")?.as_str()?.to_owned(),
        args.filter_map(Value::as_str).map(str::to_owned).collect(),
    ))
}

/// Sets a value in place. The comments around it stay.
pub(super) fn set(server: &mut dyn TableLike, name: &str, mut wanted: Value) {
    match server.get_mut(name).and_then(Item::as_value_mut) {
        Some(found) => {
            *wanted.decor_mut() = found.decor().clone();
            *found = wanted;
        }
        None => drop(server.insert(name, value(wanted))),
    }
}

/// Returns a value's text without comments and formatting.
fn undecorated(item: &Item) -> String {
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

fn is_agenthub(server: &dyn TableLike) -> bool {
    server
        .get("command")
        .and_then(Item::as_str)
        .is_some_and(|command| Path::new(command).file_name().unwrap_or_default() == "agenthub")
}

fn as_table_like<'a>(servers: &'a mut Item, form: &McpToml) -> Result<&'a mut dyn TableLike, Refusal> {
    servers
        .as_table_like_mut()
        .ok_or_else(|| format!("\"{}\" is not a table", form.servers))
}

pub(super) fn remove_server(text: &str, form: &McpToml) -> Result<String, Refusal> {
    let mut document = parse(text)?;
    let Some(servers) = document.get_mut(form.servers) else {
        return Ok(text.to_owned());
    };
    // agenthub never writes a header for the table of all servers: such a header is the user's.
    let is_implicit = servers.as_table().is_some_and(Table::is_implicit);
    let servers = as_table_like(servers, form)?;
    let is_installed = servers
        .get(SERVER)
        .and_then(Item::as_table_like)
        .is_some_and(is_agenthub);
    if !is_installed {
        return Ok(text.to_owned());
    }
    let table = servers.remove(SERVER).and_then(|item| item.into_table().ok());
    if servers.is_empty() && is_implicit {
        document.remove(form.servers);
    }
    if let Some(table) = table {
        keep_comments(&mut document, &table);
    }
    Ok(with_line_ends_of(text, &document.to_string()))
}

/// Returns agenthub's server, if there is one.
fn agenthub_server<'a>(document: &'a mut DocumentMut, servers: &str) -> Option<&'a mut dyn TableLike> {
    let server = document.get_mut(servers)?.get_mut(SERVER)?.as_table_like_mut()?;
    is_agenthub(server).then_some(server)
}

/// Sets the field of agenthub's server that permits its tools, unless the user has set it. Without the server there
/// is nothing to permit.
pub(super) fn install_server_permission(text: &str, form: &ServerPermission) -> Result<String, Refusal> {
    let mut document = parse(text)?;
    let wanted = permission_value(form)?;
    match agenthub_server(&mut document, form.servers).filter(|server| !server.contains_key(form.field)) {
        Some(server) => set(server, form.field, wanted),
        None => return Ok(text.to_owned()),
    }
    Ok(with_line_ends_of(text, &document.to_string()))
}

/// Returns the user's value of the field that permits the tools of agenthub's server, if it is not the one that `init`
/// writes.
pub(super) fn user_permission(text: &str, form: &ServerPermission) -> Result<Option<String>, Refusal> {
    let mut document = parse(text)?;
    let own = permission_value(form)?.to_string();
    let found = agenthub_server(&mut document, form.servers).and_then(|server| server.get(form.field));
    let users = found.filter(|found| undecorated(found) != own);
    let bare = |value: &Value| {
        let mut value = value.clone();
        value.decor_mut().clear();
        value.to_string()
    };
    Ok(users.map(|found| found.as_value().map_or_else(|| "a table".to_owned(), bare)))
}

/// Removes the field that [`install_server_permission`] sets. The user's value stays.
pub(super) fn remove_server_permission(text: &str, form: &ServerPermission) -> Result<String, Refusal> {
    let mut document = parse(text)?;
    let own = permission_value(form)?.to_string();
    let is_own = |server: &&mut dyn TableLike| server.get(form.field).is_some_and(|found| undecorated(found) == own);
    match agenthub_server(&mut document, form.servers).filter(is_own) {
        Some(server) => drop(server.remove(form.field)),
        None => return Ok(text.to_owned()),
    }
    Ok(with_line_ends_of(text, &document.to_string()))
}

fn permission_value(form: &ServerPermission) -> Result<Value, Refusal> {
    form.value.parse().map_err(|_| format!("{} is not a value", form.value))
}

/// Moves the comments before the header of a removed table to the item that follows it.
pub(super) fn keep_comments(document: &mut DocumentMut, removed: &Table) {
    let comments = removed.decor().prefix().and_then(RawString::as_str).unwrap_or_default();
    // The empty line before the header is removed.
    let comments = comments.strip_suffix('\n').unwrap_or(comments).to_owned();
    if !comments.contains('#') {
        return;
    }
    match next_after(document.as_table_mut(), removed.position()) {
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

/// Returns the table whose header is the first after `position`.
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

    const FORM: McpToml = McpToml {
        servers: "mcp_servers",
        env_vars: &["AGENTHUB_AGENT"],
    };

    fn install(text: &str, program: &str) -> String {
        install_server(text, &FORM, Path::new(program), &["mcp".to_owned()]).unwrap()
    }

    fn remove(text: &str) -> String {
        remove_server(text, &FORM).unwrap()
    }

    #[test]
    fn comments_and_line_ends_stay() {
        let text = "[mcp_servers]\n# none\n\n# mine\n[otel]\na = 1\n# the end\n";
        let installed = install(text, "/a/agenthub");
        assert!(installed.starts_with(text), "{installed}");
        assert_eq!(remove(&installed), text);
        let windows = text.replace('\n', "\r\n");
        assert_eq!(install(&windows, "/a/agenthub"), installed.replace('\n', "\r\n"));
        assert_eq!(remove(&install(&windows, "/a/agenthub")), windows);
        // A table was added after agenthub's.
        let more = "\n# other\n[tui]\nb = 2\n";
        assert_eq!(remove(&format!("{installed}{more}")), format!("{text}{more}"));

        let commented = installed
            .replace("/agenthub\"", "/agenthub\" # mine")
            .replace("[\"mcp\"]", "[\"mcp\"] # too");
        assert_eq!(install(&commented, "/a/agenthub"), commented);
        assert_eq!(
            install(&commented, "/new/agenthub"),
            commented.replace("/a/agenthub", "/new/agenthub")
        );
    }

    #[test]
    fn accepts_every_form_of_the_servers_table() {
        for text in [
            "",
            "a = 1",
            "[mcp_servers.b]\ncommand = \"b\"\n",
            "mcp_servers.b.command = \"b\"\n",
            "mcp_servers = { b = { command = \"b\" } }\n",
        ] {
            let installed = install(text, "/a/agenthub");
            assert_eq!(install(&installed, "/a/agenthub"), installed, "{text}");
            assert_eq!(
                parse(&installed).unwrap()[FORM.servers][SERVER]["command"].as_str(),
                Some("/a/agenthub")
            );
            assert!(!remove(&installed).contains("agenthub"));
        }
    }
}
