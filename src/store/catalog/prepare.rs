//! Making a revision ready for the writer, on a thread of a pool: everything that costs time is done before the transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::digest::{Blake3, Sha1};
use crate::base::time::Timestamp;
use crate::model::update::{File, Update};
use crate::store::catalog::blobs::Staged;
use crate::store::catalog::facts::{kind_code, publication_code, severity_code, write};
use crate::store::catalog::pack::PACK_MAX;
use crate::store::catalog::tables::{
    PART_CORE, PART_DOCUMENT, PART_EXTENDED, PART_FACTS, PART_LOCALIZED, PartRow, RevisionRow,
};
use crate::store::catalog::value::{Body, Incoming};
use crate::store::core::Core;
use crate::store::error::Error;

/// A text above this is a blob of its own: the others of its pack must not pay for reading it.
const INLINE_MAX: usize = 128 << 10;
/// Rows that one revision may bring (members, prerequisites, superseded ones, files and their addresses): they are written in
/// one transaction. The largest real ones name some thousand.
const RELATED_MAX: usize = 20_000;
/// Bytes of what the document says; real ones stay below 1 MiB.
const FACTS_MAX: usize = 16 << 20;
/// What a view shows of a title.
const TITLE_MAX: usize = 400;
/// KBs and categories that a view knows of one update.
const SHOWN_MAX: usize = 256;
/// An address, as long as a request line may be.
const URL_MAX: usize = 8 << 10;
/// Bytes of a language's name; real ones have at most ten.
const LANGUAGE_MAX: usize = 64;

/// A revision as the writer wants it.
pub(crate) struct Ready {
    pub(crate) row: RevisionRow,
    pub(crate) pack: Vec<u8>,
    pub(crate) update: Update,
    pub(crate) urls: Vec<(Sha1, String)>,
    /// Rows that it brings, about.
    pub(crate) related: usize,
    /// Bytes in which it came.
    pub(crate) came: u64,
    /// Held until the commit, so that no sweep takes them.
    pub(crate) blobs: Vec<Staged>,
}

/// The files of an update, those of its licence too.
pub(crate) fn files(update: &Update) -> impl Iterator<Item = &File> {
    update.files.iter().chain(update.eula.iter().flat_map(|eula| eula.files.iter().map(|text| &text.file)))
}

/// The beginning of `text`, at most `max` bytes, whole characters.
fn beginning(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn check(update: &Update, urls: &[(Sha1, String)], localized: &[(String, Body)]) -> Result<usize, Error> {
    let related = update.members().count()
        + update.prerequisites.iter().map(|clause| clause.any_of.len()).sum::<usize>()
        + update.supersedes.len()
        + 3 * files(update).count()
        + update.kbs.len()
        + urls.len();
    let refuse = |what: String| Err(Error::Invalid { what });
    if related > RELATED_MAX {
        return refuse(format!("it names {related} updates, files and addresses, and {RELATED_MAX} is the most"));
    }
    if let Some((_, url)) = urls.iter().find(|(_, url)| url.len() > URL_MAX) {
        return refuse(format!("an address of {} bytes, and {URL_MAX} is the most", url.len()));
    }
    if let Some(kb) = update.kbs.iter().find(|kb| kb.len() > 32 || kb.contains('\0')) {
        return refuse(format!("{:?} is not the number of an article", beginning(kb, 40)));
    }
    let mut languages = BTreeSet::new();
    for (language, _) in localized {
        if language.len() > LANGUAGE_MAX || !languages.insert(language) {
            return refuse(format!("language {:?} is too long or comes twice", beginning(language, 40)));
        }
    }
    for file in files(update) {
        let other = files(update).find(|other| other.sha1 == file.sha1);
        if other.is_some_and(|other| (other.size, other.sha256) != (file.size, file.sha256)) {
            return refuse(format!("two of its files have the SHA-1 {} and are not the same", file.sha1));
        }
    }
    Ok(related)
}

/// Puts the texts of one revision where they belong.
struct Packer<'a> {
    core: &'a Arc<Core>,
    raw: Vec<u8>,
    parts: Vec<PartRow>,
    blobs: Vec<Staged>,
}

impl Packer<'_> {
    fn put(&mut self, part: u8, language: String, body: Body) -> Result<Blake3, Error> {
        let digest;
        let row = match body {
            Body::Text(text) if text.len() <= INLINE_MAX && self.raw.len() + text.len() <= PACK_MAX => {
                digest = Blake3::new(*blake3::hash(text.as_bytes()).as_bytes());
                let (at, len) = (self.raw.len() as u64, text.len() as u64);
                self.raw.extend_from_slice(text.as_bytes());
                PartRow { part, language, blob: None, at, len }
            }
            Body::Text(text) => return self.put(part, language, Body::Staged(self.core.stage_whole(text.as_bytes())?)),
            Body::Staged(staged) => {
                digest = staged.digest();
                let row = PartRow { part, language, blob: Some(staged.blob()), at: 0, len: staged.len() };
                self.blobs.push(staged);
                row
            }
        };
        self.parts.push(row);
        Ok(digest)
    }
}

impl Core {
    /// Checks, sorts and packs one revision; `Invalid` says why it cannot be taken. Blocks.
    pub(crate) fn prepare(self: &Arc<Self>, incoming: Incoming) -> Result<Ready, Error> {
        let Incoming { update, document, cabinet, core, extended, localized, urls } = incoming;
        let related = check(&update, &urls, &localized)?;
        let facts = write(&update)?;
        if facts.len() > FACTS_MAX {
            let what = format!("what it says takes {} bytes, and {FACTS_MAX} is the most", facts.len());
            return Err(Error::Invalid { what });
        }
        let mut packer = Packer { core: self, raw: Vec::new(), parts: Vec::new(), blobs: Vec::new() };
        // The document first: what is cut out of it is then only a reference to it.
        let digest = packer.put(PART_DOCUMENT, String::new(), document)?;
        packer.put(PART_CORE, String::new(), core)?;
        packer.put(PART_EXTENDED, String::new(), extended)?;
        for (language, text) in localized {
            packer.put(PART_LOCALIZED, language, text)?;
        }
        if facts.len() <= INLINE_MAX && packer.raw.len() + facts.len() <= PACK_MAX {
            let (at, len) = (packer.raw.len() as u64, facts.len() as u64);
            packer.raw.extend_from_slice(&facts);
            packer.parts.push(PartRow { part: PART_FACTS, language: String::new(), blob: None, at, len });
        } else {
            packer.put(PART_FACTS, String::new(), Body::Staged(self.stage_whole(&facts)?))?;
        }
        let Packer { raw, parts, blobs, .. } = packer;
        let pack = self.catalog.dictionaries.pack(&raw)?;
        let distinct: BTreeSet<_> = files(&update).map(|file| (file.sha1, file.size)).collect();
        let row = RevisionRow {
            id: *update.identity.id.bytes(),
            revision: update.identity.revision,
            kind: kind_code(update.kind),
            publication: publication_code(update.publication),
            severity: severity_code(update.severity),
            created: update.created.map(Timestamp::ms),
            title: beginning(update.title(), TITLE_MAX),
            kbs: update.kbs.iter().take(SHOWN_MAX).cloned().collect(),
            categories: update.categories().take(SHOWN_MAX).map(|id| *id.bytes()).collect(),
            supersedes: update.supersedes.iter().map(|id| *id.bytes()).collect(),
            deployable: update.deployable,
            files: u32::try_from(distinct.len()).unwrap_or(u32::MAX),
            bytes: distinct.iter().fold(0, |sum: u64, (_, size)| sum.saturating_add(*size)),
            cabinet,
            digest: *digest.as_bytes(),
            parts,
            ..RevisionRow::default()
        };
        Ok(Ready { row, pack, update, urls, related, came: 0, blobs })
    }
}
