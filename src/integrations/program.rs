//! Finds and runs other programs.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Maximum time for a program to print its version, or for a hook to answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the path of the program that a shell would start for `name`. Relative entries of `PATH` are
/// ignored: they depend on the working directory.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|path| is_executable(path))
}

/// Returns whether this process may execute the file.
pub fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Runs a program with `input` on stdin and returns its stdout, if it succeeds within
/// [`TIMEOUT`].
pub fn output(mut command: Command, input: &[u8]) -> Option<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // A program may end without reading its input.
    drop(child.stdin.take()?.write_all(input));
    let mut stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // After the timeout there is no receiver.
        drop(sender.send(io::read_to_string(&mut stdout)));
    });
    let text = receiver.recv_timeout(TIMEOUT);
    if text.is_err() {
        drop(child.kill());
    }
    let succeeded = child.wait().is_ok_and(|status| status.success());
    text.ok()?.ok().filter(|_| succeeded)
}
