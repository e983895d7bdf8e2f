//! Where in a document one is: the elements that mean something, and which may stand in which.

use crate::wire::metadata::pull::Space;

/// An element that is known where it stands. Known ones in other places count as [`Place::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Update,
    Identity,
    Properties,
    Installation,
    Uninstallation,
    LocalizedCollection,
    Localized,
    EulaFile,
    Relationships,
    Superseded,
    SupersededId,
    Prerequisites,
    PrerequisiteId,
    PrerequisiteClause,
    PrerequisiteClauseId,
    Bundled,
    BundledId,
    BundledClause,
    BundledClauseId,
    Rules,
    Metadata,
    Driver,
    Score,
    Files,
    File,
    Handler,
    CategoryInformation,
    Leaf(Leaf),
    /// Neither it nor anything in it means something here.
    Other,
}

/// An element whose text counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    MoreInfo,
    Support,
    Bulletin,
    Cve,
    Article,
    Language,
    Secured,
    TextLanguage,
    Title,
    Description,
    Digest,
    CompatibleProvider,
    DistributionComputer,
    TargetComputer,
}

/// What an element in another one is.
pub(super) fn inside(parent: Place, space: Space, local: &str) -> Place {
    use Leaf as L;
    use Place as P;
    // What stands in the metadata of a driver is of its namespace in some documents and of none in others; the paths of
    // MS-WUSP 3.1.1.1 are unqualified.
    match (parent, local) {
        (P::Driver, "FeatureScore") => return P::Score,
        (P::Driver, "CompatibleProvider") => return P::Leaf(L::CompatibleProvider),
        (P::Driver, "DistributionComputerHardwareId") => return P::Leaf(L::DistributionComputer),
        (P::Driver, "TargetComputerHardwareId") => return P::Leaf(L::TargetComputer),
        (P::Metadata, "WindowsDriverMetaData") if space == Space::Driver => return P::Driver,
        (P::Handler, "CategoryInformation") if space == Space::Category => return P::CategoryInformation,
        _ if space != Space::Update => return P::Other,
        _ => {}
    }
    match (parent, local) {
        (P::Update, "UpdateIdentity") => P::Identity,
        (P::Update, "Properties") => P::Properties,
        (P::Update, "LocalizedPropertiesCollection") => P::LocalizedCollection,
        (P::Update, "Relationships") => P::Relationships,
        (P::Update, "ApplicabilityRules") => P::Rules,
        (P::Update, "Files") => P::Files,
        (P::Update, "HandlerSpecificData") => P::Handler,
        (P::Properties, "InstallationBehavior") => P::Installation,
        (P::Properties, "UninstallationBehavior") => P::Uninstallation,
        (P::Properties, "MoreInfoUrl") => P::Leaf(L::MoreInfo),
        (P::Properties, "SupportUrl") => P::Leaf(L::Support),
        (P::Properties, "SecurityBulletinID") => P::Leaf(L::Bulletin),
        (P::Properties, "CveID") => P::Leaf(L::Cve),
        (P::Properties, "KBArticleID") => P::Leaf(L::Article),
        (P::Properties, "Language") => P::Leaf(L::Language),
        (P::Properties, "SecuredFragment") => P::Leaf(L::Secured),
        (P::LocalizedCollection, "LocalizedProperties") => P::Localized,
        (P::LocalizedCollection, "EulaFile") => P::EulaFile,
        (P::Localized, "Language") => P::Leaf(L::TextLanguage),
        (P::Localized, "Title") => P::Leaf(L::Title),
        (P::Localized, "Description") => P::Leaf(L::Description),
        (P::EulaFile | P::File, "AdditionalDigest") => P::Leaf(L::Digest),
        (P::Relationships, "SupersededUpdates") => P::Superseded,
        (P::Relationships, "Prerequisites") => P::Prerequisites,
        (P::Relationships, "BundledUpdates") => P::Bundled,
        (P::Superseded, "UpdateIdentity") => P::SupersededId,
        (P::Prerequisites, "UpdateIdentity") => P::PrerequisiteId,
        (P::Prerequisites, "AtLeastOne") => P::PrerequisiteClause,
        (P::PrerequisiteClause, "UpdateIdentity") => P::PrerequisiteClauseId,
        (P::Bundled, "UpdateIdentity") => P::BundledId,
        (P::Bundled, "AtLeastOne") => P::BundledClause,
        (P::BundledClause, "UpdateIdentity") => P::BundledClauseId,
        (P::Rules, "Metadata") => P::Metadata,
        (P::Files, "File") => P::File,
        _ => P::Other,
    }
}

impl Place {
    /// What is refused the second time; `None` where several may stand.
    pub(super) fn once(self) -> Option<(&'static str, u16)> {
        Some(match self {
            Self::Identity => ("UpdateIdentity", 1),
            Self::Properties => ("Properties", 1 << 1),
            Self::LocalizedCollection => ("LocalizedPropertiesCollection", 1 << 2),
            Self::Relationships => ("Relationships", 1 << 3),
            Self::Rules => ("ApplicabilityRules", 1 << 4),
            Self::Files => ("Files", 1 << 5),
            Self::Handler => ("HandlerSpecificData", 1 << 6),
            Self::Superseded => ("SupersededUpdates", 1 << 7),
            Self::Prerequisites => ("Prerequisites", 1 << 8),
            Self::Bundled => ("BundledUpdates", 1 << 9),
            _ => return None,
        })
    }
}
