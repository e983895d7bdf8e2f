//! Whether a signature of the chain holds, and is of this chain.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use crate::chain::alarm::{Alarm, Signed};
use crate::model::chain::hash::ChainId;
use crate::wire::peer::signed::{Checkpoint, Signature, Stamp, Vouch};

fn holds(key: &[u8; 32], message: &[u8], signature: &Signature, what: Signed) -> Result<(), Alarm> {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).map_err(|_| Alarm::Signature(what))
}

/// The root key of `chain` vouched. Its times are not looked at.
pub fn vouch(chain: ChainId, vouch: &Vouch) -> Result<(), Alarm> {
    if vouch.chain() != chain {
        return Err(Alarm::WrongRoot { offered: vouch.chain() });
    }
    holds(&vouch.root, &vouch.message(), &vouch.signature, Signed::Vouch)
}

/// The feed key of a vouch that was verified signed, for its chain, epoch and serial.
pub fn checkpoint(vouch: &Vouch, checkpoint: &Checkpoint) -> Result<(), Alarm> {
    let same = (checkpoint.chain, checkpoint.position.epoch, checkpoint.serial);
    if same != (vouch.chain(), vouch.epoch, vouch.serial) {
        return Err(Alarm::Signature(Signed::Checkpoint));
    }
    holds(&vouch.feed, &checkpoint.message(), &checkpoint.signature, Signed::Checkpoint)
}

/// The same of a timestamp.
pub fn stamp(vouch: &Vouch, stamp: &Stamp) -> Result<(), Alarm> {
    if (stamp.chain, stamp.position.epoch, stamp.serial) != (vouch.chain(), vouch.epoch, vouch.serial) {
        return Err(Alarm::Signature(Signed::Timestamp));
    }
    holds(&vouch.feed, &stamp.message(), &stamp.signature, Signed::Timestamp)
}
