//! How much memory there is for this process.

use std::fs;
use std::path::Path;

/// What the machine has and the control group allows: the lesser, in bytes. `None` where neither can be read.
pub fn limit() -> Option<u64> {
    match (machine(), group()) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

/// The machine's memory in bytes.
pub fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    kilobytes.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The tightest limit of our control group and those above it, in bytes, in version 2 or 1 (which says a huge number for
/// none).
pub fn group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    group_of(&groups, Path::new("/sys/fs/cgroup"))
}

/// `groups` are lines of `number:controllers:path` (cgroups(7)). Inside a container the path may be one that is not to be
/// seen there; then what is above it counts, and the root is our own.
fn group_of(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            "memory" => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        let own = root.join(path.trim_start_matches('/'));
        let above = own.ancestors().take_while(|folder| folder.starts_with(&root));
        above.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()).min()
    });
    limits.min().filter(|limit: &u64| *limit < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_group_counts() {
        let dir = tempfile::tempdir().unwrap();
        let set = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let of = |groups| group_of(groups, dir.path());
        assert_eq!(of("0::/a/b\n"), None);
        set("a/memory.max", "1000\n");
        set("a/b/memory.max", "max\n");
        assert_eq!(of("0::/a/b\n"), Some(1000));
        set("a/b/memory.max", "500\n");
        assert_eq!(of("0::/a/b\n"), Some(500));
        set("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(of("4:memory:/elsewhere\n0::/\n"), None);
        set("memory/x/memory.limit_in_bytes", "700\n");
        assert_eq!(of("4:memory:/x/y\n3:cpuset:/\n0::/\n"), Some(700));
    }

    #[test]
    fn this_machine_has_some() {
        assert!(machine().is_none_or(|bytes| bytes > 1 << 20));
        assert!(limit().is_none_or(|bytes| bytes > 1 << 20));
    }
}
