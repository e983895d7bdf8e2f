//! Held content, hot: ranges of a payload in the page cache, over plain HTTP, TLS 1.3 and HTTP/2, beside nginx; and beside
//! the floor, which only writes.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::bytes;
use crate::load::{Load, Order, Range, pieces, tls};
use crate::nginx::{Nginx, certificate};
use crate::node::{Node, Setup, free_port};
use crate::process::{Process, own_cpu, wait_for};
use crate::stage::Stage;
use crate::table::{Decided, Wanted, median};
use crate::tools;
use crate::wire::Body;

/// Connections of every load here: enough that none waits for a round trip, few enough to be a cache's own business.
const CONNECTIONS: usize = 16;

/// Objects of 1 MiB for HTTP/2, where the load cannot ask for different ranges of one.
const OBJECTS: u64 = 64;

pub(crate) const SIZES: [(u64, &str); 3] = [(1 << 20, "1 MiB"), (64 << 10, "64 KiB"), (4 << 10, "4 KiB")];

/// Of one turn: MiB a second; MiB for each processor second of the server; of server and load together, for on a loopback the
/// kernel does part of the server's work on the reader's time; how busy the load's core was with it, in hundredths.
type Figures = [f64; 4];

/// Places in [`Figures`].
const THROUGHPUT: usize = 0;
const COST: usize = 1;
const LOAD: usize = 3;

/// What the figures are called.
const MEASURES: [(&str, &str); 4] = [
    ("throughput", "MiB/s"),
    ("for each server CPU-second", "MiB"),
    ("for each CPU-second of server and load", "MiB"),
    ("of the load's core taken by the load", "%"),
];

/// From this share of its core on, in hundredths, a load is full: in its median turn with the node or with the first one beside
/// it. Then throughput says what the load can, and what a server costs decides. A core that is full for certain (the server's,
/// before a load that throws bodies away) shows 94 to 96 in turns of 2 s: under `--realtime` the kernel keeps 5 for other work
/// (`sched_rt_runtime_us`), and a turn begins and ends with connections that do nothing yet. The rest is room for turns in which
/// something else came between.
const FULL: f64 = 90.0;

/// The files and the servers of this scenario.
pub(crate) struct Held {
    folder: PathBuf,
    pub(crate) node: Node,
    pub(crate) nginx: Option<Nginx>,
    pub(crate) size: u64,
    /// `/sha256/<hex>`: the same name at the node and below nginx's root.
    pub(crate) target: String,
    pub(crate) file: PathBuf,
    objects: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Tool {
    Native,
    /// Bodies are thrown away by the kernel: the server's core is full before the load's.
    Unread,
    Wrk,
    H2load,
}

impl Held {
    /// Makes the files, takes them into a node and puts them below nginx's root.
    pub(crate) fn start(stage: &Stage, name: &str, objects: u64) -> io::Result<Self> {
        let folder = stage.folder.join(name);
        let root = folder.join("root");
        fs::create_dir_all(root.join("sha256"))?;
        let size = if stage.quick { 64 << 20 } else { 256 << 20 };
        let (cert, key) = certificate(&folder)?;
        let node = Node::start(&Setup {
            program: &stage.program,
            folder: &folder,
            core: stage.cores.server,
            origins: &[],
            more: &format!("[tls]\ncert = \"{}\"\nkey = \"{}\"\n", cert.display(), key.display()),
            before: &[],
        })?;
        let put = |seed: u64, size: u64| -> io::Result<(String, PathBuf)> {
            let made = folder.join("made");
            let sha256 = bytes::write(&made, seed, size)?;
            node.import(&made, &sha256)?;
            let file = root.join("sha256").join(&sha256);
            fs::rename(made, &file)?;
            Ok((format!("/sha256/{sha256}"), file))
        };
        let (target, file) = put(stage.seed, size)?;
        let objects =
            (1..=objects).map(|at| Ok(put(stage.seed + at, 1 << 20)?.0)).collect::<io::Result<Vec<String>>>()?;
        node.warm()?;
        let nginx = if tools::has("nginx") {
            Some(Nginx::files(&folder.join("nginx"), &root, stage.cores.server, false, (&cert, &key), &[])?)
        } else {
            None
        };
        Ok(Self { folder, node, nginx, size, target, file, objects })
    }

    /// The native load of this scenario.
    pub(crate) fn load(&self, stage: &Stage, to: SocketAddr, len: u64, seconds: f64) -> Load {
        Load {
            to,
            tls: None,
            targets: vec![self.target.clone()],
            ranges: pieces(self.size, len),
            clients: 1,
            connections: CONNECTIONS,
            body: Body::Drop,
            seed: stage.seed,
            lasts: Some(Duration::from_secs_f64(seconds)),
            limit: Duration::from_mins(10),
            order: Order::Own,
            own_addresses: false,
            pause: Duration::ZERO,
            rate: None,
        }
    }

    /// One turn against one server.
    fn turn(
        &self,
        stage: &Stage,
        tool: Tool,
        secure: bool,
        len: u64,
        server: (SocketAddr, SocketAddr, &Process),
    ) -> io::Result<Figures> {
        let (http, https, process) = server;
        let to = if secure { https } else { http };
        let mut warm = self.load(stage, to, len, 0.2);
        warm.body = if tool == Tool::Unread { Body::Drop } else { Body::Read };
        warm.tls = if secure { Some(tls()?) } else { None };
        warm.clone().run()?.clean("warming up")?;
        let before = (process.cpu(), own_cpu());
        let (bytes, seconds) = match tool {
            Tool::Native | Tool::Unread => {
                warm.lasts = Some(Duration::from_secs(stage.seconds));
                let outcome = warm.run()?.clean("the load")?;
                (outcome.bytes as f64, outcome.seconds)
            }
            Tool::Wrk => {
                let url = format!("{}://{to}{}", if secure { "https" } else { "http" }, self.target);
                let ranges = pieces(self.size, len);
                let figures = tools::wrk(&self.folder, &url, &ranges, CONNECTIONS, stage.seconds, stage.seed)?;
                (figures.bytes, figures.seconds)
            }
            Tool::H2load => {
                let offset = bytes::mix(stage.seed) % ((1 << 20) / len) * len;
                let range: Range = (offset, len);
                let figures = tools::h2load(&self.folder, to, &self.objects, range, stage.seconds, stage.seed)?;
                (figures.bytes, figures.seconds)
            }
        };
        let (cpu, load) = (process.cpu() - before.0, own_cpu() - before.1);
        let mib = bytes / f64::from(1 << 20);
        Ok([mib / seconds, mib / cpu.max(0.01), mib / (cpu + load).max(0.01), 100.0 * load / seconds])
    }
}

/// Node and nginx in turns.
pub(crate) fn held(stage: &mut Stage) -> io::Result<()> {
    let held = Held::start(stage, "held", OBJECTS)?;
    stage.data =
        format!("{CONNECTIONS} connections, one object of {} MiB, {OBJECTS} of 1 MiB for HTTP/2", held.size >> 20);
    if held.nginx.is_none() {
        stage.table.note("nginx is not installed here: the node alone was measured");
    }
    let mut cases = Vec::new();
    for (secure, tool, name) in [
        (false, Tool::Native, "plain"),
        (false, Tool::Unread, "plain, unread"),
        (false, Tool::Wrk, "plain, wrk"),
        (true, Tool::Native, "TLS 1.3"),
        (true, Tool::Wrk, "TLS 1.3, wrk"),
        (true, Tool::H2load, "HTTP/2, h2load"),
    ] {
        let there = match tool {
            Tool::Native | Tool::Unread => true,
            Tool::Wrk => tools::has("wrk"),
            Tool::H2load => tools::has("h2load"),
        };
        if !there {
            stage.table.note(format!("{name}: the load is not installed here"));
            continue;
        }
        cases.extend(SIZES.map(|(len, size)| (secure, tool, name, len, size)));
    }
    for (secure, tool, name, len, size) in cases {
        let (mut node, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..stage.rounds {
            node.push(held.turn(stage, tool, secure, len, (held.node.http, held.node.https, &held.node.process))?);
            if let Some(nginx) = &held.nginx {
                peer.push(held.turn(stage, tool, secure, len, (nginx.http, nginx.https, &nginx.process))?);
            }
        }
        let (speed, cost) = wanted(secure, tool, len);
        rows(stage, &format!("held, {size}, {name}"), &node, &[("nginx", peer)], [speed, cost]);
    }
    Ok(())
}

/// A row for each measure. Which one decides over the throughput follows from how busy the load's core was.
fn rows(
    stage: &mut Stage,
    scenario: &str,
    node: &[Figures],
    peers: &[(&'static str, Vec<Figures>)],
    wanted: [Option<Wanted>; 2],
) {
    let from = stage.table.rows.len();
    for (at, (what, unit)) in MEASURES.into_iter().enumerate() {
        let beside = peers.iter().map(|(name, figures)| (*name, of(figures, at)));
        stage.table.push(scenario, what, unit, of(node, at), beside, wanted.get(at).copied().flatten());
        if at == THROUGHPUT
            && let ([Some(speed), cost], Some((_, peer))) = (wanted, peers.first())
        {
            stage.table.decide(decided(node, peer, cost.unwrap_or(speed)));
        }
    }
    stage.show(from);
}

/// One figure of each turn.
fn of(figures: &[Figures], at: usize) -> Vec<f64> {
    figures.iter().map(|turn| turn[at]).collect()
}

/// What decides over the throughput: itself, or what each server CPU-second brings, of which `bound` is wanted.
fn decided(node: &[Figures], peer: &[Figures], bound: Wanted) -> Decided {
    if median(&of(node, LOAD)).max(median(&of(peer, LOAD))) < FULL {
        return Decided::ByItself;
    }
    Decided::By { what: MEASURES[COST].0.into(), node: of(node, COST), peer: of(peer, COST), bound }
}

/// What is wanted of throughput, and of bytes for each processor second of the server. Where nothing of its own is wanted of the
/// latter and it decides, what is wanted of throughput is wanted of it.
fn wanted(secure: bool, tool: Tool, len: u64) -> (Option<Wanted>, Option<Wanted>) {
    let speed = match (secure, len) {
        (false, 0x10_0000) => Some(2.0),
        (false, 0x1_0000) | (true, 0x10_0000 | 0x1_0000) => Some(1.2),
        (false, _) => Some(1.3),
        _ => None,
    };
    let cost = match (secure, len) {
        (false, 0x10_0000) => Some(1.6),
        (true, 0x10_0000) => Some(1.5),
        _ => None,
    };
    let bound =
        |value: Option<f64>| value.filter(|_| matches!(tool, Tool::Native | Tool::Wrk)).map(Wanted::RatioAtLeast);
    (bound(speed), bound(cost))
}

/// The node beside loops that do nothing but give out bytes, and nginx: which way of giving them out costs what, with bodies
/// that are read and with bodies that are thrown away.
pub(crate) fn floor(stage: &mut Stage) -> io::Result<()> {
    let held = Held::start(stage, "floor", 0)?;
    stage.data = format!("{CONNECTIONS} connections, one object of {} MiB", held.size >> 20);
    let bare = |way: &str| -> io::Result<(SocketAddr, Process)> {
        let at = free_port()?;
        let words = [
            std::env::current_exe()?.display().to_string(),
            "--floor".into(),
            at.port().to_string(),
            held.file.display().to_string(),
            way.into(),
        ];
        let process = Process::start(stage.cores.server, &words, &held.folder.join(format!("floor-{way}.log")))?;
        wait_for("the floor to listen", || std::net::TcpStream::connect(at).is_ok())?;
        Ok((at, process))
    };
    let (writes, sends) = (bare("write")?, bare("sendfile")?);
    let mut peers = vec![("bare loop", writes.0, &writes.1), ("bare loop, sendfile", sends.0, &sends.1)];
    if let Some(nginx) = &held.nginx {
        peers.push(("nginx", nginx.http, &nginx.process));
    }
    let mut cases: Vec<_> = SIZES.map(|size| (Tool::Unread, "plain, unread", size)).to_vec();
    for (tool, name) in [(Tool::Native, "plain"), (Tool::Wrk, "plain, wrk")] {
        if tool != Tool::Wrk || tools::has("wrk") {
            cases.extend(SIZES[..2].iter().map(|size| (tool, name, *size)));
        }
    }
    for (tool, name, (len, size)) in cases {
        let mut node = Vec::new();
        let mut beside: Vec<(&'static str, Vec<Figures>)> = peers.iter().map(|peer| (peer.0, Vec::new())).collect();
        for _ in 0..stage.rounds {
            node.push(held.turn(stage, tool, false, len, (held.node.http, held.node.https, &held.node.process))?);
            for ((_, figures), (_, at, process)) in beside.iter_mut().zip(&peers) {
                figures.push(held.turn(stage, tool, false, len, (*at, *at, process))?);
            }
        }
        let bound = (len == 1 << 20).then_some(Wanted::RatioAtLeast(0.85));
        rows(stage, &format!("floor, {size}, {name}"), &node, &beside, [bound, bound]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_costs_decides_where_either_load_is_full() {
        let turn = |load: f64| vec![[1000.0, 1100.0, 600.0, load]];
        let by_cost = |node, peer| matches!(decided(&turn(node), &turn(peer), Wanted::RatioAtLeast(1.6)), Decided::By { node, .. } if node == [1100.0]);
        assert!(!by_cost(46.5, 88.4));
        assert!(by_cost(65.5, 94.0));
        assert!(by_cost(97.4, 75.0));
    }

    #[test]
    fn bounds_are_of_the_loads_that_read() {
        assert!(wanted(false, Tool::Unread, 1 << 20).0.is_none());
        for tool in [Tool::Native, Tool::Wrk] {
            let (speed, cost) = wanted(false, tool, 1 << 20);
            assert!(matches!((speed, cost), (Some(Wanted::RatioAtLeast(2.0)), Some(Wanted::RatioAtLeast(1.6)))));
            assert!(wanted(false, tool, 64 << 10).1.is_none());
        }
    }
}
