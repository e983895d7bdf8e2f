//! Cookies: what an agent brings back with each request, and nobody but this node reads or makes.
//!
//! Behind a word that says whose form it is and the id of the server stand a nonce and, sealed with AES-256-GCM, a [`Ticket`]; word and
//! id are authenticated with it. So another server's cookie is told from a forged one without any state.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::update::UpdateId;
use crate::serve::client::error::Error;

/// What a cookie begins with.
const WORD: &[u8; 4] = b"WSC1";

/// Bytes before the nonce.
const HEAD: usize = WORD.len() + 16;

/// The longest that is looked at: one of ours has some 130 bytes.
const BYTES_MAX: usize = 1024;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;

/// What it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Use {
    /// Says who asks: turned into the other by `GetCookie`.
    Authorize,
    /// May ask.
    Ask,
}

/// What a cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    /// What it is for.
    pub(super) of: Use,
    /// The epoch of the store that it was given out in.
    pub(super) epoch: u64,
    /// Which endpoint.
    pub(super) client: [u8; 16],
    /// Until when it may be used.
    pub(super) until: Timestamp,
    /// The endpoint has told what machine it is.
    pub(super) registered: bool,
    /// The configuration that the agent knew was of this time.
    pub(super) config: Timestamp,
    /// Up to where it was told of changes, by the logical clock of the catalog.
    pub(super) mark: u64,
    /// The same in the scan for categories under way, and which categories those are.
    pub(super) part: Option<(u64, u64)>,
    /// What the agent speaks.
    pub(super) protocol: (u16, u16),
    /// The agent came with a cookie of another server: what it holds has that one's numbers, so that it must be told so before it
    /// scans.
    pub(super) foreign: bool,
}

impl Ticket {
    /// Whose it is.
    pub(super) fn client(&self) -> UpdateId {
        UpdateId::new(self.client)
    }
}

/// Why a cookie says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsealed {
    /// It is another server's of this kind.
    Elsewhere,
    /// It is another kind of server's, or nobody's.
    Unreadable,
}

/// Makes and reads cookies of one server. The first key seals, all of them open: so keys are replaced while cookies live.
pub(super) struct Sealer {
    server: UpdateId,
    keys: Vec<LessSafeKey>,
}

impl Sealer {
    /// Of this server, with keys, the newest first; one at least.
    pub(super) fn new(server: UpdateId, keys: &[[u8; KEY_BYTES]]) -> Result<Self, Error> {
        let key = |bytes: &[u8; KEY_BYTES]| UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new);
        let keys = keys.iter().map(key).collect::<Result<_, _>>().map_err(|_| Error::Sealing)?;
        Ok(Self { server, keys })
    }

    fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        for (slot, byte) in head.iter_mut().zip(WORD.iter().chain(self.server.bytes())) {
            *slot = *byte;
        }
        head
    }

    /// The cookie of a ticket. Fails where the system has no random numbers.
    pub(super) fn seal(&self, ticket: &Ticket) -> Result<Vec<u8>, Error> {
        let head = self.head();
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| Error::Sealing)?;
        let mut sealed = postcard::to_stdvec(ticket).map_err(|_| Error::Sealing)?;
        let key = self.keys.first().ok_or(Error::Sealing)?;
        let nonced = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonced, Aad::from(head), &mut sealed).map_err(|_| Error::Sealing)?;
        Ok([&head[..], &nonce[..], &sealed[..]].concat())
    }

    /// What a cookie says, if it is one of ours. Its time is not looked at.
    pub(super) fn open(&self, cookie: &[u8]) -> Result<Ticket, Unsealed> {
        if cookie.len() > BYTES_MAX {
            return Err(Unsealed::Unreadable);
        }
        let (head, rest) = cookie.split_first_chunk::<HEAD>().ok_or(Unsealed::Unreadable)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Unsealed::Unreadable)?;
        if !head.starts_with(WORD) {
            return Err(Unsealed::Unreadable);
        }
        if *head != self.head() {
            return Err(Unsealed::Elsewhere);
        }
        for key in &self.keys {
            let mut bytes = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            if let Ok(plain) = key.open_in_place(nonce, Aad::from(*head), &mut bytes) {
                return postcard::from_bytes(plain).map_err(|_| Unsealed::Unreadable);
            }
        }
        Err(Unsealed::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            of: Use::Ask,
            epoch: 3,
            client: [9; 16],
            until: Timestamp::from_ms(77),
            registered: true,
            config: Timestamp::from_ms(5),
            mark: u64::MAX,
            part: Some((1, 2)),
            protocol: (2, 90),
            foreign: false,
        }
    }

    #[test]
    fn what_was_sealed_is_read_and_nothing_else() {
        let (old, new) = ([1; KEY_BYTES], [2; KEY_BYTES]);
        let server = UpdateId::new([4; 16]);
        let sealer = |keys: &[[u8; KEY_BYTES]]| Sealer::new(server, keys).unwrap();
        let cookie = sealer(&[old]).seal(&ticket()).unwrap();
        assert_eq!(sealer(&[old]).open(&cookie), Ok(ticket()));
        assert_eq!(sealer(&[new, old]).open(&cookie), Ok(ticket()), "a former key still opens");
        assert_eq!(sealer(&[new]).open(&cookie), Err(Unsealed::Unreadable));
        assert_ne!(sealer(&[old]).seal(&ticket()).unwrap(), cookie, "a nonce is used once");
        let other = Sealer::new(UpdateId::new([5; 16]), &[old]).unwrap();
        assert_eq!(other.open(&cookie), Err(Unsealed::Elsewhere));
        for at in 0..cookie.len() {
            let mut forged = cookie.clone();
            forged[at] ^= 1;
            assert!(sealer(&[old]).open(&forged).is_err(), "byte {at}");
            assert!(sealer(&[old]).open(&cookie[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(sealer(&[old]).open(&[b'W'; 4096]), Err(Unsealed::Unreadable));
    }
}
