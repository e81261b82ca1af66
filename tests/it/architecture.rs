//! The architecture, read off the sources: who may use whom, and who may use what.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules in the order they are built on each other. Those of one line do not know each other.
const LAYERS: &[&[&str]] = &[
    &["error", "fs", "protocol", "text"],
    &["config"],
    &["store"],
    &["watcher"],
    &["hub"],
    &["integrations"],
    &["server", "mcp"],
    &["cli"],
    &["main"],
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file: its path below `src`, its layer, and its text without comments.
fn sources() -> Vec<(String, String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&src(), &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(src()).unwrap().to_str().unwrap().to_owned();
            let layer = name.split(['/', '.']).next().unwrap().to_owned();
            let text = fs::read_to_string(path).unwrap();
            let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap()).collect();
            (name, layer, code.join("\n"))
        })
        .collect()
}

fn level(layer: &str) -> usize {
    LAYERS
        .iter()
        .position(|names| names.contains(&layer))
        .unwrap_or_else(|| panic!("the module {layer} is in no layer"))
}

/// The modules of this crate a source names: `crate::x`, `agenthub::x`, `crate::{x, y}`.
fn used(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for root in ["crate::", "agenthub::"] {
        for (at, _) in code.match_indices(root) {
            let rest = &code[at + root.len()..];
            if let Some(list) = rest.strip_prefix('{') {
                let list = &list[..list.find('}').unwrap()];
                modules.extend(
                    list.split(',')
                        .map(|item| item.trim().split("::").next().unwrap().to_owned()),
                );
            } else {
                modules.push(
                    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                        .next()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    modules.retain(|m| m.chars().next().is_some_and(char::is_lowercase));
    modules
}

/// Without it a lower layer would come to know a higher one, and neither could be
/// understood alone.
#[test]
fn modules_use_only_what_stands_below_them() {
    let sources = sources();
    assert!(sources.len() > 30, "the sources are not where they were");
    let mut uses = 0;
    for (name, layer, code) in &sources {
        if layer == "lib" {
            continue;
        }
        for module in used(code) {
            uses += 1;
            let (user, used) = (level(layer), level(&module));
            assert!(
                *layer == module || used < user || (user == 0 && used == 0),
                "src/{name} uses crate::{module}, which is not below {layer}"
            );
        }
    }
    assert!(uses > 60, "the lines with `use crate::` were not found");
}

/// Without it SQL, HTTP and the terminal would leak into the rest of the house.
#[test]
fn each_library_has_its_place() {
    for (name, layer, code) in &sources() {
        // What stands under cfg(test) may use what it likes.
        let code = code.split("#[cfg(test)]").next().unwrap();
        let allowed = |word: &str, places: &[&str]| {
            let used = code
                .match_indices(word)
                .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            let here = places.iter().any(|place| layer == place || name == place);
            assert!(!used || here, "src/{name} uses {word}, which belongs to {places:?}");
        };
        allowed("rusqlite::", &["store"]);
        allowed("warp::", &["server"]);
        allowed("hyper::", &["server", "cli/hub_client.rs"]);
        allowed("hyper_util::", &["server", "cli/hub_client.rs"]);
        allowed("tokio_tungstenite::", &["server"]);
        allowed("rmcp::", &["mcp"]);
        allowed("notify::", &["watcher"]);
        allowed("clap::", &["cli", "main"]);
        allowed("anyhow::", &["cli", "main"]);
        allowed("println!", &["cli/terminal.rs"]);
        allowed("eprintln!", &["cli/terminal.rs"]);
        // A child's bytes pass through as they come.
        allowed("io::stdout()", &["cli/terminal.rs", "cli/commands/run.rs"]);
        allowed("unsafe ", &[]);
        if layer == "store" {
            allowed("tokio::", &[]);
        }
        if name.starts_with("hub/session") {
            for word in ["tokio::", "std::fs", "std::net", "Instant::now", "now_ms("] {
                allowed(word, &[]);
            }
        }
    }
}

/// Without it a stranger would have to read a file to learn what it is for.
#[test]
fn every_source_file_says_what_it_is_for() {
    for (name, _, _) in sources() {
        let text = fs::read_to_string(src().join(&name)).unwrap();
        assert!(text.starts_with("//! "), "src/{name} has no head");
    }
}
