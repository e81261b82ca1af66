//! Hooks, MCP servers and permissions in JSON files. Comments and trailing commas are accepted and kept, whether or
//! not the tool itself accepts them; any other deviation from JSON is refused.

use std::collections::BTreeSet;
use std::path::Path;

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue as Input, CstNode, CstObject, CstObjectProp, CstRootNode};

use super::hook_command::{Owner, owner};
use crate::integrations::allowed_commands;
use crate::integrations::spec::{
    AllowList, EventKind, HandlerNesting, Hook, HookBlocking, HookSpec, McpJson, Refusal, ServerPermission,
};
use crate::integrations::wake;

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
        for element in objects(event.array_value()) {
            check_unique(&element, "hooks")?;
            check_unique(&element, "command")?;
            for handler in objects(element.array_value("hooks")) {
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

/// A handler that runs agenthub's hook.
struct Handler {
    object: CstObject,
    /// The group that it is in, unless the tool has no groups.
    group: Option<CstObject>,
    owner: Owner,
}

impl Handler {
    /// Removes the handler, and its group if that has no other.
    fn remove(self) {
        let is_only = |group: &CstObject| {
            let handlers = group.array_value("hooks");
            handlers.is_some_and(|handlers| handlers.elements().len() == 1)
        };
        match self.group.filter(is_only) {
            Some(group) => group.remove(),
            None => self.object.remove(),
        }
    }
}

/// Returns an event's handlers that run agenthub's hook.
fn handlers(of_event: &CstArray, spec: &HookSpec) -> Vec<Handler> {
    let elements = objects(Some(of_event.clone()));
    let all: Vec<(Option<CstObject>, CstObject)> = match spec.file.nesting {
        HandlerNesting::Flat => elements.into_iter().map(|handler| (None, handler)).collect(),
        HandlerNesting::Groups => elements
            .into_iter()
            .flat_map(|group| {
                let handlers = objects(group.array_value("hooks"));
                handlers.into_iter().map(move |handler| (Some(group.clone()), handler))
            })
            .collect(),
    };
    all.into_iter()
        .filter_map(|(group, object)| {
            let owner = owner(&string(&object, "command")?, spec.word);
            (owner != Owner::Other).then_some(Handler { object, group, owner })
        })
        .collect()
}

/// Returns an event's handlers that `init` has installed.
fn installed(of_event: &CstArray, spec: &HookSpec) -> Vec<Handler> {
    let mut all = handlers(of_event, spec);
    all.retain(|handler| handler.owner == Owner::Agenthub);
    all
}

pub(super) fn install_hooks(text: &str, command: &str, spec: &HookSpec) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    check_unique_hooks(&document.object)?;
    if let Some(version) = spec.file.version
        && document.object.get("version").is_none()
    {
        drop(document.object.append("version", Input::from(version)));
    }
    let events = object(&document.object, "hooks")?;
    for hook in spec.hooks {
        let of_event = array(&events, hook.event)?;
        let wanted = handler(command, spec, hook);
        let is_customized = handlers(&of_event, spec)
            .iter()
            .any(|handler| handler.owner == Owner::Customized);
        let mut found = installed(&of_event, spec).into_iter();
        // A customized handler replaces the installed one.
        match if is_customized { None } else { found.next() } {
            None if is_customized => {}
            None => {
                let handler = Input::Object(wanted);
                of_event.append(match spec.file.nesting {
                    HandlerNesting::Flat => handler,
                    HandlerNesting::Groups => Input::Object(group(hook, handler)),
                });
            }
            Some(handler) => update(&handler.object, &wanted),
        }
        found.for_each(Handler::remove);
    }
    remove_installed(&events, spec, |event| spec.hook(event).is_none());
    Ok(document.finish())
}

/// Returns the fields of a group with one handler.
fn group(hook: &Hook, handler: Input) -> Vec<(String, Input)> {
    let handlers = ("hooks".to_owned(), Input::Array(vec![handler]));
    match hook.kind {
        EventKind::Wake => vec![("matcher".to_owned(), Input::from(wake::FILE_NAME)), handlers],
        _ => vec![handlers],
    }
}

/// Returns the fields of a handler.
fn handler(command: &str, spec: &HookSpec, hook: &Hook) -> Vec<(String, Input)> {
    let short = spec.file.short_timeouts.iter().find(|(event, _)| *event == hook.event);
    let timeout = short.map_or(spec.file.timeout, |(_, timeout)| *timeout);
    let mut handler = vec![
        ("type".to_owned(), Input::from("command")),
        ("command".to_owned(), Input::from(command)),
        ("timeout".to_owned(), Input::from(timeout)),
    ];
    match hook.blocking {
        HookBlocking::Waits => {}
        HookBlocking::Continues => handler.push(("async".to_owned(), Input::from(true))),
        HookBlocking::Wakes => handler.push(("asyncRewake".to_owned(), Input::from(true))),
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
fn remove_installed(events: &CstObject, spec: &HookSpec, is_selected: impl Fn(&str) -> bool) {
    for event in events.properties() {
        let (Some(name), Some(of_event)) = (event.decoded_name(), event.array_value()) else {
            continue;
        };
        let found = installed(&of_event, spec);
        if found.is_empty() || !is_selected(&name) {
            continue;
        }
        found.into_iter().for_each(Handler::remove);
        if of_event.elements().is_empty() {
            event.remove();
        }
    }
}

pub(super) fn remove_hooks(text: &str, spec: &HookSpec) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    check_unique_hooks(&document.object)?;
    let Some(property) = document.object.get("hooks") else {
        return Ok(text.to_owned());
    };
    let events = property.object_value().ok_or("\"hooks\" is not an object")?;
    let before = events.properties().len();
    remove_installed(&events, spec, |_| true);
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

/// Returns the list of permissions, if there is one.
fn allow_list(document: &Document, form: &AllowList) -> Option<CstArray> {
    document.object.object_value(form.path.0)?.array_value(form.path.1)
}

/// Returns whether the entry of a list is one that `init` writes for any database.
fn is_permission(entry: &str, form: &AllowList) -> bool {
    let is_command = |(before, after): (&str, &str)| {
        let line = entry.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        line.is_some_and(allowed_commands::is_line)
    };
    form.server == Some(entry) || form.command.is_some_and(is_command)
}

/// Refuses lists that occur twice.
fn check_unique_list(document: &Document, form: &AllowList) -> Result<(), Refusal> {
    check_unique(&document.object, form.path.0)?;
    let parent = document.object.object_value(form.path.0);
    parent.map_or(Ok(()), |parent| check_unique(&parent, form.path.1))
}

pub(super) fn install_permissions(text: &str, form: &AllowList, commands: &[String]) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    check_unique_list(&document, form)?;
    let list = array(&object(&document.object, form.path.0)?, form.path.1)?;
    let commands = commands
        .iter()
        .filter_map(|command| form.command.map(|(before, after)| format!("{before}{command}{after}")));
    let wanted: Vec<String> = form.server.map(str::to_owned).into_iter().chain(commands).collect();
    remove_entries(&list, |entry| {
        is_permission(entry, form) && !wanted.iter().any(|wanted| wanted == entry)
    });
    let present: Vec<String> = list.elements().iter().filter_map(text_of).collect();
    for entry in wanted.iter().filter(|entry| !present.contains(entry)) {
        list.append(Input::from(entry.as_str()));
    }
    Ok(document.finish())
}

pub(super) fn remove_permissions(text: &str, form: &AllowList) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    check_unique_list(&document, form)?;
    let Some(list) = allow_list(&document, form) else {
        return Ok(text.to_owned());
    };
    if remove_entries(&list, |entry| is_permission(entry, form)) && list.elements().is_empty() {
        let parent = document.object.object_value(form.path.0);
        if let Some(property) = parent.as_ref().and_then(|parent| parent.get(form.path.1)) {
            property.remove();
        }
        let is_empty = parent.is_some_and(|parent| parent.properties().is_empty());
        if let Some(property) = document.object.get(form.path.0).filter(|_| is_empty) {
            property.remove();
        }
    }
    Ok(document.finish())
}

/// Removes the selected strings of a list. Returns whether there was one.
fn remove_entries(list: &CstArray, is_selected: impl Fn(&str) -> bool) -> bool {
    let selected: Vec<CstNode> = list
        .elements()
        .into_iter()
        .filter(|element| text_of(element).is_some_and(|text| is_selected(&text)))
        .collect();
    let is_any = !selected.is_empty();
    selected.into_iter().for_each(CstNode::remove);
    is_any
}

fn text_of(element: &CstNode) -> Option<String> {
    element.as_string_lit()?.decoded_value().ok()
}

/// Sets the field of agenthub's server that permits its tools, unless the user has set it. Without the server there
/// is nothing to permit.
pub(super) fn install_server_permission(text: &str, form: &ServerPermission) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    if let Some(server) = agenthub_server(&document, form.servers)
        && server.get(form.field).is_none()
    {
        let value = match permission_value(form) {
            serde_json::Value::Bool(value) => Input::from(value),
            other => Input::from(other.as_str().unwrap_or_default()),
        };
        drop(server.append(form.field, value));
    }
    Ok(document.finish())
}

/// Returns the user's value of the field that permits the tools of agenthub's server, if it is not the one that `init`
/// writes.
pub(super) fn user_permission(text: &str, form: &ServerPermission) -> Result<Option<String>, Refusal> {
    let document = Document::parse(text)?;
    let property = agenthub_server(&document, form.servers).and_then(|server| server.get(form.field));
    let users = property.filter(|property| !is_own_permission(property, form));
    Ok(users
        .and_then(|property| property.value())
        .map(|value| value.to_string()))
}

/// Removes the field that [`install_server_permission`] sets. The user's value stays.
pub(super) fn remove_server_permission(text: &str, form: &ServerPermission) -> Result<String, Refusal> {
    let document = Document::parse(text)?;
    let property = agenthub_server(&document, form.servers).and_then(|server| server.get(form.field));
    match property.filter(|property| is_own_permission(property, form)) {
        Some(property) => property.remove(),
        None => return Ok(text.to_owned()),
    }
    Ok(document.finish())
}

fn permission_value(form: &ServerPermission) -> serde_json::Value {
    serde_json::from_str(form.value).unwrap_or_default()
}

fn is_own_permission(property: &CstObjectProp, form: &ServerPermission) -> bool {
    property.value().and_then(|value| value.to_serde_value()) == Some(permission_value(form))
}

fn agenthub_server(document: &Document, servers: &str) -> Option<CstObject> {
    let server = document.object.object_value(servers)?.object_value(SERVER)?;
    is_agenthub(&server).then_some(server)
}

/// Returns the command of an event's hook of agenthub.
pub(super) fn hook(text: &str, spec: &HookSpec, event: &str) -> Option<String> {
    let document = Document::parse(text).ok()?;
    let of_event = document.object.object_value("hooks")?.array_value(event)?;
    let handler = handlers(&of_event, spec).into_iter().next()?;
    string(&handler.object, "command")
}

/// Returns the events whose hooks of agenthub this version would write in another form, or would remove.
pub(super) fn outdated_events(text: &str, spec: &HookSpec) -> Result<Vec<String>, Refusal> {
    let events = |text: &str| Ok::<_, Refusal>(Document::parse(text)?.object.object_value("hooks"));
    let Some(before) = events(text)? else {
        return Ok(Vec::new());
    };
    let command = before.properties().iter().find_map(|event| {
        let handler = installed(&event.array_value()?, spec).into_iter().next()?;
        string(&handler.object, "command")
    });
    let Some(command) = command else {
        return Ok(Vec::new());
    };
    let after = events(&install_hooks(text, &command, spec)?)?;
    let values = |of: Option<&CstObject>| match of.and_then(CstObject::to_serde_value) {
        Some(serde_json::Value::Object(events)) => events,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (values(Some(&before)), values(after.as_ref()));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    Ok(differing.cloned().collect())
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

/// Returns whether the value at a path of keys is `value`.
pub(in crate::integrations) fn is_at(text: &str, path: &[&str], value: &serde_json::Value) -> Result<bool, Refusal> {
    let document = Document::parse(text)?;
    let mut found = document.object.to_serde_value();
    for name in path {
        found = found.and_then(|mut object| object.get_mut(*name).map(serde_json::Value::take));
    }
    Ok(found.as_ref() == Some(value))
}
