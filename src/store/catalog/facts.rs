//! What an update's document says, as a row: plain fields, enums as the numbers given here. It lies in the revision's pack.

use serde::{Deserialize, Serialize};

use crate::base::digest::{Sha1, Sha256};
use crate::base::time::Timestamp;
use crate::model::update::{
    CategoryKind, Clause, Driver, Eula, EulaFile, FeatureScore, File, Identity, Impact, Kind, Members, Publication,
    Reboot, Severity, Text, Update, UpdateId,
};
use crate::store::error::Error;
use crate::store::tables::{decode, encode};

const TABLE: &str = "catalog-packs.1";

type Id = [u8; 16];
/// Language, region, text.
type EulaFacts = (String, String, FileFacts);

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

#[derive(Serialize, Deserialize)]
struct DriverFacts {
    hardware_id: String,
    version: String,
    date: String,
    class: String,
    manufacturer: String,
    provider: String,
    model: String,
    company: String,
    whql_id: Option<u32>,
    compatible_providers: Vec<String>,
    /// System and score.
    scores: Vec<(String, u8)>,
    distribution_computers: Vec<String>,
    target_computers: Vec<String>,
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
    support: Option<String>,
    languages: Vec<String>,
    deployable: bool,
    locally_published: bool,
    release_version: Option<String>,
    handler: String,
    /// 0 never, 1 can request, 2 always.
    reboot: u8,
    /// 0 minor, 1 normal, 2 exclusive.
    impact: u8,
    needs_network: bool,
    os_upgrade: bool,
    download_min: u64,
    download_max: u64,
    compatible_protocol: String,
    asks_user: bool,
    removable: bool,
    eula: Option<(Id, Vec<EulaFacts>)>,
    secured: Vec<String>,
    prerequisites: Vec<(Vec<Id>, bool)>,
    bundles: Vec<Vec<(Id, u32)>>,
    supersedes: Vec<Id>,
    files: Vec<FileFacts>,
    drivers: Vec<DriverFacts>,
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

fn driver_in(driver: &Driver) -> DriverFacts {
    let driver = driver.clone();
    DriverFacts {
        hardware_id: driver.hardware_id,
        version: driver.version,
        date: driver.date,
        class: driver.class,
        manufacturer: driver.manufacturer,
        provider: driver.provider,
        model: driver.model,
        company: driver.company,
        whql_id: driver.whql_id,
        compatible_providers: driver.compatible_providers,
        scores: driver.scores.into_iter().map(|score| (score.system, score.score)).collect(),
        distribution_computers: driver.distribution_computers,
        target_computers: driver.target_computers,
    }
}

fn driver_out(facts: DriverFacts) -> Driver {
    Driver {
        hardware_id: facts.hardware_id,
        version: facts.version,
        date: facts.date,
        class: facts.class,
        manufacturer: facts.manufacturer,
        provider: facts.provider,
        model: facts.model,
        company: facts.company,
        whql_id: facts.whql_id,
        compatible_providers: facts.compatible_providers,
        scores: facts.scores.into_iter().map(|(system, score)| FeatureScore { system, score }).collect(),
        distribution_computers: facts.distribution_computers,
        target_computers: facts.target_computers,
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
        support: update.support.clone(),
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
        impact: match update.impact {
            Impact::Minor => 0,
            Impact::Normal => 1,
            Impact::Exclusive => 2,
        },
        needs_network: update.needs_network,
        os_upgrade: update.os_upgrade,
        download_min: update.download_min,
        download_max: update.download_max,
        compatible_protocol: update.compatible_protocol.clone(),
        asks_user: update.asks_user,
        removable: update.removable,
        eula: update.eula.as_ref().map(|eula| {
            let text = |text: &EulaFile| (text.language.clone(), text.region.clone(), file_in(&text.file));
            (*eula.id.bytes(), eula.files.iter().map(text).collect())
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
        drivers: update.drivers.iter().map(driver_in).collect(),
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
        support: facts.support,
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
        impact: match facts.impact {
            0 => Impact::Minor,
            1 => Impact::Normal,
            2 => Impact::Exclusive,
            other => return Err(unknown("impact", other)),
        },
        needs_network: facts.needs_network,
        os_upgrade: facts.os_upgrade,
        download_min: facts.download_min,
        download_max: facts.download_max,
        compatible_protocol: facts.compatible_protocol,
        asks_user: facts.asks_user,
        removable: facts.removable,
        eula: facts.eula.map(|(id, files)| Eula {
            id: UpdateId::new(id),
            files: (files.into_iter())
                .map(|(language, region, file)| EulaFile { language, region, file: file_out(file) })
                .collect(),
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
        drivers: facts.drivers.into_iter().map(driver_out).collect(),
    })
}

#[cfg(test)]
mod tests {
    /// Names of the fields of a struct of this file.
    fn fields(name: &str) -> Vec<&'static str> {
        let source = include_str!("facts.rs");
        let (_, body) = source.split_once(&format!("struct {name} {{\n")).unwrap();
        let (body, _) = body.split_once("\n}").unwrap();
        let lines = body.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        lines.filter_map(|line| line.split_once(": ").map(|(name, _)| name)).collect()
    }

    /// Records have no names in them: whoever reads a store goes by the document.
    #[test]
    fn the_document_of_the_store_has_every_field_in_its_order() {
        let document = include_str!("../../../docs/store-format.md");
        for (name, begins) in
            [("Facts", "The facts (part 0) are"), ("FileFacts", "A file in it: "), ("DriverFacts", "A driver in it: ")]
        {
            let (_, told) = document.split_once(begins).unwrap();
            let (told, _) = told.split_once("\n\n").unwrap();
            let told: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
            assert_eq!(told, fields(name), "{name}");
        }
    }
}
