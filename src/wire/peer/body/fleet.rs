//! Bodies of records of what people decided for groups and endpoints: words, reviews, licences, groups, policies, placements.
//!
//! All that was said of an update is one record, since it changes together and is told together.

use bytes::Bytes;

use crate::base::time::Timestamp;
use crate::model::compliance::inherit::Own;
use crate::model::deployment::{Action, Endpoint, Review, Said, Target};
use crate::model::group::rule::Rule;
use crate::model::group::{Level, Node};
use crate::model::policy::Group;
use crate::model::update::{Severity, UpdateId};
use crate::wire::error::Result;
use crate::wire::peer::body::{Fields, KEY, fields, only, text};
use crate::wire::peer::read::Read;

const APPROVALS: &str = "a record of approvals";
const REVIEW: &str = "a record of a review";
const LICENCE: &str = "a record of a licence";
const GROUP: &str = "a record of a group";
const POLICY: &str = "a record of a policy";
const PLACEMENT: &str = "a record of a placement";

/// No deadline.
const NEVER: u64 = u64::MAX;
const ALL_FILES: u8 = 1;
const IS_TEST: u8 = 1;
const ASKS_REVIEW: u8 = 2;

const NOT_APPROVED: u8 = 1;
const ACTIONS: [(Action, u8); 4] =
    [(Action::PreDeploymentCheck, 3), (Action::Uninstall, 4), (Action::OptionalInstall, 5), (Action::Install, 6)];
const REVIEWS: [(Review, u8); 3] = [(Review::Held, 1), (Review::InTest, 2), (Review::Released, 3)];
const LEVELS: [(Level, u8); 3] = [(Level::Company, 1), (Level::Site, 2), (Level::Group, 3)];
const SEVERITIES: [(Severity, u8); 5] = [
    (Severity::Unspecified, 0),
    (Severity::Low, 1),
    (Severity::Moderate, 2),
    (Severity::Important, 3),
    (Severity::Critical, 4),
];

fn code<T: PartialEq>(of: &T, known: &[(T, u8)]) -> u8 {
    known.iter().find(|(one, _)| one == of).map_or(0, |(_, code)| *code)
}

fn of_code<T: Copy>(code: u8, known: &[(T, u8)], from: &Read) -> Result<T> {
    let found = known.iter().find(|(_, one)| *one == code).map(|(one, _)| *one);
    found.ok_or_else(|| from.fail("it says what this version does not know"))
}

/// A key of 16 bytes: an update, a licence, a group, an endpoint.
pub fn id_key(id: UpdateId) -> Bytes {
    Bytes::copy_from_slice(id.bytes())
}

/// The id in a key.
pub fn of_id_key(key: &[u8]) -> Result<UpdateId> {
    only(Read::new(KEY, Bytes::copy_from_slice(key)), |from| Ok(UpdateId::new(from.array()?)))
}

/// What was said of an update for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// For whom.
    pub target: Target,
    /// What; never that it is inherited.
    pub said: Said,
    /// With files that endpoints read in parts.
    pub all_files: bool,
    /// By whom.
    pub by: String,
    /// Why.
    pub why: String,
}

/// All that was said of an update, as it stands in a record. Without the reasons where the record would be too large with them.
pub fn write_words(words: &[Word]) -> Bytes {
    let with = |reasons: bool| {
        let mut out = Fields(Vec::new());
        for word in words {
            let (kind, id) = match word.target {
                Target::Group(group) => (1, group.0),
                Target::Endpoint(endpoint) => (2, endpoint.0),
            };
            let (said, deadline) = match word.said {
                Said::NotApproved | Said::Inherit => (NOT_APPROVED, None),
                Said::Do { action, deadline } => (code(&action, &ACTIONS), deadline),
            };
            let mut one = vec![kind];
            one.extend_from_slice(id.bytes());
            one.extend_from_slice(&[said, if word.all_files { ALL_FILES } else { 0 }]);
            one.extend_from_slice(&deadline.map_or(NEVER, Timestamp::ms).to_le_bytes());
            one.extend_from_slice(&(word.by.len() as u32).to_le_bytes());
            one.extend_from_slice(word.by.as_bytes());
            one.extend_from_slice(if reasons { word.why.as_bytes() } else { &[] });
            out.put(1, &one);
        }
        out.done()
    };
    let whole = with(true);
    if whole.len() > crate::model::chain::record::BODY_BYTES_MAX { with(false) } else { whole }
}

/// What a record says of an update.
pub fn read_words(bytes: &Bytes) -> Result<Vec<Word>> {
    let mut words = Vec::new();
    fields(APPROVALS, bytes, |tag, mut from| {
        if tag != 1 {
            return Ok(());
        }
        let (kind, id) = (from.u8()?, UpdateId::new(from.array()?));
        let target = match kind {
            1 => Target::Group(Group(id)),
            2 => Target::Endpoint(Endpoint(id)),
            _ => return Err(from.fail("it is for a kind of target that this version does not know")),
        };
        let (said, flags, deadline) = (from.u8()?, from.u8()?, from.u64()?);
        let said = if said == NOT_APPROVED {
            Said::NotApproved
        } else {
            let deadline = (deadline != NEVER).then(|| Timestamp::from_ms(deadline));
            Said::Do { action: of_code(said, &ACTIONS, &from)?, deadline }
        };
        let len = from.u32()? as usize;
        let by = text(Read::new(APPROVALS, from.bytes(len)?))?;
        words.push(Word { target, said, all_files: flags & ALL_FILES != 0, by, why: text(from)? });
        Ok(())
    })?;
    Ok(words)
}

/// A step of a review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    /// What it is.
    pub review: Review,
    /// By whom.
    pub by: String,
    /// Why.
    pub why: String,
}

impl Reviewed {
    /// As it stands in a record.
    pub fn write(&self) -> Bytes {
        let mut out = Fields(Vec::new());
        out.put(1, &[code(&self.review, &REVIEWS)]);
        out.put(2, self.by.as_bytes());
        out.put(3, self.why.as_bytes());
        out.done()
    }

    /// What a record says.
    pub fn read(bytes: &Bytes) -> Result<Self> {
        let mut read = Self { review: Review::Held, by: String::new(), why: String::new() };
        fields(REVIEW, bytes, |tag, mut from| {
            match tag {
                1 => read.review = of_code(from.u8()?, &REVIEWS, &from)?,
                2 => read.by = text(from)?,
                3 => read.why = text(from)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(read)
    }
}

/// Who accepted a licence, as it stands in a record.
pub fn write_licence(by: &str) -> Bytes {
    let mut out = Fields(Vec::new());
    out.put(1, by.as_bytes());
    out.done()
}

/// Who accepted a licence.
pub fn read_licence(bytes: &Bytes) -> Result<String> {
    let mut by = String::new();
    fields(LICENCE, bytes, |tag, from| {
        if tag == 1 {
            by = text(from)?;
        }
        Ok(())
    })?;
    Ok(by)
}

/// A group, and who changed it last, as it stands in a record.
pub fn write_group(node: &Node, by: &str) -> Bytes {
    let mut out = Fields(Vec::new());
    out.put(1, node.name.as_bytes());
    out.put(2, &[code(&node.level, &LEVELS)]);
    out.put(3, node.parent.0.bytes());
    let flags = if node.is_test { IS_TEST } else { 0 } | if node.asks_review { ASKS_REVIEW } else { 0 };
    out.put(4, if flags == 0 { &[] } else { std::slice::from_ref(&flags) });
    for rule in &node.rules {
        let (kind, said) = match rule {
            Rule::Subnet(net) => (1, net.to_string()),
            Rule::Name(pattern) => (2, pattern.to_string()),
        };
        out.put(5, &[&[kind], said.as_bytes()].concat());
    }
    out.put(6, by.as_bytes());
    out.done()
}

/// The group in a record, and who changed it last.
pub fn read_group(id: Group, bytes: &Bytes) -> Result<(Node, String)> {
    let parent = Group::ALL_ENDPOINTS;
    let mut by = String::new();
    let mut node = Node {
        id,
        name: String::new(),
        level: Level::Group,
        parent,
        is_test: false,
        asks_review: false,
        rules: vec![],
    };
    fields(GROUP, bytes, |tag, mut from| {
        match tag {
            1 => node.name = text(from)?,
            2 => node.level = of_code(from.u8()?, &LEVELS, &from)?,
            3 => node.parent = Group(UpdateId::new(only(from, Read::array)?)),
            4 => {
                let flags = only(from, Read::u8)?;
                (node.is_test, node.asks_review) = (flags & IS_TEST != 0, flags & ASKS_REVIEW != 0);
            }
            5 => {
                let kind = from.u8()?;
                let bad = from.fail("it has a rule that this version does not know");
                let said = text(from)?;
                node.rules.push(match kind {
                    1 => Rule::Subnet(said.parse().map_err(|_| bad)?),
                    2 => Rule::Name(said.parse().map_err(|_| bad)?),
                    _ => return Err(bad),
                });
            }
            6 => by = text(from)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((node, by))
}

/// What a group asks of its endpoints, and who said so, as it stands in a record.
pub fn write_policy(own: &Own, by: &str) -> Bytes {
    let mut out = Fields(Vec::new());
    if let Some(severity) = own.severity {
        out.put(1, &[code(&severity, &SEVERITIES)]);
    }
    for (tag, days) in [(2, own.missing_days), (3, own.scan_days), (4, own.restart_days)] {
        if let Some(days) = days {
            out.put(tag, &days.to_le_bytes());
        }
    }
    out.put(5, by.as_bytes());
    out.done()
}

/// The policy in a record, and who said so.
pub fn read_policy(bytes: &Bytes) -> Result<(Own, String)> {
    let (mut own, mut by) = (Own::default(), String::new());
    fields(POLICY, bytes, |tag, mut from| {
        match tag {
            1 => own.severity = Some(of_code(from.u8()?, &SEVERITIES, &from)?),
            2 => own.missing_days = Some(only(from, Read::u32)?),
            3 => own.scan_days = Some(only(from, Read::u32)?),
            4 => own.restart_days = Some(only(from, Read::u32)?),
            5 => by = text(from)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((own, by))
}

/// Groups that a person put an endpoint in, as they stand in a record.
pub fn write_placement(groups: &[Group]) -> Bytes {
    let mut out = Fields(Vec::new());
    for group in groups {
        out.put(1, group.0.bytes());
    }
    out.done()
}

/// The groups in a record.
pub fn read_placement(bytes: &Bytes) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    fields(PLACEMENT, bytes, |tag, from| {
        if tag == 1 {
            groups.push(Group(UpdateId::new(only(from, Read::array)?)));
        }
        Ok(())
    })?;
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(at: u8) -> UpdateId {
        UpdateId::new([at; 16])
    }

    #[test]
    fn what_is_written_is_read() {
        let deadline = Some(Timestamp::from_ms(77));
        let word = |target, said| Word { target, said, all_files: true, by: "anna".into(), why: "tested".into() };
        let words = vec![
            word(Target::Group(Group(id(1))), Said::Do { action: Action::Install, deadline }),
            word(Target::Endpoint(Endpoint(id(2))), Said::NotApproved),
            word(Target::Group(Group(id(3))), Said::Do { action: Action::PreDeploymentCheck, deadline: None }),
        ];
        assert_eq!(read_words(&write_words(&words)).unwrap(), words);
        let review = Reviewed { review: Review::InTest, by: "ben".into(), why: String::new() };
        assert_eq!(Reviewed::read(&review.write()).unwrap(), review);
        assert_eq!(read_licence(&write_licence("anna")).unwrap(), "anna");
        let node = Node {
            id: Group(id(5)),
            name: "Berlin".into(),
            level: Level::Site,
            parent: Group(id(4)),
            is_test: true,
            asks_review: false,
            rules: vec![Rule::Subnet("10.0.0.0/8".parse().unwrap()), Rule::Name("pc-*".parse().unwrap())],
        };
        assert_eq!(read_group(node.id, &write_group(&node, "anna")).unwrap(), (node, "anna".into()));
        let own = Own { severity: Some(Severity::Unspecified), scan_days: Some(3), ..Own::default() };
        assert_eq!(read_policy(&write_policy(&own, "anna")).unwrap(), (own, "anna".into()));
        let groups = [Group(id(1)), Group(id(2))];
        assert_eq!(read_placement(&write_placement(&groups)).unwrap(), groups);
        assert_eq!(of_id_key(&id_key(id(9))).unwrap(), id(9));
        assert!(of_id_key(&[0; 15]).is_err());
    }

    #[test]
    fn a_record_that_would_be_too_large_goes_without_the_reasons() {
        let word = |at: u32| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&at.to_le_bytes());
            let said = Said::Do { action: Action::Install, deadline: None };
            let target = Target::Group(Group(UpdateId::new(id)));
            Word { target, said, all_files: false, by: "anna".into(), why: "x".repeat(1_000) }
        };
        let words: Vec<Word> = (0..2_000).map(word).collect();
        let read = read_words(&write_words(&words)).unwrap();
        assert!(read.len() == 2_000 && read.iter().all(|word| word.why.is_empty()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let bytes = Bytes::from(bytes);
            let _ = (read_words(&bytes), Reviewed::read(&bytes), read_licence(&bytes), read_policy(&bytes));
            let _ = (read_group(Group(id(1)), &bytes), read_placement(&bytes));
        }
    }
}
