//! Room in memory for answers: what they take together is bounded, from the first fragment that is read for one to the last byte that
//! the connection takes of it.
//!
//! The largest answers are those with more about updates (`GetExtendedUpdateInfo`): 50 revisions, three kinds of fragments, and who asks
//! chooses which. A client has a share of the room (`share`). One agent that asks for the longest there are, or a crowd after a restart, must not decide how much memory the node has.
//! Who finds no room is told `ServerBusy`, and asks again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::serve::client::error::Error;
use crate::serve::client::share::Part;

/// Bytes that all answers may take that are being made or sent: 170 pages of a first scan before they are packed, or a thousand packed ones
/// on thin links; as much as what all requests may take. The largest single answer ([`ANSWER_MAX`], and its packed form beside it) fits.
pub(super) const ANSWERS_MAX: usize = 256 << 20;

/// Bytes of fragments, of all kinds together, in one answer: the longest extended fragment known has 1.4 MB, and few are like it; what
/// agents ask for has one MB. Escaped, and packed beside that, it must fit into [`ANSWERS_MAX`].
pub(super) const ANSWER_MAX: usize = 64 << 20;

/// Answers below this are not counted: there are as many as connections, which have a limit of their own, and a refusal must always have
/// its room.
const SMALL: usize = 32 << 10;

/// How long an answer waits for room that holds none yet. Agents wait for minutes.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// From so many bytes of texts on answers are made one after the other, and each waits for all that it will take before it begins: two
/// of them that go half the way would refuse each other the rest.
const LARGE: usize = 4 << 20;

/// What an answer takes of its texts, escaped and written: with the text itself, which goes meanwhile, and what XML grows by.
const GROWS: usize = 4;

/// How long such an answer waits: for others like it to be made and sent.
const LARGE_WAIT_MAX: Duration = Duration::from_secs(30);

const KIB: usize = 1024;

/// What one answer holds of the room for all, and of its client's share. What is dropped gives it back.
pub(super) struct Room {
    part: Part,
    /// Bytes of fragments so far.
    fragments: usize,
    /// KiB that are held and not used yet.
    reserved: u32,
    /// The turn of a large one, until it is made.
    turn: Option<OwnedSemaphorePermit>,
}

/// Units of a room for all answers of so many bytes.
pub(super) const fn units(bytes: usize) -> usize {
    bytes / KIB
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX)
}

impl Room {
    /// None yet.
    pub(super) fn new(part: Part) -> Self {
        Self { part, fragments: 0, reserved: 0, turn: None }
    }

    /// Takes room for so many bytes more, at once or not at all: who holds some and waits for more would wait for others that do the same.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Error> {
        let (units, reserved) = (kib(bytes), self.reserved);
        self.reserved = reserved.saturating_sub(units);
        let more = units.saturating_sub(reserved);
        if more == 0 || self.part.take(more) { Ok(()) } else { Err(Error::Busy) }
    }

    /// An answer will have so many bytes of texts: where these are many, waits for its turn (`turns` has one) and for the room that it will
    /// take. While it is made that room does not stand at its client, behind whose address may be a whole site.
    pub(super) async fn expect(&mut self, bytes: usize, turns: &Arc<Semaphore>) -> Result<(), Error> {
        if bytes < LARGE || self.part.units() > 0 {
            return Ok(());
        }
        let turn = tokio::time::timeout(LARGE_WAIT_MAX, Arc::clone(turns).acquire_owned());
        let Ok(Ok(turn)) = turn.await else { return Err(Error::Busy) };
        let units = kib(bytes.saturating_mul(GROWS)).min(kib(ANSWERS_MAX));
        if !self.part.wait_uncounted(units, LARGE_WAIT_MAX).await {
            return Err(Error::Busy);
        }
        (self.reserved, self.turn) = (units, Some(turn));
        Ok(())
    }

    /// Gives so much of it back.
    pub(super) fn give_back(&mut self, bytes: usize) {
        if self.reserved > 0 {
            // It is used again by what comes of it.
            self.reserved = self.reserved.saturating_add(kib(bytes));
        } else {
            self.part.give_back(kib(bytes));
        }
    }

    /// So many bytes of fragments come into the answer, of whatever kind; an answer with too many is refused.
    pub(super) fn fragments(&mut self, bytes: usize) -> Result<(), Error> {
        self.fragments = self.fragments.saturating_add(bytes);
        if self.fragments > ANSWER_MAX {
            let why = format!("their texts have more than {ANSWER_MAX} bytes");
            return Err(Error::parameter("revisionIDs", why));
        }
        Ok(())
    }

    /// Room for an answer of so many bytes that is about to be written. Waits a while where nothing is held yet.
    pub(super) async fn whole(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes < SMALL {
            return Ok(());
        }
        if self.part.units() > 0 {
            return self.take(bytes);
        }
        if self.part.wait(kib(bytes), WAIT_MAX).await { Ok(()) } else { Err(Error::Busy) }
    }

    /// The bytes of the answer as they go out, which hold the room that they need until the last of them is gone; the rest is given back.
    pub(super) fn kept_by(mut self, bytes: Vec<u8>) -> Bytes {
        // What is sent may lie in a larger allocation.
        self.part.give_back(self.part.units().saturating_sub(kib(bytes.capacity())));
        self.part.counts_again();
        if bytes.len() < SMALL || self.part.units() == 0 {
            return bytes.into();
        }
        Bytes::from_owner(Kept { bytes, _room: self.part })
    }
}

struct Kept {
    bytes: Vec<u8>,
    _room: Part,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::*;
    use crate::serve::client::share::Pool;

    fn rooms(bytes: usize) -> Arc<Pool> {
        Pool::new(units(bytes), &[])
    }

    /// Of a client of its own.
    fn room(all: &Arc<Pool>, of: u8) -> Room {
        Room::new(all.of(IpAddr::from([10, 0, 0, of])))
    }

    #[test]
    fn what_is_being_sent_holds_its_room_until_it_is_gone() {
        let all = rooms(1 << 20);
        let mut one = room(&all, 1);
        one.take(600 << 10).unwrap();
        let mut other = room(&all, 2);
        assert!(matches!(other.take(600 << 10), Err(Error::Busy)));
        let sent = one.kept_by(vec![1; 500 << 10]);
        let (head, tail) = (sent.slice(..10), sent.slice(10..));
        drop(sent);
        other.take(524 << 10).unwrap();
        assert_eq!(all.left(), 0);
        drop(head);
        assert_eq!(all.left(), 0, "a part of it still waits for the client");
        drop(tail);
        assert_eq!(all.left(), 500);
        other.give_back(100 << 10);
        drop(other);
        assert_eq!(all.left(), 1024);
    }

    #[test]
    fn all_kinds_of_fragments_count_together() {
        let mut room = room(&rooms(1 << 20), 1);
        room.fragments(ANSWER_MAX / 2).unwrap();
        room.fragments(ANSWER_MAX / 2).unwrap();
        assert!(matches!(room.fragments(1), Err(Error::Refused { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn small_answers_need_none_and_large_ones_wait_a_while() {
        let all = rooms(100 << 10);
        let mut first = room(&all, 1);
        first.whole(90 << 10).await.unwrap();
        room(&all, 2).whole(SMALL - 1).await.unwrap();
        assert!(matches!(room(&all, 2).whole(SMALL).await, Err(Error::Busy)));
        let mut next = room(&all, 3);
        let waits = next.whole(50 << 10);
        let ends = async {
            tokio::time::sleep(WAIT_MAX / 2).await;
            drop(first);
        };
        assert!(tokio::join!(waits, ends).0.is_ok());
        // One that holds some does not wait for more.
        assert!(matches!(next.whole(60 << 10).await, Err(Error::Busy)));
    }
    #[test]
    fn one_client_that_reads_slowly_leaves_room_to_all_others() {
        let all = rooms(1 << 20);
        let mut first = room(&all, 1);
        first.take(900 << 10).unwrap();
        let sent = first.kept_by(vec![1; 600 << 10]);
        assert!(matches!(room(&all, 1).take(1), Err(Error::Busy)), "its share is gone");
        room(&all, 2).take(400 << 10).unwrap();
        drop(sent);
        room(&all, 1).take(1).unwrap();
    }
}
