//! Taking in: a file imported by a running node, digests, proof and all, beside a plain copy of the same bytes that is
//! made durable; what it costs, and how a request for something held fares meanwhile. Here the node may use all cores.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bytes;
use crate::load::{Load, Order};
use crate::node::{Named, Node, Setup};
use crate::stage::Stage;
use crate::table::{Wanted, percentile};
use crate::tools;
use crate::wire::Body;

/// Writes the bytes of `from` to `to` and makes them durable, name and all.
fn copy(from: &Path, to: &Path) -> io::Result<f64> {
    let start = Instant::now();
    let (mut source, mut target) = (File::open(from)?, File::create(to)?);
    let mut buf = vec![0; 1 << 20];
    loop {
        match source.read(&mut buf)? {
            0 => break,
            got => target.write_all(&buf[..got])?,
        }
    }
    target.sync_all()?;
    if let Some(folder) = to.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Asks for the same 4 KiB again and again until `over`; milliseconds to the first byte.
fn probe(load: &Load, over: &AtomicBool) -> io::Result<Vec<f64>> {
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        times.extend(load.clone().run()?.clean("the probe")?.first_byte);
    }
    Ok(times)
}

pub(crate) fn ingest(stage: &mut Stage) -> io::Result<()> {
    let size: u64 = if stage.quick { 128 << 20 } else { 1 << 30 };
    let folder = stage.folder.join("node");
    let last = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).max(stage.cores.load + 1) - 1;
    let node = Node::start(&Setup {
        program: &stage.program,
        folder: &folder,
        core: stage.cores.server,
        origins: &[],
        more: "",
        before: &["taskset".into(), "-c".into(), format!("{}-{last}", stage.cores.server)],
    })?;
    let small = stage.folder.join("small");
    let sha256 = bytes::write(&small, stage.seed + 200, 4 << 10)?;
    node.import(&small, &sha256)?;
    let load = Load {
        to: node.http,
        tls: None,
        targets: vec![format!("/sha256/{sha256}")],
        ranges: vec![(0, 4 << 10)],
        clients: 1,
        connections: 1,
        body: Body::Check(stage.seed + 200),
        seed: stage.seed,
        lasts: Some(Duration::from_millis(200)),
        limit: Duration::from_mins(1),
        order: Order::Given,
        own_addresses: false,
        pause: Duration::from_millis(2),
        rate: None,
    };
    stage.data = format!("files of {} MiB", size >> 20);
    for (published, bound) in [(Known::Sha256, 1.5), (Known::Sha1, 3.0)] {
        imports(stage, &node, &load, size, published, bound)?;
    }
    Ok(())
}

/// What is known of a file before it is taken in.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    Sha256,
    /// The SHA-1 in its address, as Microsoft's content networks name files, and nothing else: then it is the proof, and is
    /// taken with the detection of collisions.
    Sha1,
}

/// Files taken in one after the other, a figure for each turn; at most `bound` CPU-seconds a GB are wanted.
fn imports(stage: &mut Stage, node: &Node, load: &Load, size: u64, known: Known, bound: f64) -> io::Result<()> {
    let (mut wall, mut plain, mut cost, mut busy, mut calm) = (vec![], vec![], vec![], vec![], vec![]);
    // The bytes of each turn are others, so that nothing is held already.
    let first = stage.seed + if known == Known::Sha256 { 300 } else { 600 };
    for round in 0..stage.rounds as u64 {
        let (made, copied) = (stage.folder.join("made"), stage.folder.join("copied"));
        let sha256 = bytes::write(&made, first + round, size)?;
        let named = match known {
            Known::Sha256 => Named::Sha256(sha256),
            Known::Sha1 => Named::Url(format!(
                "http://download.windowsupdate.com/d/msdownload/update/software/compare_{}.cab",
                tools::sha1(&made)?
            )),
        };
        plain.push(copy(&made, &copied)?);
        fs::remove_file(&copied)?;
        let over = AtomicBool::new(false);
        let quiet = Load { lasts: Some(Duration::from_secs(1)), ..load.clone() };
        calm.push(percentile(&quiet.run()?.clean("the probe")?.first_byte, 0.99));
        let before = node.process.cpu();
        let (took, times) = std::thread::scope(|scope| {
            let probing = scope.spawn(|| probe(load, &over));
            let start = Instant::now();
            let result = node.take_in(&made, &named);
            let took = start.elapsed().as_secs_f64();
            over.store(true, Ordering::Relaxed);
            let times = probing.join().map_err(|_| io::Error::other("the probe panicked"))?;
            result.map(|()| (took, times))
        })?;
        cost.push((node.process.cpu() - before) / (size as f64 / 1e9));
        wall.push(took);
        busy.push(percentile(&times?, 0.99));
        fs::remove_file(&made)?;
    }
    let of = if known == Known::Sha256 { "SHA-256 published" } else { "only a SHA-1 published" };
    let scenario = format!("ingest, import of {} MiB, {of}", size >> 20);
    let from = stage.table.rows.len();
    let table = &mut stage.table;
    table.push(&scenario, "durable", "s", wall, [("plain copy and fsync", plain)], Some(Wanted::RatioAtMost(1.2)));
    table.push(&scenario, "CPU", "s/GB", cost, None, Some(Wanted::AtMost(bound)));
    table.push(&scenario, "first byte of a hot 4 KiB meanwhile, p99", "ms", busy, [("before", calm)], None);
    stage.show(from);
    Ok(())
}
