//! Crowds: many idle connections, many clients on one hot object, many on one that is not there yet; and what memory the
//! node takes for them.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::load::{Load, Outcome, pieces};
use crate::node::{Node, Setup};
use crate::origin::{Object, Origin, SHAPE};
use crate::process::{Memory, Process};
use crate::stage::Stage;
use crate::table::Wanted;
use crate::wire::{BUFFER, Body, Nothing, Wire};

const MIB: f64 = 1_048_576.0;

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
    let size = 64 << 20;
    let object = Object { path: "/c/msdownload/update/software/crowd.cab".into(), size, seed: stage.seed };
    let origin = Origin::start(vec![object.clone()], SHAPE)?;
    let node = node(stage, "crowd", origin.address)?;
    let target = Node::target(origin.address, &object.path);
    let load = Load {
        to: node.http,
        tls: None,
        targets: vec![target.clone()],
        ranges: Vec::new(),
        clients: if stage.quick { 50 } else { 500 },
        connections: 1,
        body: Body::Glance(object.seed),
        seed: stage.seed,
        lasts: None,
        limit: Duration::from_mins(5),
        in_order: true,
        own_addresses: true,
        pause: Duration::ZERO,
    };
    cold(stage, &node, &origin, load.clone())?;
    let hot = Load {
        clients: if stage.quick { 200 } else { 2000 },
        ranges: pieces(size, 1 << 20),
        in_order: false,
        lasts: Some(Duration::from_secs(if stage.quick { 2 } else { 10 })),
        ..load
    };
    active(stage, &node, hot)?;
    idle(stage, &node, &target)
}

/// All of them at once on an object that nobody has.
fn cold(stage: &mut Stage, node: &Node, origin: &Origin, load: Load) -> io::Result<()> {
    let (count, before) = (load.clients, node.process.memory());
    let (outcome, most) = watched(&node.process, load)?;
    let (bytes, _) = origin.take_log().bytes();
    let scenario = format!("crowd, {count} clients on one cold object of 64 MiB");
    if let Some(error) = &outcome.first_error {
        stage.table.note(format!("{scenario}: {error}"));
    }
    let from = stage.table.rows.len();
    let fetched = bytes as f64 / f64::from(64 << 20);
    let table = &mut stage.table;
    table.push(&scenario, "bytes fetched over size", "×", vec![fetched], None, Some(Wanted::AtMost(1.0)));
    table.push(&scenario, "errors", "", vec![outcome.errors as f64], None, Some(Wanted::AtMost(0.0)));
    table.push(&scenario, "throughput", "MiB/s", vec![outcome.mib_per_s()], None, None);
    table.push(&scenario, "first byte, p95", "ms", vec![outcome.first_byte_at(0.95)], None, None);
    table.push(
        &scenario,
        "longest silence",
        "s",
        vec![outcome.longest_silence(None)],
        None,
        Some(Wanted::AtMost(10.0)),
    );
    table.push(&scenario, "anonymous memory, most", "MiB", vec![most.anonymous as f64 / MIB], None, None);
    table.push(&scenario, "anonymous memory before", "MiB", vec![before.anonymous as f64 / MIB], None, None);
    stage.show(from);
    Ok(())
}

/// All of them busy with what is held.
fn active(stage: &mut Stage, node: &Node, load: Load) -> io::Result<()> {
    let count = load.clients;
    let before = node.process.cpu();
    let (outcome, most) = watched(&node.process, load)?;
    let cpu = node.process.cpu() - before;
    let scenario = format!("crowd, {count} clients on one hot object");
    if let Some(error) = &outcome.first_error {
        stage.table.note(format!("{scenario}: {error}"));
    }
    let from = stage.table.rows.len();
    let table = &mut stage.table;
    table.push(&scenario, "errors", "", vec![outcome.errors as f64], None, Some(Wanted::AtMost(0.0)));
    table.push(&scenario, "throughput", "MiB/s", vec![outcome.mib_per_s()], None, None);
    let each = outcome.bytes as f64 / MIB / cpu.max(0.01);
    table.push(&scenario, "for each server CPU-second", "MiB", vec![each], None, None);
    table.push(&scenario, "first byte, p99", "ms", vec![outcome.first_byte_at(0.99)], None, None);
    table.push(&scenario, "anonymous memory, most", "MiB", vec![most.anonymous as f64 / MIB], None, None);
    stage.show(from);
    Ok(())
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
            let mut wire = Wire::open(node.http, Some(own), None).await?;
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
    table.push(&scenario, "anonymous memory", "MiB", vec![anonymous], None, Some(Wanted::AtMost(286.1)));
    table.push(&scenario, "resident memory, mapped files too", "MiB", vec![after.resident as f64 / MIB], None, None);
    let each = (after.anonymous.saturating_sub(before.anonymous)) as f64 / 1024.0 / count as f64;
    table.push(&scenario, "anonymous memory for each", "KiB", vec![each], None, None);
    table.push(&scenario, "closed by the node", "", vec![f64::from(lost)], None, Some(Wanted::AtMost(0.0)));
    stage.show(from);
    Ok(())
}
