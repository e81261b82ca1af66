//! Hooks and MCP servers in JSON files. Comments and trailing commas are accepted and kept, whether or
//! not the tool itself accepts them; any other deviation from JSON is refused.

use std::path::Path;

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue as Input, CstNode, CstObject, CstObjectProp, CstRootNode};

use super::hook_command::{Owner, owner};
use crate::integrations::spec::{Hook, HookBlocking, HookSpec, McpJson, Refusal};

/// Seconds after which a tool ends a hook. A hook takes a few milliseconds.
const TIMEOUT: i64 = 10;
/// The name of the MCP server.
const SERVER: &str = "agenthub";

/// A parsed text.
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

/// Refuses a key that occurs twice: agenthub would change the first one, and tools read the last one.
fn check_unique(of: &CstObject, name: &str) -> Result<(), Refusal> {
    let same = |property: &CstObjectProp| property.decoded_name().as_deref() == Some(name);
    match of.properties().iter().filter(|property| same(property)).count() {
        0 | 1 => Ok(()),
        _ => Err(format!("\"{name}\" occurs twice")),
    }
}

/// Calls [`check_unique`] for every key on the path to the handlers of hooks.
fn check_unique_hooks(root: &CstObject) -> Result<(), Refusal> {
    check_unique(root, "hooks")?;
    let Some(events) = root.object_value("hooks") else {
        return Ok(());
    };
    for event in events.properties() {
        check_unique(&events, &event.decoded_name().unwrap_or_default())?;
        for group in objects(event.array_value()) {
            check_unique(&group, "hooks")?;
            for handler in objects(group.array_value("hooks")) {
                check_unique(&handler, "command")?;
            }
        }
    }
    Ok(())
}

/// Calls [`check_unique`] for every key on the path to agenthub's server.
fn check_unique_server(root: &CstObject, form: &McpJson) -> Result<(), Refusal> {
    check_unique(root, form.servers)?;
    let Some(servers) = root.object_value(form.servers) else {
        return Ok(());
    };
    check_unique(&servers, SERVER)?;
    let server = servers.object_value(SERVER);
    server.map_or(Ok(()), |server| {
        ["command", "args", "env"]
            .iter()
            .try_for_each(|name| check_unique(&server, name))
    })
}

/// Returns the objects among an array's elements.
fn objects(array: Option<CstArray>) -> Vec<CstObject> {
    let elements = array.map(|array| array.elements()).unwrap_or_default();
    elements.iter().filter_map(CstNode::as_object).collect()
}

/// Returns the object at `name`; creates it if there is none.
fn object(of: &CstObject, name: &str) -> Result<CstObject, Refusal> {
    match of.get(name) {
        None => Ok(of.object_value_or_set(name)),
        Some(found) => found
            .object_value()
            .ok_or_else(|| format!("\"{name}\" is not an object")),
    }
}

/// Returns the array at `name`; creates it if there is none.
fn array(of: &CstObject, name: &str) -> Result<CstArray, Refusal> {
    match of.get(name) {
        None => Ok(of.array_value_or_set(name)),
        Some(found) => found.array_value().ok_or_else(|| format!("\"{name}\" is not an array")),
    }
}

fn string(of: &CstObject, name: &str) -> Option<String> {
    of.get(name)?.value()?.as_string_lit()?.decoded_value().ok()
}

/// Returns an event's handlers that run agenthub's hook, with their groups and owners.
fn handlers(groups: &CstArray, hook_word: &str) -> Vec<(CstObject, CstObject, Owner)> {
    let mut found = Vec::new();
    for group in objects(Some(groups.clone())) {
        for handler in objects(group.array_value("hooks")) {
            let owner = string(&handler, "command").map_or(Owner::Other, |command| owner(&command, hook_word));
            if owner != Owner::Other {
                found.push((group.clone(), handler, owner));
            }
        }
    }
    found
}

/// Returns an event's handlers that `init` has installed, with their groups.
fn installed(groups: &CstArray, hook_word: &str) -> Vec<(CstObject, CstObject)> {
    let all = handlers(groups, hook_word).into_iter();
    all.filter(|(.., owner)| *owner == Owner::Agenthub)
        .map(|(group, handler, _)| (group, handler))
        .collect()
}

/// Removes a handler, and its group if that has no other.
fn remove_handler(group: CstObject, handler: CstObject) {
    let is_only = group
        .array_value("hooks")
        .is_some_and(|handlers| handlers.elements().len() == 1);
    if is_only {
        group.remove();
    } else {
        handler.remove();
    }
}

pub(super) fn install_hooks(text: &str, command: &str, spec: &HookSpec) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    check_unique_hooks(&document.object)?;
    let events = object(&document.object, "hooks")?;
    for hook in spec.hooks {
        let groups = array(&events, hook.event)?;
        let wanted = handler(command, hook, spec);
        let is_customized = handlers(&groups, spec.word)
            .iter()
            .any(|(.., owner)| *owner == Owner::Customized);
        let mut found = installed(&groups, spec.word).into_iter();
        // A customized handler replaces the installed one.
        match if is_customized { None } else { found.next() } {
            None if is_customized => {}
            None => {
                groups.append(Input::Object(vec![(
                    "hooks".to_owned(),
                    Input::Array(vec![Input::Object(wanted)]),
                )]));
            }
            Some((_, handler)) => update(&handler, &wanted),
        }
        found.for_each(|(group, handler)| remove_handler(group, handler));
    }
    let is_wanted = |name: &str| spec.hooks.iter().any(|hook| hook.event == name);
    remove_installed(&events, spec.word, |event| !is_wanted(event));
    Ok(document.finish())
}

/// Returns the fields of a handler.
fn handler(command: &str, hook: &Hook, spec: &HookSpec) -> Vec<(String, Input)> {
    let short = spec.short_timeouts.iter().find(|(event, _)| *event == hook.event);
    let mut handler = vec![
        ("type".to_owned(), Input::from("command")),
        ("command".to_owned(), Input::from(command)),
        (
            "timeout".to_owned(),
            Input::from(short.map_or(TIMEOUT, |(_, seconds)| *seconds)),
        ),
    ];
    if hook.blocking == HookBlocking::Continues {
        handler.push(("async".to_owned(), Input::from(true)));
    }
    handler
}

/// Sets the fields that differ. The rest of the text stays as it is.
fn update(object: &CstObject, wanted: &[(String, Input)]) {
    for (name, value) in wanted {
        match object.get(name) {
            None => drop(object.append(name, value.clone())),
            Some(found) => {
                let current = found.value().and_then(|value| value.to_serde_value());
                if current != Some(to_serde(value)) {
                    found.set_value(value.clone());
                }
            }
        }
    }
}

fn to_serde(value: &Input) -> serde_json::Value {
    match value {
        Input::Null => serde_json::Value::Null,
        Input::Bool(value) => (*value).into(),
        Input::Number(digits) => serde_json::from_str(digits).unwrap_or_default(),
        Input::String(text) => text.as_str().into(),
        Input::Array(values) => values.iter().map(to_serde).collect(),
        Input::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), to_serde(value)))
            .collect(),
    }
}

/// Removes the installed handlers of the selected events, and events without any other handler.
fn remove_installed(events: &CstObject, hook_word: &str, is_selected: impl Fn(&str) -> bool) {
    for event in events.properties() {
        let (Some(name), Some(groups)) = (event.decoded_name(), event.array_value()) else {
            continue;
        };
        let found = installed(&groups, hook_word);
        if found.is_empty() || !is_selected(&name) {
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

pub(super) fn remove_hooks(text: &str, hook_word: &str) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    check_unique_hooks(&document.object)?;
    let Some(property) = document.object.get("hooks") else {
        return Ok(text.to_owned());
    };
    let events = property.object_value().ok_or("\"hooks\" is not an object")?;
    let before = events.properties().len();
    remove_installed(&events, hook_word, |_| true);
    if before > 0 && events.properties().is_empty() {
        property.remove();
    }
    Ok(if document.is_new {
        text.to_owned()
    } else {
        document.finish()
    })
}

pub(super) fn install_server(text: &str, form: &McpJson, program: &Path, args: &[String]) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    check_unique_server(&document.object, form)?;
    let servers = object(&document.object, form.servers)?;
    let fields = form.fields.iter();
    let mut wanted: Vec<_> = fields
        .map(|(name, value)| ((*name).to_owned(), Input::from(*value)))
        .collect();
    wanted.push(("command".to_owned(), Input::from(program.display().to_string())));
    wanted.push(("args".to_owned(), Input::from(args.to_vec())));
    let env = form.agent.map(|agent| {
        let agent = ("AGENTHUB_AGENT".to_owned(), Input::from(agent));
        ("env".to_owned(), Input::Object(vec![agent]))
    });
    match servers.get(SERVER) {
        None => {
            wanted.extend(env);
            drop(servers.append(SERVER, Input::Object(wanted)));
        }
        Some(found) => match found.object_value().filter(is_agenthub) {
            Some(server) => {
                // The user may have changed the variables.
                wanted.extend(env.filter(|_| has_default_environment(&server, form)));
                update(&server, &wanted);
            }
            None => return Err(format!("another MCP server has the name \"{SERVER}\"")),
        },
    }
    Ok(document.finish())
}

/// Returns whether a server has no variables, or those that an earlier version has written.
fn has_default_environment(server: &CstObject, form: &McpJson) -> bool {
    let earlier = form
        .earlier_agent
        .map(|name| serde_json::json!({"AGENTHUB_AGENT": name}));
    let current = server
        .get("env")
        .map(|property| property.value().and_then(|value| value.to_serde_value()));
    current.is_none_or(|current| earlier.is_some() && current == earlier)
}

fn is_agenthub(server: &CstObject) -> bool {
    string(server, "command").is_some_and(|command| {
        let name = Path::new(&command).file_name().unwrap_or_default();
        name == "agenthub"
    })
}

pub(super) fn remove_server(text: &str, form: &McpJson) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    check_unique_server(&document.object, form)?;
    let Some(property) = document.object.get(form.servers) else {
        return Ok(text.to_owned());
    };
    let servers = property
        .object_value()
        .ok_or_else(|| format!("\"{}\" is not an object", form.servers))?;
    let Some(found) = servers
        .get(SERVER)
        .filter(|found| found.object_value().as_ref().is_some_and(is_agenthub))
    else {
        return Ok(text.to_owned());
    };
    found.remove();
    if servers.properties().is_empty() {
        property.remove();
    }
    Ok(document.finish())
}

/// Returns the command of an event's hook of agenthub.
pub(super) fn hook(text: &str, hook_word: &str, event: &str) -> Option<String> {
    let document = Document::parse(text).ok()?;
    let groups = document.object.object_value("hooks")?.array_value(event)?;
    let (_, handler, _) = handlers(&groups, hook_word).into_iter().next()?;
    string(&handler, "command")
}

/// Returns the entry of agenthub's server.
pub(super) fn server(text: &str, form: &McpJson) -> Option<serde_json::Value> {
    let document = Document::parse(text).ok()?;
    let server = document.object.object_value(form.servers)?.object_value(SERVER)?;
    server.to_serde_value()
}

/// Refuses a text that cannot be parsed.
pub(super) fn check(text: &str) -> Result<(), Refusal> {
    Document::parse(text).map(drop)
}

/// Returns whether the top-level key `name` is `true`.
pub(in crate::integrations) fn is_true(text: &str, name: &str) -> Result<bool, Refusal> {
    let document = Document::parse(text)?;
    let value = document.object.get(name).and_then(|property| property.value());
    Ok(value.and_then(|value| value.to_serde_value()) == Some(true.into()))
}
