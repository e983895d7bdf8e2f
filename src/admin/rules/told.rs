//! Rules, and what they are at, in the words of the API.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::admin::error::Problem;
use crate::admin::rules::effect;
use crate::admin::view::{Time, rules as view};
use crate::admin::{Handles, groups};
use crate::base::time::Timestamp;
use crate::jobs::rules::{Looked, Of, Row, Waits};
use crate::model::deployment::rules::{Rule, Step};
use crate::model::filter::Tree;
use crate::model::update::{Severity, UpdateId};

const DAY: Duration = Duration::from_hours(24);

pub(super) const SEVERITIES: [(Severity, &str); 4] = [
    (Severity::Low, "low"),
    (Severity::Moderate, "moderate"),
    (Severity::Important, "important"),
    (Severity::Critical, "critical"),
];

/// The word for a step that is told of.
fn word(step: &Step) -> &'static str {
    match step {
        Step::Releases { .. } => "due",
        Step::Waits { .. } => "waits",
        Step::Blocked { .. } => "not-offered",
        Step::Held { .. } => "held",
        Step::Stopped { .. } => "stopped",
        Step::Done | Step::Passes => "done",
    }
}

/// Whether a step is one of a preview: something comes of it by itself.
pub(super) fn comes(row: &Row) -> bool {
    matches!(row.step, Step::Releases { .. } | Step::Waits { .. } | Step::Blocked { .. })
}

fn is_told(row: &Row) -> bool {
    !matches!(row.step, Step::Done | Step::Passes)
}

pub(super) fn rule(looked: &Looked, categories: &Tree, of: &Of) -> view::Rule {
    let Rule { name, enabled, takes, rings, stop, deadline } = &of.kept.rule;
    let names = |ids: &BTreeSet<UpdateId>| ids.iter().map(|id| categories.name(*id)).collect::<Vec<_>>();
    let count = |is: fn(&Step) -> bool| of.rows.iter().filter(|row| is(&row.step)).count() as u64;
    let stopped = count(|step| matches!(step, Step::Stopped { .. }));
    let held = count(|step| matches!(step, Step::Held { .. }));
    let state = match () {
        () if !of.lost.is_empty() => "broken",
        () if !enabled => "off",
        () if stopped > 0 => "stopped",
        () if held > 0 => "held",
        () => "on",
    };
    let ring = |ring: &crate::model::deployment::rules::Ring| view::Ring {
        group: groups::path(&looked.tree, ring.target),
        group_id: ring.target.0.to_string(),
        after_days: ring.after,
    };
    let severity = SEVERITIES.into_iter().find(|(known, _)| *known == takes.severity);
    view::Rule {
        name: name.clone(),
        enabled: *enabled,
        state: state.to_owned(),
        classifications: names(&takes.classifications),
        products: names(&takes.products),
        severity: severity.map(|(_, word)| word.to_owned()),
        newest_days: takes.newest,
        rings: rings.iter().map(ring).collect(),
        stop_percent: stop.map(|stop| stop.percent),
        stop_sample: stop.map(|stop| stop.sample),
        deadline_days: *deadline,
        done: of.done,
        due: count(|step| matches!(step, Step::Releases { .. })),
        waiting: count(|step| matches!(step, Step::Waits { .. } | Step::Blocked { .. })),
        stopped,
        held,
        made_by: of.kept.made.0.clone(),
        made_at: Time(of.kept.made.1),
        by: of.kept.changed.0.clone(),
        at: Time(of.kept.changed.1),
    }
}

/// When each ring gets it, as far as that is known.
fn rings(looked: &Looked, rule: &Rule, row: &Row) -> Vec<view::RingAt> {
    let (next, mut from): (usize, Option<Timestamp>) = match row.step {
        Step::Releases { ring, .. } => (ring, Some(looked.at)),
        Step::Waits { ring, until } => (ring, Some(until)),
        _ => (usize::MAX, None),
    };
    let at = |(place, ring): (usize, &crate::model::deployment::rules::Ring)| {
        let since = row.has.get(place).copied().flatten();
        let is_due = matches!(row.step, Step::Releases { ring, .. } if ring == place);
        let expected = if place < next {
            None
        } else {
            if place > next {
                from = from.map(|from| from.after(DAY.saturating_mul(ring.after)));
            }
            from
        };
        let since = since.filter(|_| !is_due);
        view::RingAt {
            group: groups::path(&looked.tree, ring.target),
            since: since.map(Time),
            expected: expected.filter(|_| since.is_none()).map(Time),
        }
    };
    rule.rings.iter().enumerate().map(at).collect()
}

/// What keeps a ring from being offered what it has, and what to do about it.
fn in_the_way(waits: &BTreeSet<Waits>) -> String {
    let what = |wait: &Waits| match wait {
        Waits::Licence => "its licence (`waystation approvals license accept`)",
        Waits::Review => "its review (`waystation approvals review`)",
    };
    waits.iter().map(what).collect::<Vec<_>>().join(" and ")
}

fn at(looked: &Looked, of: &Of, row: &Row) -> view::At {
    let rule = &of.kept.rule;
    let place = match row.step {
        Step::Releases { ring, .. }
        | Step::Waits { ring, .. }
        | Step::Blocked { ring }
        | Step::Held { ring }
        | Step::Stopped { ring, .. } => Some(ring),
        Step::Done | Step::Passes => None,
    };
    let target = place.and_then(|place| rule.rings.get(place)).map(|ring| ring.target);
    let group = target.map(|group| groups::path(&looked.tree, group)).unwrap_or_default();
    let many = rule.rings.len();
    let ring = place.map_or_else(String::new, |place| format!("ring {} of {many}", place + 1));
    let waits = if row.waits.is_empty() { String::new() } else { in_the_way(&row.waits) };
    let why = match &row.step {
        Step::Releases { deadline, .. } => {
            let until = deadline.map(|deadline| format!(", to be installed by {deadline}")).unwrap_or_default();
            let waits = if waits.is_empty() { waits } else { format!("; not offered before {waits}") };
            let waits = if until.is_empty() || waits.is_empty() {
                waits
            } else {
                format!("{waits}, the deadline later by that")
            };
            format!("{ring} gets it at the next run{until}{waits}")
        }
        Step::Waits { until, .. } => format!("{ring} gets it from {until} on"),
        Step::Blocked { .. } => format!("{ring} has it and waits for {waits}; the days of the next ring begin then"),
        Step::Held { .. } => {
            let by = row.held_by.as_deref().unwrap_or("somebody");
            format!("{by} said something else for {ring}, or took it back; `waystation rules resume` goes on past it")
        }
        Step::Stopped { tried, .. } => {
            let all = u64::from(tried.installed) + u64::from(tried.failed);
            format!(
                "stopped before {ring}: {} of {all} established machines failed; `waystation rules resume` has it go on",
                tried.failed
            )
        }
        Step::Done | Step::Passes => String::new(),
    };
    view::At {
        rule: rule.name.clone(),
        update: row.short.identity.id.to_string(),
        title: row.short.title.clone(),
        unauthenticated: row.short.unauthenticated,
        kbs: row.short.kbs.clone(),
        step: word(&row.step).to_owned(),
        group,
        why,
        rings: rings(looked, rule, row),
        waits: row.waits.iter().map(|wait| wait.word().to_owned()).collect(),
        installed: row.tried.installed,
        failed: row.tried.failed,
    }
}

/// Where rules have too few machines before a ring to come to their sample, in words.
pub(super) async fn small_pilots(handles: &Handles, looked: &Looked) -> Result<Vec<String>, Problem> {
    let pilots = handles.jobs.pilots(looked).await?;
    let mut notes = Vec::new();
    for of in looked.rules.iter().filter(|of| of.lost.is_empty()) {
        let (Some(stop), Some(pilots)) = (of.kept.rule.stop, pilots.get(&of.kept.number)) else { continue };
        // The first ring that follows has the fewest before it.
        let Some((at, many)) = pilots.iter().enumerate().find(|(_, many)| **many < stop.sample) else { continue };
        let (name, ring) = (&of.kept.rule.name, at + 2);
        let machines = if *many == 1 { "1 machine is".to_owned() } else { format!("{many} machines are") };
        let then = if *many == 0 {
            "nobody whose failures count tries anything before that".to_owned()
        } else {
            format!(
                "more than {} percent of all of them that need an update have to fail for a stop, those that have not tried it counted too",
                stop.percent
            )
        };
        notes.push(format!(
            "{name:?}: {machines} established (first seen 7 days ago or more, and served) in the rings before ring {ring}, and its sample is \
             {}: {then}",
            stop.sample
        ));
    }
    Ok(notes)
}

/// What should be known of what the rules are at.
pub(super) fn notes(looked: &Looked) -> Vec<String> {
    let rows = || looked.rules.iter().flat_map(|of| &of.rows).filter(|row| is_told(row));
    let mut notes = Vec::new();
    let waits: BTreeSet<Waits> = rows().flat_map(|row| row.waits.iter().copied()).collect();
    if waits.contains(&Waits::Licence) {
        notes.push(
            "until its licence is accepted an update is detected and not offered, and no further ring follows: `waystation approvals \
             license accept`"
                .to_owned(),
        );
    }
    if waits.contains(&Waits::Review) {
        notes.push(
            "where a group asks for a review, what a rule approves takes effect, and the days of the next ring begin, once that lets \
             it: `waystation approvals review`"
                .to_owned(),
        );
    }
    let stopped = rows().filter(|row| matches!(row.step, Step::Stopped { .. })).count();
    if stopped > 0 {
        let is = if stopped == 1 { "1 update is".to_owned() } else { format!("{stopped} updates are") };
        notes.push(format!(
            "{is} stopped by failures: `waystation rules show` tells why, `waystation rules resume` goes on"
        ));
    }
    for of in looked.rules.iter().filter(|of| !of.lost.is_empty()) {
        let name = &of.kept.rule.name;
        notes.push(format!(
            "a group of the rule {name:?} was removed, so that it does nothing: give it other rings (`waystation rules set`)"
        ));
    }
    notes
}

/// Rules with what they are at, so many rows of those that `is_wanted`.
pub(super) async fn shown(
    handles: &Handles,
    looked: &Looked,
    limit: usize,
    is_wanted: impl Fn(&Row) -> bool,
) -> Result<view::Shown, Problem> {
    let categories = handles.store.catalog().tree().await?;
    let mut shown = view::Shown { effect: effect(), notes: notes(looked), ..view::Shown::default() };
    shown.notes.extend(small_pilots(handles, looked).await?);
    for of in &looked.rules {
        shown.rules.push(rule(looked, &categories, of));
        for row in of.rows.iter().filter(|row| is_told(row) && is_wanted(row)) {
            shown.total += 1;
            if shown.rows.len() < limit {
                shown.rows.push(at(looked, of, row));
            }
        }
    }
    Ok(shown)
}
