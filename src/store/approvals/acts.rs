//! Reviews of updates, and licences that somebody accepted: acts of people, each with who and when.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::base::time::Timestamp;
use crate::model::deployment::{Acceptance, Review, Reviewed};
use crate::model::update::UpdateId;
use crate::store::approvals::PAGE_MAX;
use crate::store::approvals::tables::{LICENCES, LICENCES_NAME, LicenceRow, REVIEWS, REVIEWS_NAME, ReviewRow};
use crate::store::approvals::value::Step;
use crate::store::approvals::words::{BY_MAX, SAID_MAX, SINGLE, WHY_MAX};
use crate::store::catalog::decisions::cut;
use crate::store::catalog::tables::{Guid, HERE, decision_key, read};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};
use crate::store::writer::Room;

/// Reviews that are kept: as many as there are decisions.
const REVIEWS_MAX: u64 = 200_000;
/// Licences that are kept: a real catalog has some hundred.
const LICENCES_MAX: u64 = 10_000;

const REVIEW: [(Review, u8); 3] = [(Review::Held, 1), (Review::InTest, 2), (Review::Released, 3)];

fn step_of(update: UpdateId, row: &[u8]) -> Result<Step, Error> {
    let ReviewRow { review, by, at, why, in_test, released } = decode(REVIEWS_NAME, row)?;
    let (review, _) = REVIEW.into_iter().find(|(_, code)| *code == review).ok_or_else(|| Error::Row {
        what: format!("a row of {REVIEWS_NAME} says {review}, which this program does not know"),
    })?;
    let [in_test, released] = [in_test, released].map(|at| at.map(Timestamp::from_ms));
    Ok(Step { update, reviewed: Reviewed { review, by, at: Timestamp::from_ms(at), in_test, released }, why })
}

/// The review of an update in a snapshot.
pub(super) fn reviewed_in(tx: &ReadTransaction, update: &Guid) -> Result<Option<Step>, Error> {
    let Some(table) = read(tx, REVIEWS)? else { return Ok(None) };
    let row = table.get(update)?;
    row.map(|row| step_of(UpdateId::new(*update), row.value())).transpose()
}

impl Core {
    pub(super) fn reviews(&self, updates: &[UpdateId]) -> Result<Vec<Step>, Error> {
        self.index.read(|tx| {
            let found = updates.iter().take(PAGE_MAX).filter_map(|id| reviewed_in(tx, id.bytes()).transpose());
            found.collect()
        })
    }

    pub(super) fn review_updates(
        &self,
        mut updates: Vec<UpdateId>,
        review: Review,
        by: String,
        why: String,
    ) -> Result<u64, Error> {
        updates.sort_unstable();
        updates.dedup();
        if updates.len() > SAID_MAX {
            let what = format!("{} updates are more than {SAID_MAX}: review them in several steps", updates.len());
            return Err(Error::Invalid { what });
        }
        let (by, why) = (cut(by, BY_MAX), cut(why, WHY_MAX));
        let code = REVIEW.into_iter().find(|(known, _)| *known == review).map_or(0, |(_, code)| code);
        let (changed, _) = self.catalog_write(Room::Adds, move |t, w| {
            if t.reviews.len()?.saturating_add(updates.len() as u64) > REVIEWS_MAX {
                return Err(Error::Invalid { what: format!("{REVIEWS_MAX} reviews are the most that are kept") });
            }
            let mut changed = 0;
            for update in &updates {
                let old = t.reviews.get(update.bytes())?.map(|row| step_of(*update, row.value())).transpose()?;
                if old.as_ref().is_some_and(|old| (old.reviewed.review, &old.why) == (review, &why)) {
                    continue;
                }
                let at = t.clock(w)?;
                let before = old.as_ref().map(|old| &old.reviewed);
                let step = Reviewed::step(before, review, by.clone(), Timestamp::from_ms(at));
                let [in_test, released] = [step.in_test, step.released].map(|since| since.map(Timestamp::ms));
                let row = ReviewRow { review: code, by: step.by, at, why: why.clone(), in_test, released };
                t.reviews.insert(update.bytes(), encode(&row)?.as_slice())?;
                t.log_decision(w, &decision_key(update.bytes(), SINGLE.0.bytes()), HERE)?;
                changed += 1;
            }
            Ok(changed)
        })?;
        Ok(changed)
    }

    pub(super) fn licences(&self) -> Result<Vec<Acceptance>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, LICENCES)? else { return Ok(vec![]) };
            let rows = table.iter()?.map(|row| {
                let (eula, row) = row?;
                let LicenceRow { by, at } = decode(LICENCES_NAME, row.value())?;
                Ok(Acceptance { eula: UpdateId::new(*eula.value()), by, at: Timestamp::from_ms(at) })
            });
            rows.collect()
        })
    }

    pub(super) fn accept(&self, mut eulas: Vec<UpdateId>, by: String) -> Result<u64, Error> {
        eulas.sort_unstable();
        eulas.dedup();
        let by = cut(by, BY_MAX);
        let (accepted, _) = self.catalog_write(Room::Adds, move |t, w| {
            if t.licences.len()?.saturating_add(eulas.len() as u64) > LICENCES_MAX {
                return Err(Error::Invalid { what: format!("{LICENCES_MAX} licences are the most that are kept") });
            }
            let mut accepted = 0;
            for eula in &eulas {
                if t.licences.get(eula.bytes())?.is_some() {
                    continue;
                }
                let at = t.touch_shared(w)?;
                t.licences.insert(eula.bytes(), encode(&LicenceRow { by: by.clone(), at })?.as_slice())?;
                accepted += 1;
            }
            Ok(accepted)
        })?;
        Ok(accepted)
    }
}
