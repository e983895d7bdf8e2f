//! Signed places of the feed that were seen, so that two histories are told from one.

use std::collections::BTreeMap;

use crate::chain::alarm::Alarm;
use crate::model::chain::hash::Link;
use crate::model::chain::ids::Position;

/// How many are remembered. Older ones are below the cursor, where nothing is applied any more.
const SEEN_MAX: usize = 64;

/// The newest signed places.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(BTreeMap<Position, Link>);

impl Seen {
    pub(super) fn of(places: impl IntoIterator<Item = (Position, Link)>) -> Self {
        Self(places.into_iter().collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Position, Link)> + '_ {
        self.0.iter().map(|(at, link)| (*at, *link))
    }

    /// Whether what was signed of this place is what is known of it.
    pub(super) fn check(&self, at: Position, offered: Link) -> Result<(), Alarm> {
        match self.0.get(&at) {
            Some(known) if *known != offered => Err(Alarm::Forked { at, known: *known, offered }),
            _ => Ok(()),
        }
    }

    /// Remembers it; says whether it is new.
    pub(super) fn keep(&mut self, at: Position, link: Link) -> bool {
        let is_new = self.0.insert(at, link).is_none();
        while self.0.len() > SEEN_MAX {
            self.0.pop_first();
        }
        is_new
    }
}
