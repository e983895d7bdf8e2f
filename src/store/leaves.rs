//! What other nodes ask of held payloads: whether they are held, and the leaves of their hash trees.

use std::sync::Arc;

use crate::base::digest::{Blake3, Digest};
use crate::model::name::Name;
use crate::store::Store;
use crate::store::error::Error;

/// The hash tree of a payload: what stands for each of its 64 KiB groups, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaves {
    /// Length of the payload.
    pub size: u64,
    /// One a group; at least one.
    pub leaves: Vec<[u8; 32]>,
}

impl Store {
    /// The leaves of a held payload, out of its proof; `None` where it is not held. Costs a read of the proof: half a kilobyte a MiB.
    pub async fn leaves(&self, blake3: Blake3) -> Result<Option<Leaves>, Error> {
        if self.peek(&Name::Digest(Digest::Blake3(blake3))).await?.is_none() {
            return Ok(None);
        }
        let core = Arc::clone(&self.core);
        let proof = self.core.long.run(move || core.read_proof(&blake3)).await??;
        Ok(Some(Leaves { size: proof.size, leaves: proof.leaves }))
    }

    /// Which of these are held, in the same order.
    pub async fn are_held(&self, asked: Vec<Blake3>) -> Result<Vec<bool>, Error> {
        let core = Arc::clone(&self.core);
        let look = move || -> Result<Vec<bool>, Error> {
            asked.into_iter().map(|blake3| core.is_there(&Name::Digest(Digest::Blake3(blake3)))).collect()
        };
        self.core.reads.run(look).await?
    }
}
