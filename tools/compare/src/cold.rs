//! Cold content: a data set larger than the memory that the server may use, so that its pages are on the disk. How a
//! request for something hot fares beside it, and how fast cold content is read, beside nginx with `aio threads`.
//!
//! The memory is that of a control group (version 1, where it can be made here); elsewhere the pages are dropped before
//! each turn, and come back while it lasts, which is said beside the figures.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};

use crate::bytes;
use crate::load::{Load, Order, Outcome, pieces};
use crate::nginx::{Nginx, certificate};
use crate::node::{Node, Setup};
use crate::process::Process;
use crate::stage::Stage;
use crate::table::{Wanted, percentile};
use crate::tools;
use crate::wire::Body;

/// The groups of this process's runs; made and removed by it.
const MEMORY: &str = "/sys/fs/cgroup/memory/waystation-compare";
const DISK: &str = "/sys/fs/cgroup/blkio/waystation-compare";

/// Readers of cold content: 64 are wanted, and twice as many find no buffer of their own for what is not in memory.
const READERS: usize = 64;
const MANY: usize = 128;

/// Bytes a second of a reader that is slow: what is on its way to it stays there long enough for its pages to go.
const SLOW: u64 = 1 << 20;

/// A group that bounds the page cache of what runs in it, and one that bounds its disk.
struct Group {
    folders: Vec<PathBuf>,
}

impl Group {
    /// A group with `limit` bytes of memory and, where given, a disk of so many bytes a second below `data`.
    fn make(limit: u64, disk: Option<(u64, &Path)>) -> Option<Self> {
        let mut group = Self { folders: Vec::new() };
        group.add(MEMORY, "memory.limit_in_bytes", &limit.to_string()).ok()?;
        if let Some((rate, data)) = disk {
            let meta = rustix::fs::stat(data).ok()?;
            let (major, minor) = (rustix::fs::major(meta.st_dev), rustix::fs::minor(meta.st_dev));
            group.add(DISK, "blkio.throttle.read_bps_device", &format!("{major}:{minor} {rate}")).ok()?;
        }
        Some(group)
    }

    fn add(&mut self, folder: &str, file: &str, value: &str) -> io::Result<()> {
        let folder = PathBuf::from(folder);
        if !folder.exists() {
            fs::create_dir(&folder)?;
        }
        self.folders.push(folder.clone());
        fs::write(folder.join(file), value)
    }

    /// Words before a command that make it run in the group.
    fn before(&self) -> Vec<String> {
        let mut script = String::new();
        for folder in &self.folders {
            // Writing to a string does not fail.
            let _ = write!(script, "echo $$ > {}/cgroup.procs; ", folder.display());
        }
        vec!["sh".into(), "-c".into(), format!("{script}exec \"$0\" \"$@\"")]
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.folders {
            // It goes only once its processes have ended, which may take the kernel a moment.
            for _ in 0..50 {
                if fs::remove_dir(folder).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Drops the pages of all files below `folder` that nobody has mapped.
fn forget(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            forget(&path)?;
        } else if let Ok(file) = File::open(&path) {
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// The files: large ones to be read cold, a small one to be asked for meanwhile.
struct Files {
    folder: PathBuf,
    large: Vec<(String, u64)>,
    small: String,
    size: u64,
}

impl Files {
    const EACH: u64 = 256 << 20;

    /// Takes the files in with a node of its own, which then ends; what is below nginx's root has the same bytes.
    fn make(stage: &Stage, total: u64) -> io::Result<Self> {
        let folder = stage.folder.join("cold");
        let root = folder.join("root/sha256");
        fs::create_dir_all(&root)?;
        let node = start(stage, &folder, &[])?;
        let put = |seed: u64, size: u64| -> io::Result<String> {
            let made = folder.join("made");
            let sha256 = bytes::write(&made, seed, size)?;
            node.import(&made, &sha256)?;
            fs::rename(made, root.join(&sha256))?;
            Ok(format!("/sha256/{sha256}"))
        };
        let each = Self::EACH.min(total);
        let mut large = Vec::new();
        for at in 0..total / each {
            large.push((put(stage.seed + 100 + at, each)?, each));
        }
        let small = put(stage.seed + 99, 1 << 20)?;
        drop(node);
        Ok(Self { folder, large, small, size: each })
    }

    fn load(&self, stage: &Stage, to: SocketAddr, files: usize) -> Load {
        Load {
            to,
            tls: None,
            targets: self.large.iter().take(files).map(|(target, _)| target.clone()).collect(),
            ranges: pieces(self.size, 1 << 20),
            clients: 1,
            connections: READERS,
            body: Body::Drop,
            seed: stage.seed,
            lasts: None,
            limit: Duration::from_mins(5),
            order: Order::Own,
            own_addresses: false,
            pause: Duration::ZERO,
            rate: None,
        }
    }
}

/// Who reads beside the probe.
struct Beside {
    readers: usize,
    /// Bytes a second of each; none: as they come.
    rate: Option<u64>,
    /// Bytes a second of the disk; none: as it is.
    disk: Option<u64>,
    name: &'static str,
}

impl Beside {
    fn load(&self, stage: &Stage, files: &Files, to: SocketAddr) -> Load {
        Load { connections: self.readers, rate: self.rate, ..files.load(stage, to, files.large.len()) }
    }
}

fn start(stage: &Stage, folder: &Path, before: &[String]) -> io::Result<Node> {
    Node::start(&Setup { program: &stage.program, folder, core: stage.cores.server, origins: &[], more: "", before })
}

/// Asks for 4 KiB of the small object now and then while `readers` runs; times to the first byte in milliseconds.
fn probe(stage: &Stage, files: &Files, to: SocketAddr, readers: Load) -> io::Result<(Outcome, Vec<f64>)> {
    let lasts = Duration::from_secs(if stage.quick { 3 } else { 10 });
    let small = Load {
        targets: vec![files.small.clone()],
        // One and the same 4 KiB: of several, each rests long enough for the readers to push it out of a small memory.
        ranges: vec![(0, 4 << 10)],
        connections: 1,
        lasts: Some(lasts),
        pause: Duration::from_millis(2),
        ..readers.clone()
    };
    let readers = Load { lasts: Some(lasts + Duration::from_millis(500)), ..readers };
    // The small object is hot, and known to the server, before it counts.
    Load { to, lasts: Some(Duration::from_millis(300)), ..small.clone() }.run()?.clean("the small object")?;
    std::thread::scope(|scope| {
        let readers = scope.spawn(|| readers.run());
        std::thread::sleep(Duration::from_millis(300));
        let small = small.run()?.clean("the probe")?;
        let readers = readers.join().map_err(|_| io::Error::other("the readers panicked"))??;
        Ok((readers.clean("the readers")?, small.first_byte))
    })
}

/// Starts nginx for the same files.
type Peer<'a> = dyn Fn(&Stage, &[String]) -> io::Result<Nginx> + 'a;

pub(crate) fn cold(stage: &mut Stage) -> io::Result<()> {
    let (total, memory): (u64, u64) = if stage.quick { (512 << 20, 256 << 20) } else { (4 << 30, 1 << 30) };
    let files = Files::make(stage, total)?;
    stage.data = format!(
        "{} objects of {} MiB, {} MiB of memory, {READERS} and {MANY} readers, a probe of 4 KiB",
        files.large.len(),
        files.size >> 20,
        memory >> 20
    );
    if Group::make(memory, None).is_none() {
        stage.table.note("no memory control group can be made here: pages were dropped before each turn and came back while it lasted");
    }
    let (cert, key) = certificate(&files.folder)?;
    let nginx = |stage: &Stage, before: &[String]| {
        let (folder, root) = (stage.folder.join("nginx"), files.folder.join("root"));
        Nginx::files(&folder, &root, stage.cores.server, true, (&cert, &key), before)
    };
    for beside in [
        Beside { readers: READERS, rate: None, disk: None, name: "disk as it is" },
        Beside { readers: READERS, rate: None, disk: Some(200_000_000), name: "disk of 200 MB/s" },
        Beside { readers: MANY, rate: None, disk: None, name: "disk as it is" },
        Beside { readers: READERS, rate: Some(SLOW), disk: None, name: "each at 1 MiB/s" },
    ] {
        own(stage, &files, memory, &nginx, &beside)?;
    }
    throughput(stage, &files, memory, &nginx)?;
    unprivileged(stage, &files, memory)
}

/// The probe beside cold and beside hot readers.
fn own(stage: &mut Stage, files: &Files, memory: u64, nginx: &Peer<'_>, by: &Beside) -> io::Result<()> {
    let mut cold = Vec::new();
    let mut hot = Vec::new();
    let mut speed = Vec::new();
    let (mut peer_cold, mut peer_speed) = (Vec::new(), Vec::new());
    for _ in 0..stage.rounds {
        let group = Group::make(memory, by.disk.map(|rate| (rate, files.folder.as_path())));
        if group.is_none() && by.disk.is_some() {
            stage.table.note("no block device control group can be made here: the disk is as it is");
            return Ok(());
        }
        let before = group.as_ref().map(Group::before).unwrap_or_default();
        forget(&files.folder)?;
        let node = start(stage, &files.folder, &before)?;
        let (readers, times) = probe(stage, files, node.http, by.load(stage, files, node.http))?;
        cold.push(percentile(&times, 0.99));
        speed.push(readers.mib_per_s());
        drop(node);
        if tools::has("nginx") {
            forget(&files.folder)?;
            let nginx = nginx(stage, &before)?;
            let (readers, times) = probe(stage, files, nginx.http, by.load(stage, files, nginx.http))?;
            peer_cold.push(percentile(&times, 0.99));
            peer_speed.push(readers.mib_per_s());
        }
        drop(group);
        let node = start(stage, &files.folder, &[])?;
        hot.push(beside_hot(stage, files, &node, readers.mib_per_s(), by.readers)?);
    }
    let scenario = format!("cold, {} readers, {}", by.readers, by.name);
    let from = stage.table.rows.len();
    let beside = [("node, hot readers as fast", hot), ("nginx, aio threads, cold readers", peer_cold)];
    stage.table.push(&scenario, "first byte of a hot 4 KiB, p99", "ms", cold, beside, Some(Wanted::RatioAtMost(3.0)));
    stage.table.push(&scenario, "cold reads", "MiB/s", speed, [("nginx, aio threads", peer_speed)], None);
    stage.show(from);
    Ok(())
}

/// The probe beside readers of one hot file, who together read as many MiB a second as those of cold ones did: more would
/// measure the load's own core. Milliseconds, p99.
fn beside_hot(stage: &Stage, files: &Files, node: &Node, mib_per_s: f64, count: usize) -> io::Result<f64> {
    files.load(stage, node.http, 1).run()?.clean("warming up")?;
    let mut readers = Load { connections: count, ..files.load(stage, node.http, 1) };
    readers.pause = Duration::from_secs_f64(count as f64 / mib_per_s.max(1.0));
    Ok(percentile(&probe(stage, files, node.http, readers)?.1, 0.99))
}

/// Everything once, cold, as fast as it goes.
fn throughput(stage: &mut Stage, files: &Files, memory: u64, nginx: &Peer<'_>) -> io::Result<()> {
    let (mut node_speed, mut node_cost, mut peer_speed, mut peer_cost) = (vec![], vec![], vec![], vec![]);
    let count = (files.large.len() / 2).max(1);
    for _ in 0..stage.rounds {
        for is_node in [true, false] {
            if !is_node && !tools::has("nginx") {
                continue;
            }
            let group = Group::make(memory, None);
            let before = group.as_ref().map(Group::before).unwrap_or_default();
            forget(&files.folder)?;
            let (to, process): (SocketAddr, &Process);
            let (node, beside);
            if is_node {
                node = start(stage, &files.folder, &before)?;
                (to, process) = (node.http, &node.process);
            } else {
                beside = nginx(stage, &before)?;
                (to, process) = (beside.http, &beside.process);
            }
            let cpu = process.cpu();
            let outcome = files.load(stage, to, count).run()?.clean("cold reads")?;
            let cost = outcome.bytes as f64 / f64::from(1 << 20) / (process.cpu() - cpu).max(0.01);
            let (speeds, costs) =
                if is_node { (&mut node_speed, &mut node_cost) } else { (&mut peer_speed, &mut peer_cost) };
            speeds.push(outcome.mib_per_s());
            costs.push(cost);
        }
    }
    let from = stage.table.rows.len();
    let peer = |values: Vec<f64>| (!values.is_empty()).then_some(("nginx, aio threads", values));
    let scenario = "cold, 1 MiB ranges, each once";
    stage.table.push(scenario, "throughput", "MiB/s", node_speed, peer(peer_speed), Some(Wanted::RatioAtLeast(0.95)));
    stage.table.push(scenario, "for each server CPU-second", "MiB", node_cost, peer(peer_cost), None);
    stage.show(from);
    Ok(())
}

/// The probe again, the node being a user who owns none of the payloads' files.
fn unprivileged(stage: &mut Stage, files: &Files, memory: u64) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        stage.table.note("not root: the run as another user is left out, this one was unprivileged anyway");
        return Ok(());
    }
    let data = files.folder.join("data");
    let run = |words: &[&str]| Command::new(words[0]).args(&words[1..]).arg(&data).status();
    run(&["chown", "-R", "nobody"])?;
    // The folders stay the node's, the payloads become another's, readable for all.
    Command::new("find")
        .arg(data.join("content"))
        .args(["-type", "f", "!", "-name", "*.proof"])
        .args(["-exec", "chown", "root", "{}", "+"])
        .status()?;
    let user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"].map(str::to_owned);
    let (mut cold, mut hot, mut speed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..stage.rounds {
        let group = Group::make(memory, None);
        let mut before = group.as_ref().map(Group::before).unwrap_or_default();
        before.extend(user.clone());
        forget(&files.folder)?;
        let node = start(stage, &files.folder, &before)?;
        let (readers, times) = probe(stage, files, node.http, files.load(stage, node.http, files.large.len()))?;
        cold.push(percentile(&times, 0.99));
        speed.push(readers.mib_per_s());
        drop(node);
        drop(group);
        let node = start(stage, &files.folder, &user)?;
        hot.push(beside_hot(stage, files, &node, readers.mib_per_s(), READERS)?);
    }
    let scenario = "cold, 64 readers, files of another user";
    let from = stage.table.rows.len();
    let peer = Some(("node, hot readers as fast", hot));
    stage.table.push(scenario, "first byte of a hot 4 KiB, p99", "ms", cold, peer, Some(Wanted::RatioAtMost(3.0)));
    stage.table.push(scenario, "cold reads", "MiB/s", speed, None, None);
    stage.show(from);
    Ok(())
}
