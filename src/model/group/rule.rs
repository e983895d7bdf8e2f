//! Rules that put endpoints into groups: by subnet and by name. Pure: nothing is asked of the network or of a directory.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Characters of a pattern: names of machines have 255 at most (RFC 1035, 2.3.4). Bounds what trying one costs.
pub const PATTERN_MAX: usize = 255;

/// A pattern for names: `*` stands for any text, `?` for one character; case does not matter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// What is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no pattern for names: 1 to {PATTERN_MAX} characters such as KIOSK-*, * for any text and ? for one character"
)]
pub struct NotAPattern(pub String);

impl FromStr for Pattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let is_good = !text.is_empty()
            && text.chars().count() <= PATTERN_MAX
            && !text.chars().any(|letter| letter.is_control() || letter.is_whitespace());
        if is_good { Ok(Self(text.to_lowercase())) } else { Err(NotAPattern(text.chars().take(48).collect())) }
    }
}

impl TryFrom<String> for Pattern {
    type Error = NotAPattern;

    fn try_from(text: String) -> Result<Self, NotAPattern> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Whether a name fits, whole. It goes back to the last star only, so that no pattern costs more than the product of both
    /// lengths.
    pub fn fits(&self, name: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let name: Vec<char> = name.to_lowercase().chars().take(4 * PATTERN_MAX).collect();
        let (mut p, mut n, mut star) = (0, 0, None);
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(letter) if *letter == '?' || name.get(n) == Some(letter) => {
                    p += 1;
                    n += 1;
                }
                _ => match star {
                    // The star stands for one more.
                    Some((at, taken)) => {
                        star = Some((at, taken + 1));
                        p = at + 1;
                        n = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern.iter().skip(p).all(|letter| *letter == '*')
    }
}

/// A rule of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Endpoints whose address is in it.
    Subnet(IpNet),
    /// Endpoints whose name fits it.
    Name(Pattern),
}

/// How an endpoint fits a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// By its address; how narrow the subnet is, in bits that are fixed.
    Subnet(u8),
    /// By its name.
    Name,
}

impl Rule {
    /// Whether an endpoint fits, and how. An IPv4 address in an IPv6 one counts as what it is.
    pub fn fits(&self, name: &str, address: IpAddr) -> Option<Fit> {
        match self {
            Self::Subnet(net) => net.contains(&address.to_canonical()).then(|| Fit::Subnet(net.prefix_len())),
            Self::Name(pattern) => pattern.fits(name).then_some(Fit::Name),
        }
    }
}
