//! What is known of an update on an endpoint, and whether that keeps to a policy.
//!
//! States are those of the protocol's summaries (MS-WUSP, `SummarizationState`). All of them are self-reported: an endpoint says them of
//! itself, and nothing here proves it right.

pub mod inherit;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::update::{Severity, UpdateId};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// How an update stands on an endpoint. The order is that of the protocol's numbers; of several that are said at once the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The endpoint has not told yet.
    Unknown,
    /// It told of others and not of this one: it has no use for it.
    NotApplicable,
    /// Needed.
    NotInstalled,
    /// Needed, and its files are there.
    Downloaded,
    /// Installed.
    Installed,
    /// Needed, and an attempt to install it failed.
    Failed,
    /// Installed once the endpoint restarts.
    PendingRestart,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Unknown,
        Self::NotApplicable,
        Self::NotInstalled,
        Self::Downloaded,
        Self::Installed,
        Self::Failed,
        Self::PendingRestart,
    ];

    /// The number of the protocol.
    pub const fn number(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::NotApplicable => 1,
            Self::NotInstalled => 2,
            Self::Downloaded => 3,
            Self::Installed => 4,
            Self::Failed => 5,
            Self::PendingRestart => 6,
        }
    }

    /// The state of a number of the protocol.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The word for people and scripts.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NotApplicable => "not-applicable",
            Self::NotInstalled => "not-installed",
            Self::Downloaded => "downloaded",
            Self::Installed => "installed",
            Self::Failed => "failed",
            Self::PendingRestart => "pending-restart",
        }
    }

    /// Whether the endpoint needs it and has not got it. What waits for a restart alone is not missing.
    pub const fn is_missing(self) -> bool {
        matches!(self, Self::NotInstalled | Self::Downloaded | Self::Failed)
    }

    /// Whether an endpoint said it of the update itself; the others follow from its silence.
    pub const fn is_told(self) -> bool {
        !matches!(self, Self::Unknown | Self::NotApplicable)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What an endpoint must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The least severity of updates that may not be missing for long; `Unspecified` for all.
    pub severity: Severity,
    /// Days that such an update may be missing.
    pub missing_days: u32,
    /// Days that may pass between scans.
    pub scan_days: u32,
    /// Days that a restart may be pending.
    pub restart_days: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { severity: Severity::Important, missing_days: 30, scan_days: 14, restart_days: 7 }
    }
}

/// An update that is missing on an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub update: UpdateId,
    /// How bad what it mends is.
    pub severity: Severity,
    /// Since when it, or what it took the place of, is missing.
    pub since: Timestamp,
}

/// Why an endpoint does not keep to a policy; days are whole ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It never told of a scan.
    NeverScanned,
    /// It has not scanned for so long.
    NotScanned {
        /// When it did.
        last: Timestamp,
        /// Days since.
        days: u64,
        /// Days that may pass.
        most: u32,
    },
    /// Updates are missing.
    Missing {
        /// How many.
        many: usize,
        /// The least severity that counts.
        least: Severity,
        /// The one that is missing longest.
        longest: UpdateId,
        /// For how many days it is.
        days: u64,
        /// Days that it may be.
        most: u32,
    },
    /// A restart is pending.
    Restart {
        /// For how many days.
        days: u64,
        /// Days that it may be.
        most: u32,
    },
}

/// The word for a severity.
const fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Unspecified => "unspecified",
        Severity::Low => "low",
        Severity::Moderate => "moderate",
        Severity::Important => "important",
        Severity::Critical => "critical",
    }
}

fn days(many: u64) -> String {
    if many == 1 { "1 day".to_owned() } else { format!("{many} days") }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverScanned => f.write_str("it has never told what a scan found"),
            Self::NotScanned { last, days: many, most } => {
                write!(f, "its last scan was at {last}, {} ago; at most {} may pass", days(*many), days((*most).into()))
            }
            Self::Missing { many, least, longest, days: for_days, most } => {
                let (what, is) = if *many == 1 { ("update", "is") } else { ("updates", "are") };
                let least = match least {
                    Severity::Unspecified => String::new(),
                    least => format!(" at or above {}", severity_word(*least)),
                };
                let (most, for_days) = (days((*most).into()), days(*for_days));
                write!(f, "{many} {what}{least} {is} missing for more than {most}: {longest} for {for_days}")
            }
            Self::Restart { days: many, most } => {
                write!(f, "a restart is pending for {}; at most {} may pass", days(*many), days((*most).into()))
            }
        }
    }
}

impl Policy {
    /// Why an endpoint does not keep to it; nothing where it does. `scanned`: when it last told of a scan; `restart`: since when a
    /// restart is pending; `missing`: what counts of what it needs.
    pub fn reasons(
        &self,
        scanned: Option<Timestamp>,
        restart: Option<Timestamp>,
        missing: impl Iterator<Item = Missing>,
        now: Timestamp,
    ) -> Vec<Reason> {
        let over = |since: Timestamp, most: u32| {
            let ms = now.ms().saturating_sub(since.ms());
            (ms > u64::from(most) * DAY_MS).then_some(ms / DAY_MS)
        };
        let mut reasons = Vec::new();
        match scanned {
            None => reasons.push(Reason::NeverScanned),
            Some(last) => reasons.extend(over(last, self.scan_days).map(|days| Reason::NotScanned {
                last,
                days,
                most: self.scan_days,
            })),
        }
        let (mut many, mut longest) = (0, None::<(Timestamp, UpdateId, u64)>);
        for one in missing.filter(|one| one.severity >= self.severity) {
            let Some(days) = over(one.since, self.missing_days) else { continue };
            many += 1;
            if longest.is_none_or(|(since, update, _)| (one.since, one.update) < (since, update)) {
                longest = Some((one.since, one.update, days));
            }
        }
        if let Some((_, longest, days)) = longest {
            reasons.push(Reason::Missing { many, least: self.severity, longest, days, most: self.missing_days });
        }
        if let Some(days) = restart.and_then(|since| over(since, self.restart_days)) {
            reasons.push(Reason::Restart { days, most: self.restart_days });
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_protocol() {
        for (at, state) in State::ALL.into_iter().enumerate() {
            assert_eq!((usize::from(state.number()), State::of_number(state.number())), (at, Some(state)));
        }
        assert_eq!(State::of_number(7), None);
        let missing: Vec<u8> = State::ALL.into_iter().filter(|state| state.is_missing()).map(State::number).collect();
        assert_eq!(missing, [2, 3, 5]);
    }

    #[test]
    fn an_endpoint_keeps_to_a_policy_until_a_day_is_over() {
        let policy = Policy::default();
        let now = Timestamp::from_ms(1_800_000_000_000);
        let ago = |days: u64| Timestamp::from_ms(now.ms() - days * DAY_MS);
        let one = |severity, days, id| Missing { update: UpdateId::new([id; 16]), severity, since: ago(days) };
        let told = |scanned, restart, missing: &[Missing]| {
            let reasons = policy.reasons(scanned, restart, missing.iter().copied(), now);
            reasons.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let within = [one(Severity::Critical, 30, 1), one(Severity::Moderate, 400, 2)];
        assert_eq!(told(Some(ago(14)), Some(ago(7)), &within), Vec::<String>::new());
        assert_eq!(told(None, None, &[]), ["it has never told what a scan found"]);
        let missing = [one(Severity::Critical, 31, 1), one(Severity::Important, 45, 2), one(Severity::Low, 90, 3)];
        let told = told(Some(ago(15)), Some(ago(8)), &missing);
        assert_eq!(told.len(), 3);
        assert!(told[0].contains("15 days ago; at most 14 days may pass"), "{told:?}");
        let longest = UpdateId::new([2; 16]);
        let wanted =
            format!("2 updates at or above important are missing for more than 30 days: {longest} for 45 days");
        assert_eq!((told[1].as_str(), told[2].contains("for 8 days")), (wanted.as_str(), true));
    }
}
