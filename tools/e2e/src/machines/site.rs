//! What people said for groups of machines, and what follows from it: worked out from what docs/APPROVALS.md and docs/RULES.md promise,
//! without the node.

use std::collections::{BTreeMap, BTreeSet};

use endpoint_sim::Guid;

use super::{Gone, Update};

/// A group, or a machine by itself.
pub(super) type Whom = &'static str;

/// What was said of an update for somebody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Installed, by that time if there is one.
    Install(Option<&'static str>),
    NotApproved,
}

/// How far a review has come; where nobody reviewed, an update is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Review {
    InTest,
    Released,
}

/// All that was said.
#[derive(Default)]
pub(super) struct Site {
    pub(super) words: BTreeMap<(Guid, Whom), Word>,
    pub(super) declined: BTreeSet<Guid>,
    /// Licences.
    pub(super) accepted: BTreeSet<Guid>,
    pub(super) reviews: BTreeMap<Guid, Review>,
    /// Groups that ask for a review.
    pub(super) asking: BTreeSet<Whom>,
    /// Groups for trying out.
    pub(super) testing: BTreeSet<Whom>,
}

/// What machines are asked about, and what they are to install.
#[derive(Default)]
pub(super) struct Should {
    pub(super) scope: BTreeSet<Guid>,
    pub(super) install: BTreeSet<Guid>,
    /// Of these, those with a deadline, and whether a review kept it back, so that it is later by as long.
    pub(super) deadlines: BTreeMap<Guid, (String, bool)>,
}

/// By how many milliseconds `told` is later than `said`, both `2090-03-01T18:00:00.607Z` or without the part of a second, on one day.
pub(super) fn later(told: &str, said: &str) -> Option<u128> {
    let (told, said) = (told.split_once('T')?, said.split_once('T')?);
    let of_day = |time: &str| {
        let (seconds, part) = time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), "0"));
        let of = |sum: Option<u128>, number: &str| Some(sum? * 60 + number.parse::<u128>().ok()?);
        Some(seconds.split(':').fold(Some(0), of)? * 1000 + format!("{part:0<3}").parse::<u128>().ok()?)
    };
    (told.0 == said.0).then_some(())?;
    of_day(told.1)?.checked_sub(of_day(said.1)?)
}

impl Site {
    /// The word that counts on the way up from the nearest.
    pub(super) fn word(&self, update: Guid, way: &[Whom]) -> Option<Word> {
        way.iter().find_map(|whom| self.words.get(&(update, *whom)).copied())
    }

    /// Whether somebody on the way up asks for a review.
    fn asks(&self, way: &[Whom]) -> bool {
        way.iter().any(|whom| self.asking.contains(whom))
    }

    /// Whether the review lets what is approved take effect.
    fn lets(&self, update: Guid, way: &[Whom]) -> bool {
        let is = |all: &BTreeSet<Whom>| way.iter().any(|whom| all.contains(whom));
        !self.asks(way)
            || match self.reviews.get(&update) {
                None => false,
                Some(Review::InTest) => is(&self.testing),
                Some(Review::Released) => true,
            }
    }

    /// For machines with this way up.
    pub(super) fn should(&self, updates: &[Update], way: &[Whom]) -> Should {
        let mut should = Should::default();
        for update in
            updates.iter().filter(|update| update.gone != Some(Gone::Expired) && !self.declined.contains(&update.id))
        {
            let id = update.id;
            let Some(Word::Install(deadline)) = self.word(id, way).filter(|_| self.lets(id, way)) else {
                // It is looked for all the same.
                if update.gone != Some(Gone::Superseded) {
                    should.scope.insert(id);
                }
                continue;
            };
            should.scope.insert(id);
            if update.eula.is_none_or(|eula| self.accepted.contains(&eula)) {
                should.install.insert(id);
                should.deadlines.extend(deadline.map(|time| (id, (time.to_owned(), self.asks(way)))));
            }
        }
        should
    }

    /// A rule without conditions approves all that is old enough for its first ring, where no person said anything for that.
    pub(super) fn rule(&mut self, updates: &[Update], day: i64, way: &[Whom]) -> usize {
        let Some(ring) = way.first().copied() else { return 0 };
        let open = |update: &&Update| update.gone.is_none() && !self.declined.contains(&update.id);
        let due = updates.iter().filter(open).filter(|update| update.day <= day && update.classification != "Upgrades");
        let due: Vec<Guid> = due.map(|update| update.id).filter(|id| self.word(*id, way).is_none()).collect();
        self.words.extend(due.iter().map(|id| ((*id, ring), Word::Install(None))));
        due.len()
    }
}
