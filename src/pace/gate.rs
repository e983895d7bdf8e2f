//! A bucket with a line before it: first come, first served, a grain at a time, so that all who stand in line share the
//! rate evenly. Pure: the time comes from the caller.

use std::collections::VecDeque;
use std::time::Duration;

use crate::pace::bucket::Bucket;
use crate::pace::limit::Limit;

/// A grain is a twentieth of a second's bytes: small enough that a slow rate flows evenly ...
const GRAINS_A_SECOND: u64 = 20;

/// ... but not so small that counting costs more than the bytes are worth ...
const GRAIN_MIN: u64 = 512;

/// ... nor so large that one flow holds a fast bucket for long.
const GRAIN_MAX: u64 = 256 << 10;

/// How many grains go at once after a pause: enough to make up for a driver that comes late, and a hundredth of what flows
/// in ten seconds.
const GRAINS_AT_ONCE: u64 = 2;

/// After so many of those that somebody waits for one in the background goes, so that its connection does not die.
const IN_A_ROW_MAX: u32 = 15;

/// One's place in line. Stale ones (whoever stood there has gone, or stands elsewhere by now) are found out when their turn
/// comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: u64,
    pub(super) turn: u32,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Gate {
    limit: Limit,
    bucket: Bucket,
    /// Somebody waits for these ...
    fore: VecDeque<Place>,
    /// ... and nobody for those, which go after them.
    back: VecDeque<Place>,
    /// Places in both lines that nobody stands at any more.
    stale: usize,
    /// How many of the first line have gone while there was somebody in the second.
    in_a_row: u32,
    /// When it was last gone through.
    used: Duration,
}

impl Gate {
    pub(super) fn new(limit: Limit, now: Duration) -> Self {
        let mut gate = Self {
            limit: Limit::Unlimited,
            bucket: Bucket::new(1, 0),
            fore: VecDeque::new(),
            back: VecDeque::new(),
            stale: 0,
            in_a_row: 0,
            used: now,
        };
        gate.set(limit, now);
        gate
    }

    pub(super) fn limit(&self) -> Limit {
        self.limit
    }

    /// Puts another limit in force.
    pub(super) fn set(&mut self, limit: Limit, now: Duration) {
        if let Some(rate) = limit.rate()
            && limit != self.limit
        {
            if self.limit.rate().is_some() {
                self.bucket.set_rate(now, rate);
                self.bucket.set_burst(burst(rate));
            } else {
                self.bucket = Bucket::new(rate, burst(rate));
                self.bucket.wait(now);
            }
        }
        self.limit = limit;
    }

    /// Those who stand in line.
    pub(super) fn waiting(&self) -> usize {
        (self.fore.len() + self.back.len()).saturating_sub(self.stale)
    }

    /// When it was last gone through.
    pub(super) fn used(&self) -> Duration {
        self.used
    }

    /// Whether nobody is owed anything by it: nothing is lost where it is made anew.
    pub(super) fn is_at_rest(&mut self, now: Duration) -> bool {
        self.waiting() == 0 && self.bucket.wait(now).is_zero()
    }

    /// How many of `want` bytes may go at once; `None` where one has to stand in line.
    pub(super) fn pass(&mut self, want: u64, now: Duration) -> Option<u64> {
        match self.limit {
            Limit::Unlimited => Some(want),
            Limit::Paused => None,
            Limit::Rate(_) if self.waiting() > 0 => None,
            Limit::Rate(rate) => self.grant(want, rate, 1, now),
        }
    }

    fn grant(&mut self, want: u64, rate: u64, sharers: u64, now: Duration) -> Option<u64> {
        if !self.bucket.wait(now).is_zero() {
            return None;
        }
        let bytes = want.min(grain(rate, sharers));
        self.bucket.take(now, bytes);
        self.used = now;
        Some(bytes)
    }

    pub(super) fn stand(&mut self, place: Place, background: bool) {
        if background { self.back.push_back(place) } else { self.fore.push_back(place) }
    }

    /// Somebody has left the line. Their place is swept away when it is reached, or when there are many such.
    pub(super) fn leave(&mut self, is_there: impl Fn(Place) -> bool) {
        self.stale += 1;
        if self.stale > 32 && self.stale * 2 > self.fore.len() + self.back.len() {
            self.fore.retain(|place| is_there(*place));
            self.back.retain(|place| is_there(*place));
            self.stale = 0;
        }
    }

    /// All who stand in line, who then do not any more.
    pub(super) fn clear(&mut self) -> Vec<Place> {
        self.stale = 0;
        self.fore.drain(..).chain(self.back.drain(..)).collect()
    }

    /// Lets the next one through if it may go now: its place, and how many bytes of those that `wants` says. `wants` is
    /// `None` for a stale place.
    pub(super) fn serve(&mut self, wants: impl Fn(Place) -> Option<u64>, now: Duration) -> Option<(Place, u64)> {
        loop {
            let back_next = !self.back.is_empty() && (self.fore.is_empty() || self.in_a_row >= IN_A_ROW_MAX);
            let line = if back_next { &self.back } else { &self.fore };
            let place = *line.front()?;
            let granted = match wants(place) {
                None => {
                    self.stale = self.stale.saturating_sub(1);
                    None
                }
                Some(want) => {
                    let sharers = self.waiting() as u64;
                    let bytes = match self.limit {
                        Limit::Unlimited => want,
                        Limit::Paused => return None,
                        Limit::Rate(rate) => self.grant(want, rate, sharers, now)?,
                    };
                    self.in_a_row = if back_next || self.back.is_empty() { 0 } else { self.in_a_row + 1 };
                    Some((place, bytes))
                }
            };
            if back_next {
                self.back.pop_front()
            } else {
                self.fore.pop_front()
            };
            if granted.is_some() {
                return granted;
            }
        }
    }

    /// When the next in line may go; `None` where nobody is, or none may for now.
    pub(super) fn due(&mut self, now: Duration) -> Option<Duration> {
        if self.waiting() == 0 {
            return None;
        }
        match self.limit {
            Limit::Unlimited => Some(now),
            Limit::Paused => None,
            Limit::Rate(_) => now.checked_add(self.bucket.wait(now)),
        }
    }

    /// Bytes that were counted and did not flow after all.
    pub(super) fn give_back(&mut self, bytes: u64) {
        self.bucket.give_back(bytes);
    }
}

fn burst(rate: u64) -> u64 {
    GRAINS_AT_ONCE * grain(rate, 1).max(rate / GRAINS_A_SECOND)
}

/// What goes at a time where so many share the rate: each has its turn about once a second, so that nobody falls silent.
fn grain(rate: u64, sharers: u64) -> u64 {
    (rate / GRAINS_A_SECOND).min(rate / sharers.max(1)).clamp(GRAIN_MIN, GRAIN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn place(id: u64) -> Place {
        Place { id, turn: 0 }
    }

    /// Serves a line of greedy flows for `time`, each standing in line again at once; how many bytes each got, and the longest
    /// that any of them had to wait.
    fn run(gate: &mut Gate, flows: u64, time: Duration) -> (Vec<u64>, Duration) {
        let (mut got, mut last) = (vec![0; flows as usize], vec![Duration::ZERO; flows as usize]);
        let (mut now, mut longest) = (Duration::ZERO, Duration::ZERO);
        (0..flows).for_each(|id| gate.stand(place(id), false));
        while now < time {
            while let Some((served, bytes)) = gate.serve(|_| Some(1 << 20), now) {
                let id = served.id as usize;
                got[id] += bytes;
                longest = longest.max(now.saturating_sub(last[id]));
                last[id] = now;
                gate.stand(served, false);
            }
            now = gate.due(now).unwrap().max(now + Duration::from_millis(5));
        }
        (got, longest)
    }

    #[test]
    fn keeps_any_rate_within_two_parts_of_a_hundred_and_shares_it_evenly() {
        for rate in [4_000, 8_000, 250_000, 2_500_000, 125_000_000, 1_250_000_000] {
            for flows in [1, 3, 7, 500] {
                let mut gate = Gate::new(Limit::Rate(rate), Duration::ZERO);
                let (got, longest) = run(&mut gate, flows, 10 * SECOND);
                let all: u64 = got.iter().sum();
                let wanted = rate * 10;
                let slack = wanted / 50 + 2 * GRAIN_MIN;
                assert!(all.abs_diff(wanted) <= slack, "{rate} for {flows}: {all} of {wanted}");
                let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
                assert!(most - least <= 2 * grain(rate, 1), "{rate} for {flows}: {least} to {most}");
                if rate / flows >= 4_000 {
                    assert!(longest <= 2 * SECOND, "{rate} for {flows}: silent for {longest:?}");
                }
            }
        }
    }

    #[test]
    fn who_is_waited_for_goes_first_but_nobody_starves() {
        let mut gate = Gate::new(Limit::Rate(1_000_000), Duration::ZERO);
        let (mut fore, mut back) = (0, 0);
        gate.stand(place(1), false);
        gate.stand(place(2), true);
        let mut now = Duration::ZERO;
        while now < 10 * SECOND {
            while let Some((served, bytes)) = gate.serve(|_| Some(1 << 20), now) {
                if served.id == 1 {
                    fore += bytes;
                } else {
                    back += bytes;
                }
                gate.stand(served, served.id == 2);
            }
            now = gate.due(now).unwrap();
        }
        assert!(back > 0 && fore / back == 15, "{fore} and {back}");
    }

    #[test]
    fn the_line_is_swept_of_those_who_left() {
        let mut gate = Gate::new(Limit::Paused, Duration::ZERO);
        for id in 0..10_000 {
            gate.stand(place(id), id % 2 == 0);
            gate.leave(|other| other.id > id);
        }
        assert_eq!(gate.waiting(), 0);
        assert!(gate.fore.len() + gate.back.len() < 100);
        gate.stand(place(7), false);
        assert_eq!(gate.serve(|_| Some(9), Duration::ZERO), None);
        assert_eq!(gate.due(Duration::ZERO), None, "paused");
        gate.set(Limit::Unlimited, Duration::ZERO);
        let there = |place: Place| (place.id == 7 && place.turn == 0).then_some(9);
        assert_eq!(gate.serve(there, Duration::ZERO).map(|(_, bytes)| bytes), Some(9));
        assert_eq!((gate.waiting(), gate.serve(there, Duration::ZERO)), (0, None));
    }

    #[test]
    fn a_new_rate_does_not_make_up_for_the_old_one() {
        let mut gate = Gate::new(Limit::Rate(1_000_000_000), Duration::ZERO);
        while gate.pass(1 << 20, Duration::ZERO).is_some() {}
        gate.set(Limit::Rate(8_000), Duration::ZERO);
        assert!(gate.pass(1 << 20, Duration::ZERO).is_some());
        assert!(gate.pass(1 << 20, Duration::ZERO).is_none());
        gate.stand(place(1), false);
        assert!(gate.due(Duration::ZERO).unwrap() < Duration::from_secs(1));
    }
}
