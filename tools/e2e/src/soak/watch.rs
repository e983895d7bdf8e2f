//! What is looked at from outside: the process in `/proc`, the data directory, the log.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::branch::check;
use crate::http;

/// What a process takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Memory of its own, in MiB: mapped payloads are the page cache's.
    pub own: u64,
    /// Resident memory, mapped files included, in MiB.
    pub resident: u64,
    pub files: u64,
    pub threads: u64,
}

/// No node of this size may ever take more: 64 open payloads, a hundred connections, a 16 MiB index cache.
const MOST: Sample = Sample { own: 512, resident: 2048, files: 900, threads: 160 };

impl Sample {
    /// Of process `pid`; `None` once it has ended.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        Some(Self {
            own: field("RssAnon:")? >> 10,
            resident: field("VmRSS:")? >> 10,
            files: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
            threads: field("Threads:")?,
        })
    }

    /// The larger of each.
    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            own: self.own.max(other.own),
            resident: self.resident.max(other.resident),
            files: self.files.max(other.files),
            threads: self.threads.max(other.threads),
        }
    }

    /// Fails where it is more than any such node may take.
    pub(crate) fn bounded(self) -> io::Result<()> {
        let within = self.own <= MOST.own
            && self.resident <= MOST.resident
            && self.files <= MOST.files
            && self.threads <= MOST.threads;
        check(within, || format!("the node takes {self:?}, at most {MOST:?} is expected"))
    }

    /// Fails where a process at rest takes more than it took at an earlier rest, by more than noise.
    pub(crate) fn has_not_grown(self, since: Self) -> io::Result<()> {
        let same = self.own <= since.own + since.own / 4 + 32
            && self.files <= since.files + 24
            && self.threads <= since.threads + 8;
        check(same, || format!("at rest the node takes {self:?}, and took {since:?} at an earlier rest"))
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} MiB of its own, {} MiB resident, {} files, {} threads",
            self.own, self.resident, self.files, self.threads
        )
    }
}

/// Bytes allocated below `folder`.
pub(crate) fn allocated(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A file may go while we look.
        let Ok(meta) = entry.metadata() else { continue };
        sum += if meta.is_dir() { allocated(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(sum)
}

/// A gauge of `/metrics`, named as it stands there.
pub(crate) fn metric(control: SocketAddr, name: &str) -> io::Result<u64> {
    let (_, text) = http::peek(control, "/metrics")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse::<f64>().ok())
        .map(|value| value as u64)
        .ok_or_else(|| io::Error::other(format!("/metrics has no {name}")))
}

/// What the log says that it must never say.
pub(crate) fn panics(log: &Path) -> io::Result<Vec<String>> {
    let bytes = fs::read(log)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter(|line| line.contains("panicked")).map(str::to_owned).collect())
}
