//! Ids of updates: 16 bytes, written as GUIDs.

use std::fmt;

use crate::random::mix;

/// The digits of a GUID from left to right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Guid(pub(crate) [u8; 16]);

impl Guid {
    /// One that follows from a seed.
    pub(crate) fn made(seed: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&mix(seed).to_be_bytes());
        bytes[8..].copy_from_slice(&mix(mix(seed) ^ 0x6775_6964).to_be_bytes());
        // As RFC 9562 marks random ones.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Reads one, of any case.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() != 36 {
            return None;
        }
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (at, byte) in text.bytes().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return None;
                }
                continue;
            }
            let value = char::from(byte).to_digit(16)? as u8;
            let slot: &mut u8 = bytes.get_mut(digits / 2)?;
            *slot = *slot << 4 | value;
            digits += 1;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One revision of an update.
pub(crate) type Identity = (Guid, u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_read_as_it_is_written() {
        let made = Guid::made(5);
        assert_eq!(Guid::read(&made.to_string()), Some(made));
        assert_eq!(Guid::read(&made.to_string().to_uppercase()), Some(made));
        for bad in ["", "0fa1201d-4330-4fa8-8ae9-b877473b644", "0fa1201d-4330-4fa8-8ae9-b877473b644g"] {
            assert_eq!(Guid::read(bad), None);
        }
    }
}
