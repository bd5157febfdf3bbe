//! What the kernel knows about a process.

use std::fs;

/// Its resident memory in bytes.
pub(crate) fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next());
    kilobytes
        .and_then(|n| n.parse::<usize>().ok())
        .expect("a size")
        * 1024
}

/// How many sockets it has open.
pub(crate) fn sockets(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("a process")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}
