//! Taking refusals back.

use crate::model::update::{Identity, UpdateId};
use crate::store::catalog::Refused;
use crate::sync::Runner;
use crate::sync::error::Error;

/// Refused revisions that are looked at together.
const RETRY_PAGE: usize = 1_000;

/// Which refusals are taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pardon {
    /// Of all that was not taken.
    NotTaken,
    /// Of all that is held and was refused by a comparison.
    Compared,
    /// Of these updates.
    Named(Vec<UpdateId>),
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pardoned {
    /// What is refused no more.
    pub identities: Vec<Identity>,
    /// How many of them the next run asks for; the others are held, and offered again.
    pub asked: u64,
    /// How many are held and stay refused, by a comparison.
    pub left: u64,
}

impl Runner {
    /// Refuses these no more, and puts what is not held onto the work list of the next run; what is held is only offered again.
    ///
    /// # Errors
    /// The store's.
    pub async fn retry(&self, which: Pardon) -> Result<Pardoned, Error> {
        let catalog = self.shared.store.catalog();
        let (mut pardoned, mut after) = (Pardoned::default(), None);
        loop {
            let page = catalog.refused(after, RETRY_PAGE).await?;
            after = page.last().map(|refused| refused.identity);
            let is_last = page.len() < RETRY_PAGE;
            let is_meant = |refused: &Refused| match &which {
                Pardon::NotTaken => !refused.stays,
                Pardon::Compared => refused.stays,
                Pardon::Named(ids) => ids.contains(&refused.identity.id),
            };
            let (meant, others): (Vec<Refused>, Vec<Refused>) = page.into_iter().partition(is_meant);
            pardoned.left += others.iter().filter(|refused| refused.stays).count() as u64;
            let meant: Vec<Identity> = meant.iter().map(|refused| refused.identity).collect();
            for (identity, is_asked) in catalog.pardon_all(meant).await? {
                pardoned.identities.push(identity);
                pardoned.asked += u64::from(is_asked);
            }
            if is_last {
                break;
            }
        }
        Ok(pardoned)
    }
}
