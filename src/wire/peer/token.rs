//! The joining token: all that the administrator of a child needs, as one word.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use crate::base::secret::Key;
use crate::base::time::Timestamp;
use crate::model::chain::hash::ChainId;
use crate::wire::error::{Error, Result};
use crate::wire::peer::read::Read;

const WHAT: &str = "a joining token";
const BEGIN: &str = "wst1.";
/// Places where the parent may be reached.
pub const ADDRESSES_MAX: usize = 8;
/// Characters of a whole token: addresses and a name of full length, and what is fixed.
pub const CHARS_MAX: usize = 4096;

/// A joining token. Its `Debug` hides the secret; [`Token::write`] is for the one who is to get it.
#[derive(Clone, Debug)]
pub struct Token {
    /// The number of the invitation.
    pub invitation: [u8; 16],
    /// What only the invited one knows.
    pub secret: Key,
    /// SHA-256 of the public key (SPKI) of the parent's own certificate authority for nodes.
    pub pin: [u8; 32],
    /// Whose feed it is.
    pub chain: ChainId,
    /// Its end.
    pub until: Timestamp,
    /// `host:port`, 1 to [`ADDRESSES_MAX`], in the order in which they are tried.
    pub addresses: Vec<String>,
    /// What the node is called.
    pub name: String,
}

impl fmt::Display for Token {
    /// What it is for, without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} below {}, until {}", self.name, self.addresses.join(", "), self.until)
    }
}

fn text(from: &mut Read) -> Result<String> {
    let len = usize::from(from.u8()?);
    let bytes = from.bytes(len)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| from.fail("a text is not UTF-8"))?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(from.fail("a text is empty, or has control characters"));
    }
    Ok(text.to_owned())
}

fn put(out: &mut Vec<u8>, text: &str, unit: &'static str) -> Result<()> {
    let len = u8::try_from(text.len()).map_err(|_| Error::Limit { what: WHAT, max: 255, unit })?;
    out.push(len);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

impl Token {
    /// The word. `Limit` where a name or address is longer than 255 bytes, or there are too many or no addresses.
    pub fn write(&self) -> Result<String> {
        if !(1..=ADDRESSES_MAX).contains(&self.addresses.len()) {
            return Err(Error::Limit { what: WHAT, max: ADDRESSES_MAX as u64, unit: "addresses" });
        }
        let mut out = vec![1];
        out.extend_from_slice(&self.invitation);
        out.extend_from_slice(self.secret.expose());
        out.extend_from_slice(&self.pin);
        out.extend_from_slice(self.chain.bytes());
        out.extend_from_slice(&self.until.ms().to_le_bytes());
        out.push(self.addresses.len() as u8);
        for address in &self.addresses {
            put(&mut out, address, "bytes of an address")?;
        }
        put(&mut out, &self.name, "bytes of a name")?;
        let check = blake3::hash(&out);
        out.extend_from_slice(check.as_bytes().get(..4).unwrap_or_default());
        Ok(format!("{BEGIN}{}", URL_SAFE_NO_PAD.encode(out)))
    }

    /// What a word says; white space around it does not count. Nothing of it is told in errors.
    pub fn read(word: &str) -> Result<Self> {
        let fail = |why: &str| Error::Malformed { what: WHAT, at: 0, why: why.to_owned() };
        let word = word.trim();
        if word.len() > CHARS_MAX {
            return Err(Error::Limit { what: WHAT, max: CHARS_MAX as u64, unit: "characters" });
        }
        let rest = word.strip_prefix(BEGIN).ok_or_else(|| fail("it does not begin with wst1."))?;
        let cut = || fail("a part of it is missing, or a character is wrong: copy it once more");
        let bytes: Bytes = URL_SAFE_NO_PAD.decode(rest).map_err(|_| cut())?.into();
        let (told, check) = bytes.split_last_chunk::<4>().ok_or_else(cut)?;
        if blake3::hash(told).as_bytes().first_chunk::<4>() != Some(check) {
            return Err(cut());
        }
        let mut from = Read::new(WHAT, bytes.slice(..told.len()));
        if from.u8()? != 1 {
            return Err(from.fail("it is of a later version"));
        }
        let (invitation, secret, pin) = (from.array()?, Key::new(from.array()?), from.array()?);
        let (chain, until) = (ChainId::new(from.array()?), Timestamp::from_ms(from.u64()?));
        let count = usize::from(from.u8()?);
        if !(1..=ADDRESSES_MAX).contains(&count) {
            return Err(from.fail("it has no address, or too many"));
        }
        let addresses = (0..count).map(|_| text(&mut from)).collect::<Result<_>>()?;
        let name = text(&mut from)?;
        from.end()?;
        Ok(Self { invitation, secret, pin, chain, until, addresses, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            invitation: [1; 16],
            secret: Key::new([2; 32]),
            pin: [3; 32],
            chain: ChainId::new([4; 32]),
            until: Timestamp::from_ms(1_700_000_000_000),
            addresses: vec!["hq.example:6203".into(), "192.0.2.1:6203".into()],
            name: "Berlin".into(),
        }
    }

    #[test]
    fn is_read_as_it_was_written_and_hides_its_secret() {
        let word = token().write().unwrap();
        let again = Token::read(&format!(" {word}\n")).unwrap();
        assert_eq!(again.secret.expose(), &[2; 32]);
        assert_eq!(format!("{again:?}"), format!("{:?}", token()));
        assert!(!format!("{again:?} {again}").contains("2, 2, 2"));
        assert_eq!(again.to_string(), "Berlin below hq.example:6203, 192.0.2.1:6203, until 2023-11-14T22:13:20Z");
    }

    #[test]
    fn a_typing_error_is_told_as_one() {
        let word = token().write().unwrap();
        for at in 0..word.len() {
            let mut wrong = word.clone().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            assert!(Token::read(std::str::from_utf8(&wrong).unwrap()).is_err(), "{at}");
            assert!(Token::read(&word[..at]).is_err(), "{at}");
        }
        assert!(Token::read(&"w".repeat(CHARS_MAX + 1)).is_err());
        let none = Token { addresses: Vec::new(), ..token() };
        assert!(none.write().is_err());
        let long = Token { name: "n".repeat(256), ..token() };
        assert!(long.write().is_err());
    }
}
