//! The pulse of one connection: what has moved, who waits for whom, and when that has gone on for too long.
//!
//! The socket's wrapper and the answers under way write to a [`Pulse`]; the connection's task looks at it every tick
//! and lets a [`Watch`], which is pure, judge. So there is one timer per connection and no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::net::config::Config;
use crate::net::counters::Reason;

// Each value is told on its own and read by a tick that comes again: no order between them is relied on.
const ORDER: Ordering = Ordering::Relaxed;

/// How many times as long a client may seem to stand still of which the kernel holds up to 1 MiB unsent. It says that there
/// is room again when half of that has left: with the shipped times whoever takes 3 kB/s or more is seen to move.
const ROOMY_PATIENCE: u32 = 3;

/// What is told about one connection.
#[derive(Debug, Default)]
pub struct Pulse {
    read: AtomicU64,
    read_at_rest: AtomicU64,
    written: AtomicU64,
    blocked: AtomicBool,
    roomy: AtomicBool,
    begun: AtomicU64,
    in_flight: AtomicU32,
    ours: AtomicU32,
    reset: AtomicBool,
}

/// A look at a [`Pulse`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Bytes read from the socket.
    pub read: u64,
    /// What [`Sample::read`] was when the last request ended.
    pub read_at_rest: u64,
    /// Bytes that the socket took.
    pub written: u64,
    /// The socket did not take the last write.
    pub blocked: bool,
    /// The kernel takes much unsent, since the client read fast: it is longer until the socket takes more.
    pub roomy: bool,
    /// Requests begun.
    pub begun: u64,
    /// Requests whose answer has not ended: it is being made, or not all of it has left.
    pub in_flight: u32,
    /// Those of them that wait for us (the handler, the next frame) and not for the client.
    pub ours: u32,
}

impl Pulse {
    pub(crate) fn add_read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, ORDER);
    }

    /// The socket took `bytes`.
    pub(crate) fn add_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, ORDER);
        self.blocked.store(false, ORDER);
    }

    /// The socket took nothing.
    pub(crate) fn block(&self) {
        self.blocked.store(true, ORDER);
    }

    /// Whether the kernel takes much unsent from now on.
    pub(crate) fn set_roomy(&self, roomy: bool) {
        self.roomy.store(roomy, ORDER);
    }

    /// Whether the client reads fast, so that the kernel takes much unsent.
    pub(crate) fn is_roomy(&self) -> bool {
        self.roomy.load(ORDER)
    }

    /// The socket is to be closed by a reset: the client is not to take what it has got for whole, or does not take
    /// what it should and must not keep the kernel's memory.
    pub(crate) fn demand_reset(&self) {
        self.reset.store(true, ORDER);
    }

    pub(crate) fn wants_reset(&self) -> bool {
        self.reset.load(ORDER)
    }

    /// The values now.
    pub fn sample(&self) -> Sample {
        Sample {
            read: self.read.load(ORDER),
            read_at_rest: self.read_at_rest.load(ORDER),
            written: self.written.load(ORDER),
            blocked: self.blocked.load(ORDER),
            roomy: self.roomy.load(ORDER),
            begun: self.begun.load(ORDER),
            in_flight: self.in_flight.load(ORDER),
            ours: self.ours.load(ORDER),
        }
    }
}

/// A request from its head to the end of its answer, told to the pulse.
#[derive(Debug)]
pub struct Visit {
    pulse: Arc<Pulse>,
    ours: AtomicBool,
}

impl Visit {
    /// A request begins; it waits for us.
    pub(crate) fn begin(pulse: Arc<Pulse>) -> Self {
        pulse.begun.fetch_add(1, ORDER);
        pulse.in_flight.fetch_add(1, ORDER);
        pulse.ours.fetch_add(1, ORDER);
        Self { pulse, ours: AtomicBool::new(true) }
    }

    /// Whether it waits for us from now on, or for the client.
    pub(crate) fn set_ours(&self, ours: bool) {
        if self.ours.swap(ours, ORDER) != ours {
            if ours {
                self.pulse.ours.fetch_add(1, ORDER);
            } else {
                self.pulse.ours.fetch_sub(1, ORDER);
            }
        }
    }

    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.set_ours(false);
        self.pulse.read_at_rest.store(self.pulse.read.load(ORDER), ORDER);
        self.pulse.in_flight.fetch_sub(1, ORDER);
    }
}

/// What is to be done about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Go,
    /// Say good-bye: there is nothing under way.
    Close(Reason),
    /// End it now.
    Cut(Reason),
}

/// Judges samples of one connection, taken in order of time.
#[derive(Debug)]
pub struct Watch {
    idle_max: Duration,
    header_read_max: Duration,
    stall_max: Duration,
    stall_bytes_min: u64,
    /// Bytes that come in between requests are a head (HTTP/1), not housekeeping (HTTP/2).
    reads_are_heads: bool,
    /// Bytes that had been read before there could be a request (a TLS handshake).
    read_before: u64,
    idle: Option<Idle>,
    /// Since when the client owes us progress, and what it had taken then.
    stall: Option<(Instant, u64)>,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    begun: u64,
    head_since: Option<Instant>,
}

impl Watch {
    /// A connection without a request yet, of which `sample` is known at `now`.
    pub fn new(config: &Config, reads_are_heads: bool, now: Instant, sample: &Sample) -> Self {
        Self {
            idle_max: config.idle_max,
            header_read_max: config.header_read_max,
            stall_max: config.stall_max,
            stall_bytes_min: config.stall_bytes_min,
            reads_are_heads,
            read_before: sample.read,
            idle: Some(Idle { since: now, begun: sample.begun, head_since: None }),
            stall: None,
        }
    }

    /// Whether all that there is of a request is a part of its head, and nothing is owed to the client (HTTP/1).
    pub fn is_amid_head(&self, sample: &Sample) -> bool {
        let beyond_rest = sample.read > sample.read_at_rest.max(self.read_before);
        self.reads_are_heads && sample.in_flight == 0 && !sample.blocked && beyond_rest
    }

    /// Looks once.
    pub fn judge(&mut self, now: Instant, sample: &Sample) -> Verdict {
        let waits_for_client = sample.blocked || (sample.in_flight > 0 && sample.ours == 0);
        match self.stall {
            _ if !waits_for_client => self.stall = None,
            Some((since, written)) if sample.written.saturating_sub(written) < self.stall_bytes_min => {
                let patience = if sample.roomy { self.stall_max * ROOMY_PATIENCE } else { self.stall_max };
                if now.saturating_duration_since(since) >= patience {
                    return Verdict::Cut(Reason::Stalled);
                }
            }
            _ => self.stall = Some((now, sample.written)),
        }
        if sample.in_flight > 0 || sample.blocked {
            self.idle = None;
            return Verdict::Go;
        }
        let amid_head = self.is_amid_head(sample);
        match &mut self.idle {
            Some(idle) if idle.begun == sample.begun => {
                if amid_head {
                    let since = *idle.head_since.get_or_insert(now);
                    if now.saturating_duration_since(since) >= self.header_read_max {
                        return Verdict::Cut(Reason::Header);
                    }
                } else if now.saturating_duration_since(idle.since) >= self.idle_max {
                    return Verdict::Close(Reason::Idle);
                }
            }
            idle => *idle = Some(Idle { since: now, begun: sample.begun, head_since: None }),
        }
        Verdict::Go
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch(start: Instant) -> Watch {
        Watch::new(&Config::default(), true, start, &Sample::default())
    }

    /// The second at which a connection that looks like `sample(second)` is judged, and how; 1000 where it never is.
    fn judged(mut watch: Watch, start: Instant, sample: impl Fn(u64) -> Sample) -> (u64, Verdict) {
        for second in 0..1000 {
            let verdict = watch.judge(start + SECOND * second as u32, &sample(second));
            if verdict != Verdict::Go {
                return (second, verdict);
            }
        }
        (1000, Verdict::Go)
    }

    #[test]
    fn closes_an_idle_connection_and_cuts_a_slow_head() {
        let start = Instant::now();
        assert_eq!(judged(watch(start), start, |_| Sample::default()), (75, Verdict::Close(Reason::Idle)));
        // One byte a second from the tenth on.
        let slow_head = |second: u64| Sample { read: second.saturating_sub(9), ..Sample::default() };
        assert_eq!(judged(watch(start), start, slow_head), (40, Verdict::Cut(Reason::Header)));
        // Idle time counts from the last request: one each 70 s.
        let busy = |second: u64| Sample {
            begun: second / 70,
            read: second / 70,
            read_at_rest: second / 70,
            ..Sample::default()
        };
        assert_eq!(judged(watch(start), start, busy), (1000, Verdict::Go));
        // On HTTP/2 bytes between requests are pings, and do not keep it open.
        let h2 = Watch::new(&Config::default(), false, start, &Sample::default());
        let pings = |second: u64| Sample { read: second, ..Sample::default() };
        assert_eq!(judged(h2, start, pings), (75, Verdict::Close(Reason::Idle)));
    }

    #[test]
    fn cuts_only_who_does_not_take_what_is_there() {
        let start = Instant::now();
        let at = |rate: u64, ours: u32, blocked: bool| {
            move |second: u64| Sample {
                written: second * rate,
                in_flight: 1,
                begun: 1,
                ours,
                blocked,
                ..Sample::default()
            }
        };
        assert_eq!(judged(watch(start), start, at(0, 0, true)), (60, Verdict::Cut(Reason::Stalled)));
        assert_eq!(judged(watch(start), start, at(200, 0, true)), (60, Verdict::Cut(Reason::Stalled)));
        assert_eq!(judged(watch(start), start, at(400, 0, true)), (1000, Verdict::Go));
        // The kernel holds 1 MiB of a client that was fast: at 4 kB/s it takes more after two minutes only.
        let was_fast = |second: u64| Sample {
            written: second / 131 * (512 << 10),
            in_flight: 1,
            begun: 1,
            blocked: true,
            roomy: true,
            ..Sample::default()
        };
        assert_eq!(judged(watch(start), start, was_fast), (1000, Verdict::Go));
        let silent = |_| Sample { written: 0, ..was_fast(0) };
        assert_eq!(judged(watch(start), start, silent), (180, Verdict::Cut(Reason::Stalled)));
        // HTTP/2: the stream's window is shut though the socket is not.
        assert_eq!(judged(watch(start), start, at(0, 0, false)), (60, Verdict::Cut(Reason::Stalled)));
        // The next frame is still being fetched: nobody's fault.
        assert_eq!(judged(watch(start), start, at(0, 1, false)), (1000, Verdict::Go));
        // Our next frame is on its way, but the client does not take the last one.
        assert_eq!(judged(watch(start), start, at(0, 1, true)), (60, Verdict::Cut(Reason::Stalled)));
    }

    #[test]
    fn visits_keep_the_books() {
        let pulse = Arc::new(Pulse::default());
        let visit = Visit::begin(pulse.clone());
        let other = Visit::begin(pulse.clone());
        visit.set_ours(false);
        visit.set_ours(false);
        let sample = pulse.sample();
        assert_eq!((sample.begun, sample.in_flight, sample.ours), (2, 2, 1));
        drop((visit, other));
        let sample = pulse.sample();
        assert_eq!((sample.begun, sample.in_flight, sample.ours), (2, 0, 0));
    }
}
