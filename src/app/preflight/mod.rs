//! What would not work, or will hurt, before it does: the settings held against the machine.
//!
//! [`network`]: ports, origins, the upstream, networks. [`bandwidth`]: rates that starve clients, pauses that hold up runs. [`filters`]: what of
//! the catalog is wanted, held against the catalog of a node that runs. [`catalog`]: settings of its synchronisation that do nothing. [`host`]: directory, space, limits, clock. These are pure: [`Machine`] was looked at before. [`tried`]: ports, certificates and CA files,
//! which only tell when they are tried. [`authority`]: the site CA's files. [`held`]: index and content. Nothing here changes
//! any.

pub(crate) mod authority;
pub(crate) mod bandwidth;
pub(crate) mod catalog;
pub(crate) mod filters;
pub(crate) mod held;
pub(crate) mod host;
pub(crate) mod network;
pub(crate) mod tried;

use crate::app::config::keys::{self, Typed};
use crate::app::machine::Machine;
use crate::model::filter::Tree;
use crate::model::report::{Finding, Verdict};
use crate::model::settings::{Setting, Settings};

/// Gathers findings.
pub(super) struct Found(Vec<Finding>);

impl Found {
    pub(super) fn add(
        &mut self,
        verdict: Verdict,
        check: &str,
        subject: &str,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.0.push(Finding {
            subject: subject.to_owned(),
            check: check.to_owned(),
            verdict,
            seen: seen.into(),
            advice: advice.into(),
        });
    }

    pub(super) fn good(&mut self, check: &str, subject: &str, seen: impl Into<String>) {
        self.add(Verdict::Good, check, subject, seen, "");
    }

    pub(super) fn warn(&mut self, check: &str, subject: &str, seen: impl Into<String>, advice: impl Into<String>) {
        self.add(Verdict::Warning, check, subject, seen, advice);
    }

    pub(super) fn bad(&mut self, check: &str, subject: &str, seen: impl Into<String>, advice: impl Into<String>) {
        self.add(Verdict::Bad, check, subject, seen, advice);
    }
}

/// Everything that can be said without starting anything; `runs` says that a node runs on the data directory, `catalog` has the
/// categories that it knows.
pub(crate) fn findings(
    typed: &Typed,
    settings: &Settings,
    machine: &Machine,
    runs: bool,
    catalog: Option<&Tree>,
) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    network::ports(typed, settings, machine, &mut found);
    tried::ports(typed, runs, &mut found);
    tried::certificates(typed, machine.now, &mut found);
    network::origins(typed, &mut found);
    network::upstream(typed, &mut found);
    tried::authorities(typed, &mut found);
    network::networks(typed, &mut found);
    network::unknown(typed, &mut found);
    network::without_effect(typed, &mut found);
    authority::site_ca(typed, machine.now, &mut found);
    bandwidth::rates(typed, &mut found);
    bandwidth::pauses(typed, &mut found);
    bandwidth::runs(typed, machine.now, &mut found);
    filters::written(typed, settings, catalog, &mut found);
    filters::rules(typed, catalog, &mut found);
    filters::detection(typed, catalog, &mut found);
    filters::schedules(settings, &mut found);
    filters::runs(typed, &mut found);
    catalog::notes(typed, settings, &mut found);
    host::directory(typed, machine, &mut found);
    held::store(typed, runs, catalog.is_some(), &mut found);
    host::space(typed, settings, machine, &mut found);
    host::limits(typed, machine, &mut found);
    host::clock(machine, &mut found);
    found.0
}

/// The settings that are taken and do less than they seem to, or nothing: one line each, for whoever starts a node.
pub(crate) fn without_effect(typed: &Typed) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    network::without_effect(typed, &mut found);
    found.0
}

/// Whether a key has the value that is shipped, whoever wrote it.
fn is_shipped(settings: &Settings, key: &str) -> bool {
    let value = settings.get(key).map(Setting::value);
    keys::key(key).is_some_and(|key| value == Some(&(key.default)()))
}
