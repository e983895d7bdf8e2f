//! The hashes of the chain. Each is a BLAKE3 in key derivation mode with a context of its own, so that none can stand for one of
//! another meaning, and each has a type of its own, so that none can be taken for another by mistake either.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::chain::ids::Audience;

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The hash of these bytes.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            pub const fn bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{self}", stringify!($name))
            }
        }
    };
}

hash_type!(
    /// A chain: the fingerprint of its authority's root key.
    ChainId
);
hash_type!(
    /// What a record stands under.
    KeyHash
);
hash_type!(
    /// A record, whole.
    RecordHash
);
hash_type!(
    /// All entries of an epoch up to one of them.
    Link
);
hash_type!(
    /// All live records.
    LiveRoot
);

const ROOT_KEY: &str = "waystation chain 1 root key";
const KEY: &str = "waystation chain 1 key";
const RECORD: &str = "waystation chain 1 record";
const EPOCH: &str = "waystation chain 1 epoch";
const LINK: &str = "waystation chain 1 link";

fn derive(context: &'static str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

impl ChainId {
    /// Of this public root key.
    pub fn of(root: &[u8; 32]) -> Self {
        Self(derive(ROOT_KEY, &[root]))
    }
}

impl KeyHash {
    /// Of a kind and a key.
    pub fn of(kind: u8, key: &[u8]) -> Self {
        Self(derive(KEY, &[&[kind], key]))
    }
}

impl RecordHash {
    /// What stands in the place of a record where there is none: of a tombstone.
    pub const NONE: Self = Self([0; 32]);

    /// Of a record; a key has at most [`super::record::KEY_BYTES_MAX`] bytes.
    pub fn of(kind: u8, audience: Audience, salt: &[u8; 16], key: &[u8], body: &[u8]) -> Self {
        let length = (key.len() as u16).to_le_bytes();
        Self(derive(RECORD, &[&[kind], audience.bytes(), salt, &length, key, body]))
    }
}

impl Link {
    /// Before the first entry of an epoch.
    pub fn begin(chain: ChainId, epoch: u64) -> Self {
        Self(derive(EPOCH, &[chain.bytes(), &epoch.to_le_bytes()]))
    }

    /// With one entry more: its number, what it does (1 set, 2 gone), for whom, under what, and which record.
    #[must_use]
    pub fn next(&self, sequence: u64, op: u8, audience: Audience, key: KeyHash, record: RecordHash) -> Self {
        Self(derive(LINK, &[&self.0, &sequence.to_le_bytes(), &[op], audience.bytes(), key.bytes(), record.bytes()]))
    }
}

/// Of several byte strings one behind the other: for [`super::live`].
pub(super) fn tree(context: &'static str, parts: &[&[u8]]) -> [u8; 32] {
    derive(context, parts)
}

/// The fingerprint of a node that two people compare: of its TLS public key (SPKI) and the key to which its secrets are sealed.
pub fn node_fingerprint(tls: &[u8], sealing: &[u8; 32]) -> [u8; 32] {
    derive("waystation chain 1 node", &[tls, sealing])
}

/// What is kept of the secret of an invitation.
pub fn invitation(secret: &[u8; 32]) -> [u8; 32] {
    derive("waystation chain 1 invitation", &[secret])
}
