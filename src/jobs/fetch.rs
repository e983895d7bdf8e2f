//! The fetch job: each address is mapped, the operator's digest is bound to it, and the payload is filled whole.
//!
//! For each address: 1. map it to a name; 2. register what it must turn out to be, so that it also judges whatever
//! endpoints fetch from there later; 3. fill, or find it held; 4. hold the held bytes against the expectation; 5. pin.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::base::digest::{Digest, Sha256};
use crate::fill::{FlightView, Target};
use crate::jobs::Shared;
use crate::jobs::address::Address;
use crate::jobs::board::{Line, Record, Step, Unit, View};
use crate::jobs::error::Error;
use crate::jobs::work::{Fetch, FetchItem};
use crate::model::name::Name;
use crate::model::payload::{Authority, Class, Published};

pub(in crate::jobs) async fn run(shared: &Arc<Shared>, record: &Arc<Record>, work: Fetch) -> Result<String, Error> {
    let total = work.items.len() as u64;
    record.progress(|progress| {
        progress.total = Some(total);
        progress.unit = Unit::Items;
    });
    for item in &work.items {
        record.add(Line::waiting(Address::redact(&item.address)));
    }
    let mut waiting = work.items.into_iter().enumerate();
    let mut running = JoinSet::new();
    let (mut failed, mut bytes) = (0, 0);
    loop {
        while running.len() < shared.config.fetch_parallel.max(1)
            && let Some((at, item)) = waiting.next()
        {
            let (shared, record, by) = (Arc::clone(shared), Arc::clone(record), record.by().to_owned());
            running.spawn(async move {
                record.line(at, |line| line.step = Step::Running);
                (at, one(&shared, &record, at, &item, work.pin.then_some(by.as_str())).await)
            });
        }
        let ended = tokio::select! {
            // Dropping the set withdraws this job's interest. A flight outlives whoever started it: what is under way is
            // filled to its end, what has not begun is not.
            () = record.cancel().cancelled() => return Err(Error::Stopped),
            ended = running.join_next() => ended,
        };
        let (at, result) = match ended {
            None => break,
            Some(Ok(ended)) => ended,
            Some(Err(error)) => return Err(Error::Broken(format!("a fetch broke off: {error}"))),
        };
        let filled = record_result(record, at, result);
        failed += u64::from(filled.is_none());
        bytes += filled.unwrap_or_default();
        record.progress(|progress| {
            progress.done += 1;
            progress.bytes = bytes;
        });
    }
    match failed {
        0 => Ok(format!("{total} held")),
        failed => Err(Error::Items { failed, total }),
    }
}

/// Writes the outcome into its line; returns the bytes filled, `None` where it failed.
fn record_result(record: &Record, at: usize, result: Result<Filled, Error>) -> Option<u64> {
    let filled = match &result {
        Ok(filled) => Some(if filled.held_before { 0 } else { filled.size }),
        Err(_) => None,
    };
    record.line(at, |line| {
        line.name = None;
        match result {
            Ok(filled) => {
                line.step = Step::Done;
                (line.done, line.total) = (filled.size, Some(filled.size));
                line.text = filled.text();
            }
            Err(error) => {
                line.step = Step::Failed;
                line.text = error.to_string();
            }
        }
    });
    filled
}

struct Filled {
    size: u64,
    class: Class,
    sha256: Sha256,
    held_before: bool,
}

impl Filled {
    fn text(&self) -> String {
        let class = match self.class {
            Class::Proven => "proven",
            Class::Unproven => "unproven: nobody published a digest",
        };
        let held = if self.held_before { "already held" } else { "filled" };
        format!("{held}, {class}, sha256-{}", self.sha256)
    }
}

async fn one(
    shared: &Shared,
    record: &Record,
    at: usize,
    item: &FetchItem,
    pin: Option<&str>,
) -> Result<Filled, Error> {
    let fill = shared.fill()?;
    let address = Address::parse(&item.address)?;
    let mut target: Target = fill
        .locate(&address.ask())
        .map_err(|refusal| Error::Refused { address: Address::redact(&item.address), why: refusal.to_string() })?;
    let published = item.sha256.map(|sha256| Published::one(Digest::Sha256(sha256), Authority::Operator));
    if let Some(published) = published {
        shared.store.expect(&target.name, published, target.locations.clone()).await?;
        if target.expected.is_none_or(|known| known.authority <= Authority::Operator) {
            target.expected = Some(published);
        }
    }
    let mut held_before = shared.store.find(&target.name).await?.is_some();
    if let (false, Some(sha256)) = (held_before, item.sha256) {
        held_before = shared.store.find(&Name::Digest(Digest::Sha256(sha256))).await?.is_some();
    }
    record.line(at, |line| line.name = Some(target.name.clone()));
    let found = fill.prefetch(&target).await.map_err(|error| Error::Upstream(error.to_string()))?;
    let payload = found.held.payload();
    if let Some(digest) = published.and_then(|published| published.contradiction(&payload.digests)) {
        let held = Digest::Sha256(payload.digests.sha256);
        return Err(Error::Upstream(format!("{digest} was expected, but what is held there is {held}")));
    }
    if let Some(by) = pin {
        shared.store.pin(payload.digests.blake3, by).await?;
    }
    Ok(Filled { size: payload.size, class: payload.class, sha256: payload.digests.sha256, held_before })
}

/// Puts what the flights say now into the view of a running job.
pub(in crate::jobs) fn follow(view: &mut View, flights: &[FlightView]) {
    let flights: HashMap<_, _> = flights.iter().map(|flight| (&flight.name, flight)).collect();
    let (mut bytes, mut rate, mut current) = (0, 0, None);
    for line in &mut view.lines {
        let Some(flight) = line.name.as_ref().and_then(|name| flights.get(name)) else { continue };
        (line.done, line.total) = (flight.covered, flight.size);
        line.text = format!("{} from {}", flight.step, flight.source);
        bytes += flight.covered;
        rate += flight.bytes_per_s;
        current.get_or_insert_with(|| line.item.clone());
    }
    if current.is_some() {
        view.progress.bytes += bytes;
        view.progress.bytes_per_s = rate;
        view.progress.current = current;
    }
}
