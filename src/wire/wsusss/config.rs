//! `GetConfigData`: limits and languages of the upstream server (MS-WSUSSS 3.1.4.4).

use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::call::call;
use crate::wire::wsusss::field::{Item, record};
use crate::wire::wsusss::method::Method;

record! {
    /// Asks for limits and languages.
    GetConfigData {
        /// Who asks.
        "cookie" cookie: Option<Cookie>,
        /// What the last answer gave; without it all languages are listed, with it those that changed.
        "configAnchor" anchor: Option<String>,
    }
}

record! {
    /// Limits and languages.
    ConfigData {
        /// It has no files: they come from the addresses that the metadata names.
        "CatalogOnlySync" catalog_only: bool,
        /// It has a file only once somebody approved or asked for it.
        "LazySync" lazy: bool,
        /// It has files of express installation.
        "ServerHostsPsfFiles" hosts_psf_files: bool,
        /// 0 on a WSUS: no drivers by computer.
        "MaxNumberOfComputerIdsInRequest" computer_ids_max: Option<u32>,
        /// 0 on a WSUS.
        "MaxNumberOfDriverSetsPerRequest" driver_sets_max: Option<u32>,
        /// 0 on a WSUS.
        "MaxNumberOfPnpHardwareIdsInRequest" hardware_ids_max: Option<u32>,
        /// How many documents may be asked for at once.
        "MaxNumberOfUpdatesPerRequest" updates_max: u32,
        /// What the next request gives.
        "NewConfigAnchor" anchor: Option<String>,
        /// What it speaks.
        "ProtocolVersion" protocol_version: Option<String>,
        /// Languages, all or those that changed.
        "LanguageUpdateList" languages: Vec<Language>,
        /// For how many updates keys may be asked for at once.
        "MaxUpdatesPerRequestInGetUpdateDecryptionData" decryption_max: Option<u32>,
    }
}

record! {
    /// A language of the upstream server.
    Language {
        /// Windows' number of it (LCID); 0 stands for all.
        "LanguageID" id: u32,
        /// `zh-tw`.
        "ShortLanguage" short: String,
        /// `Chinese (Traditional)`.
        "LongLanguage" long: String,
        /// Whether it has updates of it.
        "Enabled" enabled: bool,
    }
}

impl Item for Language {
    const NAME: &'static str = "ServerSyncLanguageData";
}

call!(GetConfigData, Method::GetConfigData, ConfigData);
