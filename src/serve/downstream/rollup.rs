//! What servers below tell of themselves and of servers below them (MS-WSUSSS 3.1.4.13 to 3.1.4.17): their counts are kept and shown.
//!
//! Their computers are not asked for (`DoDetailedRollup` is false): who is shown here by name asks here. A server that tells of them all
//! the same gets the fault that the specification has for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::model::downstream::{self, NAME_CHARS_MAX, SERVERS_MAX, Standing, VERSION_CHARS_MAX};
use crate::model::update::UpdateId;
use crate::serve::downstream::handshake::is_among;
use crate::serve::downstream::{Downstream, Error, parameter};
use crate::wire::wsusss::FaultCode;
use crate::wire::wsusss::rollup::{Computers, RollupConfiguration, RollupDownstreamServers, Server, Summary};
use crate::wire::wsusss::values::Time;

/// Batches as Windows servers allow them (3.1.4.13, product behaviour): what keeps to them fits the limits of a request.
const SERVERS_BATCH: i32 = 5000;
const COMPUTERS_BATCH: i32 = 1500;
const OUT_OF_SYNC_BATCH: i32 = 20_000;
const STATES_BATCH: i32 = 500;

/// A clock that is off by more is taken to be wrong, and all times with it (3.1.4.14, product behaviour).
const CLOCK_OFF: Duration = Duration::from_mins(1);

const NOBODY: UpdateId = UpdateId::new([0; 16]);

/// A count; what is below zero is none.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

fn standing(summary: &Summary) -> Standing {
    Standing {
        updates: count(summary.updates),
        approved: count(summary.approved),
        declined: count(summary.declined),
        lacking_files: count(summary.to_be_fetched).saturating_add(count(summary.not_fetched)),
        computers: count(summary.computers),
        lacking: count(summary.computers_lacking),
        failed: count(summary.computers_failed),
        up_to_date: count(summary.computers_up_to_date),
    }
}

/// The system of computers: what it is called, by its numbers and processor.
fn system(computers: &Computers) -> String {
    let Computers { os_major, os_minor, os_build, architecture, .. } = computers;
    let word: String = architecture.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    format!("{os_major}.{os_minor}.{os_build} {word}").trim_end().to_owned()
}

/// A text as it is kept: without control characters, and not longer than this.
fn kept(text: &str, max: usize) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(max).collect()
}

/// How far a server's clock is off.
enum Off {
    Behind(Duration),
    Ahead(Duration),
}

impl Off {
    fn of(theirs: Option<Timestamp>, now: Timestamp) -> Self {
        match theirs {
            Some(theirs) if theirs < now => Self::Behind(now.since(theirs)),
            Some(theirs) => Self::Ahead(theirs.since(now)),
            None => Self::Behind(Duration::ZERO),
        }
    }

    /// A time of theirs by this clock; `None` where it stands for never.
    fn right(&self, time: &Time) -> Option<Timestamp> {
        let at = time.at().filter(|at| at.ms() > 0)?;
        Some(match self {
            Self::Behind(by) if *by > CLOCK_OFF => at.after(*by),
            Self::Ahead(by) if *by > CLOCK_OFF => {
                Timestamp::from_ms(at.ms().saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
            }
            Self::Behind(_) | Self::Ahead(_) => at,
        })
    }
}

impl Downstream {
    /// To `GetRollupConfiguration`.
    pub(super) fn rollup_configuration(&self) -> RollupConfiguration {
        RollupConfiguration {
            is_detailed: false,
            reset: NOBODY,
            server: self.scans.server(),
            servers_max: SERVERS_BATCH,
            computers_max: COMPUTERS_BATCH,
            out_of_sync_max: OUT_OF_SYNC_BATCH,
            states_max: STATES_BATCH,
        }
    }

    /// To what tells of computers (3.1.4.15 to 3.1.4.17, first step of each).
    pub(super) fn not_detailed() -> Error {
        Error::refused(
            FaultCode::InternalServerError,
            "the server tells of its computers, which GetRollupConfiguration does not ask for",
        )
    }

    /// To `RollupDownstreamServers`.
    pub(super) async fn servers(&self, request: RollupDownstreamServers, from: IpAddr) -> Result<String, Error> {
        let Some(told) = request.servers else {
            return Err(parameter("downstreamServers", "there is no list of servers"));
        };
        let systems: usize = told.iter().map(|server| server.computers.len()).sum();
        if systems > SERVERS_BATCH as usize {
            return Err(parameter("downstreamServers", format!("{systems} summaries of computers in one request")));
        }
        let now = self.clock.now();
        let off = Off::of(request.time.at(), now);
        let known: Vec<UpdateId> = self.store.downstream_servers().await?.into_iter().map(|server| server.id).collect();
        let mut parts: Vec<downstream::Server> = Vec::new();
        let mut account = String::new();
        for server in told {
            let is_known = |id: UpdateId| known.contains(&id) || parts.iter().any(|part| part.id == id);
            if server.parent != NOBODY && !is_known(server.parent) {
                let why = format!("the server {} is below {}, which nobody told of", server.id, server.parent);
                return Err(parameter("downstreamServers", why));
            }
            if server.id == NOBODY || server.id == server.parent {
                return Err(parameter("downstreamServers", format!("no server can have the id {}", server.id)));
            }
            let part = part(&server, &off, now, from);
            if part.parent.is_none() {
                if !is_among(&part.name, &self.config.accounts) {
                    let why = format!("the server {:?} is not among [downstream] accounts", part.name);
                    return Err(parameter("downstreamServers", why));
                }
                account.clone_from(&part.name);
            }
            parts.push(part);
        }
        let new: BTreeSet<UpdateId> = parts.iter().map(|part| part.id).filter(|id| !known.contains(id)).collect();
        if known.len().saturating_add(new.len()) > SERVERS_MAX {
            let why =
                format!("more than {SERVERS_MAX} servers below: `waystation downstream forget` those that are gone");
            return Err(Error::refused(FaultCode::InternalServerError, why));
        }
        self.store.add_downstream_servers(parts).await?;
        Ok(account)
    }
}

fn part(server: &Server, off: &Off, now: Timestamp, from: IpAddr) -> downstream::Server {
    // One system may have several locales.
    let mut systems = BTreeMap::<String, u32>::new();
    for some in &server.computers {
        let sum = systems.entry(system(some)).or_default();
        *sum = sum.saturating_add(count(some.count));
    }
    let mut part = downstream::Server {
        id: server.id,
        name: kept(&server.name, NAME_CHARS_MAX),
        parent: Some(server.parent).filter(|parent| *parent != NOBODY),
        version: kept(&server.version, VERSION_CHARS_MAX),
        is_replica: server.is_replica,
        last_sync: off.right(&server.last_sync).map(|at| at.min(now)),
        told: off.right(&server.last_rollup).map_or(now, |at| at.min(now)),
        telling: kept(server.last_rollup.as_str(), VERSION_CHARS_MAX),
        from,
        standing: server.summary.as_ref().map(standing),
        systems: systems.into_iter().collect(),
    };
    part.trim();
    part
}
