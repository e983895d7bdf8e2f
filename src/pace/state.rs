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

use crate::base::time::Timestamp;
use crate::pace::class::Class;
use crate::pace::config::Config;
use crate::pace::gate::{Gate, Place};
use crate::pace::gates::Gates;
use crate::pace::limit::Limit;
use crate::pace::network::NetworkRule;
use crate::pace::schedule::Standing;
use crate::pace::ticket::{Part, Path, Stage, Ticket, Who};

/// Networks with a bucket of their own at a time: one costs some 200 bytes, and 4096 are more than a site has. Where more
/// are at work at once, the rest of a rule's networks share one.
pub(super) const PARTS_MAX: usize = 4096;

/// A network's bucket that nobody has used for so long is forgotten; it is full by then.
const PART_IDLE: Duration = Duration::from_secs(30);

/// How often parts at rest are looked for where there is room for no more of them.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What the rules say at one time. To find that out takes the longer the more rules there are, up to tens of milliseconds: it is
/// made where nobody waits for it, and then put in force.
#[derive(Debug)]
pub(super) struct InForce {
    /// Whose rules these are.
    pub(super) config: Arc<Config>,
    /// When.
    pub(super) wall: Timestamp,
    classes: [Standing; Class::ALL.len()],
    networks: Vec<Standing>,
    /// When that changes.
    pub(super) next: Option<Timestamp>,
}

impl InForce {
    /// Under `config` at `wall`.
    pub(super) fn of(config: &Arc<Config>, wall: Timestamp) -> Self {
        let classes = Class::ALL.map(|class| config.class(class).standing(&config.zone, wall));
        let network = |rule: &NetworkRule| rule.schedule.standing(&config.zone, wall);
        let networks: Vec<Standing> = config.networks.iter().map(network).collect();
        let next = classes.iter().chain(&networks).filter_map(|standing| standing.until).min();
        Self { config: Arc::clone(config), wall, classes, networks, next }
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct State {
    config: Arc<Config>,
    standings: [Standing; Class::ALL.len()],
    /// What is in force for each rule of a network, in the order of the rules.
    parts_limits: Vec<Standing>,
    gates: Gates,
    /// Those parts that somebody stands before.
    parts_busy: BTreeSet<Part>,
    /// Those who stood before a part that is no more, first come first.
    homeless: BTreeSet<u64>,
    tickets: HashMap<u64, Ticket>,
    next: u64,
    /// When it was last made room for parts.
    swept: Option<Duration>,
}

impl State {
    /// Without any rule.
    pub(super) fn new() -> Self {
        let standing = Standing { limit: Limit::Unlimited, rule: None, until: None, then: Limit::Unlimited };
        Self {
            config: Arc::default(),
            standings: std::array::from_fn(|_| standing.clone()),
            parts_limits: Vec::new(),
            gates: Gates::open(),
            parts_busy: BTreeSet::new(),
            homeless: BTreeSet::new(),
            tickets: HashMap::new(),
            next: 0,
            swept: None,
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
                self.gates.classes[class.index()].waiting()
                    + self.gates.parts.values().map(Gate::waiting).sum::<usize>()
            }
            class => self.gates.classes[class.index()].waiting(),
        }
    }

    /// Parts of networks that have a bucket, and clients that stand before them, by the rule's number.
    pub(super) fn parts(&self) -> BTreeMap<usize, (usize, usize)> {
        let mut parts = BTreeMap::new();
        for ((rule, _), gate) in &self.gates.parts {
            let (count, waiting) = parts.entry(*rule).or_insert((0, 0));
            *count += 1;
            *waiting += gate.waiting();
        }
        parts
    }

    /// Takes other rules. They hold from the next [`State::put_in_force`] on, which must follow at once.
    pub(super) fn set_config(&mut self, config: Arc<Config>) {
        if self.config.networks != config.networks {
            self.parts_limits.clear();
            self.parts_busy.clear();
            let places: Vec<Place> =
                std::mem::take(&mut self.gates.parts).into_values().flat_map(|mut gate| gate.clear()).collect();
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

    /// Puts in force what the rules say. Where they are no longer those of this state, nothing happens: whoever replaced them
    /// put in force what the new ones say.
    pub(super) fn put_in_force(&mut self, found: InForce, now: Duration, woken: &mut Vec<Waker>) {
        if !Arc::ptr_eq(&found.config, &self.config) {
            return;
        }
        for class in Class::ALL {
            self.gates.classes[class.index()].set(found.classes[class.index()].limit, now);
        }
        self.standings = found.classes;
        self.parts_limits = found.networks;
        for ((rule, _), gate) in &mut self.gates.parts {
            let limit = self.parts_limits.get(*rule).map_or(Limit::Unlimited, |standing| standing.limit);
            gate.set(limit, now);
        }
        for id in std::mem::take(&mut self.homeless) {
            self.begin_again(id, now, woken);
        }
    }

    /// How fast what nobody waits for may go, by what the way to the origins says.
    pub(super) fn set_give_way(&mut self, cap: Option<u64>, now: Duration) {
        self.gates.give_way.set(cap.map_or(Limit::Unlimited, Limit::Rate), now);
    }

    /// The classes that have to come here, as bits.
    pub(super) fn governed(&self) -> u8 {
        let link = self.gates.classes[Class::Upstream.index()].limit().is_limited();
        let gives_way = self.gates.give_way.limit().is_limited();
        let limited = |class: Class| {
            self.gates.classes[class.index()].limit().is_limited()
                || (class.is_fetched() && link)
                || (class.is_background() && gives_way)
                || (class == Class::Clients && self.parts_limits.iter().any(|standing| standing.limit.is_limited()))
        };
        Class::ALL.into_iter().filter(|class| limited(*class)).fold(0, |bits, class| bits | class.bit())
    }

    /// The classes that are paused, as bits.
    pub(super) fn paused(&self) -> u8 {
        let paused = |class: &Class| self.gates.classes[class.index()].limit() == Limit::Paused;
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
        let classes = [Class::Clients, Class::Nodes, Class::Sync, Class::Prefetch, Class::Definitions, Class::Demand];
        let classes = classes.map(Stage::Class);
        let stages = parts.into_iter().map(Stage::Part).chain(classes).chain([Stage::GiveWay, Stage::Link]);
        for stage in stages {
            let due = self.serve_one(stage, now, woken);
            if let (Stage::Part(part), None) = (stage, due)
                && self.gates.parts.get(&part).is_none_or(|gate| gate.waiting() == 0)
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
            let gate = self.gates.of(stage)?;
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
        self.put_in_force(InForce::of(&Arc::clone(&self.config), Timestamp::default()), now, woken);
        self.set_give_way(None, now);
        self.serve(now, woken);
    }

    /// Forgets networks that have been at rest for a while.
    pub(super) fn sweep(&mut self, now: Duration) {
        self.gates.parts.retain(|_, gate| now.saturating_sub(gate.used()) < PART_IDLE || !gate.is_at_rest(now));
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
            let Some((stage, gate)) = step.and_then(|stage| Some((stage, self.gates.of(stage)?))) else {
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
            if let Some(gate) = stage.and_then(|stage| self.gates.of(stage)) {
                gate.give_back(paid.saturating_sub(used));
            }
        }
    }

    fn forget_place(&mut self, ticket: &Ticket) {
        let Some(stage) = ticket.path.get(ticket.at).copied().flatten() else { return };
        let tickets = &self.tickets;
        let is_there =
            |place: Place| tickets.get(&place.id).is_some_and(|ticket| ticket.turn == place.turn && !ticket.through);
        if let Some(gate) = self.gates.of(stage) {
            gate.leave(is_there);
        }
    }

    fn is_there(&self, place: Place) -> bool {
        self.tickets.get(&place.id).is_some_and(|ticket| ticket.turn == place.turn && !ticket.through)
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
        if self.gates.parts.contains_key(&(at, part)) {
            return Some((at, part));
        }
        let is_due = |swept| now.saturating_sub(swept) >= SWEEP_EVERY;
        if self.gates.parts.len() >= PARTS_MAX && self.swept.is_none_or(is_due) {
            self.swept = Some(now);
            self.sweep(now);
        }
        // The network itself is a part of none of its divisions, so that it can stand for the rest of them.
        let part = if self.gates.parts.len() >= PARTS_MAX { network } else { part };
        let limit = self.parts_limits.get(at).map_or(Limit::Unlimited, |standing| standing.limit);
        self.gates.parts.entry((at, part)).or_insert_with(|| Gate::new(limit, now));
        Some((at, part))
    }

    /// Everyone who stands in line or has a ticket that is not used up.
    #[cfg(test)]
    pub(super) fn tickets(&self) -> usize {
        self.tickets.len()
    }
}

#[cfg(test)]
mod tests;
