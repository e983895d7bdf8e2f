//! Thin links: a small origin of our own that gives all connections together one rate.

use std::io;
use std::time::Instant;

use crate::Stage;
use crate::bytes::{Dice, Object};
use crate::client::{PIECE, all_pieces, pull};
use crate::node::Node;
use crate::origin::Origin;

const MIB: u64 = 1 << 20;

/// 24 MiB over 2 Mbit/s: the client gives up on any response under 4 kB/s for 20 s, so it must see every one move.
pub(crate) fn thin_link(stage: &Stage) -> io::Result<String> {
    let objects = vec![Object::new("/c/msdownload/update/thin.cab", 24 * MIB, 5)];
    let origin = Origin::start(objects.clone(), 2_000_000 / 8)?;
    let mut node = Node::start(&stage.program, &stage.folder, &[origin.address], "")?;
    let start = Instant::now();
    let seen = pull(node.http, origin.address, &objects, all_pieces(&objects), 7, 11)?;
    let seconds = start.elapsed().as_secs_f64();
    if seen.bytes != 24 * MIB || origin.sent() > 25 * MIB {
        return Err(io::Error::other(format!(
            "{} bytes reached the client, {} crossed the link",
            seen.bytes,
            origin.sent()
        )));
    }
    node.stop()?;
    Ok(format!(
        "     {seconds:.0} s for 24 MiB ({:.0} % of the link), {} requests, {:.2} MiB crossed it",
        24.0 * MIB as f64 / 250_000.0 / seconds * 100.0,
        origin.requests(),
        origin.sent() as f64 / MIB as f64
    ))
}

/// A client of a 4 GiB object that wants 3 % of it, in runs as an express update reads them.
pub(crate) fn thin_demand(stage: &Stage) -> io::Result<String> {
    let objects = vec![Object::new("/c/msdownload/update/large.psf", 4096 * MIB, 6)];
    let origin = Origin::start(objects.clone(), 0)?;
    let mut node = Node::start(&stage.program, &stage.folder, &[origin.address], "")?;
    let wanted = 4096 * 3 / 100;
    let mut dice = Dice::new(9);
    let mut pieces = std::collections::BTreeSet::new();
    while pieces.len() < wanted {
        let start = dice.below(4096 * MIB / PIECE);
        for piece in start..(start + 1 + dice.below(4)).min(4096) {
            pieces.insert((0, piece));
        }
    }
    let bytes = pieces.len() as u64 * PIECE;
    let seen = pull(node.http, origin.address, &objects, pieces.into_iter().collect(), 7, 12)?;
    // The node must not go on fetching behind the client's back: let it drain, then count.
    node.stop()?;
    let sent = origin.sent();
    if seen.bytes != bytes || sent > bytes + bytes / 4 {
        return Err(io::Error::other(format!("{bytes} bytes were wanted, {sent} crossed the link")));
    }
    Ok(format!(
        "     {} MiB wanted, {:.1} MiB crossed the link in {} requests",
        bytes / MIB,
        sent as f64 / MIB as f64,
        origin.requests()
    ))
}
