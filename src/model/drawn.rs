//! Updates whose files come since endpoints miss them: which of them come now, which wait for the next day's budget, and which for a
//! person. Pure.
//!
//! 1. The worst come first, of these the ones that most endpoints miss ([`Ledger::weigh`]).
//! 2. What comes is charged to the day by what was missing of it. Where one does not fit into what is left of the day, all behind it wait
//!    too, so that small ones do not keep a large one away for ever.
//! 3. What is larger than a limit, or than all of a day, waits for a person. What somebody agreed to comes at once; it is charged all the same.
//! 4. What was let in stays so while it is missed, on later days too, unless more of it is missing by then.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::update::{Severity, UpdateId};

/// What is brought since endpoints miss it, as it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The least severity; `None` where nothing is brought for this reason.
    pub least: Option<Severity>,
    /// Bytes of a day.
    pub daily: u64,
    /// An update of which more bytes are missing waits for a person.
    pub ask_above: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { least: None, daily: 2 << 30, ask_above: 500 << 20 }
    }
}

/// An update that endpoints miss, and that nothing else brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub update: UpdateId,
    /// Its title.
    pub title: String,
    /// It came over plain HTTP: nothing proves who said it.
    pub unauthenticated: bool,
    /// How bad what it mends is.
    pub severity: Severity,
    /// Established endpoints that miss it.
    pub endpoints: u64,
    /// Files of it that are not held.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What becomes of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Its files are wanted.
    Comes,
    /// They are once there is a day's budget for them.
    WaitsForBudget,
    /// They are once a person agrees to the size.
    WaitsForYes,
}

impl Turn {
    /// The word for people and scripts.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Comes => "comes",
            Self::WaitsForBudget => "waits-for-budget",
            Self::WaitsForYes => "waits-for-confirmation",
        }
    }
}

/// That a person agreed to the size of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// So many bytes at the most.
    pub bytes: u64,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What is remembered from one look to the next, and across restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The day that the budget is of: days since 1970, by UTC.
    pub day: u32,
    /// Bytes that were let in on it.
    pub spent: u64,
    /// What was let in, and the bytes that it was charged with.
    #[serde(with = "pairs")]
    let_in: BTreeMap<UpdateId, u64>,
    #[serde(with = "pairs")]
    agreed: BTreeMap<UpdateId, Agreed>,
}

impl Ledger {
    /// What was let in.
    pub fn let_in(&self) -> BTreeSet<UpdateId> {
        self.let_in.keys().copied().collect()
    }

    /// Who agreed to one.
    pub fn agreed(&self, update: UpdateId) -> Option<&Agreed> {
        self.agreed.get(&update)
    }

    /// Whether it was let in, or agreed to.
    pub fn remembers(&self, update: UpdateId) -> bool {
        self.let_in.contains_key(&update) || self.agreed.contains_key(&update)
    }

    /// Somebody agrees to one that waits for it.
    pub fn agree(&mut self, update: UpdateId, agreed: Agreed) {
        self.agreed.insert(update, agreed);
    }

    /// What becomes of each, in the order in which they come. What is missed no more is forgotten.
    pub fn weigh(&mut self, terms: &Terms, day: u32, mut candidates: Vec<Candidate>) -> Vec<(Candidate, Turn)> {
        // A clock that was set back has a day of its own too: one that was a year ahead must not hold all up for a year.
        if day != self.day {
            (self.day, self.spent) = (day, 0);
        }
        candidates.sort_by_key(|one| (Reverse(one.severity), Reverse(one.endpoints), one.update));
        let here: BTreeSet<UpdateId> = candidates.iter().map(|one| one.update).collect();
        self.let_in.retain(|update, _| here.contains(update));
        self.agreed.retain(|update, _| here.contains(update));
        let mut is_full = false;
        let mut told = Vec::with_capacity(candidates.len());
        for one in candidates {
            let turn = self.turn(terms, &one, &mut is_full);
            told.push((one, turn));
        }
        told
    }

    fn turn(&mut self, terms: &Terms, one: &Candidate, is_full: &mut bool) -> Turn {
        let charged = self.let_in.get(&one.update).copied();
        if charged.is_some_and(|charged| one.bytes <= charged) || one.bytes == 0 {
            self.let_in.entry(one.update).or_insert(0);
            return Turn::Comes;
        }
        let cost = one.bytes.saturating_sub(charged.unwrap_or(0));
        let is_agreed = self.agreed(one.update).is_some_and(|agreed| one.bytes <= agreed.bytes);
        let turn = if is_agreed {
            Turn::Comes
        } else if one.bytes > terms.ask_above || one.bytes > terms.daily {
            Turn::WaitsForYes
        } else if *is_full || self.spent.saturating_add(cost) > terms.daily {
            *is_full = true;
            Turn::WaitsForBudget
        } else {
            Turn::Comes
        };
        if turn == Turn::Comes {
            self.spent = self.spent.saturating_add(cost);
            self.let_in.insert(one.update, one.bytes);
        } else {
            self.let_in.remove(&one.update);
        }
        turn
    }
}

/// Ids are no keys of JSON: maps by them are lists of pairs there.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::update::UpdateId;

    pub(super) fn serialize<V: Serialize, S: Serializer>(
        map: &BTreeMap<UpdateId, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<UpdateId, V>, D::Error> {
        Vec::deserialize(from).map(|pairs: Vec<(UpdateId, V)>| pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seed: u8) -> UpdateId {
        UpdateId::new([seed; 16])
    }

    fn one(seed: u8, severity: Severity, endpoints: u64, bytes: u64) -> Candidate {
        Candidate {
            update: id(seed),
            title: String::new(),
            unauthenticated: false,
            severity,
            endpoints,
            files: 1,
            bytes,
        }
    }

    const TERMS: Terms = Terms { least: Some(Severity::Important), daily: 100, ask_above: 80 };

    fn turns(ledger: &mut Ledger, day: u32, all: &[Candidate]) -> Vec<(u8, Turn)> {
        let told = ledger.weigh(&TERMS, day, all.to_vec());
        told.into_iter().map(|(one, turn)| (one.update.bytes()[0], turn)).collect()
    }

    #[test]
    fn the_worst_come_first_and_what_does_not_fit_waits_for_the_next_day_with_all_behind_it() {
        use Severity::{Critical, Important};
        use Turn::{Comes, WaitsForBudget};
        let mut ledger = Ledger::default();
        let all = [one(1, Important, 9, 10), one(2, Critical, 1, 60), one(3, Critical, 5, 30), one(4, Critical, 1, 70)];
        assert_eq!(turns(&mut ledger, 7, &all), [(3, Comes), (2, Comes), (4, WaitsForBudget), (1, WaitsForBudget)]);
        assert_eq!((ledger.spent, ledger.let_in()), (90, [id(2), id(3)].into()));
        // Looked at again, and after a restart, nothing is charged twice.
        let kept = serde_json::to_vec(&ledger).unwrap();
        let mut ledger: Ledger = serde_json::from_slice(&kept).unwrap();
        assert_eq!(turns(&mut ledger, 7, &all), [(3, Comes), (2, Comes), (4, WaitsForBudget), (1, WaitsForBudget)]);
        assert_eq!(ledger.spent, 90);
        assert_eq!(turns(&mut ledger, 8, &all), [(3, Comes), (2, Comes), (4, Comes), (1, Comes)]);
        assert_eq!(ledger.spent, 80, "what was let in the day before is not charged to this one");
        // Partly here: no more is charged. Grown beyond what it was charged with: the rest is.
        assert_eq!(turns(&mut ledger, 8, &[one(2, Critical, 1, 5)]), [(2, Comes)]);
        assert_eq!((ledger.spent, ledger.let_in()), (80, [id(2)].into()), "what is missed no more is forgotten");
        assert_eq!(turns(&mut ledger, 8, &[one(2, Critical, 1, 75)]), [(2, Comes)]);
        assert_eq!(ledger.spent, 95);
    }

    #[test]
    fn what_is_large_waits_for_a_person_and_holds_up_nobody() {
        use Severity::Critical;
        use Turn::{Comes, WaitsForBudget, WaitsForYes};
        let mut ledger = Ledger::default();
        let all = [one(1, Critical, 3, 81), one(2, Critical, 2, 500), one(3, Critical, 1, 40)];
        assert_eq!(turns(&mut ledger, 1, &all), [(1, WaitsForYes), (2, WaitsForYes), (3, Comes)]);
        let yes = |bytes| Agreed { bytes, by: "ada".into(), at: Timestamp::default() };
        ledger.agree(id(2), yes(500));
        assert_eq!(turns(&mut ledger, 1, &all), [(1, WaitsForYes), (2, Comes), (3, Comes)]);
        assert_eq!(ledger.spent, 540, "it counts, so that nothing else comes on that day");
        let more = [one(2, Critical, 2, 501), one(4, Critical, 1, 1)];
        assert_eq!(turns(&mut ledger, 1, &more), [(2, WaitsForYes), (4, WaitsForBudget)], "it is larger than agreed");
    }

    #[test]
    fn what_is_held_costs_nothing() {
        let mut ledger = Ledger { spent: 100, day: 1, ..Ledger::default() };
        let told = turns(&mut ledger, 1, &[one(1, Severity::Critical, 1, 0), one(2, Severity::Critical, 1, 1)]);
        assert_eq!(told, [(1, Turn::Comes), (2, Turn::WaitsForBudget)]);
    }
}
