//! Quoting for POSIX shells.

use std::path::Path;

/// Returns `path` as one word of a POSIX shell's command line, quoted only where needed.
pub fn quote(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@:,".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_where_a_shell_needs_it() {
        assert_eq!(quote(Path::new("/home/u/.local/hub.db")), "/home/u/.local/hub.db");
        assert_eq!(quote(Path::new("")), "''");
        assert_eq!(quote(Path::new("/my $x/it's.db")), r"'/my $x/it'\''s.db'");
    }
}
