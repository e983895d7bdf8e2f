//! Making a new index out of the proofs, reading no payload. No node may run.
//!
//! What comes back: every payload with a good proof, its class, digests and the names known when it was published. What
//! does not: names and validators learnt later, pins, recency, notes, documents, the account, the catalog; they come back with
//! a backup, or by being learnt again (the catalog by a run: anchors are gone with it, so that everything is asked for).

use std::sync::Arc;

use crate::base::disk::Disk;
use crate::base::time::Clock;
use crate::store::config::Config;
use crate::store::error::Error;
use crate::store::identity;
use crate::store::index;
use crate::store::layout::Layout;
use crate::store::lock;
use crate::store::restore::{CACHE, beside, old_epoch, old_id, prepare, put_in_place, remove};
use crate::store::shelves::{self, Rebuilt, Terms};

/// Whether the index that is there opens and is this store's, so that a new one would only lose what stands in it. What is
/// damaged further in is not looked for.
pub fn index_opens(config: &Config, disk: &dyn Disk) -> bool {
    let layout = Layout::new(&config.path);
    let id = identity::read_if_whole(disk, &layout).ok().flatten();
    id.is_some() && id == old_id(&layout)
}

/// Makes a new index out of the proofs, reading no payload. No node may run. Blocks. The old index, if there is one, is
/// kept beside the new one. `each` is told how many payloads were looked at.
#[allow(clippy::needless_pass_by_value, reason = "called as `Store::open` is, with the same values")]
pub fn rebuild(
    config: &Config,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    each: &mut dyn FnMut(u64),
) -> Result<Rebuilt, Error> {
    let (disk, clock) = (&*disk, &*clock);
    let layout = Layout::new(&config.path);
    let _lock = lock::take_first(disk, layout.root(), &layout.lock())?;
    prepare(disk, &layout)?;
    let terms = Terms { now: clock.now(), unproven: config.unproven };
    let now = terms.now.ms();
    let id = match identity::read_if_whole(disk, &layout)?.or_else(|| old_id(&layout)) {
        Some(id) => id,
        None => identity::fresh()?,
    };
    // Where the old epoch cannot be read, seconds since 1970 are above every epoch that was ever counted up to.
    let epoch = match old_epoch(&layout) {
        0 => now / 1000,
        known => known.saturating_add(1),
    };
    let new = beside(&layout, "rebuilding");
    remove(disk, &new)?;
    let db = index::create(&new, CACHE)?;
    shelves::put_meta(&db, &id, epoch)?;
    let mut told = shelves::reconcile(&db, disk, &layout, terms, each)?;
    told.epoch = epoch;
    db.close()?;
    told.old_index = put_in_place(disk, &layout, &new, now)?;
    identity::write(disk, &layout, &id)?;
    Ok(told)
}
