//! The signature of what a hook is told: HMAC-SHA-256 (RFC 2104, FIPS 180-4), by the provider that does TLS.

use std::fmt::Write as _;

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::tls13::OkmBlock;
use sha2::{Digest as _, Sha256};

use crate::base::secret::Secret;

/// `v1=` and the hexadecimal HMAC-SHA-256 of `timestamp.body`; the time is signed with the body, so that nobody can send an old
/// one as a new one. `None` where the provider has no such suite, which it has.
pub fn signature(secret: &Secret, timestamp: u64, body: &[u8]) -> Option<String> {
    let mut message = timestamp.to_string().into_bytes();
    message.push(b'.');
    message.extend_from_slice(body);
    let tag = hmac(secret.expose().as_bytes(), &message)?;
    Some(tag.iter().fold(String::from("v1="), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// The suite's own HMAC. It takes keys of a block at most; longer ones are hashed first, as RFC 2104 section 2 says.
fn hmac(key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13()?;
    let key = if key.len() > OkmBlock::MAX_LEN { OkmBlock::new(&Sha256::digest(key)) } else { OkmBlock::new(key) };
    Some(suite.hkdf_provider.hmac_sign(&key, message).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// RFC 4231, cases 1, 2, 3 and 6 (a key longer than a block).
    #[test]
    fn it_is_the_hmac_of_the_specification() {
        for (key, message, tag) in [
            (vec![0x0b; 20], b"Hi There".to_vec(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (vec![0xaa; 20], vec![0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&hmac(&key, &message).unwrap()), tag);
        }
    }

    #[test]
    fn time_and_body_are_both_signed() {
        let secret = Secret::new("s".to_owned());
        let signed = |time, body: &[u8]| signature(&secret, time, body).unwrap();
        assert!(signed(1, b"{}").starts_with("v1=") && signed(1, b"{}").len() == 67);
        assert_ne!(signed(1, b"{}"), signed(2, b"{}"));
        assert_ne!(signed(1, b"{}"), signed(1, b"{ }"));
    }
}
