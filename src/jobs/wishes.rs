//! Files that servers below want soon: fetched in jobs of their own, some at a time, within a budget for each day.
//!
//! 1. What is wished for is gathered ([`Jobs::wish`]); what is too much is forgotten, since each file is filled all the same once somebody
//!    asks for its bytes.
//! 2. When no job of this kind is under way one begins with all that was gathered, as far as the budget of the day (by UTC) reaches.
//!    What is held counts for nothing.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::base::digest::{Digest, Sha1};
use crate::jobs::work::{Fetch, FetchItem};
use crate::jobs::{Jobs, Work};
use crate::model::deployment::Day;
use crate::model::name::Name;
use crate::store::catalog::FileDigest;

/// Files that wait, with 40 bytes for each: a server names one in a message, and a month brings some hundred.
const WAITING_MAX: usize = 10_000;

/// Files of one job.
const STEP: usize = 500;

/// Who begins these jobs, in the list of jobs.
const BY: &str = "downstream";

/// What is wished for.
#[derive(Debug, Default)]
pub(in crate::jobs) struct Wishes {
    waiting: Mutex<BTreeSet<Sha1>>,
    bell: Notify,
}

impl Wishes {
    fn waiting(&self) -> MutexGuard<'_, BTreeSet<Sha1>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Sha1> {
        let mut waiting = self.waiting();
        let rest = waiting.iter().nth(STEP).copied().map(|at| waiting.split_off(&at)).unwrap_or_default();
        std::mem::replace(&mut *waiting, rest).into_iter().collect()
    }
}

impl Jobs {
    /// A server below wants these files, all of which the catalog knows, soon. Waits for nothing.
    pub fn wish(&self, files: Vec<Sha1>) {
        let wishes = &self.shared.wishes;
        let mut waiting = wishes.waiting();
        let room = WAITING_MAX.saturating_sub(waiting.len());
        waiting.extend(files.into_iter().take(room));
        drop(waiting);
        wishes.bell.notify_one();
    }
}

/// Fetches what is wished for, until `cancel`.
pub(in crate::jobs) async fn by_wishes(jobs: Jobs, cancel: CancellationToken) {
    let shared = &jobs.shared;
    let (mut day, mut spent) = (0, 0_u64);
    loop {
        let wanted = shared.wishes.take();
        if wanted.is_empty() {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = shared.wishes.bell.notified() => continue,
            }
        }
        let today = Day::from(shared.clock.now()).number();
        if day != today {
            (day, spent) = (today, 0);
        }
        let (mut items, mut left) = (Vec::new(), 0_u64);
        for sha1 in wanted {
            let Some(size) = missing(&jobs, sha1).await else { continue };
            if spent.saturating_add(size) > shared.config.wishes_daily {
                left += 1;
                continue;
            }
            spent += size;
            let hex = sha1.to_string().to_ascii_uppercase();
            let folder = hex.get(hex.len().saturating_sub(2)..).unwrap_or_default();
            items.push(FetchItem { address: format!("/Content/{folder}/{hex}.bin"), sha256: None });
        }
        if left > 0 {
            tracing::info!(
                files = left,
                "servers below want more files than [downstream] fetch_daily: they are filled when they are asked for"
            );
        }
        if items.is_empty() {
            continue;
        }
        match jobs.start(Work::Fetch(Fetch { items, pin: false, refresh: false }), BY) {
            Ok(id) => {
                let Some(record) = shared.board.get(id) else { continue };
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = record.ended() => {}
                }
            }
            Err(error) => tracing::info!(%error, "what servers below want is not fetched ahead"),
        }
    }
}

/// The length of a file that is not held; `None` where it is, or is not known any more.
async fn missing(jobs: &Jobs, sha1: Sha1) -> Option<u64> {
    let store = &jobs.shared.store;
    if matches!(store.find_for_work(&Name::Digest(Digest::Sha1(sha1))).await, Ok(Some(_))) {
        return None;
    }
    let known = store.catalog().files(FileDigest::Sha1(sha1)).await.ok()?;
    known.iter().map(|known| known.file.size).max()
}
