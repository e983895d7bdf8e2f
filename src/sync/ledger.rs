//! What a comparison has said of which revision, so that each is counted once: a bundle that agreed, or of which nothing was known, is
//! refused with a part of it that a later page has, and a bundle that was refused so may differ itself. And what waits for the end of
//! all pages: documents of which the text alone differs.

use std::collections::HashMap;

use crate::model::update::Identity;
use crate::store::catalog::{Compared, Counts};
use crate::sync::difference::{Sample, Shown};
use crate::sync::error::Error;
use crate::sync::run::Work;

/// Revisions of which the text alone differs that wait for the end: 24 bytes each, and more than Microsoft has published. What is
/// beyond is left as it is, for the next comparison.
const ASIDE_MAX: usize = 1_000_000;

/// As what a revision counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sync) enum Said {
    Agreed,
    Absent,
    Unknown,
    Refused,
}

impl Said {
    fn counted(self) -> Compared {
        match self {
            Self::Agreed => Compared { agreed: 1, ..Compared::default() },
            Self::Absent => Compared { absent: 1, ..Compared::default() },
            Self::Unknown => Compared { unknown: 1, ..Compared::default() },
            Self::Refused => Compared::default(),
        }
    }
}

/// Of one comparison. Not larger than what is held: a row for each revision that was looked at, or refused with what it bundles.
#[derive(Debug, Default)]
pub(in crate::sync) struct Ledger {
    said: HashMap<Identity, Said>,
    pub(in crate::sync) sample: Sample,
    aside: Vec<(Identity, Shown)>,
    beyond: u64,
}

impl Ledger {
    pub(in crate::sync) fn new(sample: Sample) -> Self {
        Self { sample, ..Self::default() }
    }

    /// Counts one that is left as it is, and tells of it; not where it was refused before with what it bundles.
    pub(in crate::sync) fn leave(&mut self, work: &Work<'_>, identity: Identity, said: Said, text: String) {
        if self.said.contains_key(&identity) {
            return;
        }
        self.said.insert(identity, said);
        work.board.compared(said.counted());
        work.board.remark(identity, text);
    }

    /// These agreed; whether they are counted the catalog says, which vouches for nothing that was refused.
    pub(in crate::sync) fn agreed(&mut self, identities: impl Iterator<Item = Identity>) {
        for identity in identities {
            self.said.entry(identity).or_insert(Said::Agreed);
        }
    }

    /// Its text alone differs, which is judged when all have been compared.
    pub(in crate::sync) fn put_aside(&mut self, identity: Identity, shown: Shown) {
        self.sample.text += 1;
        if self.aside.len() < ASIDE_MAX {
            self.aside.push((identity, shown));
        } else {
            self.beyond += 1;
        }
    }

    /// What was put aside, and how many there was no room for.
    pub(in crate::sync) fn take_aside(&mut self) -> (Vec<(Identity, Shown)>, u64) {
        (std::mem::take(&mut self.aside), self.beyond)
    }

    pub(in crate::sync) fn is_refused(&self, identity: Identity) -> bool {
        self.said.get(&identity) == Some(&Said::Refused)
    }

    /// Refuses a revision and the bundles that contain it: whoever installs those installs it too. One that was refused with what it
    /// bundles gets its own reason and is not counted again.
    pub(in crate::sync) async fn refuse(
        &mut self,
        work: &Work<'_>,
        identity: Identity,
        why: String,
        text_alone: bool,
    ) -> Result<(), Error> {
        let mut next = vec![(identity, why)];
        while let Some((identity, reason)) = next.pop() {
            tracing::warn!(%identity, reason, "an update is refused");
            work.catalog.refuse(identity, reason.clone()).await?;
            let before = self.said.insert(identity, Said::Refused);
            if before == Some(Said::Refused) {
                continue;
            }
            if let Some(said) = before {
                work.board.counts_otherwise(said.counted());
            }
            work.board.refuse(identity, reason);
            work.board.compared(Compared { differed: 1, text: u64::from(text_alone), ..Compared::default() });
            work.count(Counts { refused: 1, ..Counts::default() }).await?;
            let parents = work.catalog.parents(identity).await?;
            for parent in work.catalog.summaries(parents).await? {
                if !parent.refused && next.iter().all(|(waits, _)| *waits != parent.identity) {
                    let reason = format!("it bundles {identity}, which is not what Microsoft publishes");
                    next.push((parent.identity, reason));
                }
            }
        }
        Ok(())
    }
}
