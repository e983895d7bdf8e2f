//! A complete draft is hashed to its end and held against everything that was published for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::model::name::Name;
use crate::model::payload::Published;
use crate::store::core::Core;
use crate::store::drafts::Proved;
use crate::store::error::Error;
use crate::store::filling::{DraftState, Phase};
use crate::store::hash::Hashed;
use crate::store::judge::{Sha1State, Verdict, judge, rests_on_sha1, vouches_sha1};
use crate::store::pour::{Target, pour};
use crate::store::tables::ClaimRow;

/// What proving found.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) hashed: Hashed,
    pub(super) verdict: Verdict,
    pub(super) sha1: Sha1State,
    pub(super) sha1_vouched: bool,
}

impl DraftState {
    pub(super) fn prove(&self) -> Result<Proved, Error> {
        {
            let mut phase = self.set_phase();
            match &*phase {
                Phase::Filling if self.file.is_complete() => *phase = Phase::Proving,
                Phase::Filling => {
                    let (covered, size) = (self.file.covered().total(), self.row().size);
                    return Err(Error::Invalid { what: format!("only {covered} of {size} bytes are there") });
                }
                Phase::Proved(proved) => return Ok(Proved { digests: proved.hashed.digests }),
                Phase::Proving => return Err(Error::Busy { queued: 1 }),
                Phase::Gone => return Err(Error::Gone),
            }
        }
        let outcome = self.judged();
        self.again.store(0, Ordering::Relaxed);
        let mut phase = self.set_phase();
        if !matches!(*phase, Phase::Proving) {
            // A sync that failed meanwhile ended the draft: nothing in its file can be trusted.
            return Err(Error::Gone);
        }
        match outcome {
            Ok(ready) => {
                let digests = ready.hashed.digests;
                *phase = Phase::Proved(Arc::new(ready));
                Ok(Proved { digests })
            }
            Err(error) => {
                *phase = Phase::Filling;
                Err(error)
            }
        }
    }

    fn judged(&self) -> Result<Ready, Error> {
        let mut hashed = self.file.finish().map_err(|error| self.io(&error))?;
        let (expected, mut checked) = {
            let row = self.row();
            (row.expected.as_ref().map(ClaimRow::claim), row.checked_sha1)
        };
        let claims = self.core.claims(&self.name, &hashed.digests, expected)?;
        if !checked && rests_on_sha1(Some(&self.name), &claims) {
            // Nobody knew when it was begun. It is read once more; that is rare.
            // Who waits for the proof goes by what is left to hash.
            let tell = |left| self.again.store(left, Ordering::Relaxed);
            hashed = self.core.hash_checked(self.file.path(), &hashed, &tell)?;
            checked = true;
        }
        let sha1 = sha1_state(checked, &hashed);
        let verdict = judge(Some(&self.name), &claims, &hashed.digests, sha1);
        if let Verdict::Contradicted(published, _) = verdict {
            return Err(Error::Mismatch { published, computed: hashed.digests });
        }
        let sha1_vouched = vouches_sha1(&claims, &hashed.digests);
        Ok(Ready { hashed, verdict, sha1, sha1_vouched })
    }
}

impl Core {
    /// The same digests of the file at `path`, with a SHA-1 that was computed with collision detection. `tell` learns how many
    /// bytes are left.
    pub(crate) fn hash_checked(&self, path: &Path, known: &Hashed, tell: &dyn Fn(u64)) -> Result<Hashed, Error> {
        let at = |error: std::io::Error| Error::at(path, &error);
        let size = self.facts(path)?.map_or(0, |facts| facts.len);
        tell(size);
        let file = self.disk.open(path).map_err(at)?;
        let mut read = |into: &mut [u8], at: u64| {
            file.read_at(into, at)?;
            tell(size.saturating_sub(at.saturating_add(into.len() as u64)));
            Ok(())
        };
        let poured = pour(size, true, &mut read, Target::Nowhere, &|| true);
        let hashed = poured.map_err(|error| error.between(path, path))?;
        if hashed.digests != known.digests {
            return Err(at(std::io::Error::other("its bytes changed between two readings")));
        }
        Ok(hashed)
    }
}

pub(super) fn sha1_state(checked: bool, hashed: &Hashed) -> Sha1State {
    match (checked, hashed.collision) {
        (_, true) => Sha1State::Collision,
        (true, false) => Sha1State::Clean,
        (false, false) => Sha1State::Unchecked,
    }
}

/// Whether a SHA-1 may have to prove the bytes alone, by what is known when they begin to come: only there is the slower
/// computing worth it.
pub(super) fn needs_checked_sha1(expected: Option<&Published>, name: &Name) -> bool {
    let claims: Vec<Published> = expected.into_iter().copied().collect();
    rests_on_sha1(Some(name), &claims)
}
