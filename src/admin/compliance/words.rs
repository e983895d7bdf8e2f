//! How updates stand on endpoints, in the words of the API. Pure.

use std::cmp::Reverse;

use http::StatusCode;

use crate::admin::compliance::scope::Scope;
use crate::admin::error::Problem;
use crate::admin::groups::who::ALL;
use crate::admin::updates::words::severity;
use crate::admin::view::{Time, compliance as view};
use crate::base::time::Timestamp;
use crate::fleet::compliance::ask::{Class, Line, Place, Seen, Stands, Summary as Totals};
use crate::fleet::compliance::evidence::Evidence;
use crate::fleet::compliance::facts::Licence;
use crate::fleet::compliance::policies::Breach;
use crate::fleet::compliance::totals::SEVERITIES;
use crate::fleet::scan::{Newcomer, ROUNDS_MAX};
use crate::model::compliance::{Policy, State};
use crate::model::filter::Tree;
use crate::model::policy::Group;
use crate::model::update::{CategoryKind, Reboot, Severity, UpdateId};
use crate::store::catalog::Summary;
use crate::store::fleet::Change;

fn not_one(key: &str, text: &str, words: &str) -> Problem {
    let shown: String = text.chars().take(40).collect();
    Problem::new(StatusCode::BAD_REQUEST, format!("{key}: {shown:?} is none"), format!("give {words}"))
}

/// The class of a word.
pub(super) fn class_of(text: &str) -> Result<Class, Problem> {
    let found = Class::ALL.into_iter().find(|class| class.word() == text.trim());
    found.ok_or_else(|| not_one("verdict", text, "not-scanned, missing or up-to-date"))
}

/// The state of a word.
pub(super) fn state_of(text: &str) -> Result<State, Problem> {
    let found = State::ALL.into_iter().find(|state| state.word() == text.trim());
    let words = "not-installed, downloaded, installed, failed, pending-restart, not-applicable or unknown";
    found.ok_or_else(|| not_one("state", text, words))
}

const RESTARTS: [(Reboot, &str); 3] =
    [(Reboot::Never, "not-required"), (Reboot::Always, "required"), (Reboot::CanRequest, "may-require")];

/// What a word says of a restart.
pub(super) fn restart_of(text: &str) -> Result<Reboot, Problem> {
    let found = RESTARTS.iter().find(|(_, word)| *word == text.trim()).map(|(reboot, _)| *reboot);
    found.ok_or_else(|| not_one("restart", text, "not-required, required or may-require"))
}

/// What licences say, by a word.
pub(super) fn licence_of(text: &str) -> Result<Licence, Problem> {
    let found = Licence::ALL.into_iter().find(|licence| licence.word() == text.trim());
    found.ok_or_else(|| not_one("eula", text, "required, accepted or none"))
}

/// A place in a list of updates: the severity, when it was made in ms (or `-`), and the id.
pub(super) fn cursor((Reverse(of), Reverse(created), id): Place) -> String {
    let created = created.map_or_else(|| "-".to_owned(), |created| created.ms().to_string());
    format!("{}/{created}/{id}", severity(of))
}

/// See [`cursor`].
pub(super) fn place_of(text: &str) -> Result<Place, Problem> {
    let read = || {
        let mut parts = text.trim().splitn(3, '/');
        let (word, created, id) = (parts.next()?, parts.next()?, parts.next()?);
        let of = SEVERITIES.into_iter().find(|of| severity(*of) == word)?;
        let created = if created == "-" { None } else { Some(Timestamp::from_ms(created.parse().ok()?)) };
        Some((Reverse(of), Reverse(created), id.parse().ok()?))
    };
    read().ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        Problem::malformed(format!("after: {shown:?} is not the `next` of a page"))
    })
}

/// A code as Windows writes it.
fn code(code: i32) -> String {
    format!("0x{:08x}", code.cast_unsigned())
}

/// A least severity as people write it.
pub(super) fn least(of: Severity) -> String {
    if of == Severity::Unspecified { "any" } else { severity(of) }.to_owned()
}

/// The least severity of a word.
pub(super) fn least_of(text: &str) -> Result<Severity, Problem> {
    let found = SEVERITIES.into_iter().find(|of| least(*of) == text.trim());
    found.ok_or_else(|| not_one("severity", text, "any, low, moderate, important or critical"))
}

/// A policy.
pub(super) fn policy(policy: &Policy) -> view::Policy {
    view::Policy {
        severity: least(policy.severity),
        missing_days: policy.missing_days,
        scan_days: policy.scan_days,
        restart_days: policy.restart_days,
    }
}

/// What a new machine must evaluate.
pub(super) fn newcomer(of: &Newcomer) -> view::Newcomer {
    view::Newcomer {
        updates: of.updates,
        bytes: of.bytes,
        rounds: of.rounds,
        rounds_max: ROUNDS_MAX,
        near_limit: of.is_near_limit(),
    }
}

/// What those come to who are asked about; `group`: whose they are.
pub(super) fn summary(summary: &Totals, scope: &Scope, group: Option<String>) -> view::Summary {
    let totals = &summary.totals;
    let places = SEVERITIES.iter().zip(totals.by_severity).zip(totals.pairs).zip(summary.updates);
    let by_severity = places.rev().map(|(((of, endpoints), missing), updates)| view::BySeverity {
        severity: severity(*of).to_owned(),
        endpoints,
        updates,
        missing,
    });
    view::Summary {
        self_reported: true,
        policy: policy(&scope.in_force.policy),
        group,
        group_policies: scope.own as u64,
        newcomer: None,
        endpoints: totals.endpoints,
        not_scanned: totals.unscanned,
        missing: totals.missing,
        up_to_date: totals.up_to_date,
        compliant: summary.compliant,
        not_compliant: totals.endpoints.saturating_sub(summary.compliant),
        failed: totals.failed,
        restart_pending: totals.restart,
        by_severity: by_severity.collect(),
    }
}

/// An endpoint.
pub(super) fn endpoint(seen: &Seen, name: Option<String>, scope: &Scope) -> view::Endpoint {
    // What holds for all needs no name.
    let reason = |breach: &Breach| match breach.by {
        Group::ALL_ENDPOINTS => breach.to_string(),
        group => format!("{breach} (policy of {})", scope.path(group)),
    };
    let mut policies: Vec<String> = seen.policies.iter().map(|group| scope.path(*group)).collect();
    // What holds for all first.
    policies.sort_by(|a, b| (a != ALL, a).cmp(&(b != ALL, b)));
    let [unspecified, low, moderate, important, critical] = seen.tally.missing;
    view::Endpoint {
        id: seen.endpoint.0.to_string(),
        name,
        verdict: seen.class.word().to_owned(),
        compliant: seen.reasons.is_empty(),
        reasons: seen.reasons.iter().map(reason).collect(),
        policies,
        scanned: seen.scanned.map(Time),
        scan_failed: seen.failed_scan.map(|(at, _)| Time(at)),
        scan_error: seen.failed_scan.map(|(_, found)| code(found)),
        restart_since: seen.restart.map(Time),
        missing: seen.tally.all(),
        critical,
        important,
        moderate,
        low,
        unspecified,
        failed: seen.tally.failed,
    }
}

/// An update on an endpoint.
pub(super) fn stands(one: &Stands, short: Option<&Summary>, found: Option<&Evidence>) -> view::Stands {
    view::Stands {
        update: one.update.to_string(),
        title: short.map(|short| short.title.clone()),
        unauthenticated: short.is_some_and(|short| short.unauthenticated),
        kbs: short.map(|short| short.kbs.clone()).unwrap_or_default(),
        severity: severity(short.map_or(Severity::Unspecified, |short| short.severity)).to_owned(),
        state: one.state.word().to_owned(),
        changed: Time(one.changed),
        missing_since: one.missing_since.map(Time),
        error: one.code.map(code),
        eula: one.licence.word().to_owned(),
        evidence: found.map(|found| found.behind.word().to_owned()),
        sent_files: found.map_or(0, |found| found.files),
        sent_bytes: found.map_or(0, |found| found.bytes),
        sent_first: found.and_then(|found| found.between).map(|(first, _)| Time(first)),
        sent_last: found.and_then(|found| found.between).map(|(_, last)| Time(last)),
    }
}

/// A change.
pub(super) fn change(id: UpdateId, one: &Change, short: Option<&Summary>) -> view::Change {
    view::Change {
        at: Time(one.at),
        update: id.to_string(),
        title: short.map(|short| short.title.clone()),
        unauthenticated: short.is_some_and(|short| short.unauthenticated),
        from: one.from.word().to_owned(),
        to: one.to.word().to_owned(),
        error: (one.code != 0).then(|| code(one.code)),
    }
}

/// An update on all endpoints.
pub(super) fn update(
    line: &Line,
    short: Option<&Summary>,
    restart: Option<Reboot>,
    tree: &Tree,
    now: Timestamp,
) -> view::Update {
    let named = |kind: CategoryKind| {
        let categories = short.map(|short| short.categories.as_slice()).unwrap_or_default();
        let found = categories.iter().filter_map(|id| tree.get(*id)).filter(move |category| category.kind == kind);
        found.map(|category| category.name.clone()).collect::<Vec<_>>()
    };
    let of = |state| line.by_state.of(state);
    let restart = restart.and_then(|reboot| RESTARTS.iter().find(|(of, _)| *of == reboot));
    view::Update {
        id: line.update.to_string(),
        title: short.map(|short| short.title.clone()),
        unauthenticated: short.is_some_and(|short| short.unauthenticated),
        kbs: short.map(|short| short.kbs.clone()).unwrap_or_default(),
        severity: severity(line.severity).to_owned(),
        classification: named(CategoryKind::Classification).into_iter().next(),
        products: named(CategoryKind::Product),
        created: line.created.map(Time),
        age_days: line.created.map(|created| now.since(created).as_secs() / 86_400),
        restart: restart.map(|(_, word)| (*word).to_owned()),
        eula: line.licence.word().to_owned(),
        counts: line.counts,
        missing: line.by_state.missing(),
        missing_since: line.since.filter(|_| line.counts).map(Time),
        not_installed: of(State::NotInstalled),
        downloaded: of(State::Downloaded),
        failed: of(State::Failed),
        installed: of(State::Installed),
        pending_restart: of(State::PendingRestart),
        not_applicable: line.not_applicable,
        unknown: line.unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back() {
        for severity in SEVERITIES {
            for created in [None, Some(Timestamp::from_ms(1_800_000_000_123))] {
                let place = (Reverse(severity), Reverse(created), UpdateId::new([7; 16]));
                assert_eq!(place_of(&cursor(place)).unwrap(), place);
            }
        }
        for text in ["", "critical", "critical/-/x", "worse/-/07070707-0707-0707-0707-070707070707"] {
            assert!(place_of(text).is_err(), "{text}");
        }
    }
}
