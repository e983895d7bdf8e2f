//! The planner against a plain model of a link: connections share its rate, an answer takes a round trip, clients ask for
//! one span after the other and read it in order.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::fill::meter::Meter;

const STEP: Duration = Duration::from_millis(10);
const ROUND_TRIP: Duration = Duration::from_millis(50);

struct Extent {
    at: u64,
    end: u64,
    asked: u64,
    begins: Duration,
}

struct Client {
    todo: VecDeque<Span>,
    now: Option<(Span, u64, Duration)>,
}

struct World {
    size: u64,
    connections: usize,
    complete: Complete,
    whole: bool,
    /// The link's rate in bytes a second, at a time.
    link: fn(Duration) -> u64,
    clients: Vec<Client>,
    covered: SpanSet,
    /// Everything that was ever asked for, less what was given back by a cut.
    charged: SpanSet,
    asked: SpanSet,
    pieces: SpanSet,
    extents: Vec<Extent>,
    meter: Meter,
    proven: u64,
    start: Instant,
    clock: Duration,
    longest_silence: Duration,
    asks: usize,
    cuts: usize,
    largest: u64,
}

impl World {
    fn new(size: u64, link: fn(Duration) -> u64, clients: Vec<Vec<Span>>) -> Self {
        let clients = clients.into_iter().map(|todo| Client { todo: todo.into(), now: None }).collect();
        Self {
            size,
            connections: 4,
            complete: Complete::Demand,
            whole: false,
            link,
            clients,
            covered: SpanSet::new(),
            charged: SpanSet::new(),
            asked: SpanSet::new(),
            pieces: SpanSet::new(),
            extents: Vec::new(),
            meter: Meter::default(),
            proven: EXTENT_FIRST,
            start: Instant::now(),
            clock: Duration::ZERO,
            longest_silence: Duration::ZERO,
            asks: 0,
            cuts: 0,
            largest: 0,
        }
    }

    fn look<R>(&self, look: impl FnOnce(&Scene<'_>) -> R) -> R {
        let mut waiting: Vec<Waiting> = self
            .clients
            .iter()
            .filter_map(|client| client.now)
            .map(|(span, at, fed)| Waiting { at, end: span.end(), silent: self.clock.saturating_sub(fed) })
            .filter(|waiting| waiting.at + self.covered.run_at(waiting.at) < waiting.end)
            .collect();
        waiting.sort_by_key(|waiting| std::cmp::Reverse(waiting.silent));
        let flying: Vec<Flying> = self.extents.iter().map(|extent| Flying { at: extent.at, end: extent.end }).collect();
        look(&Scene {
            size: self.size,
            covered: &self.covered,
            flying: &flying,
            waiting: &waiting,
            asked: &self.asked,
            pieces: &self.pieces,
            complete: self.complete,
            whole: self.whole,
            extent: 8 << 20,
            proven: self.proven,
            connections: self.connections,
            rate: self.meter.rate(),
        })
    }

    /// One step of time; `false` once nobody waits and nothing is in flight.
    fn step(&mut self) -> bool {
        for client in &mut self.clients {
            if client.now.is_none()
                && let Some(span) = client.todo.pop_front()
            {
                self.asked.insert(span);
                self.pieces.insert(span.align(PIECE, self.size));
                client.now = Some((span, span.start(), self.clock));
            }
        }
        while self.extents.len() < self.connections
            && let Some(span) = self.look(next)
        {
            assert!(!span.is_empty() && span.end() <= self.size, "{span:?}");
            assert_eq!(self.charged.insert(span), span.len(), "a byte of {span:?} was asked for twice");
            self.asks += 1;
            self.largest = self.largest.max(span.len());
            self.meter.start(self.start + self.clock);
            self.extents.push(Extent {
                at: span.start(),
                end: span.end(),
                asked: span.len(),
                begins: self.clock + ROUND_TRIP,
            });
            let ahead: u64 =
                self.charged.iter().map(|span| self.asked.gaps(span).map(|gap| gap.len()).sum::<u64>()).sum();
            assert!(
                self.look(wants_whole) || ahead <= self.asked.total() / 8,
                "{ahead} bytes read ahead for {} asked",
                self.asked.total()
            );
        }
        let free = self.connections - self.extents.len();
        if let Some((place, end)) = self.look(|scene| relief(scene, free)) {
            let extent = &mut self.extents[place];
            assert!(extent.at <= end && end < extent.end);
            self.charged.remove(Span::new(end, extent.end));
            extent.end = end;
            self.cuts += 1;
            self.proven = (self.proven / 2).max(EXTENT_FIRST);
        }
        self.carry();
        self.clock += STEP;
        self.feed();
        !self.extents.is_empty()
            || self.look(next).is_some()
            || self.clients.iter().any(|client| client.now.is_some() || !client.todo.is_empty())
    }

    fn carry(&mut self) {
        let active = self.extents.iter().filter(|extent| extent.begins <= self.clock).count() as u64;
        let share = (self.link)(self.clock) * STEP.as_millis() as u64 / 1000 / active.max(1);
        for extent in self.extents.iter_mut().filter(|extent| extent.begins <= self.clock) {
            let span = Span::new(extent.at, extent.end.min(extent.at + share));
            assert_eq!(self.covered.insert(span), span.len());
            self.meter.add(self.start + self.clock, span.len());
            extent.at = span.end();
            if extent.at == extent.end {
                self.proven = self.proven.max(extent.asked * 2);
            }
        }
        self.extents.retain(|extent| extent.at < extent.end);
    }

    fn feed(&mut self) {
        for client in &mut self.clients {
            let Some((span, at, fed)) = &mut client.now else {
                continue;
            };
            let run = self.covered.run_at(*at).min(span.end() - *at);
            if run > 0 {
                *at += run;
                *fed = self.clock;
            }
            self.longest_silence = self.longest_silence.max(self.clock.saturating_sub(*fed));
            if *at == span.end() {
                client.now = None;
            }
        }
    }

    fn run(&mut self, limit: Duration) {
        while self.step() {
            assert!(self.clock < limit, "not done after {limit:?}: {} of {} bytes", self.covered.total(), self.size);
        }
        for span in self.asked.iter() {
            assert!(self.covered.covers(&span), "{span:?} was asked for and never came");
        }
    }
}

/// A step of splitmix64.
fn scatter(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn shuffled(size: u64, seed: u64) -> Vec<Span> {
    let mut pieces: Vec<Span> =
        (0..size.div_ceil(PIECE)).map(|piece| Span::new(piece * PIECE, size.min((piece + 1) * PIECE))).collect();
    let mut state = seed;
    for place in (1..pieces.len()).rev() {
        pieces.swap(place, usize::try_from(scatter(&mut state) % (place as u64 + 1)).unwrap());
    }
    pieces
}

/// Deals spans to as many connections, in turn.
fn dealt(spans: &[Span], connections: usize) -> Vec<Vec<Span>> {
    (0..connections).map(|first| spans.iter().skip(first).step_by(connections).copied().collect()).collect()
}

#[test]
fn on_a_thin_link_no_waiting_response_is_silent_for_ten_seconds() {
    for seed in 0..8 {
        let size = 24 << 20;
        let mut world = World::new(size, |_| 250_000, dealt(&shuffled(size, seed), 7));
        world.run(Duration::from_secs(140));
        assert!(world.longest_silence < Duration::from_secs(10), "seed {seed}: {:?}", world.longest_silence);
        assert_eq!(world.covered.total(), size);
    }
}

#[test]
fn however_many_wait_on_a_slow_link_each_gets_its_turn_in_time() {
    for (connections, rate) in [(28, 250_000), (56, 500_000)] {
        let link: fn(Duration) -> u64 = if rate == 250_000 { |_| 250_000 } else { |_| 500_000 };
        let size = 64 << 20;
        let mut world = World::new(size, link, dealt(&shuffled(size, 2), connections));
        world.run(Duration::from_secs(400));
        assert!(world.longest_silence < Duration::from_secs(10), "{connections} wait: {:?}", world.longest_silence);
    }
}

#[test]
fn a_long_extent_gives_way_to_responses_of_other_flights() {
    let (none, flying) = (SpanSet::new(), [Flying { at: 0, end: 8 << 20 }, Flying { at: 8 << 20, end: 9 << 20 }]);
    let scene = |rate| Scene {
        size: 1 << 30,
        covered: &none,
        flying: &flying,
        waiting: &[],
        asked: &none,
        pieces: &none,
        complete: Complete::Demand,
        whole: true,
        extent: 8 << 20,
        proven: 8 << 20,
        connections: 4,
        rate,
    };
    assert_eq!(give_way(&scene(Some(250_000)), Duration::from_secs(3)), Some((0, EXTENT_FLOOR)));
    assert_eq!(give_way(&scene(Some(250_000)), Duration::from_secs(2)), None, "not yet");
    assert_eq!(give_way(&scene(Some(50_000_000)), Duration::from_secs(3)), None, "it will be over soon");
    assert_eq!(give_way(&scene(None), Duration::from_secs(3)), None);
}

#[test]
fn a_link_that_collapses_does_not_leave_a_response_behind_a_long_extent() {
    let size = 256 << 20;
    let link = |time: Duration| if time < Duration::from_secs(8) { 20_000_000 } else { 250_000 };
    // No more than there are connections: beside a crowd extents are short.
    let mut world = World::new(size, link, dealt(&shuffled(size, 3), 4));
    for _ in 0..9000 {
        world.step();
    }
    assert!(world.largest >= 4 << 20, "the fast link has had long extents: {}", world.largest);
    assert!(world.longest_silence < Duration::from_secs(10), "{:?} with {} cuts", world.longest_silence, world.cuts);
}

#[test]
fn a_fast_link_gets_few_large_extents() {
    let size = 400 << 20;
    let mut world = World::new(size, |_| 100_000_000, dealt(&shuffled(size, 1), 56));
    world.run(Duration::from_secs(20));
    assert_eq!((world.covered.total(), world.cuts), (size, 0));
    assert!(world.asks < 400, "{} extents", world.asks);
    assert!(world.largest >= 4 << 20, "{}", world.largest);
}

/// 64 pieces of which all are wanted, on a fast link with 8 connections; `asked` are pieces.
fn all_of_64<R>(asked: &[u64], waiting: &[Waiting], flying: &[Flying], look: impl FnOnce(&Scene<'_>) -> R) -> R {
    let asked: SpanSet = asked.iter().map(|piece| Span::at(piece * PIECE, PIECE)).collect();
    look(&Scene {
        size: 64 * PIECE,
        covered: &SpanSet::new(),
        flying,
        waiting,
        asked: &asked,
        pieces: &asked,
        complete: Complete::Demand,
        whole: true,
        extent: 8 << 20,
        proven: 8 << 20,
        connections: 8,
        rate: Some(100_000_000),
    })
}

/// A response that waits for a piece.
fn waits_for(piece: u64, silent: Duration) -> Waiting {
    Waiting { at: piece * PIECE, end: (piece + 1) * PIECE, silent }
}

#[test]
fn a_lone_response_has_the_link_to_itself_until_it_is_fed_or_starves() {
    let flying = [Flying { at: 31 * PIECE, end: 32 * PIECE }];
    let beside = |waiting: &[Waiting]| all_of_64(&[31], waiting, &flying, next);
    let blink = Duration::from_millis(10);
    assert_eq!(beside(&[waits_for(31, blink)]), None);
    assert_eq!(beside(&[]), Some(Span::new(0, 8 * PIECE)), "it has its bytes");
    assert!(beside(&[waits_for(31, Duration::from_secs(1))]).is_some(), "its connection may be dead");
    assert!(beside(&[waits_for(31, blink); 3]).is_some(), "that many are not alone");
    assert_eq!(
        beside(&[waits_for(40, blink)]),
        Some(Span::at(40 * PIECE, 8 * PIECE)),
        "what it waits for is asked for"
    );
}

#[test]
fn beside_a_crowd_extents_end_with_what_somebody_waits_for() {
    let front = [Flying { at: 0, end: 8 * PIECE }, Flying { at: 8 * PIECE, end: 16 * PIECE }];
    let waiting: Vec<Waiting> = (0..12).map(|at| waits_for(20 + 3 * at, Duration::ZERO)).collect();
    let asked: Vec<u64> = (0..12).map(|at| 20 + 3 * at).collect();
    assert_eq!(all_of_64(&asked, &waiting, &front, next), Some(Span::at(20 * PIECE, PIECE)));
    assert_eq!(all_of_64(&asked, &waiting[..8], &front, next), Some(Span::at(20 * PIECE, 8 * PIECE)), "no crowd");
    assert_eq!(
        all_of_64(&asked, &waiting, &front[..1], next),
        Some(Span::at(8 * PIECE, 8 * PIECE)),
        "the hashing's share"
    );
}

#[test]
fn a_part_of_a_large_object_costs_little_more_than_that_part() {
    let size: u64 = 4 << 30;
    let part: Vec<Span> = shuffled(size, 5).into_iter().take(123).collect();
    let mut world = World::new(size, |_| 50_000_000, dealt(&part, 7));
    world.run(Duration::from_mins(1));
    assert!(world.charged.total() <= 123 * PIECE * 9 / 8, "{} bytes", world.charged.total());
}

#[test]
fn the_whole_is_wanted_by_half_of_the_pieces_by_a_small_rest_or_by_policy() {
    let size: u64 = 1 << 30;
    let (none, half) = (SpanSet::new(), [Span::new(0, size / 2)].into_iter().collect::<SpanSet>());
    let almost: SpanSet = [Span::new(0, size - SMALL_REST + 1)].into_iter().collect();
    let one: SpanSet = [Span::new(0, 1)].into_iter().collect();
    let piece: SpanSet = [Span::new(0, PIECE)].into_iter().collect();
    let ask = |complete, whole, covered: &SpanSet, asked: &SpanSet, pieces: &SpanSet| {
        wants_whole(&Scene {
            size,
            covered,
            flying: &[],
            waiting: &[],
            asked,
            pieces,
            complete,
            whole,
            extent: 8 << 20,
            proven: 0,
            connections: 4,
            rate: None,
        })
    };
    assert!(!ask(Complete::Demand, false, &none, &one, &piece));
    assert!(ask(Complete::Demand, false, &none, &one, &half));
    assert!(ask(Complete::Demand, false, &almost, &one, &piece));
    assert!(!ask(Complete::Never, false, &almost, &one, &half));
    assert!(ask(Complete::Never, true, &none, &none, &none));
    assert!(ask(Complete::Always, false, &none, &one, &piece));
    assert!(!ask(Complete::Always, false, &none, &none, &none), "a HEAD fetches nothing");
}

#[test]
fn never_means_nothing_beyond_what_was_asked_for() {
    let size = 32 << 20;
    let mut world = World::new(size, |_| 10_000_000, vec![vec![Span::new(0, 20 << 20), Span::new(25 << 20, 26 << 20)]]);
    world.complete = Complete::Never;
    world.run(Duration::from_secs(30));
    assert_eq!(world.charged.total(), 21 << 20);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever is asked, in whatever order, at whatever rate: it comes, no byte is asked for twice (asserted in the
    /// model), and read-ahead stays within its bound (asserted there too).
    #[test]
    fn every_demand_is_met(
        seed in any::<u64>(),
        mebibytes in 1_u64..200,
        connections in 1_usize..20,
        rate in 0_usize..5,
        never in any::<bool>(),
        count in 1_usize..40,
    ) {
        const LINKS: [fn(Duration) -> u64; 5] =
            [|_| 200_000, |_| 1_000_000, |_| 8_000_000, |_| 120_000_000, |time| if time.as_millis() % 7000 < 2000 { 100_000 } else { 5_000_000 }];
        let size = mebibytes * PIECE - seed % PIECE;
        let mut state = seed;
        let spans: Vec<Span> = (0..count)
            .map(|_| {
                let start = scatter(&mut state) % size;
                Span::at(start, 1 + scatter(&mut state) % (2 * PIECE)).intersect(&Span::new(0, size))
            })
            .collect();
        let mut world = World::new(size, LINKS[rate], dealt(&spans, connections));
        world.complete = if never { Complete::Never } else { Complete::Demand };
        world.run(Duration::from_secs(4000));
        if !never && world.look(wants_whole) {
            prop_assert_eq!(world.covered.total(), size);
        }
    }
}

#[test]
fn on_a_fast_link_the_front_is_filled_beside_scattered_demands() {
    let (size, asked) = (512 * PIECE, [Span::new(0, 512 * PIECE)].into_iter().collect());
    let waiting: Vec<Waiting> = (0..56)
        .map(|number| Span::at((200 + 5 * number) * PIECE, PIECE))
        .map(|span| Waiting { at: span.start(), end: span.end(), silent: Duration::ZERO })
        .collect();
    let fly = |rate| {
        let (mut flying, covered) = (Vec::new(), SpanSet::new());
        for _ in 0..8 {
            let scene = Scene {
                size,
                covered: &covered,
                flying: &flying,
                waiting: &waiting,
                asked: &asked,
                pieces: &asked,
                complete: Complete::Demand,
                whole: false,
                extent: 8 << 20,
                proven: 8 << 20,
                connections: 8,
                rate: Some(rate),
            };
            let span = next(&scene).unwrap();
            flying.push(Flying { at: span.start(), end: span.end() });
        }
        flying.iter().filter(|flying| flying.at < 200 * PIECE).count()
    };
    assert_eq!((fly(120_000_000), fly(20_000_000)), (2, 0));
}
