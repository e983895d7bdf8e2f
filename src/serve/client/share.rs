//! A pool of something that all clients share, of which no client has more than what it leaves to all others: places, or memory in KiB.
//! One alone has half of it, and however many come, something is left for the next.
//!
//! A client is an address, or a /64; addresses that stand for many machines are exempt ([`crate::serve::client::Config::exempt`]). What a
//! client takes first it gets whatever it is, so that there is nothing that only a client with a larger share could ask.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::net::census::one_client;

/// What all share.
pub(super) struct Pool {
    all: Arc<Semaphore>,
    exempt: Vec<IpNet>,
    /// What each client holds or waits for: no more entries than what is held.
    by: Mutex<HashMap<IpAddr, u32>>,
}

impl Pool {
    /// Of so many units; clients of these networks have no limit of their own.
    pub(super) fn new(units: usize, exempt: &[IpNet]) -> Arc<Self> {
        let units = units.min(Semaphore::MAX_PERMITS);
        Arc::new(Self { all: Arc::new(Semaphore::new(units)), exempt: exempt.to_vec(), by: Mutex::default() })
    }

    /// What a client holds of it: nothing yet.
    pub(super) fn of(self: &Arc<Self>, client: IpAddr) -> Part {
        let address = client.to_canonical();
        let is_exempt = self.exempt.iter().any(|network| network.contains(&address));
        let client = (!is_exempt).then(|| one_client(address));
        Part { pool: Arc::clone(self), client, counted: 0, held: None }
    }

    /// Units that are free when so many more are taken.
    fn left_after(&self, units: u32) -> u32 {
        let units = usize::try_from(units).unwrap_or(usize::MAX);
        u32::try_from(self.all.available_permits().saturating_sub(units)).unwrap_or(u32::MAX)
    }

    /// Units that nobody holds.
    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.all.available_permits()
    }
}

/// What one request holds of a pool; it gives it back when it is dropped.
pub(super) struct Part {
    pool: Arc<Pool>,
    client: Option<IpAddr>,
    /// What stands at the client for this.
    counted: u32,
    held: Option<OwnedSemaphorePermit>,
}

impl Part {
    /// Units held.
    pub(super) fn units(&self) -> u32 {
        self.held.as_ref().map_or(0, |held| u32::try_from(held.num_permits()).unwrap_or(u32::MAX))
    }

    fn count(&mut self, units: u32) -> bool {
        let Some(client) = self.client else { return true };
        let mut by = self.pool.by.lock().unwrap_or_else(PoisonError::into_inner);
        let others = by.get(&client).copied().unwrap_or_default().saturating_sub(self.counted);
        let own = self.counted.saturating_add(units);
        if others > 0 && others.saturating_add(own) > self.pool.left_after(units) {
            return false;
        }
        self.counted = own;
        by.insert(client, others.saturating_add(own));
        true
    }

    fn discount(&mut self, units: u32) {
        let Some(client) = self.client else { return };
        let units = units.min(self.counted);
        self.counted -= units;
        let mut by = self.pool.by.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = by.get_mut(&client) {
            *all = all.saturating_sub(units);
            if *all == 0 {
                by.remove(&client);
            }
        }
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
    }

    /// Takes so many units more, at once or not at all.
    pub(super) fn take(&mut self, units: u32) -> bool {
        if !self.count(units) {
            return false;
        }
        if let Ok(more) = Arc::clone(&self.pool.all).try_acquire_many_owned(units) {
            self.add(more);
            return true;
        }
        self.discount(units);
        false
    }

    /// The same; waits a while where others hold them. Not for who holds some: it would wait for others that do the same.
    pub(super) async fn wait(&mut self, units: u32, max: Duration) -> bool {
        if !self.count(units) {
            return false;
        }
        let waiting = Arc::clone(&self.pool.all).acquire_many_owned(units);
        if let Ok(Ok(more)) = tokio::time::timeout(max, waiting).await {
            self.add(more);
            return true;
        }
        self.discount(units);
        false
    }

    /// The same whatever its client holds, which is not counted either as long as [`Part::counts_again`] is not called: for what only few do
    /// at a time.
    pub(super) async fn wait_uncounted(&mut self, units: u32, max: Duration) -> bool {
        let waiting = Arc::clone(&self.pool.all).acquire_many_owned(units);
        let Ok(Ok(more)) = tokio::time::timeout(max, waiting).await else { return false };
        self.add(more);
        true
    }

    /// What it holds stands at its client from now on.
    pub(super) fn counts_again(&mut self) {
        let Some(client) = self.client else { return };
        let more = self.units().saturating_sub(self.counted);
        if more > 0 {
            self.counted += more;
            let mut by = self.pool.by.lock().unwrap_or_else(PoisonError::into_inner);
            let all = by.entry(client).or_default();
            *all = all.saturating_add(more);
        }
    }

    /// Gives so many back.
    pub(super) fn give_back(&mut self, units: u32) {
        let Some(held) = &mut self.held else { return };
        let units = units.min(u32::try_from(held.num_permits()).unwrap_or(u32::MAX));
        drop(held.split(usize::try_from(units).unwrap_or_default()));
        self.discount(units);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.discount(self.counted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_its_share_and_the_first_thing_whatever_it_is() {
        let pool = Pool::new(100, &["192.0.2.0/24".parse().unwrap()]);
        let mut first = pool.of(ip("10.0.0.1"));
        assert!(first.take(20) && first.take(40), "alone it may have more than a share");
        let mut next = pool.of(ip("::ffff:10.0.0.1"));
        assert!(!next.take(1), "and then nothing more");
        let mut other = pool.of(ip("10.0.0.2"));
        assert!(other.take(5));
        first.give_back(40);
        assert!(next.take(27) && !next.take(1), "as much as is left");
        next.give_back(22);
        let mut greedy = Vec::new();
        for of in 3..6 {
            let client = ip(&format!("10.0.0.{of}"));
            loop {
                let mut one = pool.of(client);
                if !one.take(1) {
                    break;
                }
                greedy.push(one);
            }
        }
        assert!((50..70).contains(&greedy.len()), "{} of 70", greedy.len());
        assert!(pool.of(ip("10.0.0.7")).take(1), "something is left for whoever comes next");
        drop(greedy);
        let mut gateways = [pool.of(ip("192.0.2.1")), pool.of(ip("192.0.2.1"))];
        assert!(gateways.iter_mut().all(|one| one.take(30)), "many machines");
        assert_eq!((pool.left(), first.units()), (10, 20));
        drop((first, next, other, gateways));
        assert_eq!((pool.left(), pool.by.lock().unwrap().len()), (100, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_waiting_is_not_counted() {
        let pool = Pool::new(8, &[]);
        let mut all = pool.of(ip("2001:db8::1"));
        assert!(all.take(8));
        {
            let mut waits = pool.of(ip("10.0.0.2"));
            let mut waiting = Box::pin(waits.wait(2, Duration::from_secs(5)));
            assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
        }
        assert!(!pool.of(ip("10.0.0.2")).wait(2, Duration::from_secs(5)).await);
        assert_eq!(pool.by.lock().unwrap().len(), 1);
        assert!(!pool.of(ip("2001:db8::2")).take(1), "a /64 is one client");
    }
}
