//! Finds the Git repository of a directory, and its branch, without running Git.
//!
//! The directory comes from a row, so any program may have named it. Only `.git` and `HEAD` are read, at most
//! 8 KiB each, and only if they are regular files of the owner of the database, as Git itself requires.
//! What they contain is returned only if it is a name that Git accepts for a branch, or a commit.

use std::fs::{Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::Serialize;

use super::private_file::Owner;

/// Maximum size of a file that is read. `HEAD` has a name, and `.git` a path.
const MAX_BYTES: u64 = 8 << 10;
/// Maximum length of a branch's name in bytes: that of a file's name, which Git makes of it.
const MAX_BRANCH: usize = 255;
/// Maximum number of directories in which `.git` is looked for.
const MAX_PARENTS: usize = 64;
/// Characters of a commit that are shown.
const SHOWN_COMMIT: usize = 12;

/// The Git repository that a directory belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Repository {
    /// The name of its directory. For a worktree, that of the main one.
    pub name: String,
    /// The directory that contains `.git`.
    pub root: String,
    /// The name of the worktree, unless it is the main one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// The branch, without `refs/heads/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The beginning of the commit, if no branch is checked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

impl Repository {
    /// Returns the repository of `directory`, an absolute path. `None` if there is none, if it cannot be read, or if
    /// its files belong to another user than `owner`.
    ///
    /// The call takes as long as the file system does: on a network file system, possibly without end.
    pub fn find(directory: &Path, owner: Owner) -> Option<Self> {
        // A relative path would be one of this process's directory.
        if !directory.is_absolute() {
            return None;
        }
        let directory = directory.canonicalize().ok().filter(|path| path.is_dir())?;
        let with_git = |root: &Path| Some((root.to_owned(), root.join(".git").symlink_metadata().ok()?));
        let (root, found) = directory.ancestors().take(MAX_PARENTS).find_map(with_git)?;
        let git_directory = git_directory(&root, &found, owner)?;
        let head = read(&git_directory.join("HEAD"), owner)?;
        let (name, worktree) = names(&root, &git_directory);
        Some(Self {
            name: name?,
            root: root.to_str()?.to_owned(),
            worktree,
            branch: branch(&head),
            commit: commit(&head),
        })
    }
}

/// Returns the directory that has `HEAD`: `.git` itself, or the one that the file `.git` of a worktree or a submodule
/// names.
fn git_directory(root: &Path, found: &Metadata, owner: Owner) -> Option<PathBuf> {
    let path = root.join(".git");
    if found.is_dir() {
        return owner.owns(found).then_some(path);
    }
    let text = read(&path, owner)?;
    let named = Path::new(text.strip_prefix("gitdir:")?.trim());
    // Resolved, so that its parent is the directory above it.
    let directory = root.join(named).canonicalize().ok()?;
    let found = directory.symlink_metadata().ok()?;
    (found.is_dir() && owner.owns(&found)).then_some(directory)
}

/// Returns the name of the repository and of the worktree. Git keeps what belongs to the worktree NAME in
/// `.git/worktrees/NAME` of the main one, or of a bare repository.
fn names(root: &Path, git_directory: &Path) -> (Option<String>, Option<String>) {
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let above = git_directory.parent();
    let worktrees = above.filter(|path| path.file_name().is_some_and(|name| name == "worktrees"));
    let Some(common) = worktrees.and_then(Path::parent) else {
        return (name(root), None);
    };
    let repository = match common.file_name().is_some_and(|name| name == ".git") {
        true => common.parent().and_then(name),
        false => name(common).map(|name| name.strip_suffix(".git").map(str::to_owned).unwrap_or(name)),
    };
    (repository, name(git_directory))
}

/// Reads a small regular file of `owner`. Follows no link at the end of the path, and does not wait for a FIFO.
fn read(path: &Path, owner: Owner) -> Option<String> {
    let is_accepted = |found: &Metadata| found.is_file() && owner.owns(found) && found.len() <= MAX_BYTES;
    // Opening a device could have an effect, so its type is checked before it is opened.
    if !is_accepted(&path.symlink_metadata().ok()?) {
        return None;
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)
        .ok()?;
    // The path may lead to another file since the first check.
    if !is_accepted(&file.metadata().ok()?) {
        return None;
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Returns the branch that `HEAD` names, if Git accepts the name.
fn branch(head: &str) -> Option<String> {
    let name = head.strip_prefix("ref:")?.trim().strip_prefix("refs/heads/")?;
    is_branch_name(name).then(|| name.to_owned())
}

/// Returns whether Git accepts the name for a branch (`git check-ref-format --branch`).
fn is_branch_name(name: &str) -> bool {
    let is_forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let is_component = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    name.len() <= MAX_BRANCH
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(is_forbidden)
        && name.split('/').all(is_component)
}

/// Returns the beginning of the commit that `HEAD` names: a SHA-1 or SHA-256 in hex.
fn commit(head: &str) -> Option<String> {
    let id = head.trim();
    let is_commit = matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_commit.then(|| id[..SHOWN_COMMIT].to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn find(directory: &Path) -> Option<Repository> {
        Repository::find(directory, Owner::of(&std::env::temp_dir().join("no such file")))
    }

    /// Returns what is found with this text in `HEAD`.
    fn with_head(head: &str) -> Option<Repository> {
        let (_guard, folder) = folder();
        write(&folder.join("shop/.git/HEAD"), head);
        find(&folder.join("shop"))
    }

    fn branch_of(head: &str) -> Option<String> {
        with_head(head).unwrap().branch
    }

    #[test]
    fn finds_the_branch_of_a_repository_from_any_directory_in_it() {
        let (_guard, folder) = folder();
        let root = folder.join("shop");
        write(&root.join(".git/HEAD"), "ref: refs/heads/feature/cart\n");
        fs::create_dir_all(root.join("src/deep")).unwrap();
        symlink(root.join("src"), folder.join("link")).unwrap();
        let expected = Repository {
            name: "shop".to_owned(),
            root: root.to_str().unwrap().to_owned(),
            branch: Some("feature/cart".to_owned()),
            ..Repository::default()
        };
        for directory in [
            root.clone(),
            root.join("src/deep"),
            folder.join("link/deep"),
            root.join("src/.."),
        ] {
            assert_eq!(find(&directory), Some(expected.clone()), "{}", directory.display());
        }
    }

    #[test]
    fn finds_worktrees_and_submodules() {
        let (_guard, folder) = folder();
        write(&folder.join("shop/.git/HEAD"), "ref: refs/heads/main\n");
        write(&folder.join("shop/.git/worktrees/fix/HEAD"), "ref: refs/heads/fix-7\n");
        let named = format!("gitdir: {}\n", folder.join("shop/.git/worktrees/fix").display());
        write(&folder.join("elsewhere/.git"), &named);
        let worktree = find(&folder.join("elsewhere")).unwrap();
        assert_eq!(
            (worktree.name.as_str(), worktree.worktree.as_deref()),
            ("shop", Some("fix"))
        );
        assert_eq!(worktree.branch.as_deref(), Some("fix-7"));

        write(&folder.join("bare.git/worktrees/one/HEAD"), "ref: refs/heads/one\n");
        write(&folder.join("one/.git"), "gitdir: ../bare.git/worktrees/one\n");
        let worktree = find(&folder.join("one")).unwrap();
        assert_eq!(
            (worktree.name.as_str(), worktree.worktree.as_deref()),
            ("bare", Some("one"))
        );

        write(&folder.join("shop/.git/modules/theme/HEAD"), "ref: refs/heads/dark\n");
        write(&folder.join("shop/theme/.git"), "gitdir: ../.git/modules/theme\n");
        let submodule = find(&folder.join("shop/theme")).unwrap();
        assert_eq!((submodule.name.as_str(), submodule.worktree), ("theme", None));
        assert_eq!(submodule.branch.as_deref(), Some("dark"));
    }

    #[test]
    fn shows_a_commit_without_a_branch() {
        let detached = with_head(&format!("{COMMIT}\n")).unwrap();
        assert_eq!(
            (detached.branch, detached.commit.as_deref()),
            (None, Some("0123456789ab"))
        );
    }

    #[test]
    fn returns_no_content_that_is_not_a_branch_or_a_commit() {
        assert_eq!(branch_of("ref: refs/heads/größe/7").as_deref(), Some("größe/7"));
        let long = format!("ref: refs/heads/{}", "x".repeat(MAX_BRANCH + 1));
        for head in [
            "",
            "password = secret",
            "ref: refs/heads/",
            "ref: refs/tags/v1",
            "ref: ../../etc/passwd",
            "ref: refs/heads/.invalid",
            "ref: refs/heads/a..b",
            "ref: refs/heads/a b",
            "ref: refs/heads/a\nb",
            "ref: refs/heads/a\u{1b}[31m",
            "ref: refs/heads/a//b",
            "ref: refs/heads/a.lock",
            "ref: refs/heads/a@{1}",
            "ref: refs/heads/-x",
            &COMMIT[1..],
            &long,
        ] {
            let found = with_head(head).unwrap();
            assert_eq!((found.branch, found.commit), (None, None), "{head:?}");
        }
        assert_eq!(with_head(&"x".repeat(usize::try_from(MAX_BYTES).unwrap() + 1)), None);
    }

    #[test]
    fn finds_nothing_where_there_is_no_repository() {
        let (_guard, folder) = folder();
        fs::create_dir_all(folder.join("plain/.git")).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        symlink("loop", folder.join("loop")).unwrap();
        write(&folder.join("text/.git"), "gitdir: nowhere\n");
        write(&folder.join("other/.git"), "not a path");
        fs::create_dir_all(folder.join("link")).unwrap();
        symlink(folder.join("plain"), folder.join("link/.git")).unwrap();
        write(&folder.join("head/real"), "ref: refs/heads/main");
        fs::create_dir_all(folder.join("head/.git")).unwrap();
        symlink(folder.join("head/real"), folder.join("head/.git/HEAD")).unwrap();
        for name in [
            "plain", "file", "loop", "loop/x", "missing", "text", "other", "link", "head",
        ] {
            assert_eq!(find(&folder.join(name)), None, "{name}");
        }
        for path in ["", ".", "src", "../..", "a\0b"] {
            assert_eq!(find(Path::new(path)), None, "{path}");
        }
        assert_eq!(find(&folder.join("x/".repeat(100_000))), None);
    }

    #[test]
    fn does_not_wait_for_a_fifo() {
        let (_guard, folder) = folder();
        for path in ["one/.git", "two/.git/HEAD"] {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            assert!(
                std::process::Command::new("mkfifo")
                    .arg(&path)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        assert_eq!(find(&folder.join("one")), None);
        assert_eq!(find(&folder.join("two")), None);
    }

    #[test]
    fn reads_no_repository_of_another_user() {
        let (_guard, folder) = folder();
        let shop = folder.join("shop");
        write(&shop.join(".git/HEAD"), "ref: refs/heads/main");
        assert!(find(&shop).is_some());
        if !rustix::process::geteuid().is_root() {
            return assert_eq!(Repository::find(&shop, Owner::of(Path::new("/"))), None);
        }
        for file in [".git/HEAD", ".git"] {
            let give_to = |user| std::os::unix::fs::chown(shop.join(file), Some(user), None).unwrap();
            give_to(65_534);
            assert_eq!(find(&shop), None, "{file}");
            give_to(0);
        }
    }
}
