//! What views ask of the catalog in one go: the tree of its categories, the short of whatever relations point to, what an
//! update comes to with all that it bundles (of a list only its weight), and ids of which only the beginning is given.

use std::sync::{Arc, PoisonError};

use redb::{ReadOnlyTable, ReadTransaction};

use crate::base::digest::Sha1;
use crate::model::filter::{Category, Tree};
use crate::model::relations::{self, Target, Whole};
use crate::model::update::{CategoryKind, Identity, Kind, Update, UpdateId};
use crate::store::catalog::look::{ANSWER_MAX, revision_in, row_of, summary};
use crate::store::catalog::search::PAGE_MAX;
use crate::store::catalog::tables::{
    CLOCK, IDENTITIES, IdKey, NUMBERS, REFUSED, REFUSED_NAME, RefusedRow, UPDATES, UpdateRow, identity_key, number,
    read,
};
use crate::store::catalog::value::{Query, Refused, State, Summary, Weight};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::decode;

/// Categories that a tree is made of; a real catalog has 444. Beyond it somebody publishes nonsense.
const CATEGORIES_MAX: usize = 20_000;

/// Revisions that one snapshot unpacks for weights: some 50 ms of work. Pages that a commit gave up are only used again when no snapshot
/// needs them any more.
const UNPACKED_STEP: usize = 1_000;

const CATEGORIES: [Kind; 5] = [
    Kind::Category(CategoryKind::Company),
    Kind::Category(CategoryKind::Family),
    Kind::Category(CategoryKind::Product),
    Kind::Category(CategoryKind::Classification),
    Kind::Category(CategoryKind::Other),
];

/// The category that an update is, out of the short of it.
fn category(short: Summary) -> Option<Category> {
    let Kind::Category(kind) = short.kind else { return None };
    let parent = short.categories.into_iter().find(|parent| *parent != short.identity.id);
    Some(Category { id: short.identity.id, kind, name: short.title, parent })
}

impl Core {
    /// The tree of the categories that are offered, as of the last commit; kept until the next one.
    pub(crate) fn tree(&self) -> Result<Arc<Tree>, Error> {
        // The clock first: a tree may be newer than its mark, never older.
        let clock = self.index.read(|tx| match read(tx, NUMBERS)? {
            Some(numbers) => number(&numbers, CLOCK),
            None => Ok(0),
        })?;
        let kept = || self.catalog.tree.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, tree)) = kept().as_ref()
            && *at == clock
        {
            return Ok(Arc::clone(tree));
        }
        let mut categories = Vec::new();
        let mut query = Query {
            kinds: CATEGORIES.to_vec(),
            states: vec![State::Current, State::Superseded],
            hidden: true,
            limit: PAGE_MAX,
            ..Query::default()
        };
        loop {
            let page = self.search(&query)?;
            categories.extend(page.hits.into_iter().filter_map(|hit| category(hit.summary)));
            query.after = page.next;
            if query.after.is_none() || categories.len() >= CATEGORIES_MAX {
                break;
            }
        }
        let tree = Arc::new(Tree::new(categories));
        *kept() = Some((clock, Arc::clone(&tree)));
        Ok(tree)
    }

    /// The short of what each of these points to, in the same order, from one snapshot.
    pub(crate) fn shorts(&self, targets: &[Target]) -> Result<Vec<Option<Summary>>, Error> {
        self.index.read(|tx| {
            let (Some(identities), Some(updates)) = (read(tx, IDENTITIES)?, read(tx, UPDATES)?) else {
                return Ok(vec![None; targets.len().min(ANSWER_MAX)]);
            };
            let short = |target: &Target| -> Result<Option<Summary>, Error> {
                let at = match target {
                    Target::Revision(identity) => identities.get(&identity_key(*identity))?.map(|at| at.value()),
                    Target::Newest(id) => match updates.get(id.bytes())? {
                        Some(row) => Some(decode::<UpdateRow>("catalog-updates.1", row.value())?.current),
                        None => None,
                    },
                };
                let Some(at) = at else { return Ok(None) };
                row_of(tx, at)?.map(|row| summary(at, row)).transpose()
            };
            targets.iter().take(ANSWER_MAX).map(short).collect()
        })
    }

    /// What a revision comes to with all that it bundles, from one snapshot.
    pub(crate) fn whole(&self, root: Identity) -> Result<Whole, Error> {
        self.index.read(|tx| {
            let identities = read(tx, IDENTITIES)?;
            relations::whole(root, |identity| match &identities {
                Some(table) => self.held_in(tx, table, identity),
                None => Ok(None),
            })
        })
    }

    /// The licences of each of these revisions with all that it bundles, in the same order.
    pub(crate) fn licences_of(&self, roots: &[Identity]) -> Result<Vec<Vec<UpdateId>>, Error> {
        roots.iter().take(ANSWER_MAX).map(|root| Ok(self.whole(*root)?.eulas)).collect()
    }

    /// What a revision says, where it is held.
    fn held_in(
        &self,
        tx: &ReadTransaction,
        identities: &ReadOnlyTable<&'static IdKey, u32>,
        identity: Identity,
    ) -> Result<Option<Box<Update>>, Error> {
        let Some(at) = identities.get(&identity_key(identity))?.map(|at| at.value()) else { return Ok(None) };
        let Some(row) = row_of(tx, at)? else { return Ok(None) };
        revision_in(tx, &self.catalog.dictionaries, at, &row).map(|update| Some(Box::new(update)))
    }

    /// The weights of the first of some revisions, in this order; see [`Self::wholes`].
    pub(crate) fn weights(&self, roots: &[Identity]) -> Result<Vec<Weight>, Error> {
        self.wholes(roots, |whole| Weight { files: whole.files.len() as u64, bytes: whole.bytes })
    }

    /// The files of the first of some revisions, in this order; see [`Self::wholes`].
    pub(crate) fn files_of(&self, roots: &[Identity]) -> Result<Vec<Vec<(Sha1, u64)>>, Error> {
        self.wholes(roots, |whole| whole.files.iter().map(|file| (file.sha1, file.size)).collect())
    }

    /// Something of what the first of some revisions come to, in this order, from one snapshot: it ends when [`UNPACKED_STEP`] were
    /// unpacked, and tells of one at least.
    fn wholes<T: Clone + Default>(&self, roots: &[Identity], tell: impl Fn(&Whole) -> T) -> Result<Vec<T>, Error> {
        self.index.read(|tx| {
            let Some(identities) = read(tx, IDENTITIES)? else { return Ok(vec![T::default(); roots.len()]) };
            let (mut told, mut unpacked) = (Vec::new(), 0);
            for root in roots {
                let whole = relations::whole(*root, |identity| {
                    unpacked += 1;
                    self.held_in(tx, &identities, identity)
                })?;
                told.push(tell(&whole));
                if unpacked >= UNPACKED_STEP {
                    break;
                }
            }
            Ok(told)
        })
    }

    /// Ids of held updates from `first` to `last`.
    pub(crate) fn ids(&self, first: UpdateId, last: UpdateId, limit: usize) -> Result<Vec<UpdateId>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, UPDATES)? else { return Ok(vec![]) };
            let rows = table.range::<&[u8; 16]>(first.bytes()..=last.bytes())?.take(limit.min(ANSWER_MAX));
            rows.map(|row| Ok(UpdateId::new(*row?.0.value()))).collect()
        })
    }

    /// Why a revision is in quarantine, if it is.
    pub(crate) fn refusal(&self, identity: Identity) -> Result<Option<Refused>, Error> {
        self.index.read(|tx| {
            let Some(table) = read(tx, REFUSED)? else { return Ok(None) };
            let Some(row) = table.get(&identity_key(identity))? else { return Ok(None) };
            let row: RefusedRow = decode(REFUSED_NAME, row.value())?;
            let at = crate::base::time::Timestamp::from_ms(row.at);
            Ok(Some(Refused { identity, at, reason: row.reason, stays: row.stays }))
        })
    }
}
