//! The fetch job: each address is mapped, the payload is filled whole, and the operator's digest is bound to it.
//!
//! For each address: 1. map it to a name; 2. fill it under what it must turn out to be, or find it held; 3. only then
//! register the digest, so that it judges whatever endpoints fetch from there later; 4. pin. A fetch that fails leaves the
//! address as it was.
//!
//! To refresh is to ask each origin again, whether or not what is held is fresh, and to fill what has changed there.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::base::digest::{Blake3, Digest, Sha256};
use crate::fill::{self, Fill, FlightView, Keeping, Refreshed, Target};
use crate::jobs::Shared;
use crate::jobs::address::Address;
use crate::jobs::board::{Line, Progress, Record, Step, Unit, View};
use crate::jobs::error::Error;
use crate::jobs::view::Kept;
use crate::jobs::work::{Fetch, FetchItem};
use crate::model::name::Name;
use crate::model::payload::{Authority, Class, Published};
use crate::pace::Pause;
use crate::store::Found;
use crate::store::catalog::Mention;

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
                let how = How { pin: work.pin.then_some(by.as_str()), refresh: work.refresh };
                (at, one(&shared, &record, at, &item, how).await)
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
                line.kept = Some(filled.kept());
            }
            Err(error) => {
                line.step = Step::Failed;
                line.text = match error {
                    // The line says already what it is about.
                    Error::Refused { why, .. } => why,
                    error => error.to_string(),
                };
            }
        }
    });
    filled
}

struct Filled {
    size: u64,
    class: Class,
    sha256: Sha256,
    blake3: Blake3,
    held_before: bool,
    /// What the operator should know of how the digest was bound; empty where all is as usual.
    remark: String,
}

impl Filled {
    fn of(found: &Found, held_before: bool, remark: String) -> Self {
        let payload = found.held.payload();
        let (sha256, blake3) = (payload.digests.sha256, payload.digests.blake3);
        Self { size: payload.size, class: payload.class, sha256, blake3, held_before, remark }
    }

    fn kept(&self) -> Kept {
        let outcome = if self.held_before { "held" } else { "filled" };
        Kept { class: self.class, sha256: self.sha256, blake3: self.blake3, outcome }
    }

    fn text(&self) -> String {
        let class = match self.class {
            Class::Proven => "proven",
            Class::Unproven => "unproven: nobody published a digest",
        };
        let held = if self.held_before { "already held" } else { "filled" };
        format!("{held}, {class}, sha256-{}{}", self.sha256, self.remark)
    }
}

/// What the whole job says of each of its items.
#[derive(Clone, Copy)]
struct How<'a> {
    /// Who pins.
    pin: Option<&'a str>,
    refresh: bool,
}

async fn one(shared: &Shared, record: &Record, at: usize, item: &FetchItem, how: How<'_>) -> Result<Filled, Error> {
    let fill = shared.fill()?;
    let address = Address::parse(&item.address)?;
    let target: Target = fill
        .locate(&address.ask())
        .map_err(|refusal| Error::Refused { address: Address::redact(&item.address), why: refusal.to_string() })?;
    let (found, held_before, remark) = if let Some(sha256) = item.sha256 {
        bound(shared, record, at, target, sha256).await?
    } else if how.refresh {
        record.line(at, |line| line.name = Some(target.name.clone()));
        let (found, came) = fill.refresh(&target).await.map_err(|error| Error::Upstream(error.to_string()))?;
        let held_before = matches!(came, Refreshed::Known | Refreshed::Current);
        (found, held_before, refreshed(came).to_owned())
    } else {
        let held_before = shared.store.find_for_work(&target.name).await?.is_some();
        record.line(at, |line| line.name = Some(target.name.clone()));
        (prefetch(fill, &target).await?, held_before, String::new())
    };
    if let Some(by) = how.pin {
        shared.store.pin(found.held.payload().digests.blake3, by).await?;
    }
    Ok(Filled::of(&found, held_before, remark))
}

async fn prefetch(fill: &Fill, target: &Target) -> Result<Found, Error> {
    fill.prefetch(target).await.map_err(|error| Error::Upstream(error.to_string()))
}

/// Fills an address whose digest the operator gives, and binds the digest to it. Nothing is bound, and what is held under
/// the address stays, before the bytes are there:
///
/// 1. what stronger words say of the address must not contradict;
/// 2. where the digest is held already, the origin must tell the same length: a digest of another file must not give the
///    address that file's bytes;
/// 3. else the payload is filled under its digest alone, from the address's places;
/// 4. the digest is bound, and the address becomes another name of the payload.
async fn bound(
    shared: &Shared,
    record: &Record,
    at: usize,
    mut target: Target,
    sha256: Sha256,
) -> Result<(Found, bool, String), Error> {
    let fill = shared.fill()?;
    let digest = Digest::Sha256(sha256);
    let published = Published::one(digest, Authority::Operator);
    let note = shared.store.note(&target.name).await?;
    let mentions = shared.store.catalog().mentions(target.name.clone(), Vec::new()).await?;
    let said: Vec<Published> = mentions.iter().filter_map(Mention::published).collect();
    for known in target.expected.iter().chain(&note.expected).chain(&said) {
        if known.authority > Authority::Operator || matches!(target.name, Name::Digest(_)) {
            agree(known, sha256)?;
        }
    }
    record.line(at, |line| line.name = Some(Name::Digest(digest)));
    let under = shared.store.find_for_work(&target.name).await?;
    if let Some(found) = &under
        && found.held.payload().digests.sha256 == sha256
    {
        shared.store.expect(&target.name, published, target.locations.clone()).await?;
        // Read again: an unproven payload is proven now.
        let found = shared.store.find_for_work(&target.name).await?.ok_or(crate::store::Error::Gone)?;
        return Ok((found, true, String::new()));
    }
    let held = shared.store.find_for_work(&Name::Digest(digest)).await?;
    let remark = if let Some(found) = &held {
        same_length(fill, &target, found.held.payload().size).await?
    } else {
        let filling = Target {
            name: if let Name::Digest(_) = target.name { target.name.clone() } else { Name::Digest(digest) },
            expected: target.expected.filter(|_| matches!(target.name, Name::Digest(_))).or(Some(published)),
            keeping: if target.keeping == Keeping::Never { Keeping::Never } else { Keeping::Immutable },
            ..target.clone()
        };
        let found = prefetch(fill, &filling).await?;
        if found.held.payload().digests.sha256 != sha256 {
            let is = Digest::Sha256(found.held.payload().digests.sha256);
            return Err(Error::Upstream(format!("{digest} was expected, but what came is {is}")));
        }
        String::new()
    };
    if under.is_some() && matches!(target.name, Name::Origin(_)) {
        // What was held there is an older version, and no evidence of anything.
        shared.store.forget(&target.name).await?;
    }
    shared.store.expect(&target.name, published, target.locations.clone()).await?;
    if target.expected.is_none_or(|known| known.authority <= Authority::Operator) {
        target.expected = Some(published);
    }
    let found = prefetch(fill, &target).await?;
    if found.held.payload().digests.sha256 != sha256 {
        let is = Digest::Sha256(found.held.payload().digests.sha256);
        return Err(Error::Upstream(format!("{digest} was expected, but what is held there is {is}")));
    }
    Ok((found, held.is_some(), remark))
}

/// What came of asking again, in words.
fn refreshed(came: Refreshed) -> &'static str {
    match came {
        Refreshed::Filled => "",
        Refreshed::Known => "; a digest is known for it, so the origin was not asked",
        Refreshed::Current => "; the origin says that it is current",
        Refreshed::Same => "; the origin sent it again, and it is the same",
        Refreshed::Replaced => "; the origin had another version",
    }
}

/// Refuses a SHA-256 where another one is known.
fn agree(known: &Published, sha256: Sha256) -> Result<(), Error> {
    match known.sha256 {
        Some(other) if other != sha256 => Err(Error::Input(format!(
            "{} is published for this address, and not {}: leave --sha256 out, or correct it",
            Digest::Sha256(other),
            Digest::Sha256(sha256)
        ))),
        _ => Ok(()),
    }
}

/// Asks the origin how long the object is, where its digest is held already. Returns a remark where it cannot be asked.
async fn same_length(fill: &Fill, target: &Target, size: u64) -> Result<String, Error> {
    if matches!(target.name, Name::Digest(_)) {
        return Ok(String::new());
    }
    match fill.measure(target).await {
        Ok(Some(told)) if told != size => Err(Error::Upstream(format!(
            "the digest is of a payload of {size} bytes that is held, but the origin says {told} bytes: it is another \
             file's digest, and is not bound"
        ))),
        Ok(Some(_)) => Ok(String::new()),
        Ok(None) => Ok("; bound without asking: the origin tells no length".to_owned()),
        Err(fill::Error::Origin(error, status @ (404 | 410))) => Err(Error::Upstream(format!(
            "the origin has nothing there ({status}), so the digest is not bound: {error}"
        ))),
        Err(error) => Ok(format!("; bound without asking: {error}")),
    }
}

/// Puts what the flights say now into the view of a running job.
pub(in crate::jobs) fn follow(view: &mut View, flights: &[FlightView]) {
    sum_up(&mut view.progress, &view.lines, flights);
    let flights = by_name(flights);
    for line in &mut view.lines {
        let Some(flight) = line.name.as_ref().and_then(|name| flights.get(name)) else { continue };
        (line.done, line.total) = (flight.covered, flight.size);
        line.text = match &flight.pause {
            Some(pause) => waits(pause),
            None => format!("{} from {}", flight.step, flight.source),
        };
    }
}

/// The same for the progress alone.
pub(in crate::jobs) fn sum_up(progress: &mut Progress, lines: &[Line], flights: &[FlightView]) {
    if flights.is_empty() {
        return;
    }
    let flights = by_name(flights);
    let (mut bytes, mut rate, mut current) = (0, 0, None);
    let (mut pause, mut moves) = (None, false);
    for line in lines {
        let Some(flight) = line.name.as_ref().and_then(|name| flights.get(name)) else { continue };
        moves |= flight.pause.is_none();
        pause = pause.or(flight.pause.as_ref());
        bytes += flight.covered;
        rate += flight.bytes_per_s;
        current.get_or_insert_with(|| line.item.clone());
    }
    if current.is_some() {
        progress.bytes += bytes;
        progress.bytes_per_s = rate;
        progress.current = current;
        progress.bytes_left = progress.bytes_left.map(|left| left.saturating_sub(bytes));
        // Where bytes come, nothing is waited for, whatever was said last.
        progress.waits = pause.filter(|_| !moves).map(waits).or(progress.waits.take().filter(|_| rate == 0));
    }
}

/// Why nothing comes, and where more of it is told.
fn waits(pause: &Pause) -> String {
    format!("waits: {pause} (`waystation bandwidth show`)")
}

fn by_name(flights: &[FlightView]) -> HashMap<&Name, &FlightView> {
    flights.iter().map(|flight| (&flight.name, flight)).collect()
}
