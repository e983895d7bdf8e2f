//! Whom the log was told of in the last minute, so that a client that tries again and again is one line a minute and not one
//! a try.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a client is not told of again.
const QUIET: Duration = Duration::from_mins(1);

/// Most clients that are remembered: more of them in a minute are an attack, of which these tell enough.
const CLIENTS_MAX: usize = 256;

/// The clients of the last minute.
#[derive(Debug, Default)]
pub struct Told {
    // A plain lock: taken once for a connection that is turned away, for one look into a small map.
    clients: Mutex<HashMap<IpAddr, Instant>>,
}

impl Told {
    /// Whether `client` is to be told of at `now`; from then on it has been.
    pub fn is_news(&self, client: IpAddr, now: Instant) -> bool {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < QUIET;
        if clients.get(&client).is_some_and(is_recent) {
            return false;
        }
        if clients.len() >= CLIENTS_MAX {
            clients.retain(|_, at| is_recent(at));
        }
        if clients.len() >= CLIENTS_MAX {
            return false;
        }
        clients.insert(client, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_of_once_a_minute_and_many_do_not_pile_up() {
        let (told, now) = (Told::default(), Instant::now());
        let client = |number: u32| IpAddr::from(number.to_be_bytes());
        assert!(told.is_news(client(1), now) && !told.is_news(client(1), now + QUIET / 2));
        assert!(told.is_news(client(2), now));
        assert!(told.is_news(client(1), now + QUIET));
        for number in 3..2000 {
            told.is_news(client(number), now + QUIET);
        }
        assert_eq!(told.clients.lock().unwrap().len(), CLIENTS_MAX);
        assert!(told.is_news(client(5000), now + 2 * QUIET), "the minute is over for all of them");
        assert_eq!(told.clients.lock().unwrap().len(), 1);
    }
}
