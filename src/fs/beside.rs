//! Names of the files beside another file.

use std::path::{Path, PathBuf};

/// Returns `path` with `suffix` appended to its name: `hub.db` and `.token` give `hub.db.token`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
