//! Which updates established endpoints miss, and how much of each is not held: kept while nothing that it is made of has changed, so
//! that whoever asks again and again costs little.
//!
//! 1. Who is established follows from when endpoints were first seen: looked at again when one came, went or was let in, or the time has
//!    come that the next one is.
//! 2. What these miss follows from reports, and from what is looked for at all: an update counts that scans bring to some endpoint, since somebody
//!    ordered it or since it is detected (`[scan] detect_*`). One that lies beyond is missed by nobody's will.
//! 3. How much of it is not held follows from the catalog, the content policy and what is held.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::time::Timestamp;
use crate::fleet::compliance::Compliance;
use crate::fleet::compliance::board::{Board, Known};
use crate::jobs::Shared;
use crate::jobs::drawn::{CANDIDATES_MAX, STEP};
use crate::jobs::error::Error;
use crate::model::deployment::detection::{self, Detection};
use crate::model::deployment::rules::ESTABLISHED_DAYS;
use crate::model::deployment::{Day, Endpoint, Said};
use crate::model::drawn::{Candidate, Ledger};
use crate::model::policy::{Wants, Why};
use crate::model::relations::Target;
use crate::model::update::{Kind, Severity, UpdateId};
use crate::store::approvals::PAGE_MAX as WORDS_MAX;
use crate::store::catalog::Sift;
use crate::store::fleet::{Admitted, PAGE_MAX};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// What was found, with what it was made of.
#[derive(Debug, Default)]
pub(super) struct Kept {
    established: Option<Established>,
    missed: Option<(Basis, Arc<[Missed]>)>,
    weighed: Option<Weighed>,
}

#[derive(Debug)]
struct Weighed {
    of: Sizes,
    missed: Vec<Missed>,
    found: Arc<[Candidate]>,
}

/// Endpoints that were first seen so many days ago, and are served.
#[derive(Clone, Debug)]
struct Established {
    /// Of what is known of endpoints.
    revision: u64,
    /// When the next one is.
    until: Option<Timestamp>,
    who: Arc<BTreeSet<Endpoint>>,
}

/// What missing updates are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Basis {
    board: u64,
    established: usize,
    endpoints: u64,
    catalog: u64,
    least: Severity,
    day: u32,
}

/// What the sizes are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    catalog: u64,
    wanted: u64,
    held: u64,
}

/// An update that is missing somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Missed {
    update: UpdateId,
    revision: u32,
    severity: Severity,
    endpoints: u64,
    /// It is detected though nobody decided anything.
    is_detected: bool,
}

/// What is missing at or above a severity, as far as anything of it is not held.
pub(super) async fn candidates(
    shared: &Shared,
    kept: &mut Kept,
    reports: &Compliance,
    (least, ledger): (Severity, &Ledger),
    now: Timestamp,
) -> Result<Arc<[Candidate]>, Error> {
    let catalog = shared.store.catalog().standing().await?.clock;
    // Before they are looked at: what changes meanwhile is looked at once more.
    let of = Sizes { catalog, wanted: shared.planned.revision(), held: shared.store.held_revision() };
    let established = established(shared, kept, now).await?;
    let missed = judged(&missed(shared, kept, reports, &established, (least, catalog, now)).await?, ledger);
    if let Some(weighed) = &kept.weighed
        && weighed.of == of
        && weighed.missed == missed
    {
        return Ok(Arc::clone(&weighed.found));
    }
    let found: Arc<[Candidate]> = weighed(shared, &missed).await?.into();
    kept.weighed = Some(Weighed { of, missed, found: Arc::clone(&found) });
    Ok(found)
}

/// Step 1.
async fn established(shared: &Shared, kept: &mut Kept, now: Timestamp) -> Result<Established, Error> {
    let fleet = shared.store.fleet();
    let revision = fleet.revision();
    if let Some(known) = &kept.established
        && known.revision == revision
        && known.until.is_none_or(|until| now < until)
    {
        return Ok(known.clone());
    }
    let (mut who, mut until, mut after) = (BTreeSet::new(), None, None);
    loop {
        let page = fleet.endpoints(after, PAGE_MAX).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.registration.endpoint);
        for record in page.iter().filter(|record| record.admitted == Admitted::Accepted) {
            let from = Timestamp::from_ms(record.first.ms().saturating_add(u64::from(ESTABLISHED_DAYS) * DAY_MS));
            if from <= now {
                who.insert(record.registration.endpoint);
            } else {
                until = Some(until.map_or(from, |until: Timestamp| until.min(from)));
            }
        }
    }
    let found = Established { revision, until, who: Arc::new(who) };
    kept.established = Some(found.clone());
    Ok(found)
}

/// Step 2: the worst first, of these what most miss.
async fn missed(
    shared: &Shared,
    kept: &mut Kept,
    reports: &Compliance,
    established: &Established,
    (least, catalog, now): (Severity, u64, Timestamp),
) -> Result<Arc<[Missed]>, Error> {
    let failed = |error: crate::fleet::error::Error| Error::Broken(error.to_string());
    let board = reports.look(Board::revision).await.map_err(failed)?;
    let basis = Basis {
        board,
        established: established.who.len(),
        endpoints: established.revision,
        catalog,
        least,
        day: Day::from(now).number(),
    };
    if let Some((of, found)) = &kept.missed
        && *of == basis
    {
        return Ok(Arc::clone(found));
    }
    let (detection, _) = shared.config.detection.in_force(&*shared.store.catalog().tree().await?);
    let who = Arc::clone(&established.who);
    let look = move |board: &Board| on_board(board, &who, least, &detection, now);
    let mut found = reports.look(look).await.map_err(failed)?;
    retain_ordered(shared, &mut found).await?;
    let found: Arc<[Missed]> = found.into();
    kept.missed = Some((basis, Arc::clone(&found)));
    Ok(found)
}

/// What is judged of all that is missed. What was let in, or agreed to, is judged whatever is worse by now: what is not would be forgotten.
fn judged(missed: &[Missed], ledger: &Ledger) -> Vec<Missed> {
    let (mut all, mut others): (Vec<Missed>, Vec<Missed>) =
        missed.iter().cloned().partition(|one| ledger.remembers(one.update));
    others.truncate(CANDIDATES_MAX);
    all.append(&mut others);
    all
}

fn on_board(
    board: &Board,
    established: &BTreeSet<Endpoint>,
    least: Severity,
    detection: &Detection,
    now: Timestamp,
) -> Vec<Missed> {
    // By number: on how many it is missing, for those that are looked at.
    let mut many: Vec<Option<u64>> = Vec::new();
    let fits = |known: &Known| known.by_state.missing() > 0 && known.facts.counts() && known.facts.severity >= least;
    for (number, _) in board.updates().filter(|(_, known)| fits(known)) {
        many.resize(number as usize + 1, None);
        if let Some(many) = many.get_mut(number as usize) {
            *many = Some(0);
        }
    }
    if many.is_empty() {
        return Vec::new();
    }
    for (_, row) in board.rows(None).filter(|(endpoint, _)| established.contains(endpoint)) {
        for held in row.standing.held.iter().filter(|held| held.state().is_missing()) {
            if let Some(Some(many)) = many.get_mut(held.number() as usize) {
                *many += 1;
            }
        }
    }
    let one = |(number, endpoints): (u32, Option<u64>)| {
        let (known, endpoints) = (board.known(number)?, endpoints.filter(|many| *many > 0)?);
        let facts = &known.facts;
        let candidate = detection::Candidate {
            // Of what endpoints tell of, drivers are sifted out below: what they are is known of few at a time.
            kind: Kind::Software,
            deployable: facts.deployable,
            refused: facts.refused,
            expired: facts.expired,
            categories: &facts.categories,
            created: facts.created.map(Day::from),
        };
        Some(Missed {
            update: known.id,
            revision: facts.revision?,
            severity: facts.severity,
            endpoints,
            is_detected: !facts.superseded && detection.takes(&candidate, now),
        })
    };
    let mut found: Vec<Missed> = (0..).zip(many).filter_map(one).collect();
    found.sort_by_key(|one| (std::cmp::Reverse((one.severity, one.endpoints)), one.update));
    found
}

/// Of what is not detected that alone stays which somebody ordered for anybody; of drivers, too.
async fn retain_ordered(shared: &Shared, found: &mut Vec<Missed>) -> Result<(), Error> {
    let (catalog, approvals) = (shared.store.catalog(), shared.store.approvals());
    let mut stays = BTreeSet::new();
    for step in found.chunks(WORDS_MAX) {
        let shorts = catalog.shorts(step.iter().map(|one| Target::Newest(one.update)).collect()).await?;
        let is_software = |at: usize| {
            let short = shorts.get(at).and_then(Option::as_ref);
            short.is_some_and(|short| short.kind == Kind::Software)
        };
        let words = approvals.words(step.iter().map(|one| one.update).collect()).await?;
        for (at, (one, words)) in step.iter().zip(words).enumerate() {
            let is_ordered = words.approvals.values().any(|approval| matches!(approval.said, Said::Do { .. }));
            if is_ordered || one.is_detected && is_software(at) {
                stays.insert(one.update);
            }
        }
    }
    found.retain(|one| stays.contains(&one.update));
    Ok(())
}

/// Step 3.
async fn weighed(shared: &Shared, missed: &[Missed]) -> Result<Vec<Candidate>, Error> {
    let ids: Arc<BTreeSet<UpdateId>> = Arc::new(missed.iter().map(|one| one.update).collect());
    let (sift, _) = shared.sift_in_force().await?;
    let sift = Arc::new(Sift { drawn: ids, ..sift });
    let mut found = Vec::new();
    for step in missed.chunks(STEP) {
        let numbers = step.iter().map(|one| one.revision).collect();
        let wanted = shared.store.catalog().wanted_of(Arc::clone(&sift), numbers).await?;
        for update in wanted {
            let Some(one) = step.iter().find(|one| one.update == update.identity.id) else { continue };
            if update.verdict.why != Why::Missed || update.verdict.wants != Wants::Everything {
                continue;
            }
            let missing = update.files.iter().filter(|file| !file.held);
            let (files, bytes) =
                missing.fold((0, 0_u64), |(files, bytes), file| (files + 1, bytes.saturating_add(file.file.size)));
            found.push(Candidate {
                update: one.update,
                title: update.title,
                unauthenticated: update.unauthenticated,
                severity: one.severity,
                endpoints: one.endpoints,
                files,
                bytes,
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drawn::{Agreed, Terms};

    #[test]
    fn what_was_let_in_is_judged_however_much_is_worse_by_now() {
        let id = |of: usize| UpdateId::new((of as u128).to_be_bytes());
        let missed = |of: std::ops::Range<usize>| -> Vec<Missed> {
            let one = |of| Missed {
                update: id(of),
                revision: 1,
                severity: Severity::Critical,
                endpoints: 1,
                is_detected: true,
            };
            of.map(one).collect()
        };
        let mut ledger = Ledger::default();
        let last = CANDIDATES_MAX + 500;
        let candidate = |update| Candidate {
            update,
            title: String::new(),
            unauthenticated: false,
            severity: Severity::Low,
            endpoints: 1,
            files: 1,
            bytes: 1,
        };
        ledger.weigh(&Terms::default(), 1, vec![candidate(id(last))]);
        ledger.agree(id(last - 1), Agreed { bytes: 1, by: "kim".into(), at: Timestamp::default() });
        let judged: BTreeSet<UpdateId> = judged(&missed(0..last + 1), &ledger).iter().map(|one| one.update).collect();
        assert_eq!(judged.len(), CANDIDATES_MAX + 2);
        assert!([0, CANDIDATES_MAX - 1, last - 1, last].iter().all(|of| judged.contains(&id(*of))));
        assert!(!judged.contains(&id(CANDIDATES_MAX)), "it is behind the worst of the others");
    }
}
