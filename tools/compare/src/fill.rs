//! Filling: what nobody has yet, from an origin shaped as real links are. Beside nginx, varnish and squid, each with an
//! empty cache for each turn. "The link" is what four plain connections with ranges of 8 MiB get from the same origin.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::load::{Load, Order, Outcome, pieces};
use crate::nginx::Nginx;
use crate::node::{Node, Setup};
use crate::origin::{Log, Object, Origin, SHAPE};
use crate::peers::Peer;
use crate::process::Process;
use crate::stage::Stage;
use crate::table::{Wanted, median, percentile};
use crate::tools;
use crate::wire::Body;

const NAME: &str = "/c/msdownload/update/software/compare";

/// A cache with nothing in it.
enum Cache {
    Node(Node),
    Nginx(Nginx),
    Peer(Peer),
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Node,
    Nginx,
    Varnish,
    Squid,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Nginx => "nginx",
            Self::Varnish => "varnish",
            Self::Squid => "squid",
        }
    }

    /// The node, and the peers that are installed.
    fn all(stage: &mut Stage) -> Vec<Self> {
        let mut all = vec![Self::Node];
        for (kind, program) in [(Self::Nginx, "nginx"), (Self::Varnish, "varnishd"), (Self::Squid, "squid")] {
            if tools::has(program) {
                all.push(kind);
            } else {
                stage.table.note(format!("{program} is not installed here"));
            }
        }
        all
    }

    fn start(self, stage: &Stage, number: usize, origin: SocketAddr) -> io::Result<Cache> {
        let folder = stage.folder.join(format!("{}-{number}", self.name()));
        let core = stage.cores.server;
        Ok(match self {
            Self::Node => Cache::Node(Node::start(&Setup {
                program: &stage.program,
                folder: &folder,
                core,
                origins: &[origin],
                more: "",
                before: &[],
            })?),
            Self::Nginx => Cache::Nginx(Nginx::cache(&folder, origin, core)?),
            Self::Varnish => Cache::Peer(Peer::varnish(&folder, origin, core)?),
            Self::Squid => Cache::Peer(Peer::squid(&folder, origin, core)?),
        })
    }
}

/// What the figures of `kinds` are gathered in.
fn figures(kinds: &[Kind]) -> Figures {
    Figures::new(kinds.iter().map(|kind| kind.name()).collect())
}

impl Cache {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Node(node) => node.http,
            Self::Nginx(nginx) => nginx.http,
            Self::Peer(peer) => peer.http,
        }
    }

    fn process(&self) -> &Process {
        match self {
            Self::Node(node) => &node.process,
            Self::Nginx(nginx) => &nginx.process,
            Self::Peer(peer) => &peer.process,
        }
    }

    fn target(&self, origin: SocketAddr, path: &str) -> String {
        match self {
            Self::Node(_) => Node::target(origin, path),
            Self::Nginx(_) | Self::Peer(_) => path.to_owned(),
        }
    }
}

/// One turn: what the clients saw, what the origin saw, what the cache's process cost.
struct Turn {
    outcome: Outcome,
    log: Log,
    cpu: f64,
    /// When a fault of the link was over.
    mended: Option<Instant>,
}

/// The object of these scenarios.
fn object(stage: &Stage, number: u64, size: u64) -> Object {
    Object { path: format!("{NAME}-{number}.cab"), size, seed: stage.seed + number }
}

fn load(stage: &Stage, to: SocketAddr, target: String, body: Body) -> Load {
    Load {
        to,
        tls: None,
        targets: vec![target],
        ranges: Vec::new(),
        clients: 1,
        connections: 1,
        body,
        seed: stage.seed,
        lasts: None,
        limit: Duration::from_secs(if stage.quick { 12 } else { 150 }),
        order: Order::Given,
        own_addresses: true,
        pause: Duration::ZERO,
        rate: None,
    }
}

/// What the link gives to four plain connections: bytes a second.
fn link(stage: &Stage, object: &Object) -> io::Result<f64> {
    let origin = Origin::start(vec![object.clone()], SHAPE)?;
    let mut plain = load(stage, origin.address, object.path.clone(), Body::Drop);
    plain.ranges = pieces(object.size, 8 << 20);
    plain.connections = 4;
    let outcome = plain.run()?.clean("the link")?;
    Ok(object.size as f64 / outcome.seconds)
}

/// An empty cache of `kind` before a fresh origin with `object`; `shape` makes the load; the link fails as `fault` says once half
/// of the object has crossed it.
fn turn(
    stage: &Stage,
    number: &mut usize,
    kind: Kind,
    object: &Object,
    body: Body,
    fault: Option<(u32, Duration)>,
    shape: impl FnOnce(&mut Load),
) -> io::Result<Turn> {
    *number += 1;
    let origin = Origin::start(vec![object.clone()], SHAPE)?;
    let cache = kind.start(stage, *number, origin.address)?;
    let mut load = load(stage, cache.address(), cache.target(origin.address, &object.path), body);
    if kind != Kind::Node && fault.is_none() {
        // Some peers never end here; what they reached by then is told.
        load.limit = load.limit.min(Duration::from_mins(1));
    }
    shape(&mut load);
    let before = cache.process().cpu();
    let (outcome, mended) = std::thread::scope(|scope| {
        let breaker = scope.spawn(|| {
            let (percent, lasts) = fault?;
            let end = Instant::now() + Duration::from_mins(1);
            while origin.sent() < object.size / 2 && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            origin.link(percent);
            std::thread::sleep(lasts);
            origin.link(100);
            Some(Instant::now())
        });
        let outcome = load.run();
        (outcome, breaker.join().ok().flatten())
    });
    let cpu = cache.process().cpu() - before;
    let outcome = outcome?;
    if let (Cache::Node(node), Some(_)) = (&cache, &outcome.first_error) {
        // The folder is gone with the run, and what a client was told is not the reason.
        node.complain();
    }
    Ok(Turn { outcome, log: origin.take_log(), cpu, mended })
}

/// Says what went wrong in a turn, if anything did.
fn tell(stage: &mut Stage, scenario: &str, kind: Kind, outcome: &Outcome) {
    if let Some(error) = &outcome.first_error {
        stage.table.note(format!("{scenario}, {}: {} errors, the first: {error}", kind.name(), outcome.errors));
    }
}

pub(crate) fn fill(stage: &mut Stage) -> io::Result<()> {
    let size = if stage.quick { 64 << 20 } else { 512 << 20 };
    let object = object(stage, 0, size);
    stage.data = format!(
        "an object of {} MiB, {} of 64 MiB for the ranges in the middle, which are gone through once",
        size >> 20,
        middles(stage)
    );
    let mut number = 0;
    let kinds = Kind::all(stage);
    let near: Vec<Kind> = kinds.iter().copied().filter(|kind| matches!(kind, Kind::Node | Kind::Nginx)).collect();
    let mut links = Vec::new();
    let (mut one, mut many, mut alike) = (figures(&kinds), figures(&kinds), figures(&near));
    for _ in 0..stage.rounds {
        let link = link(stage, &object)?;
        links.push(link / 1e6);
        for (at, kind) in kinds.iter().copied().enumerate() {
            let body = Body::Check(object.seed);
            match turn(stage, &mut number, kind, &object, body, None, |_| {}) {
                Ok(turn) => {
                    tell(stage, "one client", kind, &turn.outcome);
                    let speed = turn.outcome.bytes as f64 / turn.outcome.seconds;
                    one.add(at, "speed", "MB/s", speed / 1e6, None);
                    one.add(at, "speed over the link's", "×", speed / link, Some(Wanted::AtLeast(0.9)));
                    one.add(at, "server CPU", "s/GB", turn.cpu / (turn.outcome.bytes as f64 / 1e9), None);
                }
                Err(error) => stage.table.note(format!("one client, {}: {error}", kind.name())),
            }
            clean(stage)?;
            eight(stage, &mut number, (at, kind), &object, link, Order::Own, &mut many)?;
        }
        for (at, kind) in near.iter().copied().enumerate() {
            eight(stage, &mut number, (at, kind), &object, link, Order::Shared, &mut alike)?;
        }
    }
    stage.table.push("fill, the link", "four plain connections", "MB/s", links, None, None);
    one.show(stage, "fill, one client start to end");
    many.show(stage, "fill, 8 clients × 7 connections, each its own order");
    alike.show(stage, "fill, 8 clients × 7 connections, one order for all");
    middle(stage, &mut number)
}

/// Eight clients with seven connections each and shuffled ranges of 1 MiB: one turn of one cache.
fn eight(
    stage: &mut Stage,
    number: &mut usize,
    (at, kind): (usize, Kind),
    object: &Object,
    link: f64,
    order: Order,
    figures: &mut Figures,
) -> io::Result<()> {
    let name = if order == Order::Own { "eight clients" } else { "eight clients, one order" };
    let shape = |load: &mut Load| many(load, object.size, order);
    match turn(stage, number, kind, object, Body::Glance(object.seed), None, shape) {
        Ok(turn) => {
            tell(stage, name, kind, &turn.outcome);
            judge(&turn, object.size as f64, link, |what, unit, value, wanted| {
                figures.add(at, what, unit, value, wanted);
            });
        }
        Err(error) => stage.table.note(format!("{name}, {}: {error}", kind.name())),
    }
    clean(stage)
}

/// Makes `load` eight clients with seven connections each, who ask for all pieces of 1 MiB.
fn many(load: &mut Load, size: u64, order: Order) {
    load.clients = 8;
    load.connections = 7;
    load.ranges = pieces(size, 1 << 20);
    load.order = order;
}

/// What eight clients saw of an object of `size` bytes over a link of so many bytes a second, and what the origin saw.
fn judge(turn: &Turn, size: f64, link: f64, mut add: impl FnMut(&'static str, &'static str, f64, Option<Wanted>)) {
    let seen = &turn.outcome;
    let (bytes, twice) = turn.log.bytes();
    let done = if seen.errors > 0 { seen.seconds } else { percentile(&seen.client_done, 1.0) };
    let most = |bound: f64| Some(Wanted::AtMost(bound));
    let never_more = |bound: f64| Some(Wanted::EachAtMost(bound));
    add("a client's first byte, p50", "ms", median(&seen.client_first_byte), most(150.0));
    add("first byte of all requests, p95", "ms", seen.first_byte_at(0.95), most(2000.0));
    add("end of all requests, p95", "ms", seen.last_byte_at(0.95), most(2000.0));
    add("last client done over size/link", "×", done / (size / link), most(1.15));
    add("origin connections, most at once", "", turn.log.most_open as f64, never_more(8.0));
    add("origin connections, opened", "", turn.log.connections as f64, None);
    add("origin requests", "", turn.log.requests as f64, None);
    add("bytes fetched over size", "×", bytes as f64 / size, never_more(1.0));
    add("bytes fetched twice", "MB", twice as f64 / 1e6, None);
    add("longest silence", "s", seen.longest_silence(None), None);
    add("errors", "", seen.errors as f64, never_more(0.0));
    add("server CPU", "s/GB given out", turn.cpu / (seen.bytes as f64 / 1e9), None);
}

/// Throws the caches of past turns away.
fn clean(stage: &Stage) -> io::Result<()> {
    for entry in fs::read_dir(&stage.folder)?.flatten() {
        fs::remove_dir_all(entry.path())?;
    }
    Ok(())
}

/// How many objects are asked for a range in their middle.
fn middles(stage: &Stage) -> u64 {
    if stage.quick { 4 } else { 15 }
}

/// One range in the middle of an object that nobody has; several objects, one after the other.
fn middle(stage: &mut Stage, number: &mut usize) -> io::Result<()> {
    let objects: Vec<Object> = (1..=middles(stage)).map(|at| object(stage, at, 64 << 20)).collect();
    let range = (31 << 20, 1 << 20);
    let kinds = Kind::all(stage);
    let mut figures = figures(&kinds);
    for (at, kind) in kinds.into_iter().enumerate() {
        *number += 1;
        let origin = Origin::start(objects.clone(), SHAPE)?;
        let cache = kind.start(stage, *number, origin.address)?;
        let (mut direct, mut through) = (Vec::new(), Vec::new());
        for object in &objects {
            let mut plain = load(stage, origin.address, object.path.clone(), Body::Check(object.seed));
            plain.ranges = vec![range];
            let asked = plain.clone();
            direct.push(plain.run()?.clean("the origin")?.seconds * 1e3);
            // The origin's line is free again before the cache asks over it.
            std::thread::sleep(Duration::from_millis(100));
            let asked =
                Load { to: cache.address(), targets: vec![cache.target(origin.address, &object.path)], ..asked };
            let outcome = asked.run()?;
            tell(stage, "one range", kind, &outcome);
            through.push(outcome.seconds * 1e3);
        }
        let ratio = median(&through) / median(&direct);
        figures.add(at, "1 MiB, median", "ms", median(&through), None);
        figures.add(at, "over the origin's own time", "×", ratio, Some(Wanted::AtMost(1.5)));
        // What was asked directly is in the log too.
        let log = origin.take_log();
        let all = objects.len() as f64;
        figures.add(at, "origin requests for it", "", (log.requests as f64 - all) / all, None);
        figures.add(at, "bytes fetched for it", "MiB", log.bytes().0 as f64 / f64::from(1 << 20) / all - 1.0, None);
        drop(cache);
        clean(stage)?;
    }
    figures.show(stage, "fill, one range in the middle");
    Ok(())
}

/// A link that is cut, and one that slows down, half-way.
pub(crate) fn faults(stage: &mut Stage) -> io::Result<()> {
    let size = if stage.quick { 64 << 20 } else { 512 << 20 };
    stage.data = format!("an object of {} MiB, eight clients, each in its own order", size >> 20);
    let object = object(stage, 0, size);
    let kinds: Vec<Kind> =
        Kind::all(stage).into_iter().filter(|kind| matches!(kind, Kind::Node | Kind::Nginx)).collect();
    let mut number = 0;
    let seconds = |whole: u64, quick: u64| Duration::from_secs(if stage.quick { quick } else { whole });
    let faults = [
        (0, seconds(10, 1), format!("fill, link cut for {} s", seconds(10, 1).as_secs())),
        (1, seconds(60, 2), format!("fill, link at 1 % for {} s", seconds(60, 2).as_secs())),
    ];
    for (percent, lasts, scenario) in faults {
        let mut figures = figures(&kinds);
        for (at, kind) in (0..stage.rounds).flat_map(|_| kinds.iter().copied().enumerate()) {
            let shape = |load: &mut Load| {
                many(load, size, Order::Own);
                load.limit += lasts;
            };
            let fault = Some((percent, lasts));
            let turn = turn(stage, &mut number, kind, &object, Body::Glance(object.seed), fault, shape)?;
            tell(stage, &scenario, kind, &turn.outcome);
            let (bytes, _) = turn.log.bytes();
            let seen = &turn.outcome;
            figures.add(
                at,
                "longest silence once the link is back",
                "s",
                seen.longest_silence(turn.mended),
                Some(Wanted::EachAtMost(20.0)),
            );
            figures.add(at, "longest silence", "s", seen.longest_silence(None), None);
            figures.add(at, "errors", "", seen.errors as f64, Some(Wanted::EachAtMost(0.0)));
            figures.add(at, "last client done", "s", seen.seconds, None);
            figures.add(at, "bytes fetched over size", "×", bytes as f64 / size as f64, None);
            clean(stage)?;
        }
        figures.show(stage, &scenario);
    }
    Ok(())
}
