//! The operations of the protocol: their names, namespaces, addresses and SOAPActions (MS-WSUSSS 3.1.4, 6).

use std::fmt;

/// The namespace of the server sync service.
pub const SERVER_SYNC: &str = "http://www.microsoft.com/SoftwareDistribution";

/// The namespace of the service that gives out authorization cookies.
pub const DSS_AUTH: &str = "http://www.microsoft.com/SoftwareDistribution/Server/DssAuthWebService";

/// The namespace of `Ping`.
pub const MONITORABLE: &str = "http://www.microsoft.com/SoftwareDistribution/Server/IMonitorable";

/// The path of the server sync service.
pub const SERVER_SYNC_PATH: &str = "/ServerSyncWebService/ServerSyncWebService.asmx";

/// The path of the service that gives out authorization cookies. `GetAuthConfig` names it too, relative to the root.
pub const DSS_AUTH_PATH: &str = "/DssAuthWebService/DssAuthWebService.asmx";

/// The path of the reporting service, which endpoints ask too.
pub const REPORTING_PATH: &str = "/ReportingWebService/ReportingWebService.asmx";

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// How to authorize (3.1.4.1).
    GetAuthConfig,
    /// A cookie that says who asks (3.1.4.2).
    GetAuthorizationCookie,
    /// A cookie that may ask (3.1.4.3).
    GetCookie,
    /// Limits and languages (3.1.4.4).
    GetConfigData,
    /// Which revisions there are (3.1.4.5).
    GetRevisionIdList,
    /// Their documents (3.1.4.6).
    GetUpdateData,
    /// Which drivers there are; Microsoft Update only (3.1.4.7).
    GetDriverIdList,
    /// Their sets; Microsoft Update only (3.1.4.8).
    GetDriverSetData,
    /// Not used (3.1.4.9).
    GetRelatedRevisionsForUpdates,
    /// Approvals; replicas only (3.1.4.10).
    GetDeployments,
    /// Please fetch these files (3.1.4.11).
    DownloadFiles,
    /// Not used (3.1.4.12).
    Ping,
    /// Keys of encrypted files.
    GetUpdateDecryptionData,
    /// What is to be told to the server above (3.1.4.13).
    GetRollupConfiguration,
    /// Tells of servers (3.1.4.14).
    RollupDownstreamServers,
    /// Tells of computers (3.1.4.15).
    RollupComputers,
    /// Whose states are to be sent whole (3.1.4.16).
    GetOutOfSyncComputers,
    /// Tells how updates stand on computers (3.1.4.17).
    RollupComputerStatus,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::GetAuthConfig,
        Self::GetAuthorizationCookie,
        Self::GetCookie,
        Self::GetConfigData,
        Self::GetRevisionIdList,
        Self::GetUpdateData,
        Self::GetDriverIdList,
        Self::GetDriverSetData,
        Self::GetRelatedRevisionsForUpdates,
        Self::GetDeployments,
        Self::DownloadFiles,
        Self::Ping,
        Self::GetUpdateDecryptionData,
        Self::GetRollupConfiguration,
        Self::RollupDownstreamServers,
        Self::RollupComputers,
        Self::GetOutOfSyncComputers,
        Self::RollupComputerStatus,
    ];

    /// The element of its request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetAuthConfig => "GetAuthConfig",
            Self::GetAuthorizationCookie => "GetAuthorizationCookie",
            Self::GetCookie => "GetCookie",
            Self::GetConfigData => "GetConfigData",
            Self::GetRevisionIdList => "GetRevisionIdList",
            Self::GetUpdateData => "GetUpdateData",
            Self::GetDriverIdList => "GetDriverIdList",
            Self::GetDriverSetData => "GetDriverSetData",
            Self::GetRelatedRevisionsForUpdates => "GetRelatedRevisionsForUpdates",
            Self::GetDeployments => "GetDeployments",
            Self::DownloadFiles => "DownloadFiles",
            Self::Ping => "Ping",
            Self::GetUpdateDecryptionData => "GetUpdateDecryptionData",
            Self::GetRollupConfiguration => "GetRollupConfiguration",
            Self::RollupDownstreamServers => "RollupDownstreamServers",
            Self::RollupComputers => "RollupComputers",
            Self::GetOutOfSyncComputers => "GetOutOfSyncComputers",
            Self::RollupComputerStatus => "RollupComputerStatus",
        }
    }

    /// The namespace of its elements.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::GetAuthorizationCookie => DSS_AUTH,
            Self::Ping => MONITORABLE,
            _ => SERVER_SYNC,
        }
    }

    /// Where it is asked, from the root of the server on.
    pub const fn path(self) -> &'static str {
        match self {
            Self::GetAuthorizationCookie => DSS_AUTH_PATH,
            _ if self.is_rollup() => REPORTING_PATH,
            _ => SERVER_SYNC_PATH,
        }
    }

    /// Whether it is one of the reporting service.
    pub const fn is_rollup(self) -> bool {
        matches!(
            self,
            Self::GetRollupConfiguration
                | Self::RollupDownstreamServers
                | Self::RollupComputers
                | Self::GetOutOfSyncComputers
                | Self::RollupComputerStatus
        )
    }

    /// Its SOAPAction, without the quotation marks that the header wants around it.
    pub fn action(self) -> String {
        format!("{}/{}", self.namespace(), self.name())
    }

    /// The one whose request has this element; a request without a namespace is taken as meant.
    pub fn of(namespace: &str, name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|method| method.name() == name && (namespace.is_empty() || method.namespace() == namespace))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
