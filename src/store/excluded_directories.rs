//! The directories whose sessions are not recorded: a JSON list of absolute paths in the table `hub`.

use std::path::{Path, PathBuf};

use rusqlite::OptionalExtension;

use super::connection::{Reader, Writer};
use crate::error::Result;
use crate::fs::resolve::resolve;

/// The key of the list.
const KEY: &str = "excluded_directories";

impl Reader {
    /// Returns the directories, in the order of their names. A value that is no list of texts counts as empty.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn excluded_directories(&self) -> Result<Vec<PathBuf>> {
        let list: Option<Option<Vec<u8>>> = self
            .conn
            .prepare_cached("SELECT CAST(value AS BLOB) FROM hub WHERE key = ?1")?
            .query_row([KEY], |row| row.get(0))
            .optional()?;
        let list = list.flatten().unwrap_or_default();
        Ok(serde_json::from_slice(&list).unwrap_or_default())
    }

    /// Returns whether `directory` is one of them, or is below one.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn is_excluded(&self, directory: &Path) -> Result<bool> {
        let excluded = self.excluded_directories()?;
        // Most databases have none: there is no path to resolve then.
        if excluded.is_empty() {
            return Ok(false);
        }
        let Ok(directory) = resolve(directory) else {
            return Ok(false);
        };
        // What did not exist when it was excluded may be a link now.
        Ok(excluded
            .iter()
            .any(|excluded| resolve(excluded).is_ok_and(|excluded| directory.starts_with(excluded))))
    }
}

impl Writer {
    /// Adds a directory. Returns whether it was missing.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn exclude_directory(&self, directory: &Path) -> Result<bool> {
        self.change_excluded(|list| {
            let is_missing = !list.iter().any(|excluded| excluded == directory);
            if is_missing {
                list.push(directory.to_owned());
            }
            is_missing
        })
    }

    /// Removes a directory, under this path and all others that lead to it. Returns whether it was in the list.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn include_directory(&self, directory: &Path) -> Result<bool> {
        let resolved = resolve(directory).unwrap_or_else(|_| directory.to_owned());
        self.change_excluded(|list| {
            let before = list.len();
            list.retain(|excluded| {
                let is_same = resolve(excluded).is_ok_and(|excluded| excluded == resolved);
                !is_same && excluded != directory && *excluded != resolved
            });
            list.len() < before
        })
    }

    /// Changes the list with `change`, which returns whether it has changed it.
    fn change_excluded(&self, change: impl FnOnce(&mut Vec<PathBuf>) -> bool) -> Result<bool> {
        self.atomically(|| {
            let mut list = self.excluded_directories()?;
            if !change(&mut list) {
                return Ok(false);
            }
            list.sort();
            let json = serde_json::to_string(&list)
                .map_err(|e| crate::error::Error::new(crate::error::Code::Invalid, "a path is not UTF-8").because(e))?;
            self.conn
                .prepare_cached(
                    "INSERT INTO hub(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                )?
                .execute([KEY, &json])?;
            Ok(true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::temp_database;
    use super::*;

    #[test]
    fn a_directory_and_those_below_are_excluded() {
        let (_dir, writer) = temp_database();
        assert!(!writer.is_excluded(Path::new("/a/b")).unwrap());
        assert!(writer.exclude_directory(Path::new("/a/b")).unwrap());
        assert!(!writer.exclude_directory(Path::new("/a/b")).unwrap());
        for (path, excluded) in [
            ("/a/b", true),
            ("/a/b/c", true),
            ("/a", false),
            ("/a/bc", false),
            ("/a/b/../c", false),
            ("/a/c/../b", true),
            ("", false),
        ] {
            assert_eq!(writer.is_excluded(Path::new(path)).unwrap(), excluded, "{path}");
        }
        assert!(!writer.include_directory(Path::new("/a")).unwrap());
        assert!(writer.include_directory(Path::new("/a/b")).unwrap());
        assert!(writer.excluded_directories().unwrap().is_empty());
        writer
            .conn
            .execute("UPDATE hub SET value = 'no list' WHERE key = ?1", [KEY])
            .unwrap();
        assert!(!writer.is_excluded(Path::new("/a/b")).unwrap());
        writer
            .conn
            .execute("UPDATE hub SET value = x'ff' WHERE key = ?1", [KEY])
            .unwrap();
        assert!(!writer.is_excluded(Path::new("/a/b")).unwrap());
    }
    #[test]
    fn paths_are_compared_resolved() {
        let (folder, writer) = temp_database();
        let folder = folder.path().canonicalize().unwrap();
        std::fs::create_dir(folder.join("real")).unwrap();
        std::os::unix::fs::symlink("real", folder.join("link")).unwrap();
        let later = folder.join("link/later");
        // An earlier version has stored such a path.
        writer.exclude_directory(&later).unwrap();
        let is_excluded = |path: &str| writer.is_excluded(&folder.join(path)).unwrap();
        assert!(is_excluded("real/later") && is_excluded("link/later/x") && !is_excluded("link/later/../x"));
        std::fs::create_dir(&later).unwrap();
        assert!(is_excluded("real/later") && is_excluded("link/later/x") && !is_excluded("link/later/../x"));
        assert!(writer.include_directory(&folder.join("real/later")).unwrap());
        writer.exclude_directory(&folder.join("real/later")).unwrap();
        assert!(writer.include_directory(&later).unwrap());
        assert!(!is_excluded("real/later"));
    }
}
