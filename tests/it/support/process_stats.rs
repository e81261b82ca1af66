//! Memory and file descriptors of a hub's process, from `/proc`.

use super::hub::TestHub;

/// Resident memory in bytes, and the number of open file descriptors.
#[track_caller]
pub(crate) fn memory_and_descriptors(hub: &TestHub) -> (u64, usize) {
    let pid = hub.pid().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let handles = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    (kib << 10, handles)
}
