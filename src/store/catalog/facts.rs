//! What an update's document says, as a row: plain fields, enums as the numbers given here. It lies in the revision's pack.

use serde::{Deserialize, Serialize};

use crate::base::digest::{Sha1, Sha256};
use crate::base::time::Timestamp;
use crate::model::update::{
    CategoryKind, Clause, Driver, Eula, EulaFile, File, Identity, Kind, Members, Publication, Reboot, Severity, Text,
    Update, UpdateId,
};
use crate::store::error::Error;
use crate::store::tables::{decode, encode};

const TABLE: &str = "catalog-packs.1";

type Id = [u8; 16];

#[derive(Serialize, Deserialize)]
struct FileFacts {
    sha1: [u8; 20],
    sha256: Option<[u8; 32]>,
    name: String,
    size: u64,
    modified: Option<u64>,
    patching: String,
    encrypted: bool,
}

/// Fields in the order of [`Update`].
#[derive(Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, as the document states it")]
struct Facts {
    id: Id,
    revision: u32,
    kind: u8,
    publication: u8,
    created: Option<u64>,
    /// Language, title, description.
    texts: Vec<(String, String, String)>,
    kbs: Vec<String>,
    severity: u8,
    bulletins: Vec<String>,
    cves: Vec<String>,
    more_info: Option<String>,
    languages: Vec<String>,
    deployable: bool,
    locally_published: bool,
    release_version: Option<String>,
    handler: String,
    /// 0 never, 1 can request, 2 always.
    reboot: u8,
    asks_user: bool,
    removable: bool,
    eula: Option<(Id, Vec<(String, FileFacts)>)>,
    secured: Vec<String>,
    prerequisites: Vec<(Vec<Id>, bool)>,
    bundles: Vec<Vec<(Id, u32)>>,
    supersedes: Vec<Id>,
    files: Vec<FileFacts>,
    /// Hardware id, version, date, class, manufacturer, provider, model.
    drivers: Vec<[String; 7]>,
}

/// The number of a kind.
pub(crate) fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::Software => 0,
        Kind::Driver => 1,
        Kind::Detectoid => 2,
        Kind::Category(CategoryKind::Company) => 10,
        Kind::Category(CategoryKind::Family) => 11,
        Kind::Category(CategoryKind::Product) => 12,
        Kind::Category(CategoryKind::Classification) => 13,
        Kind::Category(CategoryKind::Other) => 14,
    }
}

/// The kind of a number.
pub(crate) fn kind_of(code: u8) -> Result<Kind, Error> {
    Ok(match code {
        0 => Kind::Software,
        1 => Kind::Driver,
        2 => Kind::Detectoid,
        10 => Kind::Category(CategoryKind::Company),
        11 => Kind::Category(CategoryKind::Family),
        12 => Kind::Category(CategoryKind::Product),
        13 => Kind::Category(CategoryKind::Classification),
        14 => Kind::Category(CategoryKind::Other),
        other => return Err(unknown("kind", other)),
    })
}

/// The number of a severity.
pub(crate) fn severity_code(severity: Severity) -> u8 {
    match severity {
        Severity::Unspecified => 0,
        Severity::Low => 1,
        Severity::Moderate => 2,
        Severity::Important => 3,
        Severity::Critical => 4,
    }
}

/// The severity of a number.
pub(crate) fn severity_of(code: u8) -> Result<Severity, Error> {
    Ok(match code {
        0 => Severity::Unspecified,
        1 => Severity::Low,
        2 => Severity::Moderate,
        3 => Severity::Important,
        4 => Severity::Critical,
        other => return Err(unknown("severity", other)),
    })
}

/// The number of a state of publication.
pub(crate) fn publication_code(publication: Publication) -> u8 {
    match publication {
        Publication::Published => 0,
        Publication::Expired => 1,
    }
}

/// The state of publication of a number.
pub(crate) fn publication_of(code: u8) -> Result<Publication, Error> {
    match code {
        0 => Ok(Publication::Published),
        1 => Ok(Publication::Expired),
        other => Err(unknown("publication", other)),
    }
}

fn unknown(what: &str, code: u8) -> Error {
    Error::Row { what: format!("a row of the catalog names {what} {code}, which this program does not know") }
}

fn file_in(file: &File) -> FileFacts {
    FileFacts {
        sha1: *file.sha1.as_bytes(),
        sha256: file.sha256.map(|sha256| *sha256.as_bytes()),
        name: file.name.clone(),
        size: file.size,
        modified: file.modified.map(Timestamp::ms),
        patching: file.patching.clone(),
        encrypted: file.encrypted,
    }
}

fn file_out(file: FileFacts) -> File {
    File {
        sha1: Sha1::new(file.sha1),
        sha256: file.sha256.map(Sha256::new),
        name: file.name,
        size: file.size,
        modified: file.modified.map(Timestamp::from_ms),
        patching: file.patching,
        encrypted: file.encrypted,
    }
}

/// An update as it is kept.
pub(crate) fn write(update: &Update) -> Result<Vec<u8>, Error> {
    encode(&Facts {
        id: *update.identity.id.bytes(),
        revision: update.identity.revision,
        kind: kind_code(update.kind),
        publication: publication_code(update.publication),
        created: update.created.map(Timestamp::ms),
        texts: (update.texts.iter())
            .map(|text| (text.language.clone(), text.title.clone(), text.description.clone()))
            .collect(),
        kbs: update.kbs.clone(),
        severity: severity_code(update.severity),
        bulletins: update.bulletins.clone(),
        cves: update.cves.clone(),
        more_info: update.more_info.clone(),
        languages: update.languages.clone(),
        deployable: update.deployable,
        locally_published: update.locally_published,
        release_version: update.release_version.clone(),
        handler: update.handler.clone(),
        reboot: match update.reboot {
            Reboot::Never => 0,
            Reboot::CanRequest => 1,
            Reboot::Always => 2,
        },
        asks_user: update.asks_user,
        removable: update.removable,
        eula: update.eula.as_ref().map(|eula| {
            (*eula.id.bytes(), eula.files.iter().map(|text| (text.language.clone(), file_in(&text.file))).collect())
        }),
        secured: update.secured.clone(),
        prerequisites: (update.prerequisites.iter())
            .map(|clause| (clause.any_of.iter().map(|id| *id.bytes()).collect(), clause.is_category))
            .collect(),
        bundles: (update.bundles.iter())
            .map(|members| members.any_of.iter().map(|member| (*member.id.bytes(), member.revision)).collect())
            .collect(),
        supersedes: update.supersedes.iter().map(|id| *id.bytes()).collect(),
        files: update.files.iter().map(file_in).collect(),
        drivers: (update.drivers.iter().cloned())
            .map(|driver| {
                let Driver { hardware_id, version, date, class, manufacturer, provider, model } = driver;
                [hardware_id, version, date, class, manufacturer, provider, model]
            })
            .collect(),
    })
}

/// An update read back.
pub(crate) fn read(bytes: &[u8]) -> Result<Update, Error> {
    let facts: Facts = decode(TABLE, bytes)?;
    Ok(Update {
        identity: Identity { id: UpdateId::new(facts.id), revision: facts.revision },
        kind: kind_of(facts.kind)?,
        publication: publication_of(facts.publication)?,
        created: facts.created.map(Timestamp::from_ms),
        texts: (facts.texts.into_iter())
            .map(|(language, title, description)| Text { language, title, description })
            .collect(),
        kbs: facts.kbs,
        severity: severity_of(facts.severity)?,
        bulletins: facts.bulletins,
        cves: facts.cves,
        more_info: facts.more_info,
        languages: facts.languages,
        deployable: facts.deployable,
        locally_published: facts.locally_published,
        release_version: facts.release_version,
        handler: facts.handler,
        reboot: match facts.reboot {
            0 => Reboot::Never,
            1 => Reboot::CanRequest,
            2 => Reboot::Always,
            other => return Err(unknown("reboot", other)),
        },
        asks_user: facts.asks_user,
        removable: facts.removable,
        eula: facts.eula.map(|(id, files)| Eula {
            id: UpdateId::new(id),
            files: files.into_iter().map(|(language, file)| EulaFile { language, file: file_out(file) }).collect(),
        }),
        secured: facts.secured,
        prerequisites: (facts.prerequisites.into_iter())
            .map(|(any_of, is_category)| Clause {
                any_of: any_of.into_iter().map(UpdateId::new).collect(),
                is_category,
            })
            .collect(),
        bundles: (facts.bundles.into_iter())
            .map(|members| Members {
                any_of: (members.into_iter())
                    .map(|(id, revision)| Identity { id: UpdateId::new(id), revision })
                    .collect(),
            })
            .collect(),
        supersedes: facts.supersedes.into_iter().map(UpdateId::new).collect(),
        files: facts.files.into_iter().map(file_out).collect(),
        drivers: (facts.drivers.into_iter())
            .map(|[hardware_id, version, date, class, manufacturer, provider, model]| Driver {
                hardware_id,
                version,
                date,
                class,
                manufacturer,
                provider,
                model,
            })
            .collect(),
    })
}
