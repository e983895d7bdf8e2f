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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;
    use crate::wire::wsusss::Request;
    use crate::wire::wsusss::tests::{answered, asked, id};

    fn computers() -> Computers {
        let activity = vec![Activity { update: id(1), revision: 3, installed: 2, failed: 1 }];
        Computers {
            os_major: 10,
            os_minor: 0,
            os_build: 26100,
            service_pack_major: 0,
            service_pack_minor: 0,
            locale: "de-CH".into(),
            suite: 256,
            old_product: 1,
            new_product: 48,
            metrics: 0,
            architecture: "AMD64".into(),
            count: 7,
            activity,
        }
    }

    fn details() -> Details {
        Details {
            address: "10.0.0.1".into(),
            name: "pc\"&<>1.example".into(),
            os_major: 10,
            os_minor: 0,
            os_build: 26100,
            service_pack_major: 0,
            service_pack_minor: 0,
            locale: "de-CH".into(),
            family: String::new(),
            description: "Windows 11 & more".into(),
            make: "A".into(),
            model: "B".into(),
            bios_version: "1".into(),
            bios_name: "C".into(),
            bios_date: Time::new(Timestamp::from_ms(1_700_000_000_000)),
            architecture: "AMD64".into(),
            suite: 256,
            old_product: 1,
            new_product: 48,
            metrics: 0,
            agent: "10.0".into(),
            groups: vec![id(5)],
            asked_groups: vec!["Pilot".into()],
        }
    }

    #[test]
    fn what_servers_tell_of_themselves_and_their_computers_is_read_as_it_was_written() {
        let (cookie, time) = (Some(reserved()), Time::new(Timestamp::from_ms(1_791_146_006_650)));
        asked(&GetRollupConfiguration { cookie: cookie.clone() }, Request::RollupConfiguration);
        let number = std::cell::Cell::new(0);
        let next = || {
            number.set(number.get() + 1);
            number.get()
        };
        let summary = Summary {
            updates: next(),
            declined: next(),
            approved: next(),
            not_approved: next(),
            stale: next(),
            expired: next(),
            critical_not_approved: next(),
            infrastructure_not_approved: next(),
            failed: next(),
            not_fetched: next(),
            to_be_fetched: next(),
            needed: next(),
            not_needed: next(),
            groups: next(),
            computers: next(),
            computers_lacking: next(),
            computers_failed: next(),
            computers_up_to_date: next(),
        };
        let server = Server {
            id: id(1),
            name: "wsus.example".into(),
            last_sync: time.clone(),
            parent: id(0),
            version: "10.0.20348.1".into(),
            is_replica: true,
            last_rollup: time.clone(),
            summary: Some(summary),
            computers: vec![computers()],
        };
        let servers = Some(vec![server]);
        asked(&RollupDownstreamServers { cookie: cookie.clone(), time: time.clone(), servers }, Request::RollupServers);
        let computer = Computer {
            id: "a".into(),
            last_sync: time.clone(),
            last_sync_result: 2,
            last_reboot: time.clone(),
            last_status: time.clone(),
            last_inventory: time.clone(),
            parent: id(1),
            details: Some(details()),
        };
        let plain = Computer { details: None, ..computer.clone() };
        let told =
            RollupComputers { cookie: cookie.clone(), time: time.clone(), computers: Some(vec![computer, plain]) };
        asked(&told, Request::RollupComputers);
        let last = Some(vec![LastRollup { id: "a".into(), number: 3 }]);
        asked(&GetOutOfSyncComputers { cookie: cookie.clone(), server: id(1), last }, Request::OutOfSyncComputers);
        let states = ComputerStates {
            instance: id(9),
            id: "a".into(),
            detected: time.clone(),
            number: 4,
            is_full: false,
            states: vec![State { update: id(1), state: 6, since: time.clone() }],
        };
        let told = RollupComputerStatus { cookie, time, server: id(1), computers: Some(vec![states]) };
        asked(&told, Request::RollupStates);
        answered::<GetRollupConfiguration>(&RollupConfiguration {
            is_detailed: true,
            reset: id(1),
            server: id(2),
            servers_max: 1,
            computers_max: 2,
            out_of_sync_max: 3,
            states_max: 4,
        });
        answered::<RollupDownstreamServers>(&());
        answered::<RollupComputers>(&vec![ChangedComputer { id: "a".into(), change: "NewParent".into() }]);
        answered::<GetOutOfSyncComputers>(&vec!["a".into()]);
        answered::<RollupComputerStatus>(&false);
    }
}
