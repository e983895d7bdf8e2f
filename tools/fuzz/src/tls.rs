//! Certificates that an administrator brings: PEM and PFX.

use std::sync::{Arc, OnceLock};

use waystation::base::disk::RealDisk;
use waystation::base::secret::Secret;
use waystation::base::time::SystemClock;
use waystation::net::tls::{Config, Tls};

/// The first byte says how it is brought: a chain with its key in it, a chain and a key behind a NUL, or a PFX.
pub fn certificate(data: &[u8]) {
    static PLACE: OnceLock<(tempfile::TempDir, Tls)> = OnceLock::new();
    let (_, tls) = PLACE.get_or_init(|| {
        let dir = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
        let config = Config::new(dir.path().join("tls"));
        let tls = Tls::unloaded(config, Arc::new(RealDisk), Arc::new(SystemClock)).expect("a TLS side");
        (dir, tls)
    });
    let Some((&kind, rest)) = data.split_first() else { return };
    let result = match kind % 3 {
        0 => tls.import_pem(rest, None),
        1 => {
            let (chain, key) = rest.split_at(rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len()));
            tls.import_pem(chain, Some(key.get(1..).unwrap_or_default()))
        }
        _ => tls.import_pfx(rest, &Secret::new("secret".into())),
    };
    match result {
        Ok(_) => drop(tls.forget_imported()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
