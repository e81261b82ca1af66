//! The list of all agent tools.

use super::spec::{HookSpec, Integration, RecognizedTool, StreamSpec};
use super::{claude, codex, copilot, cursor, gemini, kimi, opencode, qwen};
use crate::process::Process;

/// All tools, in the order in which they are shown and in which their session variables are
/// tried.
pub static ALL: &[&Integration] = &[
    &claude::INTEGRATION,
    &codex::INTEGRATION,
    &gemini::INTEGRATION,
    &cursor::INTEGRATION,
    &opencode::INTEGRATION,
    &qwen::INTEGRATION,
    &copilot::INTEGRATION,
    &kimi::INTEGRATION,
];

/// The tools that agenthub recognizes by their shells' variables and their tags.
pub static RECOGNIZED: &[RecognizedTool] = &[RecognizedTool {
    id: "droid",
    name: "Factory Droid",
    marker_variables: &[],
    context_tags: &[],
}];

/// An environment variable that marks the shells of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkerVariable {
    /// The variable.
    pub variable: &'static str,
    /// The tool's [`Integration::id`].
    pub id: &'static str,
    /// The tool's [`Integration::name`].
    pub name: &'static str,
    /// Whether the value is a session's id.
    pub is_session: bool,
}

/// Returns the variables that mark the shells of all tools: first those with a session's id.
pub fn marker_variables() -> impl Iterator<Item = MarkerVariable> {
    let of = |variable, id, name, is_session| MarkerVariable {
        variable,
        id,
        name,
        is_session,
    };
    let sessions = session_variables().map(move |(variable, tool)| of(variable, tool.id, tool.name, true));
    let known = ALL.iter().map(|tool| (tool.id, tool.name, tool.marker_variables));
    let recognized = RECOGNIZED
        .iter()
        .map(|tool| (tool.id, tool.name, tool.marker_variables));
    let others = known
        .chain(recognized)
        .flat_map(move |(id, name, variables)| variables.iter().map(move |variable| of(variable, id, name, false)));
    sessions.chain(others)
}

/// The program of a tool, which runs commands for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentProgram {
    /// The program's name.
    pub program: &'static str,
    /// The tool's [`Integration::id`].
    pub id: &'static str,
    /// The tool's [`Integration::name`].
    pub name: &'static str,
}

/// Returns the programs of all tools. An editor is not one of them: the person uses its terminals.
pub fn agent_programs() -> impl Iterator<Item = AgentProgram> {
    let known = with_stream().map(|(tool, stream)| (stream.binary, tool.id, tool.name));
    let titled = ALL
        .iter()
        .filter_map(|tool| Some((tool.processes.title?, tool.id, tool.name)));
    let recognized = RECOGNIZED.iter().map(|tool| (tool.id, tool.id, tool.name));
    known
        .chain(titled)
        .chain(recognized)
        .map(|(program, id, name)| AgentProgram { program, id, name })
}

/// Returns whether `process` is a program of `tool`.
pub fn is_program_of(tool: &Integration, process: &Process) -> bool {
    let stream = tool.stream.as_ref().map(|stream| stream.binary);
    tool.binaries
        .iter()
        .copied()
        .chain(stream)
        .chain(tool.processes.title)
        .any(|name| name == process.program)
}

/// Returns whether the process runs many sessions of a tool at once.
pub fn is_shared(process: &Process) -> bool {
    ALL.iter().any(|tool| (tool.processes.is_shared)(process))
}

/// Returns the tags in which tools give a model their own text or the user's.
pub fn context_tags() -> impl Iterator<Item = &'static str> {
    let known = ALL.iter().map(|tool| tool.context_tags);
    known
        .chain(RECOGNIZED.iter().map(|tool| tool.context_tags))
        .flatten()
        .copied()
}

/// Returns the tool with this [`Integration::id`].
pub fn by_id(id: &str) -> Option<&'static Integration> {
    ALL.iter().copied().find(|tool| tool.id == id)
}

/// Returns the tool whose hooks call `agenthub hook WORD`.
pub fn by_hook_word(word: &str) -> Option<(&'static Integration, &'static HookSpec)> {
    with_hooks().find(|(_, hooks)| hooks.word == word)
}

/// Returns the tools with hooks.
pub fn with_hooks() -> impl Iterator<Item = (&'static Integration, &'static HookSpec)> {
    ALL.iter().filter_map(|tool| Some((*tool, tool.hooks.as_ref()?)))
}

/// Returns the tools with a JSON stream.
pub fn with_stream() -> impl Iterator<Item = (&'static Integration, &'static StreamSpec)> {
    ALL.iter().filter_map(|tool| Some((*tool, tool.stream.as_ref()?)))
}

/// Returns the environment variables in which tools pass the session's id to processes they start, each
/// with its tool.
pub fn session_variables() -> impl Iterator<Item = (&'static str, &'static Integration)> {
    ALL.iter()
        .flat_map(|tool| tool.session_variables.iter().map(|name| (*name, *tool)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn src() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
    }

    fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rust_files(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// Returns the string literals of a source file, without comments and unit tests.
    fn literals(source: &str) -> Vec<String> {
        let mut found = Vec::new();
        for line in source.split("#[cfg(test)]").next().unwrap().lines() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            // A literal on several lines counts as one per line, which is sufficient here.
            let parts: Vec<&str> = line.split('"').collect();
            found.extend(parts.iter().skip(1).step_by(2).map(|part| (*part).to_owned()));
        }
        found
    }

    /// Returns the names that only the tool's own directory may contain.
    fn names(tool: &Integration) -> Vec<&'static str> {
        let mut names = vec![tool.id, tool.name, tool.home_folder];
        names.extend(tool.binaries);
        names.extend(tool.session_variables);
        names.extend(tool.marker_variables);
        names.extend(tool.processes.title);
        names.extend(tool.stream.as_ref().map(|stream| stream.format));
        names.extend(tool.hooks.as_ref().map(|hooks| hooks.word));
        names.extend(tool.hooks.as_ref().and_then(|hooks| hooks.pid_variable));
        if let Some(foreign) = &tool.foreign_hooks {
            names.extend([foreign.input_field, foreign.variable]);
        }
        names
    }

    /// Adding a tool must not need a change outside its directory and this file.
    #[test]
    fn only_a_tools_own_directory_contains_its_names() {
        let mut files = Vec::new();
        rust_files(&src(), &mut files);
        assert!(files.len() > 100, "{} source files found", files.len());
        let files: Vec<(String, Vec<String>)> = files
            .iter()
            .map(|path| {
                let place = path.strip_prefix(src()).unwrap().to_str().unwrap().to_owned();
                (place, literals(&fs::read_to_string(path).unwrap()))
            })
            .collect();
        let places_of = |name: &str| {
            let with_name = files
                .iter()
                .filter(|(_, literals)| literals.iter().any(|literal| literal == name));
            with_name.map(|(place, _)| place.clone()).collect::<Vec<_>>()
        };
        let mut seen = BTreeSet::new();
        for (place, literals) in &files {
            for tool in ALL {
                let is_own = place.starts_with(&format!("integrations/{}/", tool.id));
                for name in names(tool) {
                    // A plain word may occur in a sentence, such as a help text's example. Other
                    // names (`CODEX_THREAD_ID`, `.codex`, `codex-json`) may not.
                    let is_word = name.chars().all(char::is_alphanumeric);
                    let used = literals
                        .iter()
                        .any(|literal| literal == name || !is_word && literal.contains(name));
                    if used && is_own {
                        seen.insert(name);
                    }
                    let is_test = place.starts_with("integrations/tests/");
                    // The demo's agents run in some of the tools; a new tool need not be among them.
                    let is_story = place == "cli/commands/demo/story.rs";
                    assert!(
                        !used || is_own || is_test || is_story,
                        "src/{place} contains {name:?} of {}",
                        tool.name
                    );
                }
            }
        }
        for tool in RECOGNIZED {
            let names = tool.marker_variables.iter().chain([&tool.id, &tool.name]);
            for name in names {
                assert!(places_of(name).iter().eq(["integrations/registry.rs"]), "{name}");
            }
        }
        // Otherwise the search does not work and the assertion above proves nothing.
        for tool in ALL {
            assert!(seen.contains(tool.id) && seen.contains(tool.name), "{}", tool.name);
        }
    }

    #[test]
    fn every_tool_directory_is_listed() {
        let shared = ["setup", "tests", "wake"];
        let dirs: BTreeSet<String> = fs::read_dir(src().join("integrations"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .filter(|name| !shared.contains(&name.as_str()))
            .collect();
        let listed: BTreeSet<String> = ALL.iter().map(|tool| tool.id.to_owned()).collect();
        assert_eq!(dirs, listed);
    }

    #[test]
    fn names_are_unique() {
        let check = |mut names: Vec<&str>| {
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{names:?}");
        };
        check(marker_variables().map(|marker| marker.variable).collect());
        check(
            RECOGNIZED
                .iter()
                .map(|tool| tool.id)
                .chain(ALL.iter().map(|tool| tool.id))
                .collect(),
        );
        check(with_hooks().map(|(_, hooks)| hooks.word).collect());
        check(with_stream().map(|(_, stream)| stream.format).collect());
        check(with_stream().map(|(_, stream)| stream.binary).collect());
    }
}
