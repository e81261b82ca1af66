//! Files that only one user may read or write, such as secrets.
//!
//! A file that another user could have written or read is refused, not repaired: its content must not be
//! trusted. A file is used only if it is a regular file, belongs to the expected owner, and gives no
//! permission to group and others. Links are not followed and a FIFO is not opened. A file that root
//! creates is given to the expected owner.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Result as IoResult, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use super::atomic_file;
use crate::error::{Code, Error, Result};

/// Mode of a private file: readable and writable by its owner.
pub const MODE: u32 = 0o600;
/// Maximum bytes of a file that [`read`] returns.
const MAX_BYTES: u64 = 4 << 20;

/// The user and group that own a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// Returns the owner of the file at `path`, or this process's user if there is no file.
    pub fn of(path: &Path) -> Self {
        std::fs::metadata(path).map_or_else(|_| Self::this_process(), |file| Self::of_metadata(&file))
    }

    fn of_metadata(file: &Metadata) -> Self {
        Self {
            uid: file.uid(),
            gid: file.gid(),
        }
    }

    fn this_process() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    /// Returns whether a file belongs to this user.
    pub fn owns(self, file: &Metadata) -> bool {
        file.uid() == self.uid
    }

    /// Returns the user id.
    pub fn uid(self) -> u32 {
        self.uid
    }

    /// Returns whether root runs this process, and this owner is another user. Files that root creates for
    /// that user must be given away.
    pub fn is_served_by_root(self) -> bool {
        rustix::process::geteuid().is_root() && self.uid != 0
    }

    /// Creates the directory at `path` and missing ones above it with mode 0700. They get the owner of the
    /// directory that exists already.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn create_directory(path: &Path) -> IoResult<()> {
        let missing: Vec<&Path> = path.ancestors().take_while(|parent| !parent.exists()).collect();
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let existing = missing.last().and_then(|first| first.parent());
        let owner = existing.map_or_else(Self::this_process, Self::of);
        if owner.is_served_by_root() {
            for directory in missing.iter().filter(|directory| !directory.as_os_str().is_empty()) {
                std::os::unix::fs::lchown(directory, Some(owner.uid), Some(owner.gid))?;
            }
        }
        Ok(())
    }

    /// Gives `file` to this owner. Has no effect unless root runs this process for another user: only
    /// root can give a file away.
    pub fn take(self, file: &File) -> IoResult<()> {
        if rustix::process::geteuid().is_root() && Self::of_metadata(&file.metadata()?) != self {
            std::os::unix::fs::fchown(file, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }
}

/// Reads the file at `path`. Returns `None` if there is none. `advice` says what to do if the file is
/// refused.
///
/// # Errors
/// [`Code::StoreUnavailable`] if the file is not private to `owner`, or cannot be read;
/// [`Code::StoreReadOnly`] on a read-only file system.
pub fn read(path: &Path, owner: Owner, advice: &str) -> Result<Option<String>> {
    let Some(file) = open(path, owner, advice)? else {
        return Ok(None);
    };
    let mut text = String::new();
    match file.take(MAX_BYTES).read_to_string(&mut text) {
        Ok(_) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::InvalidData => Err(Error::new(
            Code::StoreUnavailable,
            format!("cannot read {}: it is not text; {advice}", path.display()),
        )),
        Err(e) => Err(cannot("read", path, &e, owner)),
    }
}

/// Opens the file at `path` for reading and writing. Returns `None` if there is none. `advice` says what
/// to do if the file is refused.
///
/// # Errors
/// As [`read`].
pub fn open(path: &Path, owner: Owner, advice: &str) -> Result<Option<File>> {
    // An open FIFO or device could have an effect, so its type is checked before it is opened.
    match std::fs::symlink_metadata(path) {
        Ok(found) => check(path, &found, owner, advice)?,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(cannot("open", path, &e, owner)),
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(cannot("open", path, &e, owner)),
    };
    // The path may lead to another file since the first check.
    let found = file.metadata().map_err(|e| cannot("open", path, &e, owner))?;
    check(path, &found, owner, advice)?;
    Ok(Some(file))
}

/// Creates the file at `path` for `owner`, with mode 0600. It appears with its whole content.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] if there is a file or link at `path`; otherwise the error of the
/// operating system. `path` is then unchanged.
pub fn create(path: &Path, content: &[u8], owner: Owner) -> IoResult<()> {
    write_temporary(path, content, owner)?.persist_noclobber(path)?;
    Ok(())
}

/// Creates or replaces the file at `path` for `owner`, with mode 0600. A link at `path` is replaced, not
/// followed.
///
/// # Errors
/// [`Code::StoreUnavailable`], [`Code::StoreFull`] or [`Code::StoreReadOnly`] if the file cannot be
/// written; `path` is then unchanged.
pub fn replace(path: &Path, content: &[u8], owner: Owner) -> Result<()> {
    write_temporary(path, content, owner)
        .and_then(|file| Ok(file.persist(path)?))
        .map_err(|e| cannot("write", path, &e, owner))?;
    Ok(())
}

/// Creates an empty file for `owner` that another library opens by its path. A file that exists is
/// checked instead.
///
/// # Errors
/// As [`read`].
pub fn ensure(path: &Path, owner: Owner, advice: &str) -> Result<()> {
    match create(path, b"", owner) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let found = std::fs::symlink_metadata(path).map_err(|e| cannot("open", path, &e, owner))?;
            check(path, &found, owner, advice)
        }
        Err(e) => Err(cannot("write", path, &e, owner)),
    }
}

/// Checks that the directory at `path` belongs to `owner` and that other users have no access to it.
///
/// # Errors
/// [`Code::StoreUnavailable`] if not, or if it is a link.
pub fn check_directory(path: &Path, owner: Owner, advice: &str) -> Result<()> {
    let found = std::fs::symlink_metadata(path).map_err(|e| cannot("open", path, &e, owner))?;
    if !found.is_dir() {
        return Err(Error::new(
            Code::StoreUnavailable,
            format!("cannot use {}: it is not a directory; {advice}", path.display()),
        ));
    }
    check_access(path, &found, owner, advice)
}

/// Overwrites `file` in place, also on a full disk if it was at least as long before. A reader may see
/// partial content meanwhile.
///
/// # Errors
/// The error of the operating system. The content is then undefined.
pub fn overwrite(file: &mut File, content: &[u8]) -> IoResult<()> {
    file.rewind()?;
    file.write_all(content)?;
    file.set_len(u64::try_from(content.len()).unwrap_or(u64::MAX))?;
    file.sync_all()
}

/// Returns an error that says what to do: free disk space, or who must own the file at `path` and how to
/// give it to that user.
pub fn cannot(verb: &str, path: &Path, e: &std::io::Error, owner: Owner) -> Error {
    let (code, advice) = match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            (Code::StoreFull, "free some disk space and try again".to_owned())
        }
        ErrorKind::ReadOnlyFilesystem => (
            Code::StoreReadOnly,
            "make the file system writable, or choose another path with --db".to_owned(),
        ),
        ErrorKind::IsADirectory => (
            Code::StoreUnavailable,
            "rename or delete that directory and try again".to_owned(),
        ),
        _ => (Code::StoreUnavailable, ownership_advice(path, owner)),
    };
    Error::new(code, format!("cannot {verb} {}: {e}; {advice}", path.display()))
}

fn ownership_advice(path: &Path, owner: Owner) -> String {
    match std::fs::symlink_metadata(path).map(|file| Owner::of_metadata(&file)) {
        Ok(found) if found.uid != owner.uid => foreign(path, found, owner),
        _ => format!("it must belong to {}, with mode 0600", user(owner.uid)),
    }
}

fn check(path: &Path, found: &Metadata, owner: Owner, advice: &str) -> Result<()> {
    let refuse = |reason: String| {
        Err(Error::new(
            Code::StoreUnavailable,
            format!("cannot use {}: {reason}", path.display()),
        ))
    };
    if !found.is_file() {
        return refuse(format!("it is not a regular file; {advice}"));
    }
    check_access(path, found, owner, advice)
}

fn check_access(path: &Path, found: &Metadata, owner: Owner, advice: &str) -> Result<()> {
    let refuse = |reason: String| {
        Err(Error::new(
            Code::StoreUnavailable,
            format!("cannot use {}: {reason}", path.display()),
        ))
    };
    let found_owner = Owner::of_metadata(found);
    if found_owner.uid != owner.uid {
        return refuse(format!("{}, or {advice}", foreign(path, found_owner, owner)));
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return refuse(format!(
            "its mode is {mode:04o}, so other users may know or have changed its content; {advice}"
        ));
    }
    Ok(())
}

fn foreign(path: &Path, found: Owner, owner: Owner) -> String {
    format!(
        "it belongs to {}, but the database to {}; if you trust its content, run sudo chown {} {}",
        user(found.uid),
        user(owner.uid),
        owner.uid,
        path.display()
    )
}

/// Returns the user's name and number, or the number alone if `/etc/passwd` does not have it.
fn user(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.map_or_else(|| format!("user {uid}"), |name| format!("{name} (user {uid})"))
}

fn write_temporary(path: &Path, content: &[u8], owner: Owner) -> IoResult<NamedTempFile> {
    let file = atomic_file::write_temporary(path, content, MODE)?;
    owner.take(file.as_file())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const ADVICE: &str = "delete it";

    fn refusal(path: &Path) -> String {
        read(path, Owner::of(path.parent().unwrap()), ADVICE)
            .unwrap_err()
            .message()
            .to_owned()
    }

    #[test]
    fn reads_only_private_regular_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let owner = Owner::of(directory.path());
        assert_eq!(read(&path, owner, ADVICE).unwrap(), None);
        create(&path, b"one", owner).unwrap();
        assert_eq!(read(&path, owner, ADVICE).unwrap().as_deref(), Some("one"));
        assert_eq!(
            create(&path, b"two", owner).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(refusal(&path).contains(&format!("mode is {mode:04o}")), "{mode:o}");
        }
        replace(&path, b"two", owner).unwrap();
        assert_eq!(read(&path, owner, ADVICE).unwrap().as_deref(), Some("two"));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(refusal(&link).contains("not a regular file"));
        assert!(ensure(&link, owner, ADVICE).is_err());
        // A link is replaced; its target is not written.
        replace(&link, b"three", owner).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }

    #[test]
    fn errors_say_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let owner = Owner::of(directory.path());
        create(&path, b"\xff", owner).unwrap();
        assert!(refusal(&path).ends_with("it is not text; delete it"));
        let full = std::io::Error::from(ErrorKind::StorageFull);
        let message = cannot("write", &path, &full, owner).message().to_owned();
        assert!(message.ends_with("free some disk space and try again"), "{message}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let message = replace(&path, b"x", owner).unwrap_err().message().to_owned();
        assert!(message.contains("delete that directory"), "{message}");
    }

    #[test]
    fn opens_no_fifo() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        let made = std::process::Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        // Opening a FIFO without a writer would block.
        assert!(refusal(&path).contains("not a regular file"));
    }

    #[test]
    fn errors_of_the_disk_do_not_speak_of_modes() {
        let path = Path::new("/x/hub.db.serve");
        let owner = Owner::of(Path::new("/"));
        for (kind, code) in [
            (ErrorKind::StorageFull, Code::StoreFull),
            (ErrorKind::QuotaExceeded, Code::StoreFull),
            (ErrorKind::FileTooLarge, Code::StoreFull),
            (ErrorKind::ReadOnlyFilesystem, Code::StoreReadOnly),
        ] {
            let error = cannot("write", path, &kind.into(), owner);
            assert_eq!(error.code(), code);
            assert!(!error.message().contains("mode"), "{error}");
        }
        let error = cannot("write", path, &ErrorKind::PermissionDenied.into(), owner);
        assert_eq!(error.code(), Code::StoreUnavailable);
        assert!(error.message().contains("with mode 0600"), "{error}");
    }
}
