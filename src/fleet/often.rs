//! How often one endpoint does something in an hour: what each may do so many times, whatever it is, without anybody else having less.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::base::time::Timestamp;
use crate::model::deployment::Endpoint;

/// How long what an endpoint does is counted together, in ms.
const WINDOW: u64 = 3_600_000;

/// Endpoints that are counted: more than a node is made for. Beyond that the newest are not counted, and bounded by what bounds all together.
const COUNTED_MAX: usize = 65_536;

/// Since when, and how often.
#[derive(Debug)]
pub struct Often {
    most: u32,
    by: Mutex<HashMap<Endpoint, (u64, u32)>>,
}

impl Often {
    /// Each may so many times in an hour.
    pub fn new(most: u32) -> Self {
        Self { most, by: Mutex::default() }
    }

    /// Counts one, and says whether it is still within what one may have.
    pub fn may(&self, endpoint: Endpoint, at: Timestamp) -> bool {
        let mut all = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        let now = at.ms();
        // A clock that was set back begins anew, too.
        let is_over = |since: u64| now.checked_sub(since).is_none_or(|age| age >= WINDOW);
        if all.len() >= COUNTED_MAX && !all.contains_key(&endpoint) {
            all.retain(|_, (since, _)| !is_over(*since));
            if all.len() >= COUNTED_MAX {
                return true;
            }
        }
        let (since, many) = all.entry(endpoint).or_insert((now, 0));
        if is_over(*since) {
            (*since, *many) = (now, 0);
        }
        *many = many.saturating_add(1);
        *many <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::update::UpdateId;

    #[test]
    fn each_endpoint_is_counted_by_itself_for_an_hour() {
        let often = Often::new(12);
        let of = |id: u8| Endpoint(UpdateId::new([id; 16]));
        let may = |id, ms| often.may(of(id), Timestamp::from_ms(10 * WINDOW + ms));
        assert_eq!((0..24).filter(|ms| may(1, *ms)).count(), 12);
        assert!(may(2, 5) && !may(1, WINDOW - 1) && may(1, WINDOW));
        assert!(!(0..12).all(|_| may(1, WINDOW + 1)));
        assert!(often.may(of(1), Timestamp::from_ms(0)), "a clock that is set back");
    }
}
