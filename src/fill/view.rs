//! Flights as status, console and progress bars see them.

use std::sync::PoisonError;

use crate::fill::inner::Inner;
use crate::fill::pump::host_of;
use crate::fill::state::Proof;
use crate::model::name::Name;
use crate::pace::Pause;

/// The step of a flight whose bytes come in.
pub(super) const FILLING: &str = "filling";

/// The step of one whose host has not answered yet.
pub(super) const ASKING: &str = "asking";

/// One flight, now.
#[derive(Clone, Debug)]
pub struct FlightView {
    /// The name under which it fills: the payload's digest where one is known.
    pub name: Name,
    /// Length in bytes, once known.
    pub size: Option<u64>,
    /// Bytes that are in.
    pub covered: u64,
    /// Bytes that the sequential digests have seen.
    pub hashed: u64,
    /// Open responses that follow it.
    pub waiting: usize,
    /// Smoothed rate at which bytes come in.
    pub bytes_per_s: u64,
    /// The host that is asked.
    pub source: String,
    /// What it is doing, in a word: opening, asking, known, filling, paused, proving, publishing, ended.
    pub step: &'static str,
    /// Why nothing comes although it fills, while nobody waits for it.
    pub pause: Option<Pause>,
}

impl FlightView {
    /// Whether bytes, or the answer before them, are to come from the host that is asked, and nothing holds them back here.
    pub fn is_asked(&self) -> bool {
        matches!(self.step, ASKING | FILLING)
    }
}

impl Inner {
    pub(super) fn views(&self) -> Vec<FlightView> {
        let flights: Vec<_> = self.flights.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let mut views: Vec<FlightView> = flights
            .iter()
            .map(|shared| {
                let state = shared.lock();
                let hashed = match (&state.draft, state.proof) {
                    (Some(_), Proof::Proved) => state.size,
                    (Some(draft), _) => draft.hashed(),
                    (None, _) => 0,
                };
                let pause = if state.step == FILLING { shared.lane.pause() } else { None };
                FlightView {
                    name: shared.key.clone(),
                    size: state.draft.is_some().then_some(state.size),
                    covered: state.covered.total(),
                    hashed,
                    waiting: state.clients(),
                    bytes_per_s: if pause.is_some() { 0 } else { state.rate() },
                    source: state
                        .current()
                        .map(|candidate| host_of(&candidate.location.url).to_owned())
                        .unwrap_or_default(),
                    step: if pause.is_some() { "paused" } else { state.step },
                    pause,
                }
            })
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }
}
