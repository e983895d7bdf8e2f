//! Who may do what on the control plane: roles, the groups that somebody is bound to, and what a token was made for.
//!
//! A role says how much may be done, a reach for which endpoints, grants (tokens alone) in which areas. All three must allow a request.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::model::group::Groups;
use crate::model::policy::Group;

/// Characters of an account's name.
pub const NAME_MAX: usize = 64;
/// Groups that one account or token is bound to: it is asked for each row of a list.
pub const REACH_MAX: usize = 64;

/// How much somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees everything, changes nothing.
    Auditor,
    /// Runs the daily work: approvals, endpoints, groups, synchronisation, content.
    Operator,
    /// Everything, accounts and the node's settings too.
    Administrator,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Auditor, Self::Operator, Self::Administrator];

    /// The word of the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|role| role.word() == text).ok_or_else(|| Error::Role(text.to_owned()))
    }
}

/// The endpoints that somebody may see and change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    #[default]
    Everywhere,
    /// Those of these groups and of the groups below them. None at all where all of these are gone.
    Groups(BTreeSet<Group>),
}

impl Reach {
    /// Whether `group` is one of these, or below one of them.
    pub fn has(&self, group: Group, tree: &Groups) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Groups(own) => tree.up(group).any(|above| own.contains(&above)),
        }
    }

    /// Whether nothing that `other` reaches is out of this one's reach.
    pub fn covers(&self, other: &Self, tree: &Groups) -> bool {
        match (self, other) {
            (Self::Everywhere, _) => true,
            (Self::Groups(_), Self::Everywhere) => false,
            (Self::Groups(_), Self::Groups(theirs)) => theirs.iter().all(|group| self.has(*group, tree)),
        }
    }

    /// Whether there is no bound.
    pub fn is_everywhere(&self) -> bool {
        *self == Self::Everywhere
    }
}

/// A part of the control plane, as tokens name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Health, metrics, jobs, questions about addresses.
    Status,
    /// What is held, quarantined, fetched and imported; what is brought ahead.
    Content,
    /// The catalog: updates, what of it is wanted, its runs.
    Catalog,
    /// Endpoints, their groups, how they stand.
    Endpoints,
    /// What is approved for whom, licences and rules.
    Approvals,
    /// Nodes above and below.
    Nodes,
    /// Settings, bandwidth, certificates, backups, the upstream.
    Settings,
    /// Accounts and tokens.
    Accounts,
    /// The audit log.
    Audit,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Status,
        Self::Content,
        Self::Catalog,
        Self::Endpoints,
        Self::Approvals,
        Self::Nodes,
        Self::Settings,
        Self::Accounts,
        Self::Audit,
    ];

    /// The word of the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Content => "content",
            Self::Catalog => "catalog",
            Self::Endpoints => "endpoints",
            Self::Approvals => "approvals",
            Self::Nodes => "nodes",
            Self::Settings => "settings",
            Self::Accounts => "accounts",
            Self::Audit => "audit",
        }
    }
}

/// What a token was made for: `endpoints:read`, `approvals:write`, `*:read`, and `confirmed` for what a person would have to give the
/// password for once more. Writing has reading in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Each with whether it may be changed.
    areas: BTreeSet<(Area, bool)>,
    /// What a person is asked for the password again is done without.
    pub is_confirmed: bool,
}

/// What stands for every area.
const EVERY: &str = "*";
/// The word for [`Grants::is_confirmed`].
const CONFIRMED: &str = "confirmed";

impl Grants {
    /// Reads the words of a token.
    pub fn read<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut grants = Self::default();
        for word in words {
            if word == CONFIRMED {
                grants.is_confirmed = true;
                continue;
            }
            let wrong = || Error::Grant(word.to_owned());
            let (area, verb) = word.split_once(':').ok_or_else(wrong)?;
            let write = match verb {
                "read" => false,
                "write" => true,
                _ => return Err(wrong()),
            };
            let named = Area::ALL.into_iter().filter(|known| area == EVERY || known.word() == area);
            let before = grants.areas.len();
            grants.areas.extend(named.map(|area| (area, write)));
            if grants.areas.len() == before && area != EVERY && !Area::ALL.iter().any(|known| known.word() == area) {
                return Err(wrong());
            }
        }
        if grants.areas.is_empty() {
            return Err(Error::Grants);
        }
        Ok(grants)
    }

    /// Whether they allow this.
    pub fn allow(&self, area: Area, write: bool) -> bool {
        self.areas.contains(&(area, true)) || (!write && self.areas.contains(&(area, false)))
    }

    /// The words that [`Grants::read`] reads.
    pub fn words(&self) -> Vec<String> {
        let verb = |write| if write { "write" } else { "read" };
        let mut words: Vec<String> =
            self.areas.iter().map(|(area, write)| format!("{}:{}", area.word(), verb(*write))).collect();
        if self.is_confirmed {
            words.push(CONFIRMED.to_owned());
        }
        words
    }
}

/// The name of an account, in the one form in which it is kept: lower case.
pub fn name(text: &str) -> Result<String, Error> {
    let name = text.trim().to_ascii_lowercase();
    let fits = (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte))
        && name.as_bytes()[0].is_ascii_alphanumeric();
    if fits { Ok(name) } else { Err(Error::Name(text.chars().take(NAME_MAX).collect())) }
}

/// What cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such role.
    #[error("{0:?} is no role: administrator, operator or auditor")]
    Role(String),
    /// No such grant.
    #[error("{0:?} is no scope of a token: such as endpoints:read, approvals:write, *:read, confirmed")]
    Grant(String),
    /// A token for nothing.
    #[error("a token needs one scope at least, such as *:read")]
    Grants,
    /// A name that cannot be one.
    #[error(
        "{0:?} cannot be the name of an account: 1 to {NAME_MAX} letters, digits and . _ - @, a letter or digit first"
    )]
    Name(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_has_reading_in_it_and_nothing_else() {
        let grants = Grants::read(["endpoints:read", "approvals:write"]).unwrap();
        assert!(grants.allow(Area::Endpoints, false) && !grants.allow(Area::Endpoints, true));
        assert!(grants.allow(Area::Approvals, true) && grants.allow(Area::Approvals, false));
        assert!(!grants.allow(Area::Settings, false) && !grants.is_confirmed);
        let all = Grants::read(["*:write", "confirmed"]).unwrap();
        assert!(Area::ALL.iter().all(|area| all.allow(*area, true)) && all.is_confirmed);
        let words = all.words();
        assert_eq!(Grants::read(words.iter().map(String::as_str)).unwrap(), all);
        for wrong in ["endpoints", "endpoints:all", "people:read", ":read", "confirmed"] {
            assert!(Grants::read([wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_have_one_form() {
        assert_eq!(name(" Anna.B@Site.Example ").unwrap(), "anna.b@site.example");
        for wrong in ["", "-x", "a b", "a/b", "ä", &"a".repeat(65), "<b>", "a\nb"] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
    }
}
