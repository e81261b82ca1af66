//! Resolves paths that may not exist yet.

use std::io;
use std::path::{Component, Path, PathBuf};

/// Maximum symbolic links that are followed, as in Linux.
const MAX_LINKS: u32 = 40;

/// Returns the absolute path without symbolic links, `.` and `..`. The part that does not exist is kept as it is,
/// without `.` and `..`. A relative path is one of the current directory.
///
/// # Errors
/// The path is empty, or the current directory is unknown.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut links = MAX_LINKS;
    Ok(resolve_absolute(&std::path::absolute(path)?, &mut links))
}

fn resolve_absolute(path: &Path, links: &mut u32) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let mut resolved = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            // `resolved` has no link: its parent is the directory above.
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                let directory = resolved.clone();
                resolved.push(component);
                // A link whose target does not exist yet.
                if let Ok(target) = resolved.read_link()
                    && *links > 0
                {
                    *links -= 1;
                    resolved = resolve_absolute(&directory.join(target), links);
                }
            }
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn resolves_the_part_that_exists() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(folder.join("real/below")).unwrap();
        symlink(folder.join("real"), folder.join("link")).unwrap();
        symlink("real/below", folder.join("deep")).unwrap();
        symlink("real/later", folder.join("early")).unwrap();
        symlink("loop", folder.join("loop")).unwrap();
        for (path, resolved) in [
            ("link", "real"),
            ("link/later/x", "real/later/x"),
            ("deep/../later", "real/later"),
            ("early/x", "real/later/x"),
            ("later/../link/x/./y", "real/x/y"),
            ("later/../../../../../../../../../../..", "/"),
            ("loop/x", "loop/x"),
        ] {
            assert_eq!(resolve(&folder.join(path)).unwrap(), folder.join(resolved), "{path}");
        }
        assert!(resolve(Path::new("")).is_err());
    }
}
