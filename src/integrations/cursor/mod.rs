//! Cursor and its command line program, `cursor-agent`.

mod config;
mod hooks;
mod stream;

use super::spec::Integration;

pub(super) static INTEGRATION: Integration = Integration {
    id: "cursor",
    name: "Cursor",
    binaries: &["cursor", stream::BINARY],
    home_folder: config::HOME_FOLDER,
    session_variables: &[],
    stream: Some(stream::SPEC),
    hooks: None,
    config_files: config::files,
    session_of_mcp_call: None,
    foreign_hooks: Some(hooks::FOREIGN),
};
