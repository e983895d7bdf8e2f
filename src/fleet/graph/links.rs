//! The edges of one revision, as one slice of places.

use crate::model::update::UpdateId;
use crate::store::catalog::Related;

/// Edges: how many words clauses and members take; then each clause (twice its length, one more where it has categories, then its
/// updates); then each member (update, revision); then what is superseded.
#[derive(Clone, Debug, Default)]
pub(super) struct Links(Box<[u32]>);

/// A clause: whether it has categories, and the updates of which one must be there.
pub(super) type Clause<'a> = (bool, &'a [u32]);

impl Links {
    /// The edges of a revision; `place` gives the place of an update.
    pub(super) fn new(related: &Related, mut place: impl FnMut(UpdateId) -> u32) -> Self {
        let mut words = vec![0, 0];
        for clause in &related.prerequisites {
            let len = u32::try_from(clause.any_of.len()).unwrap_or(u32::MAX / 2).min(u32::MAX / 2);
            words.push(len << 1 | u32::from(clause.is_category));
            words.extend(clause.any_of.iter().take(len as usize).map(|id| place(*id)));
        }
        let clauses = words.len() - 2;
        for member in &related.members {
            words.extend([place(member.id), member.revision]);
        }
        let members = words.len() - 2 - clauses;
        words.extend(related.supersedes.iter().map(|id| place(*id)));
        // Lengths beyond 32 bits do not come up: no document is that long.
        for (at, len) in [clauses, members].into_iter().enumerate() {
            if let (Some(word), Ok(len)) = (words.get_mut(at), u32::try_from(len)) {
                *word = len;
            }
        }
        Self(words.into_boxed_slice())
    }

    fn parts(&self) -> (&[u32], &[u32], &[u32]) {
        let Some(([clauses, members], rest)) = self.0.split_first_chunk::<2>() else { return (&[], &[], &[]) };
        let (clauses, rest) = rest.split_at_checked(*clauses as usize).unwrap_or((&[], &[]));
        let (members, supersedes) = rest.split_at_checked(*members as usize).unwrap_or((&[], &[]));
        (clauses, members, supersedes)
    }

    /// What must hold.
    pub(super) fn clauses(&self) -> impl Iterator<Item = Clause<'_>> {
        let mut rest = self.parts().0;
        std::iter::from_fn(move || {
            let (head, after) = rest.split_first()?;
            let (clause, after) = after.split_at_checked((head >> 1) as usize)?;
            rest = after;
            Some((head & 1 == 1, clause))
        })
    }

    /// Updates that are named in clauses; each as often as it is.
    pub(super) fn prerequisites(&self) -> impl Iterator<Item = u32> + '_ {
        self.clauses().flat_map(|(_, clause)| clause.iter().copied())
    }

    /// Updates that are named as categories.
    pub(super) fn categories(&self) -> impl Iterator<Item = u32> + '_ {
        self.clauses().filter(|(is_category, _)| *is_category).flat_map(|(_, clause)| clause.iter().copied())
    }

    /// Updates other than `own` that are named in clauses, each once.
    pub(super) fn named(&self, own: u32) -> Vec<u32> {
        let mut named: Vec<u32> = self.prerequisites().filter(|at| *at != own).collect();
        named.sort_unstable();
        named.dedup();
        named
    }

    /// Members of the bundle: update and revision.
    pub(super) fn members(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.parts().1.as_chunks::<2>().0.iter().map(|[update, revision]| (*update, *revision))
    }

    /// What is superseded.
    pub(super) fn supersedes(&self) -> impl Iterator<Item = u32> + '_ {
        self.parts().2.iter().copied()
    }

    /// Bytes of the slice.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}
