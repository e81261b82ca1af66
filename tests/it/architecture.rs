//! The rules of ARCHITECTURE.md, checked in the sources: layers, no cycles between files, and the
//! one place of each library.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;

/// The modules of the crate, lowest layer first. A module uses only lower layers; the lowest
/// modules may use each other.
const LAYERS: &[&[&str]] = &[
    &["error", "fs", "process", "protocol", "render", "text"],
    &["config"],
    &["store"],
    &["watcher"],
    &["hub"],
    &["integrations"],
    &["server", "mcp"],
    &["cli"],
    &["main"],
];

/// A module path below the crate, such as `["hub", "session"]`.
type Module = Vec<String>;

/// The code of one file, without what is compiled for tests only.
#[derive(Default)]
struct Source {
    /// Path below `src`.
    path: String,
    /// What `use` items and paths name, as written.
    uses: Vec<Module>,
    /// What `pub use` items name.
    reexports: Vec<Module>,
    /// Modules compiled for tests only.
    test_modules: Vec<String>,
}

impl Source {
    fn parse(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut source = Self {
            path: path.strip_prefix(src()).unwrap().to_str().unwrap().to_owned(),
            ..Self::default()
        };
        source.visit_file(&file);
        source
    }

    fn module(&self) -> Module {
        let mut module: Module = self
            .path
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        module.pop_if(|name| name == "mod");
        module
    }

    /// The crate's top-level module this file belongs to.
    fn layer(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap()
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => return syn::visit::visit_item(self, item),
        };
        if attributes.iter().any(is_cfg_test) {
            if let syn::Item::Mod(item) = item {
                self.test_modules.push(item.ident.to_string());
            }
            return;
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let names = match item.vis {
            syn::Visibility::Inherited => &mut self.uses,
            _ => &mut self.reexports,
        };
        flatten(&item.tree, &mut Vec::new(), names);
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {
        // The path of `pub(super)` is no use of that module.
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Module = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if ["crate", "super"].contains(&names[0].as_str()) {
            self.uses.push(names);
        }
        syn::visit::visit_path(self, path);
    }
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|argument| argument.is_ident("test"))
}

/// Adds each path of a `use` tree to `names`.
fn flatten(tree: &syn::UseTree, prefix: &mut Module, names: &mut Vec<Module>) {
    match tree {
        syn::UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, names);
            prefix.pop();
        }
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, names)),
        syn::UseTree::Glob(_) => names.push(prefix.clone()),
        syn::UseTree::Name(syn::UseName { ident, .. }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
            let mut name = prefix.clone();
            name.extend(Some(ident.to_string()).filter(|ident| ident != "self"));
            names.push(name);
        }
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All files below `folder`, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The crate's files by module, without the modules of tests.
struct Sources(BTreeMap<Module, Source>);

impl Sources {
    fn parse() -> Self {
        let all: Vec<Source> = files(&src()).iter().map(|path| Source::parse(path)).collect();
        let tests: Vec<Module> = all
            .iter()
            .flat_map(|source| {
                let module = source.module();
                source
                    .test_modules
                    .iter()
                    .map(move |name| [&module[..], std::slice::from_ref(name)].concat())
            })
            .collect();
        let is_test = |module: &Module| tests.iter().any(|test| module.starts_with(test));
        let by_module = all.into_iter().map(|source| (source.module(), source));
        Self(by_module.filter(|(module, _)| !is_test(module)).collect())
    }

    /// The path `name`, as written in `module`, from the crate's root; `None` for another crate.
    fn absolute(&self, module: &Module, name: &Module) -> Option<Module> {
        match name[0].as_str() {
            "crate" | "agenthub" => Some(name[1..].to_vec()),
            "self" => Some([module, &name[1..]].concat()),
            "super" => {
                let ups = name.iter().take_while(|segment| *segment == "super").count();
                Some([&module[..module.len().checked_sub(ups)?], &name[ups..]].concat())
            }
            child => {
                let child = [module, &[child.to_owned()][..]].concat();
                let exists = self.0.keys().any(|other| other.starts_with(&child));
                exists.then(|| [module, &name[..]].concat())
            }
        }
    }

    /// The module of the file that defines what `path` names. Follows re-exports.
    fn definition(&self, path: &Module) -> Option<Module> {
        let module = (1..=path.len())
            .rev()
            .map(|len| path[..len].to_vec())
            .find(|module| self.0.contains_key(module))?;
        let Some(item) = path.get(module.len()) else {
            return Some(module);
        };
        let reexport = self.0[&module].reexports.iter().find(|name| name.last() == Some(item));
        match reexport.and_then(|name| self.absolute(&module, name)) {
            Some(target) => self.definition(&target),
            None => Some(module),
        }
    }

    /// The modules whose items each module uses.
    fn dependencies(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of = |module: &Module, source: &Source| {
            let names = source.uses.iter();
            names
                .filter_map(|name| self.definition(&self.absolute(module, name)?))
                .filter(|used| used != module)
                .collect()
        };
        self.0
            .iter()
            .map(|(module, source)| (module, of(module, source)))
            .collect()
    }
}

fn level(layer: &str) -> usize {
    LAYERS
        .iter()
        .position(|names| names.contains(&layer))
        .unwrap_or_else(|| panic!("the module {layer} has no layer"))
}

#[test]
fn modules_use_only_lower_layers() {
    let sources = Sources::parse();
    let dependencies = sources.dependencies();
    assert!(dependencies.len() > 100, "found only {} files", dependencies.len());
    for (module, used) in dependencies {
        let (source, layer) = (&sources.0[module], sources.0[module].layer());
        for other in used.iter().map(|used| used[0].as_str()).filter(|other| *other != layer) {
            let (user, used) = (level(layer), level(other));
            assert!(
                used < user || (user == 0 && used == 0),
                "src/{} uses crate::{other}, which is not below {layer}",
                source.path
            );
        }
    }
}

/// Files that use each other can be understood only together. Calls of methods do not count, only
/// names in `use` items and paths.
#[test]
fn files_do_not_use_each_other_in_cycles() {
    let sources = Sources::parse();
    let mut dependencies = sources.dependencies();
    assert!(dependencies.values().map(BTreeSet::len).sum::<usize>() > 300);
    // Removes files that use no remaining file, or that no remaining file uses. Cycles are left.
    loop {
        let before = dependencies.len();
        let remaining: BTreeSet<Module> = dependencies.keys().map(|module| (*module).clone()).collect();
        dependencies.retain(|_, used| !used.is_disjoint(&remaining));
        let used: BTreeSet<Module> = dependencies.values().flatten().cloned().collect();
        dependencies.retain(|module, _| used.contains(*module));
        if dependencies.len() == before {
            break;
        }
    }
    let left: Vec<String> = dependencies
        .iter()
        .map(|(module, used)| {
            let used: Vec<_> = used
                .iter()
                .filter(|used| dependencies.contains_key(used))
                .map(|used| used.join("::"))
                .collect();
            format!("src/{} uses {}", sources.0[*module].path, used.join(", "))
        })
        .collect();
    assert!(
        left.is_empty(),
        "these files use each other in cycles:\n{}",
        left.join("\n")
    );
}

#[test]
fn each_library_has_one_place() {
    for path in files(&src()) {
        let name = path.strip_prefix(src()).unwrap().to_str().unwrap().to_owned();
        let layer = name.split(['/', '.']).next().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap()).collect();
        let code = lines.join("\n");
        // Tests may use any library.
        let code = code.split("#[cfg(test)]").next().unwrap();
        let allowed = |word: &str, places: &[&str]| {
            let is_used = code
                .match_indices(word)
                .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            let is_here = places.iter().any(|place| layer == *place || name == *place);
            assert!(
                !is_used || is_here,
                "src/{name} uses {word}, which belongs to {places:?}"
            );
        };
        allowed("anstyle_parse::", &["render"]);
        allowed("hl_lite::", &["render"]);
        allowed("pulldown_cmark::", &["render"]);
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
        // `run` passes on the output of the program it records unchanged.
        // `identity` asks whether stdout is a terminal.
        let of_stdout = ["cli/terminal.rs", "cli/commands/run.rs", "integrations/identity.rs"];
        allowed("io::stdout()", &of_stdout);
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

#[test]
fn every_file_begins_with_a_module_comment() {
    for path in files(&src()) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} has no module comment", path.display());
    }
}
