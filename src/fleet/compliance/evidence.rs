//! What the node itself saw of what an endpoint says: bytes of the files of an update that it sent to the endpoint's address. Pure.
//!
//! It proves that somebody at that address asked this node for the files and was sent them. It does not prove who sat there, nor that
//! anything was installed. That nothing was sent disproves nothing: files come from other endpoints, from elsewhere, or came before.

use crate::base::digest::Sha1;
use crate::base::time::Timestamp;
use crate::model::compliance::State;
use crate::store::fleet::{Sent, SentTo};

/// Bytes of a file that must have left for it to count: what an endpoint that installs it takes of any. One byte is asked for in no time.
const ENOUGH: u64 = 1 << 20;

/// How much stands behind what an endpoint says of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Files of the update were sent to its address, while nobody else was heard of from there.
    Sent,
    /// They were sent to its address, where others are too.
    SentToPlace,
    /// Its word alone.
    Word,
}

impl Behind {
    /// The word for people and scripts.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sent => "corroborated",
            Self::SentToPlace => "from-its-address",
            Self::Word => "self-reported",
        }
    }
}

/// What there is behind what an endpoint says of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What it comes to.
    pub behind: Behind,
    /// Files of the update of which bytes left.
    pub files: u64,
    /// These bytes; what was asked for twice counts twice.
    pub bytes: u64,
    /// When the first of them was asked for, and the last; nothing where there are none.
    pub between: Option<(Timestamp, Timestamp)>,
}

/// Whether an endpoint that says so says that it has, or had, the files of the update.
pub const fn claims_files(state: State) -> bool {
    matches!(state, State::Downloaded | State::Installed | State::PendingRestart)
}

/// What there is of an update with these files and sizes. What went to the endpoint alone counts where that is enough, else what went to
/// its address.
pub fn evidence(files: &[(Sha1, u64)], sent: &SentTo) -> Evidence {
    let (own, place) = (sum(files, &sent.own), sum(files, &sent.place));
    match (own, place) {
        ((one, true), _) => Evidence { behind: Behind::Sent, ..one },
        (_, (one, true)) => Evidence { behind: Behind::SentToPlace, ..one },
        // Too little to count is told all the same.
        ((one, _), (other, _)) => {
            if one.bytes > 0 {
                one
            } else {
                other
            }
        }
    }
}

/// What left of files, and whether it was enough of one.
fn sum(files: &[(Sha1, u64)], sent: &[Sent]) -> (Evidence, bool) {
    let (mut all, mut is_enough) = (Evidence { behind: Behind::Word, files: 0, bytes: 0, between: None }, false);
    for (sha1, size) in files {
        let Some(one) = sent.iter().find(|one| one.is_of(sha1)) else { continue };
        all.files += 1;
        all.bytes = all.bytes.saturating_add(one.bytes);
        is_enough |= one.bytes >= size.div_ceil(2).min(ENOUGH);
        let (first, last) = all.between.unwrap_or((one.first, one.last));
        all.between = Some((first.min(one.first), last.max(one.last)));
    }
    (all, is_enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(of: u8, bytes: u64, at: u64) -> Sent {
        let at = Timestamp::from_ms(at);
        Sent::new(&Sha1::new([of; 20]), bytes, at, at)
    }

    #[test]
    fn what_went_to_it_alone_counts_most_and_a_byte_counts_for_nothing() {
        let files = [(Sha1::new([1; 20]), 100), (Sha1::new([2; 20]), 10 << 20)];
        let of = |own: &[Sent], place: &[Sent]| evidence(&files, &SentTo { own: own.to_vec(), place: place.to_vec() });
        let none = of(&[sent(9, 1 << 30, 1)], &[]);
        assert_eq!((none.behind, none.bytes, none.between), (Behind::Word, 0, None));
        let few = of(&[sent(1, 49, 1), sent(2, (1 << 20) - 1, 2)], &[]);
        assert_eq!((few.behind, few.files), (Behind::Word, 2), "told, and not enough");
        let both = of(&[sent(1, 50, 7), sent(2, 3, 5)], &[sent(2, 1 << 20, 9)]);
        assert_eq!((both.behind, both.files, both.bytes), (Behind::Sent, 2, 53));
        assert_eq!(both.between, Some((Timestamp::from_ms(5), Timestamp::from_ms(7))));
        let place = of(&[sent(1, 1, 7)], &[sent(2, 1 << 20, 9)]);
        assert_eq!((place.behind, place.files, place.bytes), (Behind::SentToPlace, 1, 1 << 20));
        // Nothing of no file: there is nothing that could have been sent.
        assert_eq!(evidence(&[], &SentTo::default()).behind, Behind::Word);
    }
}
