//! What would not work, or will hurt, before it does: the settings held against the machine. Pure: [`Machine`] was looked
//! at before.
//!
//! [`network`]: ports, origins, the upstream, networks. [`bandwidth`]: rates that starve clients. [`host`]: directory, space, limits, clock.

pub(crate) mod bandwidth;
pub(crate) mod host;
pub(crate) mod network;

use crate::app::config::keys::Typed;
use crate::app::machine::Machine;
use crate::model::report::{Finding, Verdict};
use crate::model::settings::Settings;

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

/// Everything that can be said without starting anything.
pub(crate) fn findings(typed: &Typed, settings: &Settings, machine: &Machine) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    network::ports(typed, machine, &mut found);
    network::origins(typed, &mut found);
    network::upstream(typed, &mut found);
    network::networks(typed, &mut found);
    network::without_effect(typed, settings, &mut found);
    bandwidth::rates(typed, &mut found);
    host::directory(typed, machine, &mut found);
    host::space(typed, machine, &mut found);
    host::limits(typed, machine, &mut found);
    host::clock(machine, &mut found);
    found.0
}
