//! Writes a file atomically: a reader sees the old content, the new content, or no file, but never
//! partial content.
//!
//! The content goes into a temporary file in the same directory (`O_EXCL`, mode 0600, random
//! name), is synced to disk, and replaces or creates the target by `rename` or `link`.

use std::fs::Permissions;
use std::io::{Result, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// Creates `path` with `content` and mode `mode`, or replaces it.
///
/// # Errors
/// The error of the operating system; `path` is then unchanged.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    write_temporary(path, content, mode)?.persist(path)?;
    Ok(())
}

/// Creates `path` with `content` and mode `mode`.
///
/// # Errors
/// [`std::io::ErrorKind::AlreadyExists`] if `path` exists; otherwise the error of the operating
/// system. `path` is then unchanged.
pub fn create(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    write_temporary(path, content, mode)?.persist_noclobber(path)?;
    Ok(())
}

/// Writes `content` to a temporary file in the directory of `path`. The file is deleted unless it is persisted.
pub(super) fn write_temporary(path: &Path, content: &[u8], mode: u32) -> Result<NamedTempFile> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    let mut file = Builder::new().prefix(&prefix).suffix(".new").tempfile_in(directory)?;
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;

    use super::*;

    fn names(directory: &Path) -> Vec<std::ffi::OsString> {
        fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect()
    }

    #[test]
    fn replaces_content_and_mode_and_leaves_no_temporary_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(directory.path()), ["settings"]);
    }

    #[test]
    fn create_refuses_an_existing_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        create(&path, b"one", 0o600).unwrap();
        assert_eq!(
            create(&path, b"two", 0o600).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(names(directory.path()), ["token"]);
    }
}
