//! Hooks and MCP servers in JSON files, comments and all.
//!
//! For: Claude Code's, Codex's, Gemini CLI's and Cursor's files. Comments and trailing commas
//! are read and stay, whether or not the tool itself takes them.
//! Not for: any other of JSON's dialects; what this cannot read, it refuses.

use std::path::Path;

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue as Input, CstNode, CstObject, CstObjectProp, CstRootNode};

use super::Refusal;
use super::words::{Whose, whose};
use crate::agents::Vendor;
use crate::agents::hook::{Hook, Pace};

/// Seconds a tool waits for a hook at most; it needs thousandths.
const TIMEOUT: i64 = 10;
/// Under which name the server is registered.
const SERVER: &str = "agenthub";

/// A text, taken apart.
struct Document {
    root: CstRootNode,
    object: CstObject,
    is_new: bool,
}

impl Document {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let options = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        let root = CstRootNode::parse(text, &options)
            .map_err(|e| format!("line {} is not valid JSON ({})", e.line_display(), e.kind()))?;
        let is_new = root.value().is_none();
        let object = match root.value() {
            None => root.object_value_or_set(),
            Some(value) => value.as_object().ok_or("line 1 does not begin a JSON object")?,
        };
        Ok(Self { root, object, is_new })
    }

    fn finish(self) -> String {
        let mut text = self.root.to_string();
        if self.is_new && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

/// Refuses a key that stands there twice: we would change the first, and tools read the last.
fn once(of: &CstObject, name: &str) -> Result<(), Refusal> {
    let same = |property: &CstObjectProp| property.decoded_name().as_deref() == Some(name);
    match of.properties().iter().filter(|property| same(property)).count() {
        0 | 1 => Ok(()),
        _ => Err(format!("\"{name}\" stands there twice")),
    }
}

/// [`once`] for every key on the way to our handlers.
fn hooks_once(root: &CstObject) -> Result<(), Refusal> {
    once(root, "hooks")?;
    let Some(events) = root.object_value("hooks") else {
        return Ok(());
    };
    for event in events.properties() {
        once(&events, &event.decoded_name().unwrap_or_default())?;
        for group in objects(event.array_value()) {
            once(&group, "hooks")?;
            for handler in objects(group.array_value("hooks")) {
                once(&handler, "command")?;
            }
        }
    }
    Ok(())
}

/// [`once`] for every key on the way to our server.
fn server_once(root: &CstObject) -> Result<(), Refusal> {
    once(root, "mcpServers")?;
    let Some(servers) = root.object_value("mcpServers") else {
        return Ok(());
    };
    once(&servers, SERVER)?;
    let server = servers.object_value(SERVER);
    server.map_or(Ok(()), |server| {
        ["command", "args", "env"]
            .iter()
            .try_for_each(|name| once(&server, name))
    })
}

/// The objects among an array's elements.
fn objects(array: Option<CstArray>) -> Vec<CstObject> {
    let elements = array.map(|array| array.elements()).unwrap_or_default();
    elements.iter().filter_map(CstNode::as_object).collect()
}

/// The object at `name`, made if it is not there.
fn object(of: &CstObject, name: &str) -> Result<CstObject, Refusal> {
    match of.get(name) {
        None => Ok(of.object_value_or_set(name)),
        Some(found) => found
            .object_value()
            .ok_or_else(|| format!("\"{name}\" is not an object")),
    }
}

fn array(of: &CstObject, name: &str) -> Result<CstArray, Refusal> {
    match of.get(name) {
        None => Ok(of.array_value_or_set(name)),
        Some(found) => found.array_value().ok_or_else(|| format!("\"{name}\" is not an array")),
    }
}

fn string(of: &CstObject, name: &str) -> Option<String> {
    of.get(name)?.value()?.as_string_lit()?.decoded_value().ok()
}

/// An event's handlers that do our work: with their groups, and whose they are.
fn handlers(groups: &CstArray, vendor: Vendor) -> Vec<(CstObject, CstObject, Whose)> {
    let mut found = Vec::new();
    for group in objects(Some(groups.clone())) {
        for handler in objects(group.array_value("hooks")) {
            let whose = string(&handler, "command").map_or(Whose::Foreign, |command| whose(&command, vendor));
            if whose != Whose::Foreign {
                found.push((group.clone(), handler, whose));
            }
        }
    }
    found
}

/// The handlers that `init` has put there.
fn ours(groups: &CstArray, vendor: Vendor) -> Vec<(CstObject, CstObject)> {
    let all = handlers(groups, vendor).into_iter();
    all.filter(|(.., whose)| *whose == Whose::Ours)
        .map(|(group, handler, _)| (group, handler))
        .collect()
}

/// Takes a handler away, and the group with it if it was alone there.
fn remove_handler(group: CstObject, handler: CstObject) {
    let alone = group
        .array_value("hooks")
        .is_some_and(|handlers| handlers.elements().len() == 1);
    if alone {
        group.remove();
    } else {
        handler.remove();
    }
}

pub(super) fn install_hooks(text: &str, command: &str, vendor: Vendor, hooks: &[Hook]) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    hooks_once(&document.object)?;
    let events = object(&document.object, "hooks")?;
    for hook in hooks {
        let groups = array(&events, hook.event)?;
        let wanted = handler(command, hook.pace);
        let named = handlers(&groups, vendor)
            .iter()
            .any(|(.., whose)| *whose == Whose::Named);
        let mut found = ours(&groups, vendor).into_iter();
        // One that somebody has given a name does the work already.
        match if named { None } else { found.next() } {
            None if named => {}
            None => {
                groups.append(Input::Object(vec![(
                    "hooks".to_owned(),
                    Input::Array(vec![Input::Object(wanted)]),
                )]));
            }
            Some((_, handler)) => bring_up_to_date(&handler, &wanted),
        }
        found.for_each(|(group, handler)| remove_handler(group, handler));
    }
    let wanted = |name: &str| hooks.iter().any(|hook| hook.event == name);
    remove_ours(&events, vendor, |event| !wanted(event));
    Ok(document.finish())
}

/// A handler, as the vendors have it.
fn handler(command: &str, pace: Pace) -> Vec<(String, Input)> {
    let mut handler = vec![
        ("type".to_owned(), Input::from("command")),
        ("command".to_owned(), Input::from(command)),
        ("timeout".to_owned(), Input::from(TIMEOUT)),
    ];
    if pace == Pace::GoesOn {
        handler.push(("async".to_owned(), Input::from(true)));
    }
    handler
}

/// Changes what differs and nothing else: a text that is right stays as it is.
fn bring_up_to_date(object: &CstObject, wanted: &[(String, Input)]) {
    for (name, value) in wanted {
        match object.get(name) {
            None => drop(object.append(name, value.clone())),
            Some(found) => {
                let same = found.value().and_then(|value| value.to_serde_value());
                if same != Some(plain(value)) {
                    found.set_value(value.clone());
                }
            }
        }
    }
}

/// The value as `serde_json` has it.
fn plain(value: &Input) -> serde_json::Value {
    match value {
        Input::Null => serde_json::Value::Null,
        Input::Bool(value) => (*value).into(),
        Input::Number(digits) => serde_json::from_str(digits).unwrap_or_default(),
        Input::String(text) => text.as_str().into(),
        Input::Array(values) => values.iter().map(plain).collect(),
        Input::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect(),
    }
}

/// Takes our handlers out of the events that `of` names, and events that are empty then.
fn remove_ours(events: &CstObject, vendor: Vendor, of: impl Fn(&str) -> bool) {
    for event in events.properties() {
        let (Some(name), Some(groups)) = (event.decoded_name(), event.array_value()) else {
            continue;
        };
        let found = ours(&groups, vendor);
        if found.is_empty() || !of(&name) {
            continue;
        }
        found
            .into_iter()
            .for_each(|(group, handler)| remove_handler(group, handler));
        if groups.elements().is_empty() {
            event.remove();
        }
    }
}

pub(super) fn remove_hooks(text: &str, vendor: Vendor) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    hooks_once(&document.object)?;
    let Some(property) = document.object.get("hooks") else {
        return Ok(text.to_owned());
    };
    let events = property.object_value().ok_or("\"hooks\" is not an object")?;
    let before = events.properties().len();
    remove_ours(&events, vendor, |_| true);
    if before > 0 && events.properties().is_empty() {
        property.remove();
    }
    Ok(if document.is_new {
        text.to_owned()
    } else {
        document.finish()
    })
}

pub(super) fn install_server(text: &str, vendor: Vendor, program: &Path, args: &[String]) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    server_once(&document.object)?;
    let servers = object(&document.object, "mcpServers")?;
    let mut wanted = vec![
        ("command".to_owned(), Input::from(program.display().to_string())),
        ("args".to_owned(), Input::from(args.to_vec())),
    ];
    if vendor == Vendor::Claude {
        wanted.insert(0, ("type".to_owned(), Input::from("stdio")));
    }
    let name = name_of(vendor).map(|name| ("env".to_owned(), name));
    match servers.get(SERVER) {
        None => {
            wanted.extend(name);
            drop(servers.append(SERVER, Input::Object(wanted)));
        }
        Some(found) => match found.object_value().filter(is_our_server) {
            Some(server) => {
                // Whoever has given it surroundings of its own keeps them.
                wanted.extend(name.filter(|_| server.get("env").is_none()));
                bring_up_to_date(&server, &wanted);
            }
            None => return Err(format!("another MCP server has the name \"{SERVER}\"")),
        },
    }
    Ok(document.finish())
}

/// The surroundings that give the server a name, where its tool tells it nothing of a session:
/// without them each start would be another agent, and mail to the last one be lost from sight.
fn name_of(vendor: Vendor) -> Option<Input> {
    matches!(vendor, Vendor::Gemini | Vendor::Cursor).then(|| {
        let name = ("AGENTHUB_AGENT".to_owned(), Input::from(vendor.name()));
        Input::Object(vec![name])
    })
}

fn is_our_server(server: &CstObject) -> bool {
    string(server, "command").is_some_and(|command| {
        let name = Path::new(&command).file_name().unwrap_or_default();
        name == "agenthub"
    })
}

pub(super) fn remove_server(text: &str) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    server_once(&document.object)?;
    let Some(property) = document.object.get("mcpServers") else {
        return Ok(text.to_owned());
    };
    let servers = property.object_value().ok_or("\"mcpServers\" is not an object")?;
    let Some(found) = servers
        .get(SERVER)
        .filter(|found| found.object_value().as_ref().is_some_and(is_our_server))
    else {
        return Ok(text.to_owned());
    };
    found.remove();
    if servers.properties().is_empty() {
        property.remove();
    }
    Ok(document.finish())
}

/// The command that runs at an event for us, as the file has it.
pub(super) fn written_hook(text: &str, vendor: Vendor, event: &str) -> Option<String> {
    let document = Document::parse(text).ok()?;
    let groups = document.object.object_value("hooks")?.array_value(event)?;
    let (_, handler, _) = handlers(&groups, vendor).into_iter().next()?;
    string(&handler, "command")
}

/// The server's entry, as the file has it.
pub(super) fn written_server(text: &str) -> Option<serde_json::Value> {
    let document = Document::parse(text).ok()?;
    let server = document.object.object_value("mcpServers")?.object_value(SERVER)?;
    server.to_serde_value()
}

/// Refuses what cannot be read, and says whether `name` is set at the top.
pub(super) fn is_set(text: &str, name: &str) -> Result<bool, Refusal> {
    let document = Document::parse(text)?;
    let value = document.object.get(name).and_then(|property| property.value());
    Ok(value.and_then(|value| value.to_serde_value()) == Some(true.into()))
}
