//! What the published digests say of computed ones. Pure.
//!
//! The strongest authority that says anything decides; what weaker ones say is then only noted. A digest that is part
//! of the name itself always binds, whoever asked: nothing is ever answered under a digest that it does not have.

use crate::base::digest::{Digest, Digests};
use crate::model::name::Name;
use crate::model::payload::{Authority, Class, Published};

/// How a SHA-1 was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sha1State {
    /// Without collision detection: it proves nothing alone.
    Unchecked,
    /// With it, and clean.
    Clean,
    /// The bytes hold a block made for a collision.
    Collision,
}

impl Sha1State {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Unchecked => 0,
            Self::Clean => 1,
            Self::Collision => 2,
        }
    }

    pub(crate) const fn of(code: u8) -> Self {
        match code {
            1 => Self::Clean,
            2 => Self::Collision,
            _ => Self::Unchecked,
        }
    }
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The strongest authority's digests match.
    Proven(Authority),
    /// Nobody who counts published a digest.
    Unproven,
    /// This digest was published by that authority, and is not met.
    Contradicted(Digest, Authority),
}

impl Verdict {
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::Proven(_) => Class::Proven,
            Self::Unproven | Self::Contradicted(..) => Class::Unproven,
        }
    }
}

/// Holds computed digests against everything published. `name` is what the object was asked for under.
pub(crate) fn judge(name: Option<&Name>, claims: &[Published], computed: &Digests, sha1: Sha1State) -> Verdict {
    let mut claims = claims.to_vec();
    if let Some(Name::Digest(digest)) = name {
        if !computed.has(digest) {
            return Verdict::Contradicted(*digest, Authority::Address);
        }
        claims.push(Published::one(*digest, Authority::Address));
    }
    claims.retain(|claim| claim.authority > Authority::Unauthenticated && claim.digests().next().is_some());
    let Some(strongest) = claims.iter().map(|claim| claim.authority).max() else {
        return Verdict::Unproven;
    };
    claims.retain(|claim| claim.authority == strongest);
    for claim in &claims {
        if let Some(digest) = claim.contradiction(computed) {
            return Verdict::Contradicted(digest, strongest);
        }
    }
    if claims.iter().any(|claim| !claim.only_sha1()) {
        return Verdict::Proven(strongest);
    }
    match sha1 {
        Sha1State::Clean => Verdict::Proven(strongest),
        Sha1State::Unchecked => Verdict::Unproven,
        Sha1State::Collision => Verdict::Contradicted(Digest::Sha1(computed.sha1), strongest),
    }
}

/// Whether all that the strongest authority says is a SHA-1: then only one that was computed with collision detection
/// proves anything.
pub(crate) fn rests_on_sha1(name: Option<&Name>, claims: &[Published]) -> bool {
    let mut claims = claims.to_vec();
    if let Some(Name::Digest(digest)) = name {
        claims.push(Published::one(*digest, Authority::Address));
    }
    claims.retain(|claim| claim.authority > Authority::Unauthenticated && claim.digests().next().is_some());
    let Some(strongest) = claims.iter().map(|claim| claim.authority).max() else {
        // Nobody who counts says anything: there is nothing to prove.
        return false;
    };
    claims.iter().filter(|claim| claim.authority == strongest).all(Published::only_sha1)
}

/// Whether an operator or a catalog published this SHA-1 together with a stronger digest of the same bytes: then it is
/// their name, also where it was computed without collision detection.
pub(crate) fn vouches_sha1(claims: &[Published], computed: &Digests) -> bool {
    claims.iter().any(|claim| {
        claim.authority >= Authority::Operator
            && claim.sha1 == Some(computed.sha1)
            && !claim.only_sha1()
            && claim.contradiction(computed).is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::{Blake3, Sha1, Sha256};

    const BYTES: Digests =
        Digests { blake3: Blake3::new([1; 32]), sha1: Sha1::new([2; 20]), sha256: Sha256::new([3; 32]) };

    #[test]
    fn the_strongest_authority_decides() {
        let right = |authority| Published::one(Digest::Sha256(BYTES.sha256), authority);
        let wrong_digest = Digest::Sha256(Sha256::new([9; 32]));
        let wrong = |authority| Published::one(wrong_digest, authority);
        let sha1 = |authority| Published::one(Digest::Sha1(BYTES.sha1), authority);
        use Authority::{Address, Catalog, FileName, Operator, Unauthenticated};
        use Sha1State::{Clean, Collision, Unchecked};
        let cases: &[(&[Published], Sha1State, Verdict)] = &[
            (&[], Clean, Verdict::Unproven),
            (&[right(FileName)], Unchecked, Verdict::Proven(FileName)),
            (&[wrong(Operator), right(Catalog)], Unchecked, Verdict::Proven(Catalog)),
            (&[right(Operator), wrong(Catalog)], Unchecked, Verdict::Contradicted(wrong_digest, Catalog)),
            (&[right(Unauthenticated)], Clean, Verdict::Unproven),
            (&[wrong(Unauthenticated)], Clean, Verdict::Unproven),
            (&[wrong(Unauthenticated), sha1(FileName)], Clean, Verdict::Proven(FileName)),
            (&[sha1(FileName)], Unchecked, Verdict::Unproven),
            (&[sha1(FileName)], Collision, Verdict::Contradicted(Digest::Sha1(BYTES.sha1), FileName)),
            (&[sha1(Catalog), right(Catalog)], Collision, Verdict::Proven(Catalog)),
        ];
        for (claims, state, wanted) in cases {
            assert_eq!(judge(None, claims, &BYTES, *state), *wanted, "{claims:?}");
        }
        // What it rests on is the strongest claim, however much weaker ones say.
        for (claims, rests) in [
            (&[sha1(Catalog), right(Operator)][..], true),
            (&[sha1(Catalog), right(Catalog)], false),
            (&[sha1(FileName), right(Unauthenticated)], true),
            (&[right(FileName)], false),
            (&[sha1(Unauthenticated)], false),
            (&[], false),
        ] {
            assert_eq!(rests_on_sha1(None, claims), rests, "{claims:?}");
        }
        let both = |authority| Published { sha256: Some(BYTES.sha256), ..sha1(authority) };
        assert!(vouches_sha1(&[both(Catalog)], &BYTES) && vouches_sha1(&[both(Operator)], &BYTES));
        let other = Published { sha256: Some(Sha256::new([9; 32])), ..sha1(Catalog) };
        assert!(!vouches_sha1(&[both(FileName), both(Address), sha1(Catalog), right(Catalog), other], &BYTES));
        // The name binds even where a stronger one would let it pass.
        let name = Name::Digest(Digest::Sha1(Sha1::new([7; 20])));
        assert!(matches!(judge(Some(&name), &[right(Catalog)], &BYTES, Clean), Verdict::Contradicted(_, Address)));
        let name = Name::Digest(Digest::Sha256(BYTES.sha256));
        assert_eq!(judge(Some(&name), &[], &BYTES, Unchecked), Verdict::Proven(Address));
    }
}
