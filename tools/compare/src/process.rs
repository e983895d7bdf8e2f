//! A server under test as a process: pinned, watched, ended; what it and its children cost, from /proc.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running program.
pub(crate) struct Process {
    child: Child,
    ended: bool,
}

/// Memory of a process and its children, in bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Pages in memory, mapped files and page cache seen through maps among them.
    pub(crate) resident: u64,
    /// Pages that are the process's own: heaps, stacks.
    pub(crate) anonymous: u64,
}

/// Processor seconds of this process and of those that it has waited for: what a load costs.
pub(crate) fn own_cpu() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 = rest.split_whitespace().skip(11).take(4).filter_map(|word| word.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Asks every 20 ms until `ready` says yes; 30 s at most.
pub(crate) fn wait_for(what: &str, mut ready: impl FnMut() -> bool) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    while !ready() {
        if Instant::now() > end {
            return Err(io::Error::other(format!("waited 30 s for {what}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Parent, state-free fields: (parent, user + system ticks) of a process.
fn stat(pid: u32) -> Option<(u32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, spaces and parentheses too: what counts begins after the last one.
    let rest: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some((rest.get(1)?.parse().ok()?, rest.get(11)?.parse::<u64>().ok()? + rest.get(12)?.parse::<u64>().ok()?))
}

impl Process {
    /// Starts `command` on `core`, its output in `log`.
    pub(crate) fn start(core: usize, command: &[String], log: &Path) -> io::Result<Self> {
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .args(command)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { child, ended: false })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.ended = self.ended || !matches!(self.child.try_wait(), Ok(None));
        self.ended
    }

    /// The process and all below it.
    pub(crate) fn tree(&self) -> Vec<u32> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            if let Some((pid, (parent, _))) = pid.and_then(|pid| Some((pid, stat(pid)?))) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut found = vec![self.id()];
        let mut at = 0;
        while let Some(pid) = found.get(at) {
            found.extend(children.get(pid).into_iter().flatten().copied().collect::<Vec<_>>());
            at += 1;
        }
        found
    }

    /// Processor seconds, user and system, of all threads, ended ones too, and of all children.
    pub(crate) fn cpu(&self) -> f64 {
        let ticks: u64 = self.tree().into_iter().filter_map(|pid| Some(stat(pid)?.1)).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// What is in memory now.
    pub(crate) fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        for pid in self.tree() {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let sum = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
            };
            memory.resident += sum("Rss:");
            memory.anonymous += sum("Anonymous:");
        }
        memory
    }

    /// Tells it to end and waits; after 20 s it is ended.
    pub(crate) fn stop(&mut self) {
        if self.has_ended() {
            return;
        }
        let tree = self.tree();
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            // It may have ended in this moment.
            let _ = kill_process(pid, Signal::TERM);
        }
        let end = Instant::now() + Duration::from_secs(20);
        while !self.has_ended() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !self.has_ended() {
            for pid in tree.into_iter().rev().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = self.child.wait();
            self.ended = true;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}
