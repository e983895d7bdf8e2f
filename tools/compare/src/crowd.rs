//! Crowds: many idle connections, many clients on one hot object, many on one that is not there yet; and what memory the
//! node takes for them.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::load::{Load, Order, Outcome, pieces};
use crate::node::{Node, Setup};
use crate::origin::{Object, Origin, SHAPE};
use crate::process::{Memory, Process};
use crate::stage::Stage;
use crate::table::Wanted;
use crate::wire::{BUFFER, Body, Nothing, Wire};

/// Bytes a second of a client that is slower than the link.
const SLOW: u64 = 2 << 20;

const MIB: f64 = 1_048_576.0;

/// MiB that a node may take for itself and its index cache, and for each connection: what `check-config` reckons with
/// (docs/SIZING.md).
const PROGRAM: f64 = 96.0 + 64.0;
const CONNECTION: f64 = 288.0 / 1024.0;

/// How much more memory an object of twice the size may take: none, but what is seen every 200 ms is the most of a swing, and
/// of a longer run more is seen.
const GROWTH: f64 = 1.25;

/// A node that admits a crowd: the shipped limit is 4,096 connections.
fn node(stage: &Stage, name: &str, origin: SocketAddr) -> io::Result<Node> {
    Node::start(&Setup {
        program: &stage.program,
        folder: &stage.folder.join(name),
        core: stage.cores.server,
        origins: &[origin],
        more: "[limits]\nconnections = 16000\nidle = \"10 min\"\n",
        before: &[],
    })
}

/// Runs `load` and watches the memory of `process` meanwhile: the most that was seen.
fn watched(process: &Process, load: Load) -> io::Result<(Outcome, Memory)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = Memory::default();
            while !over.load(Ordering::Relaxed) {
                let now = process.memory();
                most.anonymous = most.anonymous.max(now.anonymous);
                most.resident = most.resident.max(now.resident);
                std::thread::sleep(Duration::from_millis(200));
            }
            most
        });
        let outcome = load.run();
        over.store(true, Ordering::Relaxed);
        let most = watch.join().unwrap_or_default();
        Ok((outcome?, most))
    })
}

pub(crate) fn crowd(stage: &mut Stage) -> io::Result<()> {
    // Two sizes, each at a node of its own: what the clients take must not grow with what they ask for. The smaller one still takes
    // seconds to come, so that all clients wait for it at once and the most is seen with either.
    let sizes: [u64; 2] = if stage.quick { [64 << 20, 128 << 20] } else { [256 << 20, 512 << 20] };
    stage.data = format!("objects of {} and {} MiB, each at a node of its own", sizes[0] >> 20, sizes[1] >> 20);
    let mut smaller: Option<[f64; 2]> = None;
    for (number, size) in sizes.into_iter().enumerate() {
        let path = format!("/c/msdownload/update/software/crowd-{number}.cab");
        let object = Object { path, size, seed: stage.seed + number as u64 };
        let origin = Origin::start(vec![object.clone()], SHAPE)?;
        let node = node(stage, &format!("crowd-{number}"), origin.address)?;
        let load = load(stage, &node, &origin, &object);
        let cold = cold(stage, &node, &origin, load.clone(), size, smaller.map(|most| most[0]))?;
        let hot = Load {
            clients: if stage.quick { 200 } else { 2000 },
            ranges: pieces(size, 1 << 20),
            order: Order::Own,
            lasts: Some(Duration::from_secs(if stage.quick { 2 } else { 10 })),
            ..load
        };
        smaller = Some([cold, active(stage, &node, hot, size, smaller.map(|most| most[1]))?]);
    }
    slow(stage, smaller.map(|most| most[0]))?;
    // A node of its own again: what another crowd left with the allocator would count for less than nothing.
    let object = Object { path: "/c/msdownload/update/software/idle.cab".into(), size: 1 << 20, seed: stage.seed };
    let origin = Origin::start(vec![object.clone()], SHAPE)?;
    let node = node(stage, "idle", origin.address)?;
    Load { clients: 1, ..load(stage, &node, &origin, &object) }.run()?.clean("what idle connections ask for")?;
    idle(stage, &node, &Node::target(origin.address, &object.path))
}

/// Everybody asks for the whole of `object`.
fn load(stage: &Stage, node: &Node, origin: &Origin, object: &Object) -> Load {
    Load {
        to: node.http,
        tls: None,
        targets: vec![Node::target(origin.address, &object.path)],
        ranges: Vec::new(),
        clients: if stage.quick { 50 } else { 500 },
        connections: 1,
        body: Body::Glance(object.seed),
        seed: stage.seed,
        lasts: None,
        limit: Duration::from_mins(10),
        order: Order::Given,
        own_addresses: true,
        pause: Duration::ZERO,
        rate: None,
    }
}

/// The rows of what memory `count` clients took at most, beside what as many took with a smaller object; in MiB.
fn memory(stage: &mut Stage, scenario: &str, count: usize, most: Memory, smaller: Option<f64>) -> f64 {
    let most = most.anonymous as f64 / MIB;
    let bound = PROGRAM + CONNECTION * count as f64;
    stage.table.push(scenario, "anonymous memory, most", "MiB", vec![most], None, Some(Wanted::EachAtMost(bound)));
    if let Some(smaller) = smaller {
        let over = vec![most / smaller];
        let what = "anonymous memory over that with the smaller object";
        stage.table.push(scenario, what, "×", over, None, Some(Wanted::AtMost(GROWTH)));
    }
    most
}

/// All of them at once on an object that nobody has.
fn cold(
    stage: &mut Stage,
    node: &Node,
    origin: &Origin,
    load: Load,
    size: u64,
    smaller: Option<f64>,
) -> io::Result<f64> {
    let (count, before) = (load.clients, node.process.memory());
    let (outcome, most) = watched(&node.process, load)?;
    let (bytes, _) = origin.take_log().bytes();
    let scenario = format!("crowd, {count} clients on one cold object of {} MiB", size >> 20);
    if let Some(error) = &outcome.first_error {
        stage.table.note(format!("{scenario}: {error}"));
    }
    let from = stage.table.rows.len();
    let fetched = bytes as f64 / size as f64;
    let table = &mut stage.table;
    table.push(&scenario, "bytes fetched over size", "×", vec![fetched], None, Some(Wanted::EachAtMost(1.0)));
    table.push(&scenario, "errors", "", vec![outcome.errors as f64], None, Some(Wanted::EachAtMost(0.0)));
    table.push(&scenario, "throughput", "MiB/s", vec![outcome.mib_per_s()], None, None);
    table.push(&scenario, "first byte, p95", "ms", vec![outcome.first_byte_at(0.95)], None, None);
    table.push(
        &scenario,
        "longest silence",
        "s",
        vec![outcome.longest_silence(None)],
        None,
        Some(Wanted::EachAtMost(10.0)),
    );
    table.push(&scenario, "anonymous memory before", "MiB", vec![before.anonymous as f64 / MIB], None, None);
    let most = memory(stage, &scenario, count, most, smaller);
    stage.show(from);
    Ok(most)
}

/// As many, who read what nobody has more slowly than it comes: what waits for them must not pile up.
fn slow(stage: &mut Stage, fast: Option<f64>) -> io::Result<()> {
    let size: u64 = 64 << 20;
    let object = Object { path: "/c/msdownload/update/software/slow.cab".into(), size, seed: stage.seed + 9 };
    let origin = Origin::start(vec![object.clone()], SHAPE)?;
    let node = node(stage, "slow", origin.address)?;
    let load = Load { rate: Some(SLOW), ..load(stage, &node, &origin, &object) };
    let count = load.clients;
    let (outcome, most) = watched(&node.process, load)?;
    let (bytes, _) = origin.take_log().bytes();
    let scenario = format!("crowd, {count} clients at 2 MiB/s each on one cold object of {} MiB", size >> 20);
    if let Some(error) = &outcome.first_error {
        stage.table.note(format!("{scenario}: {error}"));
    }
    let from = stage.table.rows.len();
    let table = &mut stage.table;
    let fetched = bytes as f64 / size as f64;
    table.push(&scenario, "bytes fetched over size", "×", vec![fetched], None, Some(Wanted::EachAtMost(1.0)));
    table.push(&scenario, "errors", "", vec![outcome.errors as f64], None, Some(Wanted::EachAtMost(0.0)));
    table.push(&scenario, "throughput", "MiB/s", vec![outcome.mib_per_s()], None, None);
    memory(stage, &scenario, count, most, None);
    if let Some(fast) = fast {
        let over = vec![most.anonymous as f64 / MIB / fast];
        stage.table.push(&scenario, "anonymous memory over that of fast ones", "×", over, None, None);
    }
    stage.show(from);
    Ok(())
}

/// All of them busy with what is held.
fn active(stage: &mut Stage, node: &Node, load: Load, size: u64, smaller: Option<f64>) -> io::Result<f64> {
    let count = load.clients;
    let before = node.process.cpu();
    let (outcome, most) = watched(&node.process, load)?;
    let cpu = node.process.cpu() - before;
    let scenario = format!("crowd, {count} clients on one hot object of {} MiB", size >> 20);
    if let Some(error) = &outcome.first_error {
        stage.table.note(format!("{scenario}: {error}"));
    }
    let from = stage.table.rows.len();
    let table = &mut stage.table;
    table.push(&scenario, "errors", "", vec![outcome.errors as f64], None, Some(Wanted::EachAtMost(0.0)));
    table.push(&scenario, "throughput", "MiB/s", vec![outcome.mib_per_s()], None, None);
    let each = outcome.bytes as f64 / MIB / cpu.max(0.01);
    table.push(&scenario, "for each server CPU-second", "MiB", vec![each], None, None);
    table.push(&scenario, "first byte, p99", "ms", vec![outcome.first_byte_at(0.99)], None, None);
    let most = memory(stage, &scenario, count, most, smaller);
    stage.show(from);
    Ok(most)
}

/// Connections that asked once and then wait.
fn idle(stage: &mut Stage, node: &Node, target: &str) -> io::Result<()> {
    let wanted: usize = if stage.quick { 1000 } else { 10_000 };
    let count = wanted.min(usize::try_from(stage.files.saturating_sub(500)).unwrap_or(wanted));
    if count < wanted {
        stage
            .table
            .note(format!("{} files may be open here: {count} idle connections instead of {wanted}", stage.files));
    }
    let before = node.process.memory();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut wires = Vec::new();
    runtime.block_on(async {
        let bin = std::cell::RefCell::new(vec![0; BUFFER]);
        let host = node.http.to_string();
        for number in 0..count {
            let own = SocketAddr::from(([127, 0, 9, (number / 200 + 1) as u8], 0));
            let mut wire = Wire::open(node.http, Some(own), None, None).await?;
            wire.ask(&host, target, Some((0, 4096))).await?;
            let head = wire.answer(Some((0, 4096)), Body::Drop, &bin, &mut Nothing).await?;
            if head.status != 206 {
                return Err(io::Error::other(format!("connection {number}: status {}", head.status)));
            }
            wires.push(wire);
        }
        Ok(())
    })?;
    std::thread::sleep(Duration::from_secs(2));
    let after = node.process.memory();
    // Each of them must still be there.
    let lost = runtime.block_on(async {
        let mut lost = 0;
        for wire in &mut wires {
            if tokio::time::timeout(Duration::ZERO, wire.closed()).await.is_ok() {
                lost += 1;
            }
        }
        lost
    });
    let scenario = format!("crowd, {count} idle connections");
    let from = stage.table.rows.len();
    let table = &mut stage.table;
    let anonymous = after.anonymous as f64 / MIB;
    table.push(&scenario, "anonymous memory", "MiB", vec![anonymous], None, Some(Wanted::EachAtMost(286.1)));
    table.push(&scenario, "resident memory, mapped files too", "MiB", vec![after.resident as f64 / MIB], None, None);
    let each = (after.anonymous.saturating_sub(before.anonymous)) as f64 / 1024.0 / count as f64;
    table.push(&scenario, "anonymous memory for each", "KiB", vec![each], None, None);
    table.push(&scenario, "closed by the node", "", vec![f64::from(lost)], None, Some(Wanted::EachAtMost(0.0)));
    stage.show(from);
    Ok(())
}
