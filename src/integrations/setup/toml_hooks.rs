//! Hooks in TOML files: an array of tables, each with an event, a command and a timeout. Comments, order and formatting
//! of everything else stay.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, TableLike, Value};

use super::hook_command::{Owner, owner};
use super::toml_config::{keep_comments, parse, set, with_line_ends_of};
use crate::integrations::spec::{Hook, HookBlocking, HookSpec, Refusal};

/// The key of the array.
const HOOKS: &str = "hooks";
const EVENT: &str = "event";
const COMMAND: &str = "command";

/// The array, in either of its forms.
enum Entries<'a> {
    /// `[[hooks]]` for each.
    Tables(&'a mut ArrayOfTables),
    /// `hooks = [{…}, …]`.
    Inline(&'a mut Array),
}

impl<'a> Entries<'a> {
    /// Returns the array of a document, if it has one.
    fn of(document: &'a mut DocumentMut) -> Result<Option<Self>, Refusal> {
        match document.get_mut(HOOKS) {
            None => Ok(None),
            Some(Item::ArrayOfTables(tables)) => Ok(Some(Self::Tables(tables))),
            Some(Item::Value(Value::Array(array))) => Ok(Some(Self::Inline(array))),
            Some(_) => Err(format!("\"{HOOKS}\" is not an array of tables")),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Tables(tables) => tables.len(),
            Self::Inline(array) => array.len(),
        }
    }

    fn get(&self, index: usize) -> Option<&dyn TableLike> {
        match self {
            Self::Tables(tables) => tables.get(index).map(|table| table as _),
            Self::Inline(array) => array.get(index)?.as_inline_table().map(|table| table as _),
        }
    }

    fn get_mut(&mut self, index: usize) -> Option<&mut dyn TableLike> {
        match self {
            Self::Tables(tables) => tables.get_mut(index).map(|table| table as _),
            Self::Inline(array) => array.get_mut(index)?.as_inline_table_mut().map(|table| table as _),
        }
    }

    /// Returns the hooks that run agenthub's command.
    fn found(&self, spec: &HookSpec) -> Vec<Found> {
        let found = (0..self.len()).filter_map(|index| {
            let entry = self.get(index)?;
            let command = entry.get(COMMAND)?.as_str()?.to_owned();
            let owner = owner(&command, spec.word);
            (owner != Owner::Other).then(|| Found {
                index,
                event: entry.get(EVENT).and_then(Item::as_str).unwrap_or_default().to_owned(),
                command,
                owner,
            })
        });
        found.collect()
    }
}

/// A hook that runs agenthub's command.
struct Found {
    index: usize,
    event: String,
    command: String,
    owner: Owner,
}

/// Returns the fields of a hook.
fn fields(command: &str, spec: &HookSpec, hook: &Hook) -> [(&'static str, Value); 3] {
    let short = spec.file.short_timeouts.iter().find(|(event, _)| *event == hook.event);
    let timeout = short.map_or(spec.file.timeout, |(_, timeout)| *timeout);
    [
        (EVENT, hook.event.into()),
        (COMMAND, command.into()),
        ("timeout", timeout.into()),
    ]
}

fn is_equal(found: Option<&Item>, wanted: &Value) -> bool {
    match (found.and_then(Item::as_value), wanted) {
        (Some(Value::String(found)), Value::String(wanted)) => found.value() == wanted.value(),
        (Some(Value::Integer(found)), Value::Integer(wanted)) => found.value() == wanted.value(),
        _ => false,
    }
}

pub(super) fn install(text: &str, command: &str, spec: &HookSpec) -> Result<String, Refusal> {
    let mut document = parse(text)?;
    // A customized hook replaces the installed one.
    let mut present = BTreeSet::new();
    let mut surplus = Vec::new();
    let mut is_inline = false;
    let mut is_changed = false;
    if let Some(mut entries) = Entries::of(&mut document)? {
        is_inline = matches!(entries, Entries::Inline(_));
        let found = entries.found(spec);
        let customized = found.iter().filter(|found| found.owner == Owner::Customized);
        present.extend(customized.map(|found| found.event.clone()));
        for own in found.iter().filter(|found| found.owner == Owner::Agenthub) {
            let hook = in_file(spec).find(|hook| hook.event == own.event);
            let Some(hook) = hook.filter(|_| present.insert(own.event.clone())) else {
                surplus.push(own.index);
                continue;
            };
            let Some(entry) = entries.get_mut(own.index) else {
                continue;
            };
            for (name, wanted) in fields(command, spec, hook) {
                if !is_equal(entry.get(name), &wanted) {
                    set(entry, name, wanted);
                    is_changed = true;
                }
            }
        }
    }
    let missing: Vec<&Hook> = in_file(spec).filter(|hook| !present.contains(hook.event)).collect();
    is_changed |= !surplus.is_empty();
    remove_at(&mut document, &surplus)?;
    if is_inline {
        is_changed |= !missing.is_empty();
        if let Some(Entries::Inline(array)) = Entries::of(&mut document)? {
            array.extend(missing.iter().map(|hook| {
                let table: InlineTable = fields(command, spec, hook).into_iter().collect();
                Value::InlineTable(table)
            }));
        }
    }
    let mut new = if is_changed {
        with_line_ends_of(text, &document.to_string())
    } else {
        text.to_owned()
    };
    if !is_inline {
        for hook in missing {
            new = append(&new, &fields(command, spec, hook));
        }
    }
    Ok(new)
}

/// Returns the hooks that are in the tool's file.
fn in_file(spec: &HookSpec) -> impl Iterator<Item = &'static Hook> {
    spec.hooks
        .iter()
        .filter(|hook| hook.blocking != HookBlocking::ByExtension)
}

/// Appends a hook's table: comments before it stay in place.
fn append(text: &str, fields: &[(&str, Value)]) -> String {
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let empty = if text.is_empty() { "" } else { "\n" };
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!("{name} = {value}\n"))
        .collect();
    let added = format!("{end}{empty}[[{HOOKS}]]\n{lines}");
    format!("{text}{}", with_line_ends_of(text, &added))
}

/// Removes the hooks at these indexes, which ascend. Without any hook, there is no array of tables.
fn remove_at(document: &mut DocumentMut, indexes: &[usize]) -> Result<(), Refusal> {
    for index in indexes.iter().rev() {
        let removed = match Entries::of(document)? {
            Some(Entries::Tables(tables)) => Some(tables.remove(*index)),
            Some(Entries::Inline(array)) => {
                array.remove(*index);
                None
            }
            None => None,
        };
        if let Some(table) = removed {
            keep_comments(document, &table);
        }
    }
    let is_empty = document
        .get(HOOKS)
        .and_then(Item::as_array_of_tables)
        .is_some_and(ArrayOfTables::is_empty);
    if is_empty {
        document.remove(HOOKS);
    }
    Ok(())
}

pub(super) fn remove(text: &str, spec: &HookSpec) -> Result<String, Refusal> {
    let mut document = parse(text)?;
    let own: Vec<usize> = Entries::of(&mut document)?
        .map(|entries| entries.found(spec))
        .unwrap_or_default()
        .into_iter()
        .filter(|found| found.owner == Owner::Agenthub)
        .map(|found| found.index)
        .collect();
    if own.is_empty() {
        return Ok(text.to_owned());
    }
    remove_at(&mut document, &own)?;
    Ok(with_line_ends_of(text, &document.to_string()))
}

/// Returns the command of agenthub's hook for an event.
pub(super) fn hook(text: &str, spec: &HookSpec, event: &str) -> Option<String> {
    let mut document = parse(text).ok()?;
    let found = Entries::of(&mut document).ok()??.found(spec);
    found
        .into_iter()
        .find(|found| found.event == event)
        .map(|found| found.command)
}

/// Returns the events whose hooks of agenthub this version would write in another form, or would remove.
pub(super) fn outdated_events(text: &str, spec: &HookSpec) -> Result<Vec<String>, Refusal> {
    let mut document = parse(text)?;
    let Some(entries) = Entries::of(&mut document)? else {
        return Ok(Vec::new());
    };
    let mut found = entries.found(spec).into_iter();
    let Some(own) = found.find(|found| found.owner == Owner::Agenthub) else {
        return Ok(Vec::new());
    };
    let before = forms(text, spec)?;
    let after = forms(&install(text, &own.command, spec)?, spec)?;
    let events: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = events
        .into_iter()
        .filter(|event| before.get(*event) != after.get(*event));
    Ok(differing.cloned().collect())
}

/// Returns agenthub's hooks of each event: the values of their fields.
fn forms(text: &str, spec: &HookSpec) -> Result<BTreeMap<String, Vec<String>>, Refusal> {
    let mut document = parse(text)?;
    let mut forms = BTreeMap::<String, Vec<String>>::new();
    if let Some(entries) = Entries::of(&mut document)? {
        for found in entries.found(spec) {
            let entry = entries.get(found.index);
            let timeout = entry.and_then(|entry| entry.get("timeout")?.as_integer());
            let form = format!("{} {timeout:?}", found.command);
            forms.entry(found.event).or_default().push(form);
        }
    }
    Ok(forms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrations::registry;

    const COMMAND_LINE: &str = "/a/agenthub hook kimi";

    fn spec() -> &'static HookSpec {
        registry::by_hook_word("kimi").unwrap().1
    }

    fn installed(text: &str) -> String {
        install(text, COMMAND_LINE, spec()).unwrap()
    }

    fn removed(text: &str) -> String {
        remove(text, spec()).unwrap()
    }

    #[test]
    fn comments_order_and_line_ends_stay() {
        let users = "# mine\ndefault_model = \"a\" # this one\n\n[[hooks]] # a hook\nevent = \"Stop\"\ncommand = \"say done\"\n\n\
                     # the end\n";
        for text in ["", "a = 1\n", users, "[models.a]\nb = 1\n# after\n"] {
            let new = installed(text);
            assert!(new.starts_with(text), "{new}");
            assert_eq!(installed(&new), new);
            assert_eq!(removed(&new), text, "{new}");
            let windows = text.replace('\n', "\r\n");
            assert_eq!(removed(&installed(&windows)), windows);
            let more = "\n# other\n[tui]\nb = 2\n";
            if !text.is_empty() {
                assert_eq!(removed(&format!("{new}{more}")), format!("{text}{more}"));
            }
        }
    }

    #[test]
    fn each_event_has_one_hook() {
        let new = installed("");
        let document = parse(&new).unwrap();
        let tables = document[HOOKS].as_array_of_tables().unwrap();
        let events: Vec<&str> = tables.iter().map(|table| table[EVENT].as_str().unwrap()).collect();
        assert_eq!(events, spec().hooks.iter().map(|hook| hook.event).collect::<Vec<_>>());
        assert!(tables.iter().all(|table| table[COMMAND].as_str() == Some(COMMAND_LINE)));
        assert_eq!(installed(&format!("{new}\n{new}")), format!("{new}"));
        assert_eq!(hook(&new, spec(), "Stop").as_deref(), Some(COMMAND_LINE));
    }

    #[test]
    fn command_changes_in_place() {
        let new = installed("a = 1\n");
        let commented = new.replace("hook kimi\"", "hook kimi\" # mine");
        assert_eq!(
            install(&commented, "/b/agenthub hook kimi", spec()).unwrap(),
            commented.replace("/a/agenthub", "/b/agenthub")
        );
        assert_eq!(installed(&commented), commented);
    }

    #[test]
    fn customized_hook_replaces_the_installed_one() {
        let own = "[[hooks]]\nevent = \"Stop\"\ncommand = \"AGENTHUB_AGENT=me agenthub hook kimi\"\n";
        let new = installed(own);
        assert_eq!(new.matches("\"Stop\"").count(), 1, "{new}");
        assert_eq!(removed(&new), own);
    }

    #[test]
    fn hooks_in_one_line_are_extended() {
        let text = "hooks = [{ event = \"Stop\", command = \"say done\" }]\n";
        let new = installed(text);
        assert_eq!(installed(&new), new);
        assert_eq!(new.matches(COMMAND_LINE).count(), spec().hooks.len());
        assert!(new.contains("say done"), "{new}");
        assert_eq!(removed(&new), text);
        assert!(install("hooks = 1\n", COMMAND_LINE, spec()).is_err());
    }

    #[test]
    fn other_timeouts_and_events_are_outdated() {
        let new = installed("");
        assert_eq!(outdated_events(&new, spec()).unwrap(), Vec::<String>::new());
        let early = new.replacen("timeout = 10", "timeout = 5", 1)
            + "\n[[hooks]]\nevent = \"Other\"\ncommand = \"/a/agenthub hook kimi\"\n";
        let first = spec().hooks[0].event;
        assert_eq!(outdated_events(&early, spec()).unwrap(), ["Other", first]);
        assert_eq!(installed(&early), new);
    }
}
