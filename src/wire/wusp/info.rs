//! Requests about updates that the agent knows (MS-WUSP 2.2.2.2.5 to 2.2.2.2.7 and 2.2.2.2.10): more of their metadata, where
//! their files are, and what this server calls updates that were got from another.

use std::io::BufRead;

use crate::base::digest::Sha1;
use crate::model::update::Identity;
use crate::wire::error::Result;
use crate::wire::soap::Reader;
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::field::Field;
use crate::wire::wusp::attributes::Attributes;
use crate::wire::wusp::error::{Named, Read};
use crate::wire::wusp::limits::{ASKED_MAX, DIGESTS_MAX, KINDS_MAX, NAME_BYTES_MAX, REFRESHED_MAX};
use crate::wire::wusp::read::{cookie, list, numbers, present, text, texts};

/// A kind of metadata (2.2.2.2.6, 2.2.2.2.10). Newer agents know more; those are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are the words of the specification")]
pub enum FragmentKind {
    Published,
    Core,
    Extended,
    VerificationRule,
    LocalizedProperties,
    Eula,
    FileUrl,
    FileDecryption,
}

impl FragmentKind {
    /// The one that this word stands for.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "Published" => Self::Published,
            "Core" => Self::Core,
            "Extended" => Self::Extended,
            "VerificationRule" => Self::VerificationRule,
            "LocalizedProperties" => Self::LocalizedProperties,
            "Eula" => Self::Eula,
            "FileUrl" => Self::FileUrl,
            "FileDecryption" => Self::FileDecryption,
            _ => return None,
        })
    }

    fn list<R: BufRead>(reader: &mut Reader<R>) -> Result<Vec<Self>> {
        let words = list(reader, "XmlUpdateFragmentType", KINDS_MAX, |reader| text(reader, NAME_BYTES_MAX))?;
        Ok(words.iter().filter_map(|word| Self::of(word.trim())).collect())
    }
}

/// What both requests for more metadata say beside of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Which kinds of metadata; `None` where nothing is said, which the protocol refuses.
    pub kinds: Option<Vec<FragmentKind>>,
    /// In which languages, the best first.
    pub locales: Vec<String>,
    /// About the machine; not in the specification.
    pub device: Attributes,
    /// `USA`: where the machine is.
    pub geo: String,
    /// About the program that asked.
    pub caller: Attributes,
}

impl Wish {
    /// Reads the element that was entered, if it is one of these; skips it otherwise.
    fn take<R: BufRead>(&mut self, reader: &mut Reader<R>) -> Read<()> {
        match reader.name() {
            "infoTypes" => self.kinds = Some(FragmentKind::list(reader).of("infoTypes")?),
            "locales" => self.locales = texts(reader, KINDS_MAX, NAME_BYTES_MAX).of("locales")?,
            "deviceAttributes" => self.device = Attributes::read(reader).of("deviceAttributes")?,
            "GeoId" => self.geo = text(reader, NAME_BYTES_MAX).of("GeoId")?,
            "callerAttributes" => self.caller = Attributes::read(reader).of("callerAttributes")?,
            _ => reader.skip()?,
        }
        Ok(())
    }
}

/// Asks for more about revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetExtendedUpdateInfo {
    /// Who asks.
    pub cookie: Option<Cookie>,
    /// Which revisions, by what this server calls them.
    pub revisions: Vec<i32>,
    /// What about them.
    pub wish: Wish,
}

impl GetExtendedUpdateInfo {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let mut asked = Self::default();
        while reader.child()? {
            match reader.name() {
                "cookie" => asked.cookie = cookie(reader)?,
                "revisionIDs" => asked.revisions = numbers(reader, ASKED_MAX).of("revisionIDs")?,
                _ => asked.wish.take(reader)?,
            }
        }
        Ok(asked)
    }
}

/// Asks for more about updates, by their own names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetExtendedUpdateInfo2 {
    /// Who asks.
    pub cookie: Option<Cookie>,
    /// Which revisions.
    pub updates: Vec<Identity>,
    /// What about them.
    pub wish: Wish,
}

impl GetExtendedUpdateInfo2 {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let mut asked = Self::default();
        while reader.child()? {
            match reader.name() {
                "cookie" => asked.cookie = cookie(reader)?,
                "updateIDs" => {
                    asked.updates = list(reader, "UpdateIdentity", ASKED_MAX, Identity::read).of("updateIDs")?;
                }
                _ => asked.wish.take(reader)?,
            }
        }
        Ok(asked)
    }
}

/// Asks where files are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetFileLocations {
    /// Who asks.
    pub cookie: Option<Cookie>,
    /// Which files. A digest that is no SHA-1 is refused (3.1.5.10).
    pub digests: Vec<Sha1>,
}

impl GetFileLocations {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let (mut who, mut digests) = (None, None);
        while reader.child()? {
            match reader.name() {
                "cookie" => who = cookie(reader)?,
                "fileDigests" => {
                    digests = Some(list(reader, "base64Binary", DIGESTS_MAX, Sha1::read).of("fileDigests")?);
                }
                _ => reader.skip()?,
            }
        }
        Ok(Self { cookie: who, digests: present(digests, "GetFileLocations", "fileDigests")? })
    }
}

/// Asks what this server calls updates that the agent got from another, or from this one before it changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefreshCache {
    /// Who asks.
    pub cookie: Option<Cookie>,
    /// Everything that the agent holds.
    pub updates: Vec<Identity>,
}

impl RefreshCache {
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Read<Self> {
        let (mut who, mut updates) = (None, None);
        while reader.child()? {
            match reader.name() {
                "cookie" => who = cookie(reader)?,
                "globalIDs" => {
                    updates = Some(list(reader, "UpdateIdentity", REFRESHED_MAX, Identity::read).of("globalIDs")?);
                }
                _ => reader.skip()?,
            }
        }
        Ok(Self { cookie: who, updates: present(updates, "RefreshCache", "globalIDs")? })
    }
}
