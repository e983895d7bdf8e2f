//! Room in memory for answers: what they take together is bounded, from the first fragment that is read for one to the last byte that
//! the connection takes of it.
//!
//! The largest answers are those with more about updates (`GetExtendedUpdateInfo`): 50 revisions, three kinds of fragments, and who asks
//! chooses which. One agent that asks for the longest there are, or a crowd after a restart, must not decide how much memory the node has.
//! Who finds no room is told `ServerBusy`, and asks again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::serve::client::error::Error;

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

const KIB: usize = 1024;

/// What one answer holds of the room for all. What is dropped gives it back.
pub(super) struct Room {
    all: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    /// Bytes of fragments so far.
    fragments: usize,
}

/// The room for all answers of a face.
pub(super) fn rooms(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((bytes / KIB).min(Semaphore::MAX_PERMITS)))
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX)
}

impl Room {
    /// None yet.
    pub(super) fn new(all: &Arc<Semaphore>) -> Self {
        Self { all: Arc::clone(all), held: None, fragments: 0 }
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
    }

    /// Takes room for so many bytes more, at once or not at all: who holds some and waits for more would wait for others that do the same.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Error> {
        let more = Arc::clone(&self.all).try_acquire_many_owned(kib(bytes)).map_err(|_| Error::Busy)?;
        self.add(more);
        Ok(())
    }

    /// Gives so much of it back.
    pub(super) fn give_back(&mut self, bytes: usize) {
        let Some(held) = &mut self.held else { return };
        let many = usize::try_from(kib(bytes)).unwrap_or(usize::MAX).min(held.num_permits());
        drop(held.split(many));
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
        if self.held.is_some() {
            return self.take(bytes);
        }
        let waiting = Arc::clone(&self.all).acquire_many_owned(kib(bytes));
        let more = tokio::time::timeout(WAIT_MAX, waiting).await.map_err(|_| Error::Busy)?.map_err(|_| Error::Ended)?;
        self.add(more);
        Ok(())
    }

    /// The bytes of the answer as they go out, which hold the room that they need until the last of them is gone; the rest is given back.
    pub(super) fn kept_by(self, bytes: Vec<u8>) -> Bytes {
        let Some(mut held) = self.held else { return bytes.into() };
        // What is sent may lie in a larger allocation.
        let needed = usize::try_from(kib(bytes.capacity())).unwrap_or(usize::MAX);
        drop(held.split(held.num_permits().saturating_sub(needed)));
        if bytes.len() < SMALL {
            return bytes.into();
        }
        Bytes::from_owner(Kept { bytes, _room: held })
    }
}

struct Kept {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_sent_holds_its_room_until_it_is_gone() {
        let all = rooms(1 << 20);
        let mut one = Room::new(&all);
        one.take(600 << 10).unwrap();
        let mut other = Room::new(&all);
        assert!(matches!(other.take(600 << 10), Err(Error::Busy)));
        let sent = one.kept_by(vec![1; 500 << 10]);
        let (head, tail) = (sent.slice(..10), sent.slice(10..));
        drop(sent);
        other.take(524 << 10).unwrap();
        assert_eq!(all.available_permits(), 0);
        drop(head);
        assert_eq!(all.available_permits(), 0, "a part of it still waits for the client");
        drop(tail);
        assert_eq!(all.available_permits(), 500);
        other.give_back(100 << 10);
        drop(other);
        assert_eq!(all.available_permits(), 1024);
    }

    #[test]
    fn all_kinds_of_fragments_count_together() {
        let mut room = Room::new(&rooms(1 << 20));
        room.fragments(ANSWER_MAX / 2).unwrap();
        room.fragments(ANSWER_MAX / 2).unwrap();
        assert!(matches!(room.fragments(1), Err(Error::Refused { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn small_answers_need_none_and_large_ones_wait_a_while() {
        let all = rooms(100 << 10);
        let mut first = Room::new(&all);
        first.whole(90 << 10).await.unwrap();
        Room::new(&all).whole(SMALL - 1).await.unwrap();
        assert!(matches!(Room::new(&all).whole(SMALL).await, Err(Error::Busy)));
        let mut next = Room::new(&all);
        let waits = next.whole(50 << 10);
        let ends = async {
            tokio::time::sleep(WAIT_MAX / 2).await;
            drop(first);
        };
        assert!(tokio::join!(waits, ends).0.is_ok());
        // One that holds some does not wait for more.
        assert!(matches!(next.whole(60 << 10).await, Err(Error::Busy)));
    }
}
