//! Operations that the WSDL has and the protocol does not use (MS-WSUSSS 3.1.4.9, 3.1.4.12): they are read, so that whoever
//! asks gets a word that it understands.

use crate::model::update::{Identity, UpdateId};
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::call::call;
use crate::wire::wsusss::field::record;
use crate::wire::wsusss::method::Method;
use crate::wire::wsusss::values::Time;

record! {
    /// Asks for the revisions that belong to updates.
    GetRelatedRevisionsForUpdates {
        /// Who asks.
        "cookie" cookie: Option<Cookie>,
        /// Which updates.
        "updateIDs" updates: Vec<UpdateId>,
    }
}

record! {
    /// Asks whether the service lives.
    Ping {
        /// How closely it should look.
        "pingLevel" level: i32,
    }
}

record! {
    /// It does.
    MonitoredServices {
        /// Whether all is well.
        "SuccessFlag" success: bool,
        /// Its clock.
        "ServicesTime" time: Time,
        /// Its name.
        "ServicesName" name: Option<String>,
        /// The machine it runs on.
        "ServicesMachine" machine: Option<String>,
        /// Whether it was asked by https.
        "IsHttps" https: bool,
        /// The type of the request.
        "RequestContentType" content_type: Option<String>,
        /// Where its configuration is.
        "ConfigFilePath" config_path: Option<String>,
        /// Of which project.
        "ConfigFileProjectName" config_project: Option<String>,
        /// Of which environment.
        "ConfigFileEnvironmentName" config_environment: Option<String>,
        /// When it was changed.
        "ConfigFileLastModifiedTime" config_modified: Time,
        /// Its version.
        "ConfigFileVersion" config_version: Option<String>,
        /// When it is read again.
        "ConfigFileNextExpirationTime" config_expires: Time,
        /// How often.
        "ConfigFileExpirationModuloInMinutes" config_minutes: i32,
        /// About its database.
        "DatabaseInfo" database: Option<String>,
        /// Anything else.
        "CustomInfo" custom: Option<String>,
    }
}

call!(GetRelatedRevisionsForUpdates, Method::GetRelatedRevisionsForUpdates, Vec<Identity>);
call!(Ping, Method::Ping, MonitoredServices);
