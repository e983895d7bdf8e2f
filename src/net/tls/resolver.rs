//! Which certificate a client is shown: ECDSA where it can verify that, else RSA.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureAlgorithm;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates in use. They are swapped as one; handshakes under way and open connections keep what they have.
#[derive(Debug)]
pub struct Resolver {
    pairs: ArcSwap<Vec<Arc<CertifiedKey>>>,
}

impl Resolver {
    /// Serves with these.
    pub fn new(pairs: Vec<Arc<CertifiedKey>>) -> Self {
        Self { pairs: ArcSwap::from_pointee(in_order(pairs)) }
    }

    /// Serves with these from the next handshake on; with `last` whom none of them suits.
    pub fn replace(&self, pairs: Vec<Arc<CertifiedKey>>, last: Option<Arc<CertifiedKey>>) {
        let mut pairs = in_order(pairs);
        pairs.extend(last);
        self.pairs.store(Arc::new(pairs));
    }

    /// What it serves with, the preferred one first.
    pub fn pairs(&self) -> Arc<Vec<Arc<CertifiedKey>>> {
        self.pairs.load_full()
    }
}

/// ECDSA first: its handshakes cost a tenth, and Windows Server 2012 R2 does AES-GCM with it alone.
fn in_order(mut pairs: Vec<Arc<CertifiedKey>>) -> Vec<Arc<CertifiedKey>> {
    pairs.sort_by_key(|pair| pair.key.algorithm() != SignatureAlgorithm::ECDSA);
    pairs
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has taken out the schemes that do not go with the cipher suites of the client.
        let pairs = self.pairs.load();
        pairs.iter().find(|pair| pair.key.choose_scheme(hello.signature_schemes()).is_some()).cloned()
    }
}
