//! Follows the tokens of a document and collects what an [`Update`] holds.

mod driver;

use crate::model::update::{
    CategoryKind, Clause, Eula, EulaFile, Identity, Impact, Kind, Members, Publication, Reboot, Severity, Text, Update,
    UpdateId,
};
use crate::wire::metadata::error::{Error, quoted};
use crate::wire::metadata::file::{Row, Rows};
use crate::wire::metadata::limits::{FILES_MAX, HELD_BYTES_MAX, LANGUAGES_MAX, REFERENCES_MAX, RELATIONS_MAX};
use crate::wire::metadata::place::{Leaf, Place, inside};
use crate::wire::metadata::pull::{self, Open, Space, Token};
use crate::wire::metadata::text;

const UNKNOWN: Identity = Identity { id: UpdateId::new([0; 16]), revision: 0 };

/// An update in the making.
#[derive(Debug)]
pub(in crate::wire) struct Builder {
    /// The places from the root to where the document is.
    path: Vec<Place>,
    /// Which of the parts that stand once were there.
    seen: u16,
    /// Text of the leaf that is open.
    text: String,
    /// Bytes of text in `update`.
    held: u64,
    /// Ids of relations, of all kinds.
    relations: usize,
    /// Rows of drivers and below them.
    devices: usize,
    update: Update,
    category: Option<CategoryKind>,
    kind: Base,
    /// The language that comes first.
    language: String,
    /// The handler as the properties name it, by a URI.
    handler: String,
    eula: Option<UpdateId>,
    licences: Vec<EulaFile>,
    localized: Text,
    row: Row,
    licence: (String, String),
    rows: Rows,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Software,
    Driver,
    Category,
    Detectoid,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            path: Vec::new(),
            seen: 0,
            text: String::new(),
            held: 0,
            relations: 0,
            devices: 0,
            update: Update::new(UNKNOWN, Kind::Software),
            category: None,
            kind: Base::Software,
            language: String::new(),
            handler: String::new(),
            eula: None,
            licences: Vec::new(),
            localized: Text { language: String::new(), title: String::new(), description: String::new() },
            row: Row::default(),
            licence: (String::new(), String::new()),
            rows: Rows::default(),
        }
    }
}

impl Builder {
    /// The next token of the document.
    pub(in crate::wire) fn take(&mut self, token: &Token<'_>) -> Result<(), Error> {
        match token {
            Token::Open(open) => {
                let place = match self.path.last() {
                    Some(parent) => inside(*parent, open.space, open.local()),
                    None if open.space == Space::Update && open.local() == "Update" => Place::Update,
                    None => return Err(Error::NotAnUpdate { found: quoted(open.local()) }),
                };
                self.open(place, open)?;
                if open.empty {
                    return self.close(place);
                }
                self.path.push(place);
                Ok(())
            }
            Token::Close(_) => match self.path.pop() {
                Some(place) => self.close(place),
                None => Ok(()),
            },
            Token::Text(text) => self.add(&text.replace("\r\n", "\n")),
            Token::CData(text) => self.add(text),
            Token::Reference(_, letter) => self.add(letter.encode_utf8(&mut [0; 4])),
            Token::Comment(_) | Token::Nothing | Token::End => Ok(()),
        }
    }

    fn add(&mut self, text: &str) -> Result<(), Error> {
        if matches!(self.path.last(), Some(Place::Leaf(_))) {
            self.text.push_str(text);
            self.hold(text.len())?;
        }
        Ok(())
    }

    /// Counts text that stays until the end.
    fn hold(&mut self, bytes: usize) -> Result<(), Error> {
        self.held = self.held.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.held > HELD_BYTES_MAX {
            return Err(Error::Limit { what: "bytes of texts and names", max: HELD_BYTES_MAX });
        }
        Ok(())
    }

    fn open(&mut self, place: Place, open: &Open<'_>) -> Result<(), Error> {
        if let Some((element, bit)) = place.once() {
            if self.seen & bit != 0 {
                return Err(Error::Twice { element });
            }
            self.seen |= bit;
        }
        match place {
            Place::Identity => self.update.identity = revision("UpdateIdentity", open)?,
            Place::Properties => self.properties(open)?,
            Place::Installation => self.installation(open),
            Place::Uninstallation => self.update.removable = true,
            Place::Localized => {
                room("languages", self.update.texts.len(), LANGUAGES_MAX)?;
                self.localized = Text { language: String::new(), title: String::new(), description: String::new() };
            }
            Place::EulaFile => {
                room("licence files", self.licences.len(), FILES_MAX)?;
                self.row = Row::begin("EulaFile", open)?;
                self.hold(self.row.held())?;
                self.licence =
                    (open.attribute("Language").unwrap_or_default(), open.attribute("GeoId").unwrap_or_default());
            }
            Place::File => {
                room("files", self.update.files.len(), FILES_MAX)?;
                self.row = Row::begin("File", open)?;
                self.hold(self.row.held())?;
            }
            Place::SupersededId
            | Place::PrerequisiteId
            | Place::PrerequisiteClause
            | Place::PrerequisiteClauseId
            | Place::BundledId
            | Place::BundledClause
            | Place::BundledClauseId => self.relation(place, open)?,
            Place::Driver => self.driver(open)?,
            Place::Score => self.score(open)?,
            Place::Handler => {
                let found = open.attributes().find(|attribute| attribute.key.local_name().into_inner() == "type");
                let kind = found.and_then(|attribute| pull::value(&attribute).ok()).unwrap_or_default();
                kind.rsplit(':').next().unwrap_or_default().clone_into(&mut self.update.handler);
                self.hold(kind.len())?;
            }
            Place::CategoryInformation => {
                self.category = Some(match open.attribute("CategoryType").as_deref() {
                    Some("Company") => CategoryKind::Company,
                    Some("ProductFamily") => CategoryKind::Family,
                    Some("Product") => CategoryKind::Product,
                    Some("UpdateClassification") => CategoryKind::Classification,
                    _ => CategoryKind::Other,
                });
            }
            Place::Leaf(leaf) => {
                self.text.clear();
                if leaf == Leaf::Digest {
                    self.row.additional(open);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The attributes of `Properties`.
    fn properties(&mut self, open: &Open<'_>) -> Result<(), Error> {
        let update = &mut self.update;
        let mut held = 0;
        for attribute in open.attributes() {
            let value = pull::value(&attribute).unwrap_or_default();
            match attribute.key.as_ref() {
                "UpdateType" => {
                    self.kind = match value.as_str() {
                        "Software" => Base::Software,
                        "Driver" => Base::Driver,
                        "Category" => Base::Category,
                        "Detectoid" => Base::Detectoid,
                        _ => {
                            let (element, text) = ("Properties", quoted(&value));
                            return Err(Error::Unknown { element, what: "type", text });
                        }
                    };
                }
                "DefaultPropertiesLanguage" => self.language = value,
                "ExplicitlyDeployable" => update.deployable = text::truth(&value),
                "MsrcSeverity" => {
                    update.severity = match value.as_str() {
                        "Critical" => Severity::Critical,
                        "Important" => Severity::Important,
                        "Moderate" => Severity::Moderate,
                        "Low" => Severity::Low,
                        _ => Severity::Unspecified,
                    };
                }
                "PublicationState" if value == "Expired" => update.publication = Publication::Expired,
                "CreationDate" => update.created = text::time(&value),
                "EulaID" if !value.trim().is_empty() => self.eula = Some(text::id("Properties", &value)?),
                "Handler" => {
                    held += value.len();
                    self.handler = value;
                }
                "IsLocallyPublished" => update.locally_published = text::truth(&value),
                "OSUpgrade" => update.os_upgrade = text::truth(&value),
                "ReleaseVersion" => {
                    held += value.len();
                    update.release_version = Some(value);
                }
                "CompatibleProtocolVersion" => {
                    held += value.len();
                    update.compatible_protocol = value;
                }
                // Hints, not sizes of files: what cannot be read is as if nothing was said.
                "MinDownloadSize" => update.download_min = value.trim().parse().unwrap_or(0),
                "MaxDownloadSize" => update.download_max = value.trim().parse().unwrap_or(0),
                _ => {}
            }
        }
        self.hold(held)
    }

    fn installation(&mut self, open: &Open<'_>) {
        let update = &mut self.update;
        for attribute in open.attributes() {
            let value = pull::value(&attribute).unwrap_or_default();
            match (attribute.key.as_ref(), value.as_str()) {
                ("RebootBehavior", "AlwaysRequiresReboot") => update.reboot = Reboot::Always,
                ("RebootBehavior", "CanRequestReboot") => update.reboot = Reboot::CanRequest,
                ("Impact", "Minor") => update.impact = Impact::Minor,
                ("Impact", "RequiresExclusiveHandling") => update.impact = Impact::Exclusive,
                ("RequiresNetworkConnectivity", value) => update.needs_network = text::truth(value),
                ("CanRequestUserInput", value) => update.asks_user = text::truth(value),
                _ => {}
            }
        }
    }

    /// Prerequisites and bundles in conjunctive normal form: what stands directly is a clause of one (MS-WUSP 3.1.1.1; bare
    /// identities under `BundledUpdates`, which its path does not name, are in real documents).
    fn relation(&mut self, place: Place, open: &Open<'_>) -> Result<(), Error> {
        room("relations", self.relations, RELATIONS_MAX)?;
        self.relations += 1;
        let update = &mut self.update;
        match place {
            Place::SupersededId => update.supersedes.push(target("SupersededUpdates", open)?),
            Place::PrerequisiteId => {
                update.prerequisites.push(Clause { any_of: vec![target("Prerequisites", open)?], is_category: false });
            }
            Place::PrerequisiteClause => {
                let is_category = open.attribute("IsCategory").is_some_and(|value| text::truth(&value));
                update.prerequisites.push(Clause { any_of: Vec::new(), is_category });
            }
            Place::PrerequisiteClauseId => {
                let id = target("Prerequisites", open)?;
                if let Some(clause) = update.prerequisites.last_mut() {
                    clause.any_of.push(id);
                }
            }
            Place::BundledId => update.bundles.push(Members { any_of: vec![revision("BundledUpdates", open)?] }),
            Place::BundledClause => update.bundles.push(Members { any_of: Vec::new() }),
            _ => {
                let id = revision("BundledUpdates", open)?;
                if let Some(clause) = update.bundles.last_mut() {
                    clause.any_of.push(id);
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, place: Place) -> Result<(), Error> {
        match place {
            Place::Leaf(leaf) => {
                let text = std::mem::take(&mut self.text);
                return self.leaf(leaf, text.trim());
            }
            Place::Localized => {
                let empty = Text { language: String::new(), title: String::new(), description: String::new() };
                let text = std::mem::replace(&mut self.localized, empty);
                // The first of a language counts.
                if !self.update.texts.iter().any(|known| known.language.eq_ignore_ascii_case(&text.language)) {
                    self.update.texts.push(text);
                }
            }
            Place::File => {
                let file = std::mem::take(&mut self.row).finish()?;
                if self.rows.admit(&file)? || !self.update.files.contains(&file) {
                    self.update.files.push(file);
                }
            }
            Place::EulaFile => {
                let file = std::mem::take(&mut self.row).finish()?;
                self.rows.admit(&file)?;
                let (language, region) = std::mem::take(&mut self.licence);
                self.licences.push(EulaFile { language, region, file });
            }
            Place::PrerequisiteClause
                if self.update.prerequisites.last().is_none_or(|clause| clause.any_of.is_empty()) =>
            {
                return Err(Error::Missing { element: "Prerequisites/AtLeastOne", what: "UpdateIdentity" });
            }
            Place::BundledClause if self.update.bundles.last().is_none_or(|clause| clause.any_of.is_empty()) => {
                return Err(Error::Missing { element: "BundledUpdates/AtLeastOne", what: "UpdateIdentity" });
            }
            _ => {}
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: Leaf, text: &str) -> Result<(), Error> {
        if text.is_empty() && leaf != Leaf::Digest {
            return Ok(());
        }
        let update = &mut self.update;
        let own = || text.to_owned();
        let add = |list: &mut Vec<String>, text: String| {
            room("articles, bulletins and the like", list.len(), REFERENCES_MAX)?;
            if !list.contains(&text) {
                list.push(text);
            }
            Ok(())
        };
        match leaf {
            Leaf::MoreInfo => drop(update.more_info.get_or_insert_with(own)),
            Leaf::Support => drop(update.support.get_or_insert_with(own)),
            Leaf::Bulletin => add(&mut update.bulletins, text.to_ascii_uppercase())?,
            Leaf::Cve => add(&mut update.cves, text.to_ascii_uppercase())?,
            Leaf::Article => {
                if let Some(article) = text::article(text) {
                    add(&mut update.kbs, article)?;
                }
            }
            Leaf::Language => add(&mut update.languages, own())?,
            Leaf::Secured => add(&mut update.secured, own())?,
            Leaf::TextLanguage => self.localized.language = own(),
            Leaf::Title => self.localized.title = own(),
            Leaf::Description => self.localized.description = own(),
            Leaf::Digest => self.row.additional_is(text)?,
            Leaf::CompatibleProvider | Leaf::DistributionComputer | Leaf::TargetComputer => {
                self.device()?;
                if let Some(driver) = self.update.drivers.last_mut() {
                    let list = match leaf {
                        Leaf::CompatibleProvider => &mut driver.compatible_providers,
                        Leaf::DistributionComputer => &mut driver.distribution_computers,
                        _ => &mut driver.target_computers,
                    };
                    list.push(own());
                }
            }
        }
        Ok(())
    }

    /// The document is at its end: the value, checked as a whole.
    pub(in crate::wire) fn finish(self) -> Result<Update, Error> {
        let mut update = self.update;
        if update.identity == UNKNOWN {
            return Err(Error::NoIdentity);
        }
        update.kind = match self.kind {
            Base::Software => Kind::Software,
            Base::Driver => Kind::Driver,
            Base::Detectoid => Kind::Detectoid,
            Base::Category => Kind::Category(self.category.unwrap_or(CategoryKind::Other)),
        };
        if update.handler.is_empty() {
            self.handler.rsplit('/').next().unwrap_or_default().clone_into(&mut update.handler);
        }
        let first = [self.language.as_str(), "en"]
            .into_iter()
            .find_map(|language| update.texts.iter().position(|text| text.language.eq_ignore_ascii_case(language)));
        if let Some(texts) = first.and_then(|at| update.texts.get_mut(..=at)) {
            texts.rotate_right(1);
        }
        if update.kbs.is_empty() && matches!(update.kind, Kind::Software | Kind::Driver) {
            update.kbs = text::articles_of_title(update.title());
        }
        // The texts of a licence that nobody can accept are nobody's.
        update.eula = self.eula.map(|id| Eula { id, files: self.licences });
        Ok(update)
    }
}

fn room(what: &'static str, count: usize, max: usize) -> Result<(), Error> {
    if count < max { Ok(()) } else { Err(Error::Limit { what, max: u64::try_from(max).unwrap_or(u64::MAX) }) }
}

fn target(element: &'static str, open: &Open<'_>) -> Result<UpdateId, Error> {
    let text = open.attribute("UpdateID").ok_or(Error::Missing { element, what: "UpdateID" })?;
    text::id(element, &text)
}

fn revision(element: &'static str, open: &Open<'_>) -> Result<Identity, Error> {
    let id = target(element, open)?;
    let text = open.attribute("RevisionNumber").ok_or(Error::Missing { element, what: "RevisionNumber" })?;
    let max = u64::from(u32::MAX);
    let number = text::number(element, "RevisionNumber", &text, max)?;
    let revision = u32::try_from(number).map_err(|_| Error::Number { element, what: "RevisionNumber", text, max })?;
    Ok(Identity { id, revision })
}
