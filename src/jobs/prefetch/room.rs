//! How much the store has room for beside what else is wanted.

use crate::jobs::content::{Sum, Tally};
use crate::store::Space;

/// A block of a file system.
const BLOCK: u64 = 4 << 10;

/// Bytes that the store may take. What endpoints ask for meanwhile has some too.
fn reach(space: &Space) -> u64 {
    let reach = space.used().saturating_add(space.disk_free.saturating_sub(space.min_free)).min(space.max_size);
    reach - reach / 20
}

/// What so many files take, at most.
fn taken(sum: Sum) -> u64 {
    sum.bytes.saturating_add(sum.files.saturating_mul(2 * BLOCK))
}

/// Bytes that can be brought until what is wanted and held, and what comes to it, fills the store. What nobody wants may be given up
/// for it, and is, before what is wanted ([`crate::jobs::prefetch::keep`]).
pub(super) fn room(space: &Space, now: &Tally) -> u64 {
    reach(space).saturating_sub(taken(now.held))
}

/// Whether something must be given up before all that is missing is there.
pub(super) fn is_short(space: &Space, now: &Tally) -> bool {
    space.used().saturating_add(taken(now.missing())) > reach(space)
}

/// What a payload of this length takes on the disk: its last block is whole, and its proof has a leaf for each 64 KiB.
pub(super) fn footprint(size: u64) -> u64 {
    let blocks = |bytes: u64| bytes.div_ceil(BLOCK).max(1).saturating_mul(BLOCK);
    blocks(size).saturating_add(blocks(size / 2048))
}
