//! The one task of the governor: it serves the lines, sees which rules are in force, lets the background give way, and when
//! it ends lets everyone through.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::pace::state::InForce;
use crate::pace::{Class, Governor, Guarded, Limit, ORDER};

/// The driver sleeps at least so long: finer timers wake the machine for grains that can go together, and buckets hold
/// twenty times as much.
pub(super) const TICK_MIN: Duration = Duration::from_millis(5);

/// It looks at the clock on the wall at least so often: that can be put forward or back.
pub(super) const TICK_MAX: Duration = Duration::from_mins(1);

/// How often it looks whether the background has to give way.
const DELAY_TICK: Duration = Duration::from_secs(1);

impl Governor {
    /// Governs until `stop`; then everyone is let through. Once is enough.
    pub async fn run(self, stop: CancellationToken) {
        let _end = Running::begin(&self);
        loop {
            let kicked = self.inner.kick.notified();
            let rest = self.round();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TICK_MIN.min(rest)) => {}
            }
            // Whatever came within the least rest is looked at together.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = kicked => {}
                () = tokio::time::sleep(rest.saturating_sub(TICK_MIN)) => {}
            }
        }
    }

    /// Looks at everything once; how long until that is to be done again.
    fn round(&self) -> Duration {
        let (now, wall) = (self.now(), self.inner.clock.now());
        let mut woken = Vec::new();
        let changed = {
            let guarded = self.lock();
            let due = guarded.next.is_some_and(|next| wall >= next);
            // A clock that was put back is in another window, too.
            (due || wall < guarded.looked).then(|| Arc::clone(guarded.state.config()))
        };
        let found = changed.map(|config| InForce::of(&config, wall));
        let mut guarded = self.lock();
        match found {
            Some(found) => self.look(&mut guarded, found, now, &mut woken),
            None => guarded.looked = guarded.looked.max(wall),
        }
        if self.inner.lanes_changed.swap(false, ORDER) {
            guarded.state.change_lanes(now, &mut woken);
        }
        let watching = self.give_way(&mut guarded, now);
        if now.saturating_sub(guarded.swept) >= TICK_MAX {
            guarded.state.sweep(now);
            guarded.swept = now;
        }
        let served = guarded.state.serve(now, &mut woken);
        for class in Class::ALL {
            self.inner.counters.in_line(class, guarded.state.waiting(class));
        }
        let next = guarded.next;
        drop(guarded);
        woken.into_iter().for_each(Waker::wake);
        let rests = [
            served.map(|due| due.saturating_sub(now)),
            next.map(|next| next.since(wall)),
            watching.then_some(DELAY_TICK),
        ];
        rests.into_iter().flatten().fold(TICK_MAX, Duration::min).max(TICK_MIN)
    }

    /// Lets the background give way, or come back. Whether that is to be looked at again soon.
    fn give_way(&self, guarded: &mut Guarded, now: Duration) -> bool {
        if !self.inner.gives_way.load(ORDER) {
            if guarded.delay.cap().is_some() {
                guarded.delay.clear();
                guarded.state.set_give_way(None, now);
                self.publish(guarded);
            }
            return false;
        }
        let background = Class::ALL.into_iter().filter(|class| class.is_background());
        let background = background.fold(0_u64, |sum, class| sum.saturating_add(self.counters().bytes(class)));
        let before = guarded.delay.cap();
        if guarded.delay.step(background, now) {
            self.counters().gave_way.inc();
            tracing::debug!(
                bytes_per_s = guarded.delay.cap(),
                "the way to the origins fills up: the background slows down"
            );
        }
        if guarded.delay.cap() != before {
            guarded.state.set_give_way(guarded.delay.cap(), now);
            self.publish(guarded);
        }
        self.inner.background.swap(background, ORDER) != background || guarded.delay.cap().is_some()
    }

    /// Puts the rules in force that were found to be, unless there are others by now.
    pub(super) fn look(&self, guarded: &mut Guarded, found: InForce, now: Duration, woken: &mut Vec<Waker>) {
        if !guarded.running || !Arc::ptr_eq(&found.config, guarded.state.config()) {
            return;
        }
        (guarded.next, guarded.looked) = (found.next, found.wall);
        guarded.state.put_in_force(found, now, woken);
        for class in Class::ALL {
            let rate = match guarded.state.standing(class).limit {
                Limit::Unlimited => -1,
                Limit::Rate(rate) => i64::try_from(rate).unwrap_or(i64::MAX),
                Limit::Paused => 0,
            };
            self.inner.counters.in_force(class, rate);
        }
        guarded.state.serve(now, woken);
        self.publish(guarded);
    }

    /// Lets everyone see who has to ask.
    fn publish(&self, guarded: &Guarded) {
        self.inner.governed.store(guarded.state.governed(), ORDER);
        self.inner.paused.store(guarded.state.paused(), ORDER);
        self.inner.changed.notify_waiters();
    }
}

/// While it lives, limits hold.
struct Running<'a>(&'a Governor);

impl<'a> Running<'a> {
    fn begin(governor: &'a Governor) -> Self {
        let (now, mut woken) = (governor.now(), Vec::new());
        let config = {
            let mut guarded = governor.lock();
            // From here on who puts other rules in puts them in force.
            guarded.running = true;
            governor.inner.gives_way.store(guarded.state.config().give_way, ORDER);
            Arc::clone(guarded.state.config())
        };
        let found = InForce::of(&config, governor.inner.clock.now());
        let mut guarded = governor.lock();
        governor.look(&mut guarded, found, now, &mut woken);
        drop(guarded);
        woken.into_iter().for_each(Waker::wake);
        Self(governor)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let (now, mut woken) = (self.0.now(), Vec::new());
        let mut guarded = self.0.lock();
        guarded.running = false;
        self.0.inner.gives_way.store(false, ORDER);
        guarded.delay.clear();
        guarded.state.open_all(now, &mut woken);
        self.0.publish(&guarded);
        drop(guarded);
        woken.into_iter().for_each(Waker::wake);
    }
}
