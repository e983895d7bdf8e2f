//! All gates, and everyone who stands before one. Pure: time and rules come from the caller, who also wakes and waits.
//!
//! A flow goes through its gates from the narrow one to the wide one: its network's and then its class's; or its class's,
//! the one that gives way, and the site's link. Each lets a grain through at most; what an earlier gate counted more than a
//! later one let through is given back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ipnet::IpNet;

use crate::base::time::Timestamp;
use crate::pace::class::Class;
use crate::pace::config::Config;
use crate::pace::gate::{Gate, Place};
use crate::pace::lane::Lane;
use crate::pace::limit::Limit;
use crate::pace::schedule::Standing;

/// Networks with a bucket of their own at a time: one costs some 200 bytes, and 4096 are more than a site has. Where more
/// are at work at once, the rest of a rule's networks share one.
pub(super) const PARTS_MAX: usize = 4096;

/// A network's bucket that nobody has used for so long is forgotten; it is full by then.
const PART_IDLE: Duration = Duration::from_secs(30);

/// Who wants bytes to flow.
#[derive(Clone, Debug)]
pub(super) enum Who {
    /// A fetch, whose class may change while it goes on.
    Fetch(Lane),
    /// An answer to a client.
    Client(IpAddr),
    /// An answer to a child node.
    Node,
}

impl Who {
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Fetch(lane) => lane.class(),
            Self::Client(_) => Class::Clients,
            Self::Node => Class::Nodes,
        }
    }
}

/// A part of a network: the rule's number, and the part.
type Part = (usize, IpNet);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Part(Part),
    Class(Class),
    GiveWay,
    Link,
}

/// The gates of one flow; three at the most.
type Path = [Option<Stage>; 3];

#[derive(Debug)]
struct Ticket {
    who: Who,
    class: Class,
    path: Path,
    /// The gate that it stands before.
    at: usize,
    /// Changes with every place that it takes.
    turn: u32,
    /// Bytes that may go so far.
    want: u64,
    /// What was asked for.
    asked: u64,
    /// What each gate has counted.
    paid: [u64; 3],
    through: bool,
    waker: Waker,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct State {
    config: Arc<Config>,
    standings: [Standing; Class::ALL.len()],
    /// What is in force for each rule of a network, in the order of the rules.
    parts_limits: Vec<Standing>,
    classes: [Gate; Class::ALL.len()],
    give_way: Gate,
    parts: HashMap<Part, Gate>,
    /// Those parts that somebody stands before.
    parts_busy: BTreeSet<Part>,
    /// Those who stood before a part that is no more, first come first.
    homeless: BTreeSet<u64>,
    tickets: HashMap<u64, Ticket>,
    next: u64,
}

impl State {
    /// Without any rule.
    pub(super) fn new() -> Self {
        let open = || Gate::new(Limit::Unlimited, Duration::ZERO);
        let standing = Standing { limit: Limit::Unlimited, rule: None, until: None, then: Limit::Unlimited };
        Self {
            config: Arc::default(),
            standings: std::array::from_fn(|_| standing.clone()),
            parts_limits: Vec::new(),
            classes: std::array::from_fn(|_| open()),
            give_way: open(),
            parts: HashMap::new(),
            parts_busy: BTreeSet::new(),
            homeless: BTreeSet::new(),
            tickets: HashMap::new(),
            next: 0,
        }
    }

    pub(super) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(super) fn standing(&self, class: Class) -> &Standing {
        &self.standings[class.index()]
    }

    /// How many stand before the gate of a class, and, for the link, how many fetches do.
    pub(super) fn waiting(&self, class: Class) -> usize {
        match class {
            Class::Clients => {
                self.classes[class.index()].waiting() + self.parts.values().map(Gate::waiting).sum::<usize>()
            }
            class => self.classes[class.index()].waiting(),
        }
    }

    /// Parts of networks that have a bucket, and clients that stand before them, by the rule's number.
    pub(super) fn parts(&self) -> BTreeMap<usize, (usize, usize)> {
        let mut parts = BTreeMap::new();
        for ((rule, _), gate) in &self.parts {
            let (count, waiting) = parts.entry(*rule).or_insert((0, 0));
            *count += 1;
            *waiting += gate.waiting();
        }
        parts
    }

    /// Takes other rules. They hold from the next [`State::look_at_the_clock`] on, which must follow at once.
    pub(super) fn set_config(&mut self, config: Arc<Config>) {
        if self.config.networks != config.networks {
            self.parts_limits.clear();
            self.parts_busy.clear();
            let places: Vec<Place> =
                std::mem::take(&mut self.parts).into_values().flat_map(|mut gate| gate.clear()).collect();
            let there = places.into_iter().filter(|place| self.is_there(*place)).map(|place| place.id);
            let homeless: BTreeSet<u64> = there.collect();
            for id in &homeless {
                if let Some(ticket) = self.tickets.get_mut(id) {
                    // It stands nowhere, so that no line is told that it has left.
                    ticket.at = ticket.path.len();
                }
            }
            self.homeless.extend(homeless);
        }
        self.config = config;
    }

    /// Sees which rules are in force at `wall`, and when that changes next.
    pub(super) fn look_at_the_clock(
        &mut self,
        wall: Timestamp,
        now: Duration,
        woken: &mut Vec<Waker>,
    ) -> Option<Timestamp> {
        let config = Arc::clone(&self.config);
        let mut next: Option<Timestamp> = None;
        let mut soonest = |standing: &Standing| {
            next = [next, standing.until].into_iter().flatten().min();
        };
        for class in Class::ALL {
            let standing = config.class(class).standing(&config.zone, wall);
            soonest(&standing);
            self.classes[class.index()].set(standing.limit, now);
            self.standings[class.index()] = standing;
        }
        self.parts_limits = config
            .networks
            .iter()
            .map(|rule| {
                let standing = rule.schedule.standing(&config.zone, wall);
                soonest(&standing);
                standing
            })
            .collect();
        for ((rule, _), gate) in &mut self.parts {
            let limit = self.parts_limits.get(*rule).map_or(Limit::Unlimited, |standing| standing.limit);
            gate.set(limit, now);
        }
        for id in std::mem::take(&mut self.homeless) {
            self.begin_again(id, now, woken);
        }
        next
    }

    /// How fast what nobody waits for may go, by what the way to the origins says.
    pub(super) fn set_give_way(&mut self, cap: Option<u64>, now: Duration) {
        self.give_way.set(cap.map_or(Limit::Unlimited, Limit::Rate), now);
    }

    /// The classes that have to come here, as bits.
    pub(super) fn governed(&self) -> u8 {
        let link = self.classes[Class::Upstream.index()].limit().is_limited();
        let gives_way = self.give_way.limit().is_limited();
        let limited = |class: Class| {
            self.classes[class.index()].limit().is_limited()
                || (class.is_fetched() && link)
                || (class.is_background() && gives_way)
                || (class == Class::Clients && self.parts_limits.iter().any(|standing| standing.limit.is_limited()))
        };
        Class::ALL.into_iter().filter(|class| limited(*class)).fold(0, |bits, class| bits | class.bit())
    }

    /// The classes that are paused, as bits.
    pub(super) fn paused(&self) -> u8 {
        let paused = |class: &Class| self.classes[class.index()].limit() == Limit::Paused;
        Class::ALL.into_iter().filter(paused).fold(0, |bits, class| bits | class.bit())
    }

    /// Asks for `want` bytes: how many may go at once, or a ticket.
    pub(super) fn enter(&mut self, who: &Who, want: u64, now: Duration, cx: &Context<'_>) -> Result<u64, u64> {
        let class = who.class();
        let path = self.path(who, class, now);
        let id = self.next;
        self.next += 1;
        let mut ticket = Ticket {
            who: who.clone(),
            class,
            path,
            at: 0,
            turn: 0,
            want,
            asked: want,
            paid: [0; 3],
            through: false,
            waker: cx.waker().clone(),
        };
        if self.go_on(id, &mut ticket, now) {
            return Ok(ticket.want);
        }
        self.tickets.insert(id, ticket);
        Err(id)
    }

    /// Looks whether a ticket is through; if so it is used up.
    pub(super) fn poll(&mut self, id: u64, cx: &Context<'_>) -> Poll<u64> {
        match self.tickets.get_mut(&id) {
            Some(ticket) if !ticket.through => {
                ticket.waker.clone_from(cx.waker());
                return Poll::Pending;
            }
            _ => {}
        }
        // A ticket that is not known stands for nothing that could be waited for.
        Poll::Ready(self.tickets.remove(&id).map_or(0, |ticket| ticket.want))
    }

    /// Whoever held the ticket does not want it any more.
    pub(super) fn leave(&mut self, id: u64) {
        let Some(ticket) = self.tickets.remove(&id) else { return };
        if !ticket.through {
            self.forget_place(&ticket);
        }
        self.give_back(&ticket, 0);
    }

    /// Lets through whoever may go now; when the next one may.
    pub(super) fn serve(&mut self, now: Duration, woken: &mut Vec<Waker>) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        // From the narrow gates to the wide ones, so that who has passed one is seen by the next in the same round.
        let parts: Vec<Part> = self.parts_busy.iter().copied().collect();
        let classes = [Class::Clients, Class::Nodes, Class::Sync, Class::Prefetch, Class::Demand].map(Stage::Class);
        let stages = parts.into_iter().map(Stage::Part).chain(classes).chain([Stage::GiveWay, Stage::Link]);
        for stage in stages {
            let due = self.serve_one(stage, now, woken);
            if let (Stage::Part(part), None) = (stage, due)
                && self.parts.get(&part).is_none_or(|gate| gate.waiting() == 0)
            {
                self.parts_busy.remove(&part);
            }
            next = [next, due].into_iter().flatten().min();
        }
        next
    }

    fn serve_one(&mut self, stage: Stage, now: Duration, woken: &mut Vec<Waker>) -> Option<Duration> {
        loop {
            let tickets = &self.tickets;
            let wants = |place: Place| {
                let ticket = tickets.get(&place.id)?;
                (ticket.turn == place.turn && !ticket.through).then_some(ticket.want)
            };
            let gate = match stage {
                Stage::Part(part) => self.parts.get_mut(&part)?,
                Stage::Class(class) => &mut self.classes[class.index()],
                Stage::GiveWay => &mut self.give_way,
                Stage::Link => &mut self.classes[Class::Upstream.index()],
            };
            let Some((place, bytes)) = gate.serve(wants, now) else { return gate.due(now) };
            if let Some(mut ticket) = self.tickets.remove(&place.id) {
                ticket.pass(bytes);
                if self.go_on(place.id, &mut ticket, now) {
                    ticket.through = true;
                    woken.push(ticket.waker.clone());
                }
                self.tickets.insert(place.id, ticket);
            }
        }
    }

    /// Moves those whose class has changed while they stood in line to the line of their new one.
    pub(super) fn change_lanes(&mut self, now: Duration, woken: &mut Vec<Waker>) {
        let moved =
            |(id, ticket): (&u64, &Ticket)| (!ticket.through && ticket.who.class() != ticket.class).then_some(*id);
        let mut moved: Vec<u64> = self.tickets.iter().filter_map(moved).collect();
        moved.sort_unstable();
        for id in moved {
            self.begin_again(id, now, woken);
        }
    }

    /// Lets everyone through, for good.
    pub(super) fn open_all(&mut self, now: Duration, woken: &mut Vec<Waker>) {
        self.set_config(Arc::default());
        self.look_at_the_clock(Timestamp::default(), now, woken);
        self.set_give_way(None, now);
        self.serve(now, woken);
    }

    /// Forgets networks that have been at rest for a while.
    pub(super) fn sweep(&mut self, now: Duration) {
        self.parts.retain(|_, gate| now.saturating_sub(gate.used()) < PART_IDLE || !gate.is_at_rest(now));
    }

    /// From the first gate on again; what the gates had counted is given back.
    fn begin_again(&mut self, id: u64, now: Duration, woken: &mut Vec<Waker>) {
        let Some(mut ticket) = self.tickets.remove(&id) else { return };
        self.forget_place(&ticket);
        self.give_back(&ticket, 0);
        ticket.class = ticket.who.class();
        ticket.path = self.path(&ticket.who.clone(), ticket.class, now);
        ticket.at = 0;
        ticket.want = ticket.asked;
        ticket.paid = [0; 3];
        if self.go_on(id, &mut ticket, now) {
            ticket.through = true;
            woken.push(ticket.waker.clone());
        }
        self.tickets.insert(id, ticket);
    }

    /// Through as many gates as let it; `false` where it stands before one.
    fn go_on(&mut self, id: u64, ticket: &mut Ticket, now: Duration) -> bool {
        while let Some(step) = ticket.path.get(ticket.at).copied() {
            let background = ticket.class.is_background();
            let Some((stage, gate)) = step.and_then(|stage| Some((stage, self.gate(stage)?))) else {
                ticket.at += 1;
                continue;
            };
            let Some(bytes) = gate.pass(ticket.want, now) else {
                ticket.turn = ticket.turn.wrapping_add(1);
                gate.stand(Place { id, turn: ticket.turn }, background);
                if let Stage::Part(part) = stage {
                    self.parts_busy.insert(part);
                }
                return false;
            };
            ticket.pass(bytes);
        }
        self.give_back(ticket, ticket.want);
        ticket.paid = [ticket.want; 3];
        true
    }

    /// What the gates counted beyond `used`.
    fn give_back(&mut self, ticket: &Ticket, used: u64) {
        for (stage, paid) in ticket.path.iter().zip(ticket.paid) {
            if let Some(gate) = stage.and_then(|stage| self.gate(stage)) {
                gate.give_back(paid.saturating_sub(used));
            }
        }
    }

    fn forget_place(&mut self, ticket: &Ticket) {
        let Some(stage) = ticket.path.get(ticket.at).copied().flatten() else { return };
        let tickets = &self.tickets;
        let is_there =
            |place: Place| tickets.get(&place.id).is_some_and(|ticket| ticket.turn == place.turn && !ticket.through);
        let gate = match stage {
            Stage::Part(part) => self.parts.get_mut(&part),
            Stage::Class(class) => Some(&mut self.classes[class.index()]),
            Stage::GiveWay => Some(&mut self.give_way),
            Stage::Link => Some(&mut self.classes[Class::Upstream.index()]),
        };
        if let Some(gate) = gate {
            gate.leave(is_there);
        }
    }

    fn is_there(&self, place: Place) -> bool {
        self.tickets.get(&place.id).is_some_and(|ticket| ticket.turn == place.turn && !ticket.through)
    }

    fn gate(&mut self, stage: Stage) -> Option<&mut Gate> {
        match stage {
            Stage::Part(part) => self.parts.get_mut(&part),
            Stage::Class(class) => Some(&mut self.classes[class.index()]),
            Stage::GiveWay => Some(&mut self.give_way),
            Stage::Link => Some(&mut self.classes[Class::Upstream.index()]),
        }
    }

    /// The gates that a flow goes through.
    fn path(&mut self, who: &Who, class: Class, now: Duration) -> Path {
        let own = Some(Stage::Class(class)).filter(|_| class != Class::Upstream);
        match who {
            Who::Fetch(_) if class.is_background() => [own, Some(Stage::GiveWay), Some(Stage::Link)],
            Who::Fetch(_) => [own, Some(Stage::Link), None],
            Who::Client(client) => [self.part(*client, now).map(Stage::Part), own, None],
            Who::Node => [own, None, None],
        }
    }

    /// The part of a network that a client belongs to, with a gate before it.
    fn part(&mut self, client: IpAddr, now: Duration) -> Option<Part> {
        let mut rules = self.config.networks.iter().enumerate();
        let (at, network, part) = rules.find_map(|(at, rule)| Some((at, rule.network, rule.part_of(client)?)))?;
        if self.parts.contains_key(&(at, part)) {
            return Some((at, part));
        }
        if self.parts.len() >= PARTS_MAX {
            self.sweep(now);
        }
        // The network itself is a part of none of its divisions, so that it can stand for the rest of them.
        let part = if self.parts.len() >= PARTS_MAX { network } else { part };
        let limit = self.parts_limits.get(at).map_or(Limit::Unlimited, |standing| standing.limit);
        self.parts.entry((at, part)).or_insert_with(|| Gate::new(limit, now));
        Some((at, part))
    }

    /// Everyone who stands in line or has a ticket that is not used up.
    #[cfg(test)]
    pub(super) fn tickets(&self) -> usize {
        self.tickets.len()
    }
}

impl Ticket {
    /// The gate before it has let `bytes` through.
    fn pass(&mut self, bytes: u64) {
        self.want = self.want.min(bytes);
        if let Some(paid) = self.paid.get_mut(self.at) {
            *paid = bytes;
        }
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pace::Governor;
    use crate::pace::network::NetworkRule;

    #[derive(Clone, Debug)]
    enum Op {
        Enter(u8, u64),
        Leave(usize),
        Poll(usize),
        Advance(u64),
        Rules(u8),
        Lane(u8, u8),
        GiveWay(bool),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0_u8..8, 1_u64..2_000_000).prop_map(|(who, want)| Op::Enter(who, want)),
            2 => (0_usize..64).prop_map(Op::Leave),
            2 => (0_usize..64).prop_map(Op::Poll),
            3 => (0_u64..3_000).prop_map(Op::Advance),
            1 => (0_u8..5).prop_map(Op::Rules),
            1 => (0_u8..3, 0_u8..3).prop_map(|(lane, class)| Op::Lane(lane, class)),
            1 => any::<bool>().prop_map(Op::GiveWay),
        ]
    }

    fn rules(number: u8) -> Arc<Config> {
        let with = |rules: &[(Class, &str)], networks: &[&str]| {
            let mut config = Config::default();
            for (class, rule) in rules {
                config = config.with(*class, &[rule]).unwrap();
            }
            config.networks = NetworkRule::parse_all(networks).unwrap();
            Arc::new(config)
        };
        match number {
            0 => with(&[], &[]),
            1 => {
                with(&[(Class::Clients, "64 kbit/s"), (Class::Prefetch, "paused")], &["10.0.0.0/8 each /32: 32 kbit/s"])
            }
            2 => with(&[(Class::Upstream, "1 Mbit/s"), (Class::Demand, "2 Mbit/s")], &["10.0.0.0/8: 1 Mbit/s"]),
            3 => with(&[(Class::Nodes, "8 Mbit/s"), (Class::Sync, "paused")], &["10.0.0.0/8 each /32: 64 kbit/s"]),
            _ => with(&[(Class::Upstream, "80 Mbit/s"), (Class::Prefetch, "100 kbit/s")], &[]),
        }
    }

    impl State {
        /// Each line knows exactly those who stand in it.
        fn check(&mut self) {
            let mut standing: BTreeMap<Stage, usize> = BTreeMap::new();
            for ticket in self.tickets.values().filter(|ticket| !ticket.through) {
                *standing.entry(ticket.path[ticket.at].expect("it stands somewhere")).or_default() += 1;
            }
            let classes =
                Class::ALL.map(|class| if class == Class::Upstream { Stage::Link } else { Stage::Class(class) });
            let parts: Vec<Stage> = self.parts.keys().map(|part| Stage::Part(*part)).collect();
            for stage in classes.into_iter().chain([Stage::GiveWay]).chain(parts) {
                let waiting = self.gate(stage).unwrap().waiting();
                assert_eq!(waiting, standing.remove(&stage).unwrap_or(0), "before {stage:?}");
                if let Stage::Part(part) = stage {
                    assert!(waiting == 0 || self.parts_busy.contains(&part));
                }
            }
            assert!(standing.is_empty(), "before gates that are no more: {standing:?}");
        }
    }

    proptest! {
        /// Whatever comes, leaves, changes its class or gets other rules: nobody is lost in a line, and nobody is left over.
        #[test]
        fn every_line_knows_who_stands_in_it(ops in proptest::collection::vec(op(), 1..120)) {
            let governor = Governor::default();
            let lanes = [Class::Sync, Class::Prefetch, Class::Demand].map(|class| Lane::new(governor.clone(), class));
            let who = |number: u8| match number {
                0..=2 => Who::Fetch(lanes[usize::from(number)].clone()),
                3 => Who::Node,
                _ => Who::Client([10, 0, 0, number].into()),
            };
            let cx = Context::from_waker(Waker::noop());
            let (mut state, mut now, mut woken) = (State::new(), Duration::ZERO, Vec::new());
            let mut tickets: Vec<u64> = Vec::new();
            for op in ops {
                match op {
                    Op::Enter(number, want) => match state.enter(&who(number), want, now, &cx) {
                        Ok(got) => prop_assert!(got > 0 && got <= want),
                        Err(ticket) => tickets.push(ticket),
                    },
                    Op::Leave(at) if at < tickets.len() => state.leave(tickets.swap_remove(at)),
                    Op::Poll(at) if at < tickets.len() => {
                        if let Poll::Ready(got) = state.poll(tickets[at], &cx) {
                            prop_assert!(got > 0);
                            tickets.swap_remove(at);
                        }
                    }
                    Op::Leave(_) | Op::Poll(_) => {}
                    Op::Advance(ms) => {
                        now += Duration::from_millis(ms);
                        state.sweep(now);
                    }
                    Op::Rules(number) => {
                        state.set_config(rules(number));
                        state.look_at_the_clock(Timestamp::default(), now, &mut woken);
                    }
                    Op::Lane(lane, class) => {
                        lanes[usize::from(lane)].set([Class::Sync, Class::Prefetch, Class::Demand][usize::from(class)]);
                        state.change_lanes(now, &mut woken);
                    }
                    Op::GiveWay(on) => state.set_give_way(on.then_some(64_000), now),
                }
                let due = state.serve(now, &mut woken);
                prop_assert!(due.is_none_or(|due| due > now));
                state.check();
            }
            state.open_all(now, &mut woken);
            state.check();
            for ticket in tickets {
                prop_assert!(state.poll(ticket, &cx).is_ready());
            }
            prop_assert_eq!(state.tickets(), 0);
        }
    }
}
