//! Cookies: what an agent brings back with each request, and nobody but this node reads or makes.
//!
//! Behind a word that says whose form it is, the id of the server and the epoch of its store stand a nonce and, sealed with AES-256-GCM, a
//! [`Ticket`]; what stands before it is authenticated with it. So another server's cookie, and one of before the store was put back, are
//! told from a forged one without any state, and without the keys, which are in no backup.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::fleet::registry::{Called, Machine};
use crate::model::update::UpdateId;
use crate::serve::client::error::Error;

/// What a cookie begins with.
const WORD: [u8; 4] = *b"WSC2";

/// Bytes before the nonce.
const HEAD: usize = WORD.len() + 16 + 8;

/// The longest that is looked at: one of ours has some 150 bytes, and what [`TARGETS_BYTES_MAX`] allows besides.
const BYTES_MAX: usize = 4096;

/// Bytes of the names of groups that an endpoint says it is in: of more, the first ones. Seven of the longest names.
const TARGETS_BYTES_MAX: usize = 2000;

/// Names of groups, likewise: as many as are kept of an endpoint.
const TARGETS_MAX: usize = 32;

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    /// What it is for.
    pub(super) of: Use,
    /// Which endpoint.
    pub(super) client: [u8; 16],
    /// Under which name.
    pub(super) name: Called,
    /// The groups that it was told to be in.
    pub(super) targets: Vec<String>,
    /// By chance; what was given out for this cookie has the same.
    pub(super) session: u64,
    /// Until when it may be used.
    pub(super) until: Timestamp,
    /// The machine that it told to be, where the id is bound to that one.
    pub(super) machine: Option<Machine>,
    /// The configuration that the agent knew was of this time.
    pub(super) config: Timestamp,
    /// Up to where it was told of changes, by the logical clock of the catalog ...
    pub(super) mark: u64,
    /// ... of what was delivered to whom ([`crate::fleet::spoken::Whose::number`]): in other groups other things are, whenever they changed.
    pub(super) whose: u64,
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

/// The groups that an endpoint was told to be in: names with semicolons between them.
pub(super) fn targets(text: &str) -> Vec<String> {
    let names = text.split(';').map(str::trim).filter(|name| !name.is_empty());
    let mut bytes = 0;
    let fits = |name: &&str| {
        bytes += name.len();
        bytes <= TARGETS_BYTES_MAX
    };
    names.take_while(fits).take(TARGETS_MAX).map(str::to_owned).collect()
}

/// Why a cookie says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Unsealed {
    /// It is another server's of this kind.
    Elsewhere,
    /// It is this server's, of before its store was put back, or of a later state than the store is in.
    OtherEpoch,
    /// It is another kind of server's, or nobody's.
    Unreadable,
}

/// Makes and reads cookies of one server. The first key seals, all of them open: so keys are replaced while cookies live.
pub(super) struct Sealer {
    server: UpdateId,
    epoch: u64,
    keys: Vec<LessSafeKey>,
}

impl Sealer {
    /// Of this server in this epoch of its store, with keys, the newest first; one at least.
    pub(super) fn new(server: UpdateId, epoch: u64, keys: &[[u8; KEY_BYTES]]) -> Result<Self, Error> {
        let key = |bytes: &[u8; KEY_BYTES]| UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new);
        let keys = keys.iter().map(key).collect::<Result<_, _>>().map_err(|_| Error::Sealing)?;
        Ok(Self { server, epoch, keys })
    }

    fn head(&self, word: [u8; 4]) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        let epoch = self.epoch.to_le_bytes();
        for (slot, byte) in head.iter_mut().zip(word.iter().chain(self.server.bytes()).chain(&epoch)) {
            *slot = *byte;
        }
        head
    }

    /// The cookie of a ticket. Fails where the system has no random numbers.
    pub(super) fn seal(&self, ticket: &Ticket) -> Result<Vec<u8>, Error> {
        self.seal_as(WORD, ticket)
    }

    /// The same of something else, behind a word of its own.
    pub(super) fn seal_as<T: Serialize>(&self, word: [u8; 4], what: &T) -> Result<Vec<u8>, Error> {
        let head = self.head(word);
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| Error::Sealing)?;
        let mut sealed = postcard::to_stdvec(what).map_err(|_| Error::Sealing)?;
        let key = self.keys.first().ok_or(Error::Sealing)?;
        let nonced = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonced, Aad::from(head), &mut sealed).map_err(|_| Error::Sealing)?;
        Ok([&head[..], &nonce[..], &sealed[..]].concat())
    }

    /// What a cookie says, if it is one of ours. Its time is not looked at.
    pub(super) fn open(&self, cookie: &[u8]) -> Result<Ticket, Unsealed> {
        self.open_as(WORD, cookie)
    }

    /// The same of what was sealed behind this word.
    pub(super) fn open_as<T: DeserializeOwned>(&self, word: [u8; 4], cookie: &[u8]) -> Result<T, Unsealed> {
        if cookie.len() > BYTES_MAX {
            return Err(Unsealed::Unreadable);
        }
        let (head, rest) = cookie.split_first_chunk::<HEAD>().ok_or(Unsealed::Unreadable)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Unsealed::Unreadable)?;
        if !head.starts_with(&word) {
            return Err(Unsealed::Unreadable);
        }
        let own = self.head(word);
        if *head != own {
            let is_ours = head.iter().zip(&own).take(WORD.len() + 16).all(|(theirs, ours)| theirs == ours);
            return Err(if is_ours { Unsealed::OtherEpoch } else { Unsealed::Elsewhere });
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
            client: [9; 16],
            name: Called::of("pc"),
            targets: targets("Pilot;Site A"),
            session: 12,
            until: Timestamp::from_ms(77),
            machine: None,
            config: Timestamp::from_ms(5),
            mark: u64::MAX,
            whose: 11,
            part: Some((1, 2)),
            protocol: (2, 90),
            foreign: false,
        }
    }

    #[test]
    fn what_was_sealed_is_read_and_nothing_else() {
        let (old, new) = ([1; KEY_BYTES], [2; KEY_BYTES]);
        let server = UpdateId::new([4; 16]);
        let sealer = |keys: &[[u8; KEY_BYTES]]| Sealer::new(server, 3, keys).unwrap();
        let cookie = sealer(&[old]).seal(&ticket()).unwrap();
        assert_eq!(sealer(&[old]).open(&cookie), Ok(ticket()));
        assert_eq!(sealer(&[new, old]).open(&cookie), Ok(ticket()), "a former key still opens");
        assert_eq!(sealer(&[new]).open(&cookie), Err(Unsealed::Unreadable));
        assert_ne!(sealer(&[old]).seal(&ticket()).unwrap(), cookie, "a nonce is used once");
        let other = Sealer::new(UpdateId::new([5; 16]), 3, &[old]).unwrap();
        assert_eq!(other.open(&cookie), Err(Unsealed::Elsewhere));
        let later = Sealer::new(server, 4, &[new]).unwrap();
        assert_eq!(later.open(&cookie), Err(Unsealed::OtherEpoch), "told without the key that made it");
        for at in 0..cookie.len() {
            let mut forged = cookie.clone();
            forged[at] ^= 1;
            assert!(sealer(&[old]).open(&forged).is_err(), "byte {at}");
            assert!(sealer(&[old]).open(&cookie[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(sealer(&[old]).open(&[b'W'; 4097]), Err(Unsealed::Unreadable));
    }

    #[test]
    fn the_longest_cookie_is_one_that_is_looked_at() {
        let longest = targets(&format!("{};", "x".repeat(TARGETS_BYTES_MAX / TARGETS_MAX)).repeat(40));
        assert_eq!(longest.len(), TARGETS_MAX);
        assert_eq!(targets(" Pilot ;; Site A;"), ["Pilot", "Site A"]);
        assert_eq!(targets(&format!("Pilot;{}", "x".repeat(4000))), ["Pilot"]);
        let sealer = Sealer::new(UpdateId::new([4; 16]), 3, &[[1; KEY_BYTES]]).unwrap();
        let long = Ticket { targets: longest, ..ticket() };
        assert_eq!(sealer.open(&sealer.seal(&long).unwrap()), Ok(long));
    }
}
