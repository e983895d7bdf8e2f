//! Digests as distinct types: a SHA-1 can never be passed where a BLAKE3 is meant, and none is built but from the
//! right number of bytes or hex digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text that is not a digest: the wrong number of characters, or one that is no hex digit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind} digest: expected {expected} hex digits, got {got:?}")]
pub struct ParseError {
    kind: &'static str,
    expected: usize,
    /// At most 80 characters of what was given, so that a hostile value cannot flood a log.
    got: String,
}

fn parse<const N: usize>(kind: &'static str, text: &str) -> Result<[u8; N], ParseError> {
    let fail = || ParseError { kind, expected: N * 2, got: text.chars().take(80).collect() };
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return Err(fail());
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16).ok_or_else(fail)?;
        let low = char::from(pair[1]).to_digit(16).ok_or_else(fail)?;
        *byte = (high * 16 + low) as u8;
    }
    Ok(bytes)
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    // Digests have at most 32 bytes, and each is written at once: they stand in every record and every tag.
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    f.write_str(std::str::from_utf8(&text[..(2 * bytes.len()).min(64)]).unwrap_or_default())
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident, $len:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; $len]);

        impl $name {
            /// The digest of these raw bytes.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            /// Hex digits of either case, exactly as many as the digest has.
            fn from_str(text: &str) -> Result<Self, ParseError> {
                parse($kind, text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:", $kind)?;
                write_hex(f, &self.0)
            }
        }
    };
}

digest_type!(
    /// A SHA-1: what Microsoft's file names and WSUS's content directory carry.
    Sha1, 20, "sha1"
);
digest_type!(
    /// A SHA-256: what catalogs publish beside the SHA-1, and what judges wherever it is known.
    Sha256, 32, "sha256"
);
digest_type!(
    /// A BLAKE3 of a whole payload: its identity in the store.
    Blake3, 32, "blake3"
);

/// A digest of any of the three kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Digest {
    /// See [`Blake3`].
    Blake3(Blake3),
    /// See [`Sha1`].
    Sha1(Sha1),
    /// See [`Sha256`].
    Sha256(Sha256),
}

impl fmt::Display for Digest {
    /// `sha1-<hex>`, `sha256-<hex>`, `blake3-<hex>`: the inside of the entity tags of digest forms.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blake3(digest) => write!(f, "blake3-{digest}"),
            Self::Sha1(digest) => write!(f, "sha1-{digest}"),
            Self::Sha256(digest) => write!(f, "sha256-{digest}"),
        }
    }
}

/// All three digests of one sequence of bytes, as computed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// Identity in the store.
    pub blake3: Blake3,
    /// Alias.
    pub sha1: Sha1,
    /// Alias.
    pub sha256: Sha256,
}

impl Digests {
    /// Whether `digest` is one of these three.
    pub fn has(&self, digest: &Digest) -> bool {
        match digest {
            Digest::Blake3(other) => self.blake3 == *other,
            Digest::Sha1(other) => self.sha1 == *other,
            Digest::Sha256(other) => self.sha256 == *other,
        }
    }

    /// The one of these three that is of the kind of `digest`: what stands beside it where the two are compared.
    pub fn like(&self, digest: &Digest) -> Digest {
        match digest {
            Digest::Blake3(_) => Digest::Blake3(self.blake3),
            Digest::Sha1(_) => Digest::Sha1(self.sha1),
            Digest::Sha256(_) => Digest::Sha256(self.sha256),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_either_case_and_prints_lower() {
        let text = "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709";
        let digest: Sha1 = text.parse().unwrap();
        assert_eq!(digest.to_string(), text.to_lowercase());
        assert_eq!(Digest::Sha1(digest).to_string(), format!("sha1-{}", text.to_lowercase()));
    }

    #[test]
    fn refuses_what_is_no_digest() {
        for text in ["", "da39", "zz39a3ee5e6b4b0d3255bfef95601890afd80709", "da39a3ee5e6b4b0d3255bfef95601890afd8070é"]
        {
            assert!(text.parse::<Sha1>().is_err(), "{text}");
        }
        let long = "g".repeat(10_000);
        assert!(long.parse::<Sha256>().unwrap_err().to_string().len() < 200);
    }
}
