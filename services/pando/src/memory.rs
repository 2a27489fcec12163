//! How much memory this process may use: the least of what the machine has and its control groups allow.

use std::path::Path;

/// Bytes of memory that this process may use; `None` where nobody says.
pub(crate) fn usable_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    least([
        total_of(&read("/proc/meminfo")),
        limit_of(&read("/sys/fs/cgroup/memory.max")),
        limit_of(&read("/sys/fs/cgroup/memory/memory.limit_in_bytes")),
    ])
}

fn least(known: [Option<u64>; 3]) -> Option<u64> {
    known.into_iter().flatten().min()
}

/// `MemTotal:       24576000 kB` of /proc/meminfo.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// A number of bytes; "max" and nothing are no limit.
fn limit_of(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_machine_and_control_group_counts() {
        let machine = total_of("MemTotal:       24576000 kB\nMemFree:  1 kB\n");
        assert_eq!(machine, Some(24_576_000 * 1024));
        assert_eq!(limit_of("max\n"), None);
        assert_eq!(least([machine, limit_of("1073741824\n"), limit_of("")]), Some(1 << 30));
        assert_eq!(least([total_of("MemTotal: many"), None, None]), None);
    }
}
