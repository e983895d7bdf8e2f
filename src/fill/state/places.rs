//! The places that a flight may ask, and the names under which it will be published.

use crate::fill::config::{NAMES_MAX, SOURCES_MAX};
use crate::fill::state::{Candidate, State};
use crate::model::name::Name;
use crate::model::payload::Location;
use crate::upstream;

impl State {
    /// Adds a place to ask, unless it is known or there are enough.
    pub(in crate::fill) fn add_source(&mut self, location: &Location) {
        if self.sources.iter().any(|candidate| candidate.location.url == location.url) {
            return;
        }
        let candidate = Candidate { location: location.clone(), refused: None };
        // Where there is no room the one refused longest goes: addresses signed for a time end, and fresh ones come.
        let refused = self.sources.iter().position(|candidate| candidate.refused.is_some());
        let place = match refused.filter(|_| self.sources.len() >= SOURCES_MAX) {
            Some(place) => {
                self.sources.remove(place);
                if place < self.source {
                    self.source -= 1;
                }
                Some(self.sources.len())
            }
            None => Some(self.sources.len()).filter(|place| *place < SOURCES_MAX),
        };
        if let Some(place) = place {
            self.sources.push(candidate);
            if self.current().is_none() {
                self.source = place;
            }
        }
    }

    /// This place is asked from now on; the others stay for when it fails.
    pub(in crate::fill) fn put_first(&mut self, location: &Location) {
        self.sources.retain(|candidate| candidate.location.url != location.url);
        self.sources.truncate(SOURCES_MAX - 1);
        self.sources.insert(0, Candidate { location: location.clone(), refused: None });
        self.source = 0;
    }

    /// Adds a name under which the payload will be published, with its tag.
    pub(in crate::fill) fn add_name(&mut self, name: &Name, tag: &str) {
        if self.names.len() < NAMES_MAX && !self.names.iter().any(|(known, _)| known == name) {
            self.names.push((name.clone(), tag.to_owned()));
        }
    }

    /// The place to ask now.
    pub(in crate::fill) fn current(&self) -> Option<&Candidate> {
        self.sources.get(self.source).filter(|candidate| candidate.refused.is_none())
    }

    /// `url` said no for good (within this flight). Whether another place is left.
    pub(in crate::fill) fn refuse(&mut self, url: &str, error: &upstream::Error) -> bool {
        for candidate in self.sources.iter_mut().filter(|candidate| candidate.location.url == url) {
            candidate.refused.get_or_insert(error.clone());
        }
        match self.sources.iter().position(|candidate| candidate.refused.is_none()) {
            Some(place) => {
                if self.current().is_none() {
                    self.source = place;
                }
                true
            }
            None => false,
        }
    }

    /// Places that were not asked, since their hosts were left alone just then, have said no to nothing.
    pub(in crate::fill) fn forgive_resting(&mut self) {
        for candidate in &mut self.sources {
            candidate.refused.take_if(|error| matches!(error, upstream::Error::Resting { .. }));
        }
    }
}
