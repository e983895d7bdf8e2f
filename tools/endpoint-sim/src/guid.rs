//! Ids of updates and machines.

use std::fmt;

/// The 32 digits of a GUID from left to right, as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid(u128);

impl Guid {
    /// One that follows from a number, marked as RFC 9562 marks random ones.
    pub(crate) fn made(high: u64, low: u64) -> Self {
        let raw = u128::from(high) << 64 | u128::from(low);
        Self(raw & !(0xf << 76) & !(0xc << 60) | 0x4 << 76 | 0x8 << 60)
    }

    /// Reads one, of any case; none where it is not 8-4-4-4-12 hexadecimal digits.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let dashes = text.bytes().enumerate().filter(|(_, byte)| *byte == b'-').map(|(at, _)| at);
        if text.len() != 36 || !dashes.eq([8, 13, 18, 23]) {
            return None;
        }
        let mut value = 0u128;
        for digit in text.chars().filter(|digit| *digit != '-') {
            value = value << 4 | u128::from(digit.to_digit(16)?);
        }
        Some(Self(value))
    }

    /// Its two halves.
    pub(crate) fn halves(self) -> [u64; 2] {
        [(self.0 >> 64) as u64, self.0 as u64]
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            id >> 96,
            id >> 80 & 0xffff,
            id >> 64 & 0xffff,
            id >> 48 & 0xffff,
            id & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_read_as_it_is_written() {
        let text = "0fa1201d-4330-4fa8-8ae9-b877473b6441";
        let read = Guid::read(&text.to_uppercase()).expect("a GUID");
        assert_eq!(read.to_string(), text);
        let made = Guid::made(u64::MAX, u64::MAX).to_string();
        assert_eq!((made.as_bytes()[14], made.as_bytes()[19]), (b'4', b'b'));
        for bad in [
            "",
            "0fa1201d-4330-4fa8-8ae9-b877473b644",
            "0fa1201d-4330-4fa8-8ae9-b877473b644g",
            "0fa1201d04330-4fa8-8ae9-b877473b6441",
        ] {
            assert_eq!(Guid::read(bad), None, "{bad}");
        }
    }
}
