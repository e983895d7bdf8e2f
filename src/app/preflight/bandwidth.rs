//! Bandwidth rules under which clients would take the node for dead.

use crate::app::config::keys::Typed;
use crate::app::preflight::Found;
use crate::pace::Limit;
use crate::pace::limit::RATE_MIN;

/// Connections of one Windows machine that read at the same time: Delivery Optimization opens seven.
const CONNECTIONS_OF_ONE: u64 = 7;

/// What all of these come to at the least rate.
const ONE_MACHINE: u64 = CONNECTIONS_OF_ONE * RATE_MIN;

/// Machines that are reckoned with in a network that has room for more.
const MACHINES_MAX: u64 = 250;

const WHY: &str = "Windows avoids a node for 15 minutes that gives a connection less than 4 kB/s for 20 s";

/// Warns where the rate of a connection can fall below what clients put up with.
pub(super) fn rates(typed: &Typed, found: &mut Found) {
    let (rules, connections) = (&typed.bandwidth, typed.limits.connections.0);
    if let Some(least) = rules.clients.0.rates().min()
        && least / connections < RATE_MIN
    {
        let enough = least / RATE_MIN;
        found.warn(
            "bandwidth",
            "bandwidth.clients",
            format!(
                "at {} more than {enough} connections that read at once get less than 4 kB/s each ({} machines with {} \
                 each): {WHY}",
                Limit::Rate(least),
                enough / CONNECTIONS_OF_ONE,
                CONNECTIONS_OF_ONE
            ),
            format!(
                "raise the rate to {}, or lower limits.connections from {connections} to {}",
                Limit::Rate(connections.saturating_mul(RATE_MIN)),
                enough.max(16)
            ),
        );
    }
    for rule in &rules.networks.0 {
        let hosts = u32::from(rule.network.max_prefix_len() - rule.each);
        let machines = 1_u64.checked_shl(hosts).map_or(MACHINES_MAX, |hosts| hosts.min(MACHINES_MAX));
        let enough = rule.schedule.rates().min().map(|least| (least, least / ONE_MACHINE));
        if let Some((least, enough)) = enough.filter(|(_, enough)| *enough < machines) {
            found.warn(
                "bandwidth",
                "bandwidth.networks",
                format!(
                    "{rule}: {} is enough for {enough} machines with {CONNECTIONS_OF_ONE} connections each at once: {WHY}",
                    Limit::Rate(least)
                ),
                "raise the rate, or divide the network into smaller parts with \"each /n\", if more of them may come at once",
            );
        }
    }
    for (key, schedule) in [("bandwidth.upstream", &rules.upstream.0), ("bandwidth.demand", &rules.demand.0)] {
        if let Some(least) = schedule.rates().min().filter(|least| *least < ONE_MACHINE) {
            found.warn(
                "bandwidth",
                key,
                format!(
                    "{} is too little for one machine with {CONNECTIONS_OF_ONE} connections: {WHY}",
                    Limit::Rate(least)
                ),
                format!("raise the rate to {} at least", Limit::Rate(ONE_MACHINE)),
            );
        }
    }
}
