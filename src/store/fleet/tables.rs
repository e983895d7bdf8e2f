//! The tables of endpoints, and the encoding of every key and value in them; see `store::tables` for the rules.

use std::net::{IpAddr, Ipv6Addr};

use redb::{TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use crate::store::error::Error;

/// The bytes of a GUID.
pub(crate) type Guid = [u8; 16];

/// `id` -> 16 bytes. In backups.
pub(crate) const SERVER: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("fleet-server.1");
/// Number of a key -> [`KeyRow`]. In no backup: a copy that lies about must not open cookies.
pub(crate) const KEYS: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("fleet-keys.1");
/// Client id -> [`EndpointRow`].
pub(crate) const ENDPOINTS: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new("fleet-endpoints.1");
/// Client id -> [`ContactRow`]; apart, since it is written again and again.
pub(crate) const CONTACTS: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new("fleet-contacts.1");
/// Client id -> [`HistoryRow`].
pub(crate) const HISTORY: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new("fleet-history.1");

/// A small number -> the update that endpoints told of. Numbers are never used again.
pub(crate) const UPDATES: TableDefinition<'static, u32, &Guid> = TableDefinition::new("fleet-updates.1");
/// Client id -> how updates stand there (`standing` has the row).
pub(crate) const STATES: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new("fleet-states.1");
/// Client id -> [`ChangesRow`]; apart, since it changes more seldom.
pub(crate) const CHANGES: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new("fleet-changes.1");

/// Client id -> files that it was sent (`served` has the row).
pub(crate) const SERVED: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new("fleet-served.1");
/// Address of several endpoints -> files that were sent there.
pub(crate) const SERVED_PLACES: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new("fleet-served-places.1");

/// Key of [`SERVER`].
pub(crate) const SERVER_ID: &str = "id";

/// A key for cookies. Times are milliseconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeyRow {
    pub(crate) key: [u8; 32],
    pub(crate) made: u64,
    /// Until when it opens; the newest has no end.
    pub(crate) until: Option<u64>,
}

/// What a machine is.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct MachineRow {
    pub(crate) name: String,
    pub(crate) maker: String,
    pub(crate) model: String,
    pub(crate) bios_name: String,
    pub(crate) bios_version: String,
    pub(crate) bios_date: String,
    pub(crate) address: [u8; 16],
}

/// An id that turned up with another machine.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ContestRow {
    pub(crate) machine: MachineRow,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) times: u32,
    pub(crate) between: Option<u64>,
    pub(crate) is_clone: bool,
}

/// An endpoint.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct EndpointRow {
    pub(crate) machine: MachineRow,
    pub(crate) os: [u32; 6],
    pub(crate) architecture: String,
    pub(crate) client_version: String,
    pub(crate) targets: Vec<String>,
    pub(crate) first: u64,
    pub(crate) at: u64,
    /// 1 accepted, 2 held.
    pub(crate) admitted: u8,
    pub(crate) contests: Vec<ContestRow>,
}

/// When an endpoint was last heard of, by kind of contact (`contacts` has their numbers); zero: never.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct ContactRow {
    pub(crate) last: [u64; 5],
    pub(crate) address: [u8; 16],
}

/// One thing that happened.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct EventRow {
    pub(crate) at: u64,
    /// 1 first seen, 2 address, 3 changed, 4 contested, 5 admitted, 6 bound anew.
    pub(crate) kind: u8,
    pub(crate) text: String,
}

/// What happened to an endpoint, the oldest first.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct HistoryRow {
    pub(crate) events: Vec<EventRow>,
}

/// A state that became another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChangeRow {
    /// The number of the update.
    pub(crate) number: u32,
    /// In seconds.
    pub(crate) at: u32,
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) code: i32,
}

/// What became of the states of an endpoint, the oldest first.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct ChangesRow {
    pub(crate) changes: Vec<ChangeRow>,
}

/// An address as 16 bytes: IPv4 mapped into IPv6.
pub(crate) fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The address of these bytes.
pub(crate) fn address_of(bytes: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
}

/// All tables, so that an index that is made or opened for writing has them.
pub(crate) fn create(tx: &WriteTransaction) -> Result<(), Error> {
    tx.open_table(SERVER)?;
    tx.open_table(KEYS)?;
    tx.open_table(ENDPOINTS)?;
    tx.open_table(CONTACTS)?;
    tx.open_table(HISTORY)?;
    tx.open_table(UPDATES)?;
    tx.open_table(STATES)?;
    tx.open_table(CHANGES)?;
    tx.open_table(SERVED)?;
    tx.open_table(SERVED_PLACES)?;
    Ok(())
}
