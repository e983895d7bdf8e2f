//! Bandwidth rules under which clients would take the node for dead, or that hold up what is to happen by the clock.

use crate::app::config::keys::Typed;
use crate::app::config::rooms;
use crate::app::preflight::Found;
use crate::base::time::Timestamp;
use crate::model::report::Verdict;
use crate::pace::Limit;
use crate::pace::limit::RATE_MIN;

/// What one Windows machine must get (32 kB/s): Delivery Optimization opens seven connections, each of which wants the least
/// rate, and heads and records come on top. `docs/SIZING.md` reckons with it, too.
const ONE_MACHINE: u64 = 8 * RATE_MIN;

/// Runs of a schedule that are held against the pauses of their class: four weeks of one that runs each day.
const RUNS: u32 = 28;

/// Machines that are reckoned with where there is room for more.
const MACHINES_MAX: u64 = 250;

const WHY: &str = "Windows avoids a node for 15 minutes that gives a connection less than 4 kB/s for 20 s";

/// Warns where the rate of a connection can fall below what clients put up with, whoever else reads; tells where it can if
/// many read at once.
pub(super) fn rates(typed: &Typed, found: &mut Found) {
    let rules = &typed.bandwidth;
    if let Some(least) = rules.clients.0.rates().min() {
        answers("bandwidth.clients", "", least, MACHINES_MAX, "", found);
    }
    for rule in &rules.networks.0 {
        let hosts = u32::from(rule.network.max_prefix_len() - rule.each);
        let machines = 1_u64.checked_shl(hosts).map_or(MACHINES_MAX, |hosts| hosts.min(MACHINES_MAX));
        if let Some(least) = rule.schedule.rates().min() {
            let divide = ", or divide the network into smaller parts with \"each /n\"";
            answers("bandwidth.networks", &format!("{rule}: "), least, machines, divide, found);
        }
    }
    for (key, schedule) in [("bandwidth.upstream", &rules.upstream.0), ("bandwidth.demand", &rules.demand.0)] {
        if let Some(least) = schedule.rates().min().filter(|least| *least < ONE_MACHINE) {
            found.warn(
                "bandwidth",
                key,
                format!("{} is too little for one machine: {WHY}", Limit::Rate(least)),
                format!("raise the rate to {} at least", Limit::Rate(ONE_MACHINE)),
            );
        }
    }
}

/// Tells of a class that is paused at all times: what goes in it waits for ever, and nothing but a look at it says so.
pub(super) fn pauses(typed: &Typed, found: &mut Found) {
    let rules = &typed.bandwidth;
    for (key, schedule, what) in [
        ("bandwidth.sync", &rules.sync.0, "no run of the catalog can end"),
        ("bandwidth.definitions", &rules.definitions.0, "no run of the lane of definition updates can end"),
        ("bandwidth.prefetch", &rules.prefetch.0, "nothing comes that is fetched ahead"),
    ] {
        if schedule.is_paused_always() {
            found.add(
                Verdict::Note,
                "bandwidth",
                key,
                format!("it is paused at all times: {what}"),
                "give it the hours in which it is to be paused, such as \"08:00-18:00 Mon-Fri: paused\", or set it at run time \
                 (`waystation bandwidth set`)",
            );
        }
    }
}

/// Tells of a schedule whose runs begin while their class is paused: they wait for its end, which may be what nobody meant.
pub(super) fn runs(typed: &Typed, now: Timestamp, found: &mut Found) {
    let rules = &typed.bandwidth;
    let jobs = rooms::jobs(typed, "");
    for (section, class, schedule, rules) in [
        ("sync", "sync", &jobs.sync, &rules.sync.0),
        ("definitions", "definitions", &jobs.definitions, &rules.definitions.0),
    ] {
        // One that is paused always is told as that.
        if !rules.pauses() || rules.is_paused_always() {
            continue;
        }
        let zone = &typed.bandwidth.timezone.0;
        let (mut at, mut all, mut held_up, mut first) = (now, 0_u32, 0_u32, None);
        while all < RUNS
            && let Ok(Some(next)) = schedule.next(at, 0)
        {
            let standing = rules.standing(zone, next);
            if standing.limit == Limit::Paused {
                held_up += 1;
                first.get_or_insert((next, standing.until));
            }
            (at, all) = (next, all + 1);
        }
        if let Some((next, until)) = first {
            let until = until.map(|until| format!(" until {} ({zone})", zone.show(until))).unwrap_or_default();
            let each = match held_up {
                _ if held_up == all => "each of its runs begins".to_owned(),
                1 => format!("1 of its next {all} runs begins"),
                _ => format!("{held_up} of its next {all} runs begin"),
            };
            let wait = if held_up == all || held_up == 1 { "waits" } else { "wait" };
            found.add(
                Verdict::Note,
                "schedule",
                &format!("{section}.schedule"),
                format!(
                    "{each} while bandwidth.{class} is paused, and {wait}: that of {} ({zone}){until}",
                    zone.show(next)
                ),
                "choose hours outside of the pause, unless that is meant",
            );
        }
    }
}

/// Judges a limit of answers that as many as `machines` may share; `else_do` is what helps beside a higher rate.
fn answers(key: &str, rule: &str, least: u64, machines: u64, else_do: &str, found: &mut Found) {
    let enough = least / ONE_MACHINE;
    if enough == 0 {
        found.warn(
            "bandwidth",
            key,
            format!("{rule}{} is too little for one machine: {WHY}", Limit::Rate(least)),
            format!("raise the rate to {} for each machine that downloads at the same time", Limit::Rate(ONE_MACHINE)),
        );
    } else if enough < machines {
        let machine = if enough == 1 { "machine" } else { "machines" };
        found.add(
            Verdict::Note,
            "bandwidth",
            key,
            format!("{rule}{} is enough for {enough} {machine} at once", Limit::Rate(least)),
            format!("raise the rate if more of them may download at the same time{else_do}: {WHY}"),
        );
    }
}
