//! Settings that only one node may read: sealed to its key, bound to chain, node and setting (HPKE, RFC 9180, base mode,
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM).

use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey, HpkePublicKey};
use zeroize::Zeroizing;

use crate::base::secret::Key;
use crate::chain::error::Error;
use crate::model::chain::hash::ChainId;
use crate::model::chain::ids::NodeId;

const INFO: &[u8] = b"waystation chain 1 sealed";

/// The key to which a node's secrets are sealed.
#[derive(Debug)]
pub struct SealingKey {
    secret: Key,
    public: [u8; 32],
}

fn failed(error: &rustls::Error) -> Error {
    Error::Seal(error.to_string())
}

/// What binds a sealed secret to its place.
fn place(chain: ChainId, node: NodeId, key: &[u8]) -> Vec<u8> {
    [chain.bytes().as_slice(), node.bytes(), key].concat()
}

impl SealingKey {
    /// A new one.
    pub fn generate() -> Result<Self, Error> {
        let (public, secret) = SUITE.generate_key_pair().map_err(|error| failed(&error))?;
        let public = public.0.as_slice().try_into().map_err(|_| Error::Key { what: "sealing key" })?;
        let secret = secret.secret_bytes().try_into().map_err(|_| Error::Key { what: "sealing key" })?;
        Ok(Self { secret: Key::new(secret), public })
    }

    /// One that was kept.
    pub fn new(secret: Key, public: [u8; 32]) -> Self {
        Self { secret, public }
    }

    /// What is told of it.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// What is kept of it.
    pub fn secret(&self) -> &Key {
        &self.secret
    }

    /// What was sealed to it for this place.
    pub fn open(&self, chain: ChainId, node: NodeId, key: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (secret, text) = sealed.split_first_chunk::<32>().ok_or(Error::Sealed)?;
        let private = HpkePrivateKey::from(self.secret.expose().to_vec());
        let opened = SUITE.open(&EncapsulatedSecret(secret.to_vec()), INFO, &place(chain, node, key), text, &private);
        opened.map(Zeroizing::new).map_err(|_| Error::Sealed)
    }
}

/// Seals to the public key of `node`, for the record under `key`.
pub fn seal(chain: ChainId, node: NodeId, public: &[u8; 32], key: &[u8], text: &[u8]) -> Result<Vec<u8>, Error> {
    let public = HpkePublicKey(public.to_vec());
    let sealed = SUITE.seal(INFO, &place(chain, node, key), text, &public);
    let (secret, text) = sealed.map_err(|error| failed(&error))?;
    Ok([secret.0, text].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_for_its_node_its_setting_and_its_chain_alone() {
        let (chain, node) = (ChainId::new([1; 32]), NodeId::new([2; 16]));
        let key = SealingKey::generate().unwrap();
        let key = SealingKey::new(key.secret().clone(), *key.public());
        let sealed = seal(chain, node, key.public(), b"proxy.password", b"hunter2").unwrap();
        assert_eq!(sealed.len(), 32 + 7 + 16);
        assert_eq!(key.open(chain, node, b"proxy.password", &sealed).unwrap().as_slice(), b"hunter2");
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));

        let other = SealingKey::generate().unwrap();
        assert!(other.open(chain, node, b"proxy.password", &sealed).is_err());
        assert!(key.open(chain, node, b"webhook.secret", &sealed).is_err());
        assert!(key.open(chain, NodeId::new([3; 16]), b"proxy.password", &sealed).is_err());
        assert!(key.open(ChainId::new([9; 32]), node, b"proxy.password", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut wrong = sealed.clone();
            wrong[at] ^= 1;
            assert!(key.open(chain, node, b"proxy.password", &wrong).is_err(), "{at}");
            assert!(key.open(chain, node, b"proxy.password", &sealed[..at]).is_err(), "{at}");
        }
    }
}
