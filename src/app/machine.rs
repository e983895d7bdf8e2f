//! What the machine gives: file system, descriptors, memory, rights, clock. Reads only; what cannot be read is unknown,
//! not wrong.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

use crate::base::memory;
use crate::base::time::Timestamp;

/// The kind of the file system that the data directory lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    /// A disk of this machine.
    Local,
    /// Across a network or through a user-space server: the word for it.
    Remote(&'static str),
    /// In memory: gone with the machine.
    Memory,
    /// A container's own layer: gone with the container.
    Layer,
}

/// Facts about the machine and the data directory.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The nearest directory that exists, of the data directory and those above it.
    pub(crate) base: PathBuf,
    /// The data directory's owner, if it exists.
    pub(crate) owner: Option<u32>,
    /// Who we are.
    pub(crate) user: u32,
    /// Why nothing can be written there, if so.
    pub(crate) unwritable: Option<String>,
    pub(crate) file_system: Option<FileSystem>,
    /// Bytes in all, and free for us.
    pub(crate) disk: Option<(u64, u64)>,
    /// File descriptors: soft and hard limit; `None` is unlimited.
    pub(crate) descriptors: (Option<u64>, Option<u64>),
    /// Memory maps that a process may have.
    pub(crate) maps: Option<u64>,
    /// Memory of the machine and what the control group allows, in bytes.
    pub(crate) memory: Option<u64>,
    pub(crate) memory_group: Option<u64>,
    /// The lowest port that may be bound without a right.
    pub(crate) free_ports_from: u16,
    /// Whether lower ones may be bound too.
    pub(crate) binds_low_ports: bool,
    pub(crate) now: Timestamp,
}

impl Machine {
    /// Looks around.
    pub(crate) fn look(data: &Path, now: Timestamp) -> Self {
        let base = data.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned();
        let user = geteuid().as_raw();
        let limits = getrlimit(Resource::Nofile);
        Self {
            owner: owner(data),
            user,
            unwritable: unwritable(&base),
            file_system: file_system(&base),
            disk: rustix::fs::statvfs(&base)
                .ok()
                .map(|stat| (stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize))),
            descriptors: (limits.current, limits.maximum),
            maps: number("/proc/sys/vm/max_map_count"),
            memory: memory::machine(),
            memory_group: memory::group(),
            free_ports_from: number("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or(1024),
            binds_low_ports: may_bind_low_ports(),
            base,
            now,
        }
    }

    /// The memory that is really there for us.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        match (self.memory, self.memory_group) {
            (Some(machine), Some(group)) => Some(machine.min(group)),
            (machine, group) => machine.or(group),
        }
    }
}

/// Who owns `path`.
pub(crate) fn owner(path: &Path) -> Option<u32> {
    rustix::fs::stat(path).ok().map(|stat| stat.st_uid)
}

/// Raises the soft limit of file descriptors to the hard one: the soft one is kept low only for programs that use
/// `select`. Returns what holds then; a refusal is no reason not to start.
pub(crate) fn raise_descriptors() -> Option<u64> {
    let limits = getrlimit(Resource::Nofile);
    // The kernel takes no unlimited number of them; where none is named, the usual ceiling is asked for.
    let wanted = limits.maximum.unwrap_or(1 << 20);
    if limits.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limits.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
    getrlimit(Resource::Nofile).current
}

/// Why nothing can be written into a directory. A file is really made: root passes every check of modes, but not of a
/// mount that is read-only.
fn unwritable(directory: &Path) -> Option<String> {
    let probe = directory.join(format!(".waystation-probe-{}", std::process::id()));
    match fs::OpenOptions::new().write(true).create_new(true).open(&probe) {
        Ok(_) => fs::remove_file(&probe).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

/// The file system's kind, by the number that the kernel gives it (statfs(2)).
pub(crate) fn file_system(path: &Path) -> Option<FileSystem> {
    let stat = path.ancestors().find_map(|path| rustix::fs::statfs(path).ok())?;
    // The numbers have 32 bits; the field is signed and wider on some machines.
    let magic = u32::try_from(i128::from(stat.f_type) & 0xffff_ffff).ok()?;
    Some(match magic {
        0x0000_6969 => FileSystem::Remote("NFS"),
        0x0000_517b | 0xfe53_4d42 | 0xff53_4d42 => FileSystem::Remote("SMB"),
        0x6573_5546 => FileSystem::Remote("FUSE"),
        0x0102_1997 => FileSystem::Remote("9P"),
        0x00c3_6400 => FileSystem::Remote("Ceph"),
        0x5346_414f => FileSystem::Remote("AFS"),
        0x0102_1994 | 0x8584_58f6 => FileSystem::Memory,
        0x794c_7630 => FileSystem::Layer,
        _ => FileSystem::Local,
    })
}

/// A number that stands alone in a file.
fn number<T: std::str::FromStr>(path: &str) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether somebody holds a lock on this file, asked without taking it: who only looks must not keep a node that starts just
/// now from its directory. `false` where it cannot be told.
pub(crate) fn is_locked(path: &Path) -> bool {
    let Ok(stat) = rustix::fs::stat(path) else { return false };
    // As /proc/locks writes it: hexadecimal device numbers, decimal inode (proc_locks(5)).
    let file =
        format!(" {:02x}:{:02x}:{} ", rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev), stat.st_ino);
    fs::read_to_string("/proc/locks").is_ok_and(|locks| locks.lines().any(|line| line.contains(&file)))
}

/// What stands behind `name` in a file of lines `name value`.
fn line(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

/// CAP_NET_BIND_SERVICE (capabilities(7)), number 10, in the effective set.
fn may_bind_low_ports() -> bool {
    line("/proc/self/status", "CapEff:")
        .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
        .map_or_else(|| geteuid().is_root(), |mask| mask >> 10 & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("not/yet/there");
        let machine = Machine::look(&data, Timestamp::from_ms(1));
        assert_eq!(machine.base, directory.path());
        assert_eq!((machine.owner, machine.unwritable), (None, None));
        assert!(machine.disk.is_some_and(|(total, free)| total >= free && total > 0));
        assert!(fs::read_dir(directory.path()).unwrap().next().is_none(), "the probe was left behind");
        assert_eq!(owner(directory.path()), Some(machine.user));
    }

    #[test]
    fn a_lock_is_seen_without_taking_it() {
        let path = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_locked(path.path()));
        let held = fs::File::open(path.path()).unwrap();
        held.lock().unwrap();
        assert!(is_locked(path.path()));
        drop(held);
        assert!(!is_locked(path.path()) && !is_locked(Path::new("/nowhere")));
    }

    #[test]
    fn what_the_kernel_keeps_for_itself_cannot_be_written() {
        let machine = Machine::look(Path::new("/proc/x"), Timestamp::from_ms(1));
        assert!(machine.unwritable.is_some());
    }
}
