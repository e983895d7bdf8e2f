//! The services that endpoints talk to, and their operations: names, namespaces, addresses and SOAPActions (MS-WUSP 2.1,
//! 2.2.2, 6).

use std::fmt;

use crate::wire::soap::Style;

/// A service. The operations of one are unknown at the others, and each has a namespace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Face {
    /// Scans.
    Client,
    /// Gives out authorization cookies.
    Auth,
    /// Takes reports.
    Reporting,
}

impl Face {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Client, Self::Auth, Self::Reporting];

    /// The namespace of its elements (MS-WUSP 2.2.1).
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Client => "http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService",
            Self::Auth => "http://www.microsoft.com/SoftwareDistribution/Server/SimpleAuthWebService",
            Self::Reporting => "http://www.microsoft.com/SoftwareDistribution",
        }
    }

    /// Where it is, from the root of the server on. Agents and servers differ in case, which says nothing here.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Client => "/ClientWebService/client.asmx",
            Self::Auth => "/SimpleAuthWebService/SimpleAuth.asmx",
            Self::Reporting => "/ReportingWebService/ReportingWebService.asmx",
        }
    }

    /// The one at this path. The WSDL spells that of the reports in a second way.
    pub fn at(path: &str) -> Option<Self> {
        if path.eq_ignore_ascii_case("/ReportingWebService/WebService.asmx") {
            return Some(Self::Reporting);
        }
        Self::ALL.into_iter().find(|face| face.path().eq_ignore_ascii_case(path))
    }

    /// What its answers look like.
    pub const fn style(self) -> Style {
        match self {
            Self::Client => Style::Client,
            Self::Auth | Self::Reporting => Style::Service,
        }
    }
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// How to authorize, and what the server can do (2.2.2.2.1).
    GetConfig,
    /// The same; in no specification.
    GetConfig2,
    /// A cookie that may ask (2.2.2.2.2).
    GetCookie,
    /// Tells what machine it is (2.2.2.2.3).
    RegisterComputer,
    /// Which updates there are for it (2.2.2.2.4).
    SyncUpdates,
    /// What this server calls updates that it knows from another (2.2.2.2.5).
    RefreshCache,
    /// More about revisions (2.2.2.2.6).
    GetExtendedUpdateInfo,
    /// Where files are (2.2.2.2.7).
    GetFileLocations,
    /// Which categories a scan may be limited to (2.2.2.2.8).
    StartCategoryScan,
    /// Drivers for printers (2.2.2.2.9).
    SyncPrinterCatalog,
    /// More about updates (2.2.2.2.10).
    GetExtendedUpdateInfo2,
    /// A cookie that says who asks (2.2.2.1.1).
    GetAuthorizationCookie,
    /// What happened (2.2.2.3.1).
    ReportEventBatch,
    /// The same without a cookie; in the WSDL alone (6.3).
    ReportEventBatch2,
    /// Whether an inventory is wanted; in the WSDL alone (6.3).
    GetRequiredInventoryType,
    /// An inventory; in the WSDL alone (6.3).
    ReportInventory,
    /// Which reports a downstream server should pass on (MS-WSUSSS, the reporting service).
    GetRollupConfiguration,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::GetConfig,
        Self::GetConfig2,
        Self::GetCookie,
        Self::RegisterComputer,
        Self::SyncUpdates,
        Self::RefreshCache,
        Self::GetExtendedUpdateInfo,
        Self::GetFileLocations,
        Self::StartCategoryScan,
        Self::SyncPrinterCatalog,
        Self::GetExtendedUpdateInfo2,
        Self::GetAuthorizationCookie,
        Self::ReportEventBatch,
        Self::ReportEventBatch2,
        Self::GetRequiredInventoryType,
        Self::ReportInventory,
        Self::GetRollupConfiguration,
    ];

    /// The element of its request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetConfig => "GetConfig",
            Self::GetConfig2 => "GetConfig2",
            Self::GetCookie => "GetCookie",
            Self::RegisterComputer => "RegisterComputer",
            Self::SyncUpdates => "SyncUpdates",
            Self::RefreshCache => "RefreshCache",
            Self::GetExtendedUpdateInfo => "GetExtendedUpdateInfo",
            Self::GetFileLocations => "GetFileLocations",
            Self::StartCategoryScan => "StartCategoryScan",
            Self::SyncPrinterCatalog => "SyncPrinterCatalog",
            Self::GetExtendedUpdateInfo2 => "GetExtendedUpdateInfo2",
            Self::GetAuthorizationCookie => "GetAuthorizationCookie",
            Self::ReportEventBatch => "ReportEventBatch",
            Self::ReportEventBatch2 => "ReportEventBatch2",
            Self::GetRequiredInventoryType => "GetRequiredInventoryType",
            Self::ReportInventory => "ReportInventory",
            Self::GetRollupConfiguration => "GetRollupConfiguration",
        }
    }

    /// The service that has it.
    pub const fn face(self) -> Face {
        match self {
            Self::GetAuthorizationCookie => Face::Auth,
            Self::ReportEventBatch
            | Self::ReportEventBatch2
            | Self::GetRequiredInventoryType
            | Self::ReportInventory
            | Self::GetRollupConfiguration => Face::Reporting,
            _ => Face::Client,
        }
    }

    /// Its SOAPAction, without the quotation marks that the header wants around it. That of `SyncPrinterCatalog` is the WSDL's;
    /// the prose (2.2.2.2.9) prints another one's.
    pub fn action(self) -> String {
        format!("{}/{}", self.face().namespace(), self.name())
    }

    /// The operation of `face` whose request has this element; a request without a namespace is taken as meant.
    pub fn of(face: Face, namespace: &str, name: &str) -> Option<Self> {
        let own = namespace.is_empty() || namespace == face.namespace();
        Self::ALL.into_iter().find(|method| own && method.face() == face && method.name() == name)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
