//! Whether the way to the origins fills up, seen from the time that they take to answer; and how fast what nobody waits for
//! may go then. Pure: the time comes from the caller.
//!
//! A link that is full queues, and what queues answers later. The least time that a host took within the last minutes is
//! what it takes without a queue; the least of its last three answers less that is the queue. While that is longer than the
//! target, the background's rate is halved, once for every fresh answer that says so and at most once a second, down to a
//! sixteenth of what it was; after that it grows by an eighth of that a second, until nothing is left to hold back. That is LEDBAT's idea (RFC 6817)
//! with coarser samples: there is one for every request, and it has the origin's own thinking time in it. So the least of
//! three is believed, and a host must have been quick before it can be called slow.

use std::collections::HashMap;
use std::time::Duration;

/// Minutes for which the least time of a host is remembered.
const MINUTES: usize = 10;

/// The last answers of a host that are looked at.
const LAST: usize = 3;

/// A sample says nothing about now after so long.
const FRESH: Duration = Duration::from_secs(10);

/// The queue that is put up with: LEDBAT's own bound. As much as the way itself takes, where that is more.
const TARGET: Duration = Duration::from_millis(100);

/// The background never goes slower than this, nor than a share of what it was: what it has begun must come to its end, and
/// what slows the answers may be the origin itself.
const RATE_FLOOR: u64 = 64_000;
const SHARE_LEFT: u64 = 16;

/// What a second without a queue gives back, as a share of what there was.
const GROWTH: u64 = 8;

/// Hosts that are remembered; the one not heard of for longest goes.
const HOSTS_MAX: usize = 64;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Delay {
    hosts: HashMap<String, Host>,
    cap: Option<u64>,
    /// What it was before the first cut.
    before: u64,
    cut_at: Option<Duration>,
    stepped: Duration,
    bytes: u64,
    /// Bytes a second of the background, lately.
    rate: u64,
}

#[derive(Debug, Default)]
struct Host {
    /// The least of each minute, by the minute's number.
    least: [Option<(u64, Duration)>; MINUTES],
    last: [Option<(Duration, Duration)>; LAST],
    next: usize,
}

impl Delay {
    /// How fast the background may go; `None` where nothing holds it back.
    pub(super) fn cap(&self) -> Option<u64> {
        self.cap
    }

    /// A host has answered after `took`.
    pub(super) fn sample(&mut self, host: &str, took: Duration, now: Duration) {
        if !self.hosts.contains_key(host) {
            if self.hosts.len() >= HOSTS_MAX {
                let oldest = self.hosts.iter().min_by_key(|(_, host)| host.heard()).map(|(name, _)| name.clone());
                oldest.and_then(|name| self.hosts.remove(&name));
            }
            self.hosts.insert(host.to_owned(), Host::default());
        }
        if let Some(host) = self.hosts.get_mut(host) {
            host.sample(took, now);
        }
    }

    /// The longest queue that the hosts tell of, with the time of the answer that says so; `None` where there is none.
    fn queue(&self, now: Duration) -> Option<(Duration, Duration)> {
        self.hosts.values().filter_map(|host| host.queue(now)).max()
    }

    /// Looks again, about once a second. `background`: bytes that have come in the background since the start. Whether it
    /// has just given way.
    pub(super) fn step(&mut self, background: u64, now: Duration) -> bool {
        let passed = now.saturating_sub(self.stepped);
        if passed < Duration::from_millis(900) {
            return false;
        }
        let came = u128::from(background.saturating_sub(self.bytes)) * 1000 / passed.as_millis().max(1);
        let came = u64::try_from(came).unwrap_or(u64::MAX);
        (self.stepped, self.bytes, self.rate) = (now, background, self.rate / 2 + came / 2);
        let queue = self.queue(now).filter(|(_, heard)| self.cut_at.is_none_or(|cut| *heard > cut));
        if queue.is_some() {
            let from = self.cap.unwrap_or(u64::MAX).min(self.rate.max(came));
            // Slow as it is, it is not what fills the way.
            if from <= RATE_FLOOR {
                return false;
            }
            self.before = if self.cap.is_some() { self.before.max(from) } else { from };
            let slower = Some((from / 2).max(RATE_FLOOR).max(self.before / SHARE_LEFT));
            self.cut_at = Some(now);
            return std::mem::replace(&mut self.cap, slower) != slower;
        }
        if let Some(cap) = self.cap {
            let seconds = passed.as_secs().max(1);
            let more = cap.saturating_add((self.before / GROWTH).max(RATE_FLOOR / 4).saturating_mul(seconds));
            // At twice what it was, and not used up: it is held back by something else.
            self.cap = (more < self.before.saturating_mul(2)).then_some(more);
        }
        false
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self { stepped: self.stepped, bytes: self.bytes, ..Self::default() };
    }
}

impl Host {
    fn sample(&mut self, took: Duration, now: Duration) {
        let minute = now.as_secs() / 60;
        let slot = usize::try_from(minute % MINUTES as u64).unwrap_or(0);
        if let Some(least) = self.least.get_mut(slot) {
            *least = match *least {
                Some((of, least)) if of == minute => Some((of, least.min(took))),
                _ => Some((minute, took)),
            };
        }
        if let Some(last) = self.last.get_mut(self.next) {
            *last = Some((now, took));
        }
        self.next = (self.next + 1) % LAST;
    }

    fn heard(&self) -> Duration {
        self.last.iter().flatten().map(|(at, _)| *at).max().unwrap_or_default()
    }

    /// How long the queue is, and when that was heard, where it is longer than the target.
    fn queue(&self, now: Duration) -> Option<(Duration, Duration)> {
        let minute = now.as_secs() / 60;
        let remembered = |of: u64| of + MINUTES as u64 > minute;
        let base = self.least.iter().flatten().filter(|(of, _)| remembered(*of)).map(|(_, least)| *least).min()?;
        let fresh = |at: Duration| now.saturating_sub(at) < FRESH;
        let last = self.last.iter().flatten().filter(|(at, _)| fresh(*at)).map(|(_, took)| *took);
        if last.clone().count() < LAST {
            return None;
        }
        let queue = last.min()?.saturating_sub(base);
        (queue > TARGET.max(base)).then(|| (queue, self.heard()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn halves_while_a_queue_grows_and_comes_back_after_it() {
        let mut delay = Delay::default();
        let (mut now, mut bytes, mut cuts) = (Duration::ZERO, 0, 0);
        let mut second = |delay: &mut Delay, took: Duration, asks: u32| {
            (0..asks).for_each(|_| delay.sample("h", took, now + MS));
            now += SECOND;
            bytes += delay.cap().unwrap_or(8_000_000).min(8_000_000);
            let cut = delay.step(bytes, now);
            cuts += u32::from(cut);
            (delay.cap(), cuts)
        };
        for _ in 0..5 {
            assert_eq!(second(&mut delay, 20 * MS, 4), (None, 0));
        }
        // One slow answer among quick ones is the origin's own doing.
        delay.sample("h", 900 * MS, 5 * SECOND);
        assert_eq!(second(&mut delay, 20 * MS, 2), (None, 0));
        let (cap, _) = second(&mut delay, 400 * MS, 3);
        assert!((3_500_000..=4_100_000).contains(&cap.unwrap()), "{cap:?}");
        let (lower, _) = second(&mut delay, 400 * MS, 1);
        assert!(lower < cap);
        // Nothing fresh was heard: it is not cut for the same answers again.
        assert_eq!(second(&mut delay, 400 * MS, 0).1, 2);
        for _ in 0..20 {
            second(&mut delay, 400 * MS, 3);
        }
        let (floor, cuts_then) = second(&mut delay, 400 * MS, 3);
        assert!((400_000..=600_000).contains(&floor.unwrap()), "{floor:?}");
        for _ in 0..40 {
            second(&mut delay, 25 * MS, 3);
        }
        assert_eq!(second(&mut delay, 25 * MS, 3), (None, cuts_then), "it is free again");
    }

    #[test]
    fn a_host_that_was_always_slow_is_not_congested() {
        let mut delay = Delay::default();
        for second in 1..700 {
            let now = SECOND * second;
            (0..3).for_each(|_| delay.sample("far", 800 * MS, now));
            assert!(!delay.step(u64::from(second) * 1_000_000, now));
        }
        // A way that has become longer for good is its own way after ten minutes.
        let mut longer = 0;
        for second in 700..1500 {
            let now = SECOND * second;
            (0..3).for_each(|_| delay.sample("far", 1700 * MS, now));
            if delay.step(u64::from(second) * 1_000_000, now) {
                longer = second;
            }
        }
        assert!((700..1320).contains(&longer), "{longer}");
    }

    #[test]
    fn hosts_are_forgotten_when_there_are_many() {
        let mut delay = Delay::default();
        for n in 0..HOSTS_MAX * 3 {
            delay.sample(&format!("h{n}"), MS, SECOND * n as u32);
        }
        assert_eq!(delay.hosts.len(), HOSTS_MAX);
        assert!(delay.hosts.contains_key(&format!("h{}", HOSTS_MAX * 3 - 1)));
    }
}
