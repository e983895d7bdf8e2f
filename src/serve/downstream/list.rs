//! `GetRevisionIdList`: which revisions there are (MS-WSUSSS 3.1.4.5). The specification does not say what matches; real servers have these
//! rules, which are kept here:
//!
//! - Without lists everything matches. With both, what has one of the products and one of the classifications as its category; with one of
//!   them, or an empty one, nothing.
//! - An id with `Delta` brings what changed behind the anchor, one without it all that it has.
//! - What a listed bundle contains is listed before it, however deep: it has no categories of its own.

use std::collections::{HashMap, HashSet};

use crate::model::update::{Identity, Kind, UpdateId};
use crate::serve::downstream::{Downstream, Error, anchor, parameter};
use crate::store::catalog::Related;
use crate::wire::wsusss::revisions::{Filter, IdAndDelta};

/// Ids that a filter may name: a real catalog has 444 categories.
const IDS_MAX: usize = 10_000;

/// Revisions that are read at a time.
const STEP: usize = 1_000;

/// How deep bundles may contain bundles; real ones have three levels.
const DEPTH_MAX: usize = 16;

/// A revision, and what it bundles.
type Bundle = (Identity, Vec<Identity>);
type Bundles = HashMap<Identity, Vec<Identity>>;

/// What of the catalog matches.
#[derive(Debug)]
enum Wants {
    All,
    Nothing,
    /// By id, whether only what changed.
    Both(HashMap<UpdateId, bool>, HashMap<UpdateId, bool>),
}

impl Wants {
    fn of(filter: &Filter) -> Result<Self, Error> {
        let list = |list: &Option<Vec<IdAndDelta>>| -> Result<Option<HashMap<UpdateId, bool>>, Error> {
            let Some(list) = list else { return Ok(None) };
            if list.len() > IDS_MAX {
                return Err(parameter("filter", format!("{} ids are more than {IDS_MAX}", list.len())));
            }
            let mut ids = HashMap::new();
            for one in list {
                // Named twice, the one that wants all counts.
                *ids.entry(one.id).or_insert(true) &= one.delta;
            }
            Ok(Some(ids))
        };
        let (products, classifications) = (list(&filter.categories)?, list(&filter.classifications)?);
        Ok(match (products, classifications) {
            // Categories and detectoids have no categories to go by.
            _ if filter.config => Self::All,
            (None, None) => Self::All,
            (Some(products), Some(classes)) if !products.is_empty() && !classes.is_empty() => {
                Self::Both(products, classes)
            }
            _ => Self::Nothing,
        })
    }

    /// Whether each id brings only what changed.
    fn is_delta(&self) -> bool {
        match self {
            Self::All | Self::Nothing => true,
            Self::Both(products, classes) => products.values().chain(classes.values()).all(|delta| *delta),
        }
    }

    /// Whether a revision matches, which changed behind the anchor or not.
    fn takes(&self, related: &Related, is_new: bool) -> bool {
        match self {
            Self::All => is_new,
            Self::Nothing => false,
            Self::Both(products, classes) => {
                let categories = || {
                    related.prerequisites.iter().filter(|clause| clause.is_category).flat_map(|clause| &clause.any_of)
                };
                // Whether it has one of these, and whether one of them brings all that it has.
                let has = |wanted: &HashMap<UpdateId, bool>| {
                    let deltas: Vec<bool> = categories().filter_map(|id| wanted.get(id).copied()).collect();
                    (!deltas.is_empty(), deltas.contains(&false))
                };
                let ((has_product, all_of_product), (has_class, all_of_class)) = (has(products), has(classes));
                related.current && has_product && has_class && (is_new || all_of_product || all_of_class)
            }
        }
    }
}

/// Whether it is one of those that a question is about.
fn is_asked(related: &Related, config: bool) -> bool {
    let is_config = matches!(related.kind, Kind::Category(_) | Kind::Detectoid);
    is_config == config && !related.refused
}

/// What is listed, in order, each once.
#[derive(Debug, Default)]
struct Listed {
    order: Vec<Identity>,
    known: HashSet<Identity>,
}

impl Listed {
    fn add(&mut self, identity: Identity) {
        if self.known.insert(identity) {
            self.order.push(identity);
        }
    }
}

impl Downstream {
    /// What matches, and the anchor up to which that is all.
    pub(super) async fn list(&self, filter: &Filter) -> Result<(String, Vec<Identity>), Error> {
        let after = match filter.anchor.as_deref().map(str::trim).filter(|anchor| !anchor.is_empty()) {
            Some(text) => {
                Some(anchor::read(text).ok_or_else(|| parameter("filter", "the anchor is none of this server's"))?)
            }
            None => None,
        };
        let wants = Wants::of(filter)?;
        let _turn = self.turns.acquire().await.map_err(|_| Error::Ended)?;
        // Before anything is read: what changes meanwhile is listed the next time, perhaps once more.
        let standing = self.catalog.standing().await?;
        let anchor = anchor::write(standing.generation, standing.clock);
        let mut listed = Listed::default();
        match after {
            _ if matches!(wants, Wants::Nothing) => {}
            Some(after) if wants.is_delta() && self.changed(after, filter.config, &wants, &mut listed).await? => {}
            after => self.walk(after, filter.config, &wants, &mut listed).await?,
        }
        Ok((anchor, listed.order))
    }

    /// What changed behind a clock, out of the change log. False where that does not reach back so far.
    async fn changed(&self, after: u64, config: bool, wants: &Wants, listed: &mut Listed) -> Result<bool, Error> {
        let mut place = (after, u32::MAX);
        loop {
            let page = self.catalog.changes(place.0, place.1, STEP).await?;
            if after < page.floor {
                return Ok(false);
            }
            let numbers = page.changes.iter().filter(|change| change.held).map(|change| change.number).collect();
            for related in self.catalog.related(numbers).await? {
                if is_asked(&related, config) && wants.takes(&related, true) {
                    self.add_with_members((related.identity, related.members), None, listed).await?;
                }
            }
            if !page.more {
                return Ok(true);
            }
            place = page.next;
        }
    }

    /// The whole catalog is gone through.
    async fn walk(&self, after: Option<u64>, config: bool, wants: &Wants, listed: &mut Listed) -> Result<(), Error> {
        let is_new = |related: &Related| after.is_none_or(|after| related.changed > after);
        let (mut behind, mut bundles, mut found) = (None, Bundles::new(), Vec::new());
        loop {
            let (page, next) = self.catalog.related_step(behind).await?;
            for related in page.into_iter().filter(|related| is_asked(related, config)) {
                if wants.takes(&related, is_new(&related)) {
                    found.push(related.identity);
                }
                bundles.insert(related.identity, related.members);
            }
            behind = next;
            if behind.is_none() {
                break;
            }
        }
        for identity in found {
            let members = bundles.get(&identity).cloned().unwrap_or_default();
            self.add_with_members((identity, members), Some(&bundles), listed).await?;
        }
        Ok(())
    }

    /// Puts a revision behind what it bundles, as far as that is held and offered. `all` has everything where the whole catalog was gone
    /// through.
    async fn add_with_members(&self, root: Bundle, all: Option<&Bundles>, listed: &mut Listed) -> Result<(), Error> {
        let (mut levels, mut level) = (Vec::new(), root.1);
        while !level.is_empty() && levels.len() < DEPTH_MAX {
            level.retain(|identity| !listed.known.contains(identity));
            let members: Vec<Bundle> = match all {
                Some(all) => {
                    level.iter().filter_map(|identity| Some((*identity, all.get(identity)?.clone()))).collect()
                }
                None => self.held(&level).await?,
            };
            level = members.iter().flat_map(|(_, below)| below.iter().copied()).collect();
            levels.push(members);
        }
        // The deepest first.
        for (identity, _) in levels.iter().rev().flatten() {
            listed.add(*identity);
        }
        listed.add(root.0);
        Ok(())
    }

    async fn held(&self, identities: &[Identity]) -> Result<Vec<Bundle>, Error> {
        let mut numbers = Vec::with_capacity(identities.len());
        for identity in identities {
            numbers.extend(self.catalog.number(*identity).await?);
        }
        let mut found = Vec::with_capacity(numbers.len());
        for step in numbers.chunks(STEP) {
            let held = self.catalog.related(step.to_vec()).await?.into_iter().filter(|related| !related.refused);
            found.extend(held.map(|related| (related.identity, related.members)));
        }
        Ok(found)
    }
}
