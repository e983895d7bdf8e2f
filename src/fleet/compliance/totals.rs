//! What is counted, kept up with every change: by update, by endpoint, and of all endpoints. Pure.
//!
//! The counts of a state change by what one endpoint tells, what counts as missing also by what happens in the catalog. Both go through
//! [`Tally::count`] and [`Totals::count`], once with the sign of going and once with that of coming, so that what is kept up is what
//! counting anew gives.

use crate::model::compliance::State;
use crate::model::update::Severity;

/// Severities, the least first.
pub const SEVERITIES: [Severity; 5] =
    [Severity::Unspecified, Severity::Low, Severity::Moderate, Severity::Important, Severity::Critical];

/// Where a severity stands in arrays by severity.
pub const fn place(severity: Severity) -> usize {
    match severity {
        Severity::Unspecified => 0,
        Severity::Low => 1,
        Severity::Moderate => 2,
        Severity::Important => 3,
        Severity::Critical => 4,
    }
}

/// Whether something comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Comes,
    Goes,
}

impl Sign {
    pub(super) fn on(self, count: &mut u64) {
        *count = match self {
            Self::Comes => count.saturating_add(1),
            Self::Goes => count.saturating_sub(1),
        };
    }
}

/// On how many endpoints an update is in each state that endpoints tell, by the numbers of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByState([u64; 7]);

impl ByState {
    /// Endpoints with this state. Of `Unknown` and `NotApplicable` nothing is counted here: they follow from the others.
    pub fn of(&self, state: State) -> u64 {
        self.0.get(usize::from(state.number())).copied().unwrap_or(0)
    }

    /// Endpoints that need it and have not got it.
    pub fn missing(&self) -> u64 {
        State::ALL.into_iter().filter(|state| state.is_missing()).map(|state| self.of(state)).sum()
    }

    /// Endpoints that told of it at all.
    pub fn told(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn count(&mut self, state: State, sign: Sign) {
        if let Some(count) = self.0.get_mut(usize::from(state.number())) {
            sign.on(count);
        }
    }
}

/// What one endpoint comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Updates that count and that it misses, by severity.
    pub missing: [u32; 5],
    /// Of these, those of which an installation failed.
    pub failed: u32,
}

impl Tally {
    /// All that it misses.
    pub fn all(&self) -> u64 {
        self.missing.iter().map(|many| u64::from(*many)).sum()
    }

    /// An update of this severity, which counts, is in this state.
    pub(super) fn count(&mut self, state: State, severity: Severity, sign: Sign) {
        if !state.is_missing() {
            return;
        }
        let step = |count: &mut u32| {
            *count = match sign {
                Sign::Comes => count.saturating_add(1),
                Sign::Goes => count.saturating_sub(1),
            }
        };
        if let Some(count) = self.missing.get_mut(place(severity)) {
            step(count);
        }
        if state == State::Failed {
            step(&mut self.failed);
        }
    }
}

/// What all endpoints come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Endpoints.
    pub endpoints: u64,
    /// Of these, those that never told what a scan found.
    pub unscanned: u64,
    /// Those that told, and miss an update that counts.
    pub missing: u64,
    /// Those that told, and miss none.
    pub up_to_date: u64,
    /// Those on which an update that counts failed.
    pub failed: u64,
    /// Those on which a restart is pending.
    pub restart: u64,
    /// Those that miss an update of each severity.
    pub by_severity: [u64; 5],
    /// Updates that are missing, each counted on each endpoint, by severity.
    pub pairs: [u64; 5],
}

impl Totals {
    /// An endpoint that comes to this.
    pub(super) fn count(&mut self, tally: &Tally, is_told: bool, restart: bool, sign: Sign) {
        sign.on(&mut self.endpoints);
        match (is_told, tally.all()) {
            (false, _) => sign.on(&mut self.unscanned),
            (true, 0) => sign.on(&mut self.up_to_date),
            (true, _) => sign.on(&mut self.missing),
        }
        if tally.failed > 0 {
            sign.on(&mut self.failed);
        }
        if restart {
            sign.on(&mut self.restart);
        }
        let places = tally.missing.iter().zip(self.by_severity.iter_mut().zip(&mut self.pairs));
        for (many, (endpoints, pairs)) in places {
            if *many > 0 {
                sign.on(endpoints);
            }
            *pairs = match sign {
                Sign::Comes => pairs.saturating_add((*many).into()),
                Sign::Goes => pairs.saturating_sub((*many).into()),
            };
        }
    }
}
