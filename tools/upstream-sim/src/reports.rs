//! The reporting service as servers below ask it (MS-WSUSSS 3.1.4.13, 3.1.4.14): what they tell of themselves is checked as the
//! specification says, and stands in the log. Computers are not asked for.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::answers::SYNC;
use crate::guid::Guid;
use crate::request::Element;

/// Summaries of computers in one request. Windows allows 5,000; with fewer, what has more must be sent in parts.
const MOST: usize = 3;

/// What all of these messages must have for a cookie.
const NEVER: &str = "9999-12-31T23:59:59.9999999";

/// What a server must tell of itself.
const COUNTS: [&str; 18] = [
    "UpdateCount",
    "DeclinedUpdateCount",
    "ApprovedUpdateCount",
    "NotApprovedUpdateCount",
    "UpdatesWithStaleUpdateApprovalsCount",
    "ExpiredUpdateCount",
    "CriticalOrSecurityUpdatesNotApprovedForInstallCount",
    "WsusInfrastructureUpdatesNotApprovedForInstallCount",
    "UpdatesWithClientErrorsCount",
    "UpdatesWithServerErrorsCount",
    "UpdatesNeedingFilesCount",
    "UpdatesNeededByComputersCount",
    "UpdatesUpToDateCount",
    "CustomComputerTargetGroupCount",
    "ComputerTargetCount",
    "ComputerTargetsNeedingUpdatesCount",
    "ComputerTargetsWithUpdateErrorsCount",
    "ComputersUpToDateCount",
];

/// What a group of computers must have.
const OF_COMPUTERS: [&str; 10] = [
    "OSMajorVersion",
    "OSMinorVersion",
    "OSBuildNumber",
    "OSServicePackMajorNumber",
    "OSServicePackMinorNumber",
    "SuiteMask",
    "OldProductType",
    "NewProductType",
    "SystemMetrics",
    "Count",
];

/// Whether the cookie is the one that is reserved for these messages.
pub(crate) fn has_cookie(call: &Element) -> bool {
    call.child("cookie").is_some_and(|cookie| {
        cookie.text_of("Expiration") == Some(NEVER) && cookie.text_of("EncryptedData").is_none_or(str::is_empty)
    })
}

pub(crate) fn configuration(server: Guid) -> String {
    format!(
        r#"<GetRollupConfigurationResponse xmlns="{SYNC}"><GetRollupConfigurationResult><DoDetailedRollup>false</DoDetailedRollup><RollupResetGuid>00000000-0000-0000-0000-000000000000</RollupResetGuid><ServerId>{server}</ServerId><RollupDownstreamServersMaxBatchSize>{MOST}</RollupDownstreamServersMaxBatchSize><RollupComputersMaxBatchSize>1500</RollupComputersMaxBatchSize><GetOutOfSyncComputersMaxBatchSize>20000</GetOutOfSyncComputersMaxBatchSize><RollupComputerStatusMaxBatchSize>500</RollupComputerStatusMaxBatchSize></GetRollupConfigurationResult></GetRollupConfigurationResponse>"#
    )
}

pub(crate) fn taken() -> String {
    format!(r#"<RollupDownstreamServersResponse xmlns="{SYNC}" />"#)
}

fn number(of: &Element, name: &str) -> Option<i32> {
    of.text_of(name)?.parse().ok()
}

/// What is told, for the log; `None` where it is not as it must be. `known` are the servers that told of themselves so far.
pub(crate) fn servers(call: &Element, known: &mut HashSet<String>) -> Option<Value> {
    call.text_of("clientTime").filter(|time| time.ends_with('Z'))?;
    let (mut told, mut summaries) = (Vec::new(), 0);
    for server in &call.child("downstreamServers")?.children {
        let (id, parent) = (server.text_of("ServerId")?, server.text_of("ParentServerId")?);
        Guid::read(id)?;
        let is_here = Guid::read(parent)?.to_string() == "00000000-0000-0000-0000-000000000000";
        if !is_here && !known.contains(&parent.to_ascii_lowercase()) {
            return None;
        }
        known.insert(id.to_ascii_lowercase());
        let version = server.text_of("Version").filter(|version| version.len() <= 32)?;
        if version.split('.').filter(|part| part.parse::<u32>().is_ok()).count() != 4 {
            return None;
        }
        server.text_of("LastSyncTime")?;
        server.text_of("LastRollupTime")?;
        server.text_of("IsReplica").filter(|text| matches!(*text, "true" | "false"))?;
        let mut counts = serde_json::Map::new();
        if let Some(summary) = server.child("ServerSummary") {
            for name in COUNTS {
                counts.insert(name.to_owned(), json!(number(summary, name)?));
            }
        }
        let mut computers = Vec::new();
        for group in &server.child("ClientSummaries")?.children {
            for name in OF_COMPUTERS {
                number(group, name)?;
            }
            let system = format!(
                "{}.{}.{}",
                number(group, "OSMajorVersion")?,
                number(group, "OSMinorVersion")?,
                number(group, "OSBuildNumber")?
            );
            computers.push(json!([system, number(group, "Count")?]));
        }
        summaries += computers.len();
        told.push(json!({
            "id": id, "name": server.text_of("FullDomainName")?, "parent": (!is_here).then_some(parent),
            "counts": counts, "computers": computers,
        }));
    }
    (summaries <= MOST).then(|| json!({ "servers": told }))
}
