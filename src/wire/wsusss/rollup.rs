//! What a server tells the one above it of itself, of servers below it and of their computers (MS-WSUSSS 3.1.4.13 to 3.1.4.17, 3.2.4.5).
//!
//! 1. [`GetRollupConfiguration`]: what is wanted, and in which batches. 2. [`RollupDownstreamServers`]: the servers, those above
//!    before those below. 3. Where computers are wanted, [`RollupComputers`], [`GetOutOfSyncComputers`] for those whose states
//!    are to be sent whole, and [`RollupComputerStatus`].
//!
//! The cookie of these messages is the same for everybody ([`reserved`]): it proves nothing.

use std::io::{self, BufRead, Write};

use crate::model::update::UpdateId;
use crate::wire::error::{Error, Result};
use crate::wire::soap::{Reader, Writer};
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::call::call;
use crate::wire::wsusss::field::{Field, Item, record};
use crate::wire::wsusss::method::Method;
use crate::wire::wsusss::values::{Opaque, Time};

/// The cookie that all of these messages have (3.2.4.5).
pub fn reserved() -> Cookie {
    Cookie { expiration: Time::never(), data: Some(Opaque::default()) }
}

record! {
    /// Asks what is wanted.
    GetRollupConfiguration {
        /// [`reserved`].
        "cookie" cookie: Option<Cookie>,
    }
}

record! {
    /// What is wanted, and how much at once.
    RollupConfiguration {
        /// Whether computers and their states are, too.
        "DoDetailedRollup" is_detailed: bool,
        /// Where it is another one than before, all is to be sent anew.
        "RollupResetGuid" reset: UpdateId,
        /// The server that says so.
        "ServerId" server: UpdateId,
        /// Summaries of computers in one request, over all servers in it.
        "RollupDownstreamServersMaxBatchSize" servers_max: i32,
        /// Computers in one request.
        "RollupComputersMaxBatchSize" computers_max: i32,
        /// Computers in one question for those to be sent whole.
        "GetOutOfSyncComputersMaxBatchSize" out_of_sync_max: i32,
        /// Computers with their states in one request.
        "RollupComputerStatusMaxBatchSize" states_max: i32,
    }
}

record! {
    /// Tells of servers.
    RollupDownstreamServers {
        /// [`reserved`].
        "cookie" cookie: Option<Cookie>,
        /// The clock of the server that sends.
        "clientTime" time: Time,
        /// Those above before those below them.
        "downstreamServers" servers: Option<Vec<Server>>,
    }
}

record! {
    /// A server, as it is told by itself or by the one above it.
    Server {
        /// The id that it made for itself.
        "ServerId" id: UpdateId,
        /// Its full name.
        "FullDomainName" name: String,
        /// When it last synchronised; the year 1753 where it never did.
        "LastSyncTime" last_sync: Time,
        /// The server above it; zero where that is the one that is told.
        "ParentServerId" parent: UpdateId,
        /// Of its program, in four numbers.
        "Version" version: String,
        /// Whether it takes over approvals.
        "IsReplica" is_replica: bool,
        /// When it last told this.
        "LastRollupTime" last_rollup: Time,
        /// How it stands.
        "ServerSummary" summary: Option<Summary>,
        /// Its computers, by their systems.
        "ClientSummaries" computers: Vec<Computers>,
    }
}

impl Item for Server {
    const NAME: &'static str = "DownstreamServerRollupInfo";
}

record! {
    /// How a server stands (3.1.4.14.3.3).
    Summary {
        /// Updates that it has.
        "UpdateCount" updates: i32,
        /// Of these, declined ones.
        "DeclinedUpdateCount" declined: i32,
        /// Of these, approved ones.
        "ApprovedUpdateCount" approved: i32,
        /// Neither of both.
        "NotApprovedUpdateCount" not_approved: i32,
        /// Approved in a revision that is not the newest.
        "UpdatesWithStaleUpdateApprovalsCount" stale: i32,
        /// Withdrawn by their publisher.
        "ExpiredUpdateCount" expired: i32,
        /// Critical and security updates that are not approved.
        "CriticalOrSecurityUpdatesNotApprovedForInstallCount" critical_not_approved: i32,
        /// Updates of the service itself that are not approved.
        "WsusInfrastructureUpdatesNotApprovedForInstallCount" infrastructure_not_approved: i32,
        /// Updates that failed on a computer.
        "UpdatesWithClientErrorsCount" failed: i32,
        /// Updates whose files could not be fetched.
        "UpdatesWithServerErrorsCount" not_fetched: i32,
        /// Updates whose files are still to be fetched.
        "UpdatesNeedingFilesCount" to_be_fetched: i32,
        /// Updates that a computer lacks.
        "UpdatesNeededByComputersCount" needed: i32,
        /// Updates that no computer lacks.
        "UpdatesUpToDateCount" not_needed: i32,
        /// Groups that people made.
        "CustomComputerTargetGroupCount" groups: i32,
        /// Computers.
        "ComputerTargetCount" computers: i32,
        /// Of these, those that lack an update.
        "ComputerTargetsNeedingUpdatesCount" computers_lacking: i32,
        /// Of these, those on which one failed.
        "ComputerTargetsWithUpdateErrorsCount" computers_failed: i32,
        /// Of these, those that lack none.
        "ComputersUpToDateCount" computers_up_to_date: i32,
    }
}

record! {
    /// Computers of a server with the same system.
    Computers {
        /// Of the system.
        "OSMajorVersion" os_major: i32,
        /// Of the system.
        "OSMinorVersion" os_minor: i32,
        /// Of the system.
        "OSBuildNumber" os_build: i32,
        /// Of its service pack.
        "OSServicePackMajorNumber" service_pack_major: i32,
        /// Of its service pack.
        "OSServicePackMinorNumber" service_pack_minor: i32,
        /// Of the system, like `en-US`.
        "OSLocale" locale: String,
        /// What the system says of itself.
        "SuiteMask" suite: i32,
        /// What the system says of itself: 1 a workstation, 2 a domain controller, 3 a server.
        "OldProductType" old_product: i32,
        /// What the system says of itself.
        "NewProductType" new_product: i32,
        /// What the system says of itself.
        "SystemMetrics" metrics: i32,
        /// Like `AMD64`.
        "ProcessorArchitecture" architecture: String,
        /// How many there are.
        "Count" count: i32,
        /// What happened on them since the last time.
        "ActivitySummaries" activity: Vec<Activity>,
    }
}

impl Item for Computers {
    const NAME: &'static str = "DownstreamServerRollupClientSummary";
}

record! {
    /// Installations of a revision.
    Activity {
        /// Which update.
        "UpdateId" update: UpdateId,
        /// Which revision of it.
        "RevisionNumber" revision: u32,
        /// How many went well.
        "InstallSuccessCount" installed: i32,
        /// How many did not.
        "InstallFailureCount" failed: i32,
    }
}

impl Item for Activity {
    const NAME: &'static str = "DownstreamServerRollupClientActivitySummary";
}

record! {
    /// Tells of computers.
    RollupComputers {
        /// [`reserved`].
        "cookie" cookie: Option<Cookie>,
        /// The clock of the server that sends.
        "clientTime" time: Time,
        /// The computers.
        "computers" computers: Option<Vec<Computer>>,
    }
}

/// Defines what has its values as attributes: its one or two elements, and the attributes in the order in which they are written.
macro_rules! attributed {
    (
        $(#[$doc:meta])*
        $name:ident {
            $( $(#[$element_doc:meta])* $element:literal $inner:ident: $kind:ty, )*
        } with {
            $( $(#[$field_doc:meta])* $attribute:literal $field:ident: $value:ty, )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $value, )*
            $( $(#[$element_doc])* pub $inner: $kind, )*
        }

        impl Field for $name {
            fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
                $( let $field = <$value as Value>::of(reader.attribute($attribute), stringify!($name), $attribute)?; )*
                $( let mut $inner: Option<$kind> = None; )*
                while reader.child()? {
                    match reader.name() {
                        $( $element => $inner = Some(Field::read(reader)?), )*
                        _ => reader.skip()?,
                    }
                }
                Ok(Self {
                    $( $field, )*
                    $( $inner: $inner.or_else(Field::absent).ok_or(Error::Missing {
                        inside: stringify!($name),
                        field: $element,
                    })?, )*
                })
            }

            fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
                let attributes = [$( ($attribute, Value::text(&self.$field)) ),*];
                out.open_attributes(name, &attributes)?;
                $( self.$inner.write(out, $element)?; )*
                out.close(name)
            }
        }
    };
}

/// The value of an attribute.
trait Value: Sized {
    fn of(text: Option<&str>, inside: &'static str, name: &'static str) -> Result<Self>;

    fn text(&self) -> String;
}

impl Value for String {
    fn of(text: Option<&str>, _: &'static str, _: &'static str) -> Result<Self> {
        Ok(text.unwrap_or_default().to_owned())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

macro_rules! parsed {
    ($($kind:ty, $what:literal;)*) => {
        $(impl Value for $kind {
            fn of(text: Option<&str>, inside: &'static str, name: &'static str) -> Result<Self> {
                let text = text.ok_or(Error::Missing { inside, field: name })?;
                text.trim().parse().map_err(|_| Error::value(name, text, $what))
            }

            fn text(&self) -> String {
                self.to_string()
            }
        })*
    };
}

parsed! {
    i32, "a number of the type i32";
    UpdateId, "a GUID";
}

impl Value for Time {
    fn of(text: Option<&str>, inside: &'static str, name: &'static str) -> Result<Self> {
        let text = text.ok_or(Error::Missing { inside, field: name })?;
        Self::parse(text).ok_or_else(|| Error::value(name, text, "a time like 2026-10-04T20:33:26.65Z"))
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

attributed! {
    /// A computer.
    Computer {
        /// What it is, where that is new.
        "Details" details: Option<Details>,
    } with {
        /// The id that it made for itself.
        "ComputerId" id: String,
        /// When it last scanned.
        "LastSyncTime" last_sync: Time,
        /// What came of that.
        "LastSyncResult" last_sync_result: i32,
        /// When it last told of a restart.
        "LastReportedRebootTime" last_reboot: Time,
        /// When it last told how updates stand on it.
        "LastReportedStatusTime" last_status: Time,
        /// When it last told what it is made of.
        "LastInventoryTime" last_inventory: Time,
        /// The server that it asks.
        "ParentServerId" parent: UpdateId,
    }
}

impl Item for Computer {
    const NAME: &'static str = "ComputerRollupInfo";
}

attributed! {
    /// What a computer is.
    Details {
        /// The groups that it is in.
        "TargetGroupIdList" groups: Vec<UpdateId>,
        /// The names of groups that it was told to be in.
        "RequestedTargetGroupNames" asked_groups: Vec<String>,
    } with {
        /// Its address.
        "IPAddress" address: String,
        /// Its full name.
        "FullDomainName" name: String,
        /// Of the system.
        "OSMajorVersion" os_major: i32,
        /// Of the system.
        "OSMinorVersion" os_minor: i32,
        /// Of the system.
        "OSBuildNumber" os_build: i32,
        /// Of its service pack.
        "OSServicePackMajorNumber" service_pack_major: i32,
        /// Of its service pack.
        "OSServicePackMinorNumber" service_pack_minor: i32,
        /// Of the system, like `en-US`.
        "OSLocale" locale: String,
        /// Of the system.
        "OSFamily" family: String,
        /// Of the system, in words.
        "OSDescription" description: String,
        /// Who made it.
        "ComputerMake" make: String,
        /// Which one it is.
        "ComputerModel" model: String,
        /// Of its firmware.
        "BiosVersion" bios_version: String,
        /// Of its firmware.
        "BiosName" bios_name: String,
        /// Of its firmware.
        "BiosReleaseDate" bios_date: Time,
        /// Like `AMD64`.
        "ProcessorArchitecture" architecture: String,
        /// What the system says of itself.
        "SuiteMask" suite: i32,
        /// What the system says of itself.
        "OldProductType" old_product: i32,
        /// What the system says of itself.
        "NewProductType" new_product: i32,
        /// What the system says of itself.
        "SystemMetrics" metrics: i32,
        /// Of its update agent.
        "ClientVersion" agent: String,
    }
}

attributed! {
    /// What became of a computer.
    ChangedComputer {} with {
        /// Which one.
        "ComputerId" id: String,
        /// `Deleted` or `NewParent`.
        "Change" change: String,
    }
}

impl Item for ChangedComputer {
    const NAME: &'static str = "ChangedComputer";
}

record! {
    /// Asks whose states are to be sent whole.
    GetOutOfSyncComputers {
        /// [`reserved`].
        "cookie" cookie: Option<Cookie>,
        /// The server that asks.
        "parentServerId" server: UpdateId,
        /// What was sent last of each.
        "lastRollupNumbers" last: Option<Vec<LastRollup>>,
    }
}

record! {
    /// What was sent last of a computer.
    LastRollup {
        /// Which one.
        "ComputerId" id: String,
        /// The number of it; 0 where nothing ever was.
        "RollupNumber" number: i32,
    }
}

impl Item for LastRollup {
    const NAME: &'static str = "ComputerLastRollupNumber";
}

record! {
    /// Tells how updates stand on computers.
    RollupComputerStatus {
        /// [`reserved`].
        "cookie" cookie: Option<Cookie>,
        /// The clock of the server that sends.
        "clientTime" time: Time,
        /// The server that sends.
        "parentServerId" server: UpdateId,
        /// The computers.
        "computers" computers: Option<Vec<ComputerStates>>,
    }
}

record! {
    /// How updates stand on a computer.
    ComputerStates {
        /// Made anew each time.
        "InstanceId" instance: UpdateId,
        /// Which computer.
        "ComputerId" id: String,
        /// Up to which synchronisation of the server it has looked.
        "EffectiveLastDetectionTime" detected: Time,
        /// One more than the last one sent.
        "RollupNumber" number: i32,
        /// Whether it is all there is, or what changed.
        "IsFullRollup" is_full: bool,
        /// The updates.
        "UpdateStatus" states: Vec<State>,
    }
}

impl Item for ComputerStates {
    const NAME: &'static str = "ComputerStatusRollupInfo";
}

record! {
    /// How an update stands on a computer.
    State {
        /// Which update.
        "UpdateId" update: UpdateId,
        /// 0 unknown, 1 not applicable, 2 lacking, 3 downloaded, 4 installed, 5 failed, 6 installed and waiting for a restart.
        "SummarizationState" state: i32,
        /// Since when.
        "LastChangeTime" since: Time,
    }
}

impl Item for State {
    const NAME: &'static str = "ComputerStatusRollupUpdateStatus";
}

call!(GetRollupConfiguration, Method::GetRollupConfiguration, RollupConfiguration);
call!(RollupDownstreamServers, Method::RollupDownstreamServers, ());
call!(RollupComputers, Method::RollupComputers, Vec<ChangedComputer>);
call!(GetOutOfSyncComputers, Method::GetOutOfSyncComputers, Vec<String>);
call!(RollupComputerStatus, Method::RollupComputerStatus, bool);
