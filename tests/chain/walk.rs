//! Seeded walks: an authority, two nodes in between, one at the bottom. Those in between withhold, go back, tamper, strip, replay and
//! sign for themselves; nodes restart; keys rotate and epochs begin. Whatever happens, what is applied is what was signed; and once all
//! are honest again, all are equal. `WAYSTATION_WALKS=1000` walks more.

use std::collections::BTreeSet;

use waystation::base::time::Timestamp;
use waystation::chain::alarm::State;
use waystation::chain::child::Ask;
use waystation::model::chain::ids::Audience;
use waystation::model::chain::record::Entry;
use waystation::wire::peer::raw::{FEED, Writer};

use crate::evil::{Evil, spoil};
use crate::view::{Answer, View};
use crate::world::{Authority, Chance, Node, START, later, node, record};

/// Walks, unless the environment says how many, and steps of each.
const WALKS: u64 = 60;
const STEPS: usize = 160;

#[derive(Debug, Default)]
struct Link {
    /// What the upper node does to answers; `None`: it is honest.
    evil: Option<Evil>,
    /// It answers from what it had then.
    frozen: Option<View>,
    /// Answers that it has seen.
    past: Vec<Answer>,
}

struct Walk {
    seed: u64,
    chance: Chance,
    now: Timestamp,
    authority: Authority,
    backups: Vec<Authority>,
    nodes: Vec<Node>,
    links: Vec<Link>,
}

fn audience(number: usize) -> Audience {
    if number == 0 { Audience::EVERYBODY } else { Audience::node(node(number as u8)) }
}

impl Walk {
    fn new(seed: u64) -> Self {
        let authority = Authority::new(1);
        let nodes = (1..=3).map(|number| Node::new(node(number), authority.chain())).collect();
        let links = (0..3).map(|_| Link::default()).collect();
        Self { seed, chance: Chance(seed), now: START, authority, backups: Vec::new(), nodes, links }
    }

    fn change(&mut self) {
        let entries: Vec<Entry> = (0..=self.chance.below(9))
            .map(|_| {
                // For everybody, for each of the nodes, and for one that is elsewhere.
                let (key, whom) = (self.chance.below(24) as u8, audience(self.chance.below(5)));
                let said = record(key, whom, &self.chance.next().to_le_bytes());
                let old = self.authority.plain.get(&(key % 15 + 1, vec![key]));
                match (self.chance.below(4), old) {
                    (0, Some((whom, _))) => Entry::gone(key % 15 + 1, *whom, vec![key].into()).unwrap(),
                    _ => said,
                }
            })
            .collect();
        self.authority.say(&entries, self.now);
    }

    fn view(&self, link: usize) -> Option<View> {
        if link == 0 { Some(self.authority.view.clone()) } else { self.nodes[link - 1].view() }
    }

    /// One question over a link.
    fn poll(&mut self, link: usize) {
        let Some(fresh) = self.view(link) else { return };
        let view = self.links[link].frozen.clone().unwrap_or(fresh);
        let below: BTreeSet<Audience> = (link + 2..=3).map(audience).collect();
        let entitled: BTreeSet<Audience> = (link + 1..=3).map(audience).chain([Audience::EVERYBODY]).collect();
        let from = *view.path.last().unwrap();
        let child = &mut self.nodes[link];
        let unheld: Vec<_> = child.child.unheld(&below).collect();
        let ask = match child.child.ask() {
            Ask::Feed(_) if !unheld.is_empty() && self.chance.below(2) == 0 => Ask::Contents(unheld),
            ask => ask,
        };
        let shows = child.child.served().map(|(_, checkpoint, _)| checkpoint.clone());
        let mut answer = view.answer(&ask, shows.as_ref(), &entitled);
        let past = &mut self.links[link].past;
        past.push(answer.clone());
        if let Some(evil) = self.links[link].evil {
            match self.chance.below(4) {
                0 => answer = self.links[link].past[self.chance.below(self.links[link].past.len())].clone(),
                1 => return self.damaged(link, from, ask, &answer),
                _ => spoil(evil, &mut answer, &mut self.chance),
            }
        }
        let now = self.now;
        // A page that is out of order is no page; what the writer takes the reader refuses.
        let came = self.nodes[link].take(from, ask, &answer, now);
        let is_honest = self.links.iter().all(|link| link.evil.is_none());
        if is_honest {
            assert!(came.error.is_none(), "seed {}: {:?}", self.seed, came.error);
        }
        self.nodes[link].check(&self.authority.history);
    }

    /// A byte is another one, or the end does not come; and it comes in small portions.
    fn damaged(&mut self, link: usize, from: waystation::model::chain::ids::NodeId, ask: Ask, answer: &Answer) {
        let mut writer = Writer::new(FEED);
        for frame in &answer.frames {
            frame.write(&mut writer).unwrap();
        }
        let mut bytes = writer.take().to_vec();
        let at = self.chance.below(bytes.len());
        if self.chance.below(2) == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << self.chance.below(8);
        }
        let portion = self.chance.below(40) + 1;
        self.nodes[link].take_bytes(from, ask, &bytes, self.now, portion);
        self.nodes[link].check(&self.authority.history);
    }

    fn step(&mut self) {
        match self.chance.below(24) {
            0..=3 => self.change(),
            4..=15 => {
                let link = self.chance.below(3);
                self.poll(link);
            }
            16 => {
                let at = self.chance.below(3);
                self.nodes[at].restart();
            }
            17 => {
                let link = self.chance.below(3);
                self.links[link].evil = Some(Evil::ALL[self.chance.below(Evil::ALL.len())]);
            }
            18 | 19 => {
                let link = self.chance.below(3);
                self.links[link].evil = None;
            }
            20 => {
                let link = self.chance.below(3);
                self.links[link].frozen = self.view(link).filter(|_| self.links[link].frozen.is_none());
            }
            21 => self.authority.trim(),
            22 if self.chance.below(3) == 0 => self.authority.rotate(self.now),
            22 => self.backups.push(self.authority.copy()),
            _ if self.chance.below(3) == 0 && !self.backups.is_empty() => {
                let then = self.backups.swap_remove(self.chance.below(self.backups.len()));
                self.authority.restore(&then, self.now);
            }
            _ => self.authority.stamp(self.now),
        }
        self.now = later(self.now, self.chance.next() % 20);
    }

    /// Everybody is honest: after some rounds all are equal.
    fn settle(&mut self) {
        for link in &mut self.links {
            (link.evil, link.frozen) = (None, None);
        }
        self.authority.sign(self.now);
        let end = self.authority.head.position();
        let is_done = |walk: &Self| {
            let all = walk.nodes.iter().enumerate();
            all.into_iter().all(|(at, node)| {
                let below: BTreeSet<Audience> = (at + 2..=3).map(audience).collect();
                node.position() == Some(end) && node.child.unheld(&below).next().is_none()
            })
        };
        let mut polls = 0;
        while !is_done(self) {
            polls += 1;
            let asks = || self.nodes.iter().map(|node| (node.child.ask(), node.child.alarms())).collect::<Vec<_>>();
            assert!(polls < 2_000, "seed {}: the nodes do not come to {end}: {:?}", self.seed, asks());
            self.poll(polls % 3);
        }
        // Once more, for the newest timestamp.
        (0..3).for_each(|link| self.poll(link));
        for node in &self.nodes {
            assert!(matches!(node.child.state(self.now), State::Current { .. }), "seed {}", self.seed);
            assert_eq!(node.child.live().clone().root(), self.authority.view.checkpoint.root, "seed {}", self.seed);
        }
    }
}

#[test]
fn whatever_happens_in_between_all_end_equal_and_nothing_else_is_applied() {
    let walks = std::env::var("WAYSTATION_WALKS").ok().and_then(|walks| walks.parse().ok());
    for seed in 0..walks.unwrap_or(WALKS) {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            walk.step();
        }
        walk.settle();
    }
}
