//! A chain in memory: an authority with a plain model of what it said, and nodes that carry out what their machine decides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use waystation::base::secret::Key;
use waystation::base::time::Timestamp;
use waystation::chain::alarm::Alarm;
use waystation::chain::authority::{Head, STAMP_LIFE};
use waystation::chain::child::{Ask, Child, Known, Mark, Step};
use waystation::chain::error::Error;
use waystation::chain::keys::{FeedKey, RootKey, feed_public};
use waystation::model::chain::hash::{ChainId, KeyHash};
use waystation::model::chain::ids::{Audience, NodeId, Position};
use waystation::model::chain::live::{Leaf, LiveSet};
use waystation::model::chain::record::{Entry, Record, Shown};
use waystation::wire::peer::frame::Frame;
use waystation::wire::peer::raw::{FEED, Reader, Writer};

use crate::view::{Answer, View};

/// The beginning of all times of these tests.
pub(crate) const START: Timestamp = Timestamp::from_ms(1_800_000_000_000);

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

pub(crate) fn node(number: u8) -> NodeId {
    NodeId::new([number; 16])
}

pub(crate) fn root_key(number: u8) -> RootKey {
    RootKey::from_seed(&Key::new([number; 32])).unwrap()
}

/// A feed key with its vouch.
pub(crate) fn feed_key(root: &RootKey, seed: u8, epoch: u64, serial: u32) -> FeedKey {
    let seed = Key::new([seed; 32]);
    let never = Timestamp::from_ms(u64::MAX);
    let vouch = root.vouch(&feed_public(&seed).unwrap(), epoch, serial, START, never).unwrap();
    FeedKey::new(&seed, vouch).unwrap()
}

/// A record for `audience`.
pub(crate) fn record(key: u8, audience: Audience, body: &[u8]) -> Entry {
    let salt = if audience == Audience::EVERYBODY { [0; 16] } else { [key; 16] };
    let record = Record::new(key % 15 + 1, audience, salt, vec![key].into(), Bytes::copy_from_slice(body));
    Entry::set(record.unwrap())
}

/// All that is live, in plain words: under kind and key, for whom, and what.
pub(crate) type Plain = BTreeMap<(u8, Vec<u8>), (Audience, Vec<u8>)>;

/// The authority.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) root: RootKey,
    pub(crate) key: FeedKey,
    pub(crate) head: Head,
    pub(crate) plain: Plain,
    /// What it signed, place by place.
    pub(crate) history: BTreeMap<Position, Plain>,
    pub(crate) view: View,
    /// Of the seeds of its two keys.
    numbers: (u8, u8),
}

impl Authority {
    pub(crate) fn new(number: u8) -> Self {
        let root = root_key(number);
        let key = feed_key(&root, number + 1, 1, 1);
        let mut head = Head::begin(root.chain(), 1, LiveSet::default());
        let checkpoint = head.checkpoint(&key, START).unwrap();
        let stamp = head.stamp(&key, START, STAMP_LIFE).unwrap();
        let view = View {
            path: vec![node(0)],
            vouch: key.vouch().clone(),
            floor: Mark::from(&checkpoint),
            checkpoint,
            stamp: Some(stamp),
            log: BTreeMap::new(),
            live: BTreeMap::new(),
        };
        let history = BTreeMap::from([(head.position(), Plain::new())]);
        Self { root, key, head, plain: Plain::new(), history, view, numbers: (number, number + 1) }
    }

    pub(crate) fn chain(&self) -> ChainId {
        self.root.chain()
    }

    /// Adds entries and signs them.
    pub(crate) fn say(&mut self, entries: &[Entry], now: Timestamp) {
        for entry in entries {
            let Some(sequence) = self.head.append(entry) else { continue };
            self.view.log.insert(sequence, (entry.clone(), self.head.link()));
            match entry.shown() {
                Shown::Record(record) => {
                    let said = (record.audience(), record.body().to_vec());
                    self.plain.insert((record.kind(), record.key().to_vec()), said);
                    self.view.live.insert(entry.key(), entry.clone());
                }
                Shown::Gone { kind, key } => {
                    self.plain.remove(&(*kind, key.to_vec()));
                    self.view.live.remove(&entry.key());
                }
                Shown::Bare => panic!("an authority knows what it says"),
            }
        }
        self.sign(now);
    }

    pub(crate) fn sign(&mut self, now: Timestamp) {
        self.view.checkpoint = self.head.checkpoint(&self.key, now).unwrap();
        self.view.vouch = self.key.vouch().clone();
        self.history.insert(self.head.position(), self.plain.clone());
        self.stamp(now);
    }

    pub(crate) fn stamp(&mut self, now: Timestamp) {
        self.view.stamp = Some(self.head.stamp(&self.key, now, STAMP_LIFE).unwrap());
    }

    /// What is below is forgotten: who has less takes a snapshot.
    pub(crate) fn trim(&mut self) {
        self.view.floor = Mark { position: self.head.position(), link: self.head.link() };
        self.view.log.clear();
    }

    /// Another feed key in the same epoch.
    pub(crate) fn rotate(&mut self, now: Timestamp) {
        self.numbers.1 += 1;
        let (epoch, serial) = (self.head.position().epoch, self.key.vouch().serial + 1);
        self.key = feed_key(&self.root, self.numbers.1, epoch, serial);
        self.sign(now);
    }

    /// Restored from what it was at `then`, with the root key at hand.
    pub(crate) fn restore(&mut self, then: &Self, now: Timestamp) {
        self.numbers.1 += 1;
        let epoch = self.head.position().epoch + 1;
        self.key = feed_key(&self.root, self.numbers.1, epoch, 1);
        self.head = Head::begin(self.chain(), epoch, then.head.live().clone());
        self.plain.clone_from(&then.plain);
        self.view.live.clone_from(&then.view.live);
        self.trim();
        self.sign(now);
    }

    /// The same authority once more: a clone, a backup.
    pub(crate) fn copy(&self) -> Self {
        let (root, feed) = self.numbers;
        let root_key = root_key(root);
        let key = feed_key(&root_key, feed, self.key.vouch().epoch, self.key.vouch().serial);
        Self {
            root: root_key,
            key,
            head: self.head.clone(),
            plain: self.plain.clone(),
            history: self.history.clone(),
            view: self.view.clone(),
            numbers: self.numbers,
        }
    }
}

/// What came of an answer.
#[derive(Debug, Default)]
pub(crate) struct Came {
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) error: Option<Error>,
    pub(crate) applied: u32,
}

/// A node below the authority, with what its store would hold.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) child: Child,
    pub(crate) live: BTreeMap<KeyHash, Entry>,
    staged: Vec<Entry>,
    known: Vec<u8>,
    floor: Option<Mark>,
    log: BTreeMap<u64, (Entry, waystation::model::chain::hash::Link)>,
}

fn leaf(entry: &Entry) -> Leaf {
    Leaf { key: entry.key(), record: entry.record(), audience: entry.audience(), held: entry.is_whole() }
}

/// What is known of `entry` where it came as its hash alone and is held.
fn merged(entry: &Entry, held: &BTreeMap<KeyHash, Entry>) -> Entry {
    let known = held.get(&entry.key()).filter(|known| known.record() == entry.record() && known.is_whole());
    if entry.is_whole() { entry.clone() } else { known.unwrap_or(entry).clone() }
}

impl Node {
    pub(crate) fn new(id: NodeId, chain: ChainId) -> Self {
        let child = Child::new(id, chain);
        let known = child.known().to_bytes().unwrap();
        let (live, log) = (BTreeMap::new(), BTreeMap::new());
        Self { id, child, live, staged: Vec::new(), known, floor: None, log }
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.child.served().map(|(_, checkpoint, _)| checkpoint.position)
    }

    /// What it serves; `None` before it has applied something.
    pub(crate) fn view(&self) -> Option<View> {
        let (vouch, checkpoint, stamp) = self.child.served()?;
        Some(View {
            path: self.child.path().to_vec(),
            vouch: vouch.clone(),
            checkpoint: checkpoint.clone(),
            stamp: stamp.cloned(),
            floor: self.floor?,
            log: self.log.clone(),
            live: self.live.clone(),
        })
    }

    /// The machine anew, from what was kept.
    pub(crate) fn restart(&mut self) {
        let live: LiveSet = self.live.values().map(leaf).collect();
        let staged = self.staged.iter().map(|entry| {
            let entry = merged(entry, &self.live);
            (entry.key(), (!entry.is_gone()).then(|| leaf(&entry)))
        });
        self.child = Child::open(Known::read(&self.known).unwrap(), live, staged.collect::<Vec<_>>());
    }

    /// Asks, and takes the answer from the bytes in which it comes.
    pub(crate) fn take(&mut self, from: NodeId, ask: Ask, answer: &Answer, now: Timestamp) -> Came {
        let mut writer = Writer::new(FEED);
        answer.frames.iter().for_each(|frame| frame.write(&mut writer).unwrap());
        let came = self.take_bytes(from, ask, &writer.take(), now, 1 << 16);
        if answer.is_conflict && came.alarms.is_empty() {
            let steps = self.child.turned_away(now);
            let mut more = Came::default();
            self.carry_out(&steps, None, &mut more);
            return more;
        }
        came
    }

    /// The same, in portions.
    pub(crate) fn take_bytes(&mut self, from: NodeId, ask: Ask, bytes: &[u8], now: Timestamp, portion: usize) -> Came {
        let mut came = Came::default();
        let mut reader = Reader::new(FEED);
        self.child.begin(from, ask);
        for part in bytes.chunks(portion.max(1)) {
            reader.push(part);
            loop {
                let frame = match reader.frame() {
                    Ok(None) => break,
                    Ok(Some(raw)) => Frame::read(raw).map_err(Error::from),
                    Err(error) => Err(error.into()),
                };
                let taken = frame.and_then(|frame| match frame {
                    Some(frame) => self.child.take(&frame, now).map(|steps| Some((frame, steps))),
                    None => Ok(None),
                });
                match taken {
                    Ok(Some((frame, steps))) => self.carry_out(&steps, Some(&frame), &mut came),
                    Ok(None) => {}
                    Err(error) => {
                        came.error = Some(error);
                        return came;
                    }
                }
                if !came.alarms.is_empty() {
                    return came;
                }
            }
        }
        came.error = reader.finish().err().map(Error::from);
        came
    }

    fn carry_out(&mut self, steps: &[Step], frame: Option<&Frame>, came: &mut Came) {
        for step in steps {
            match (step, frame) {
                (Step::Stage, Some(Frame::Tail { entries, .. } | Frame::Page(entries))) => {
                    self.staged.extend_from_slice(entries);
                }
                (Step::Drop, _) => self.staged.clear(),
                (Step::Fill(keys), Some(Frame::Contents(entries))) => {
                    let keys: BTreeSet<_> = keys.iter().collect();
                    for entry in entries.iter().filter(|entry| keys.contains(&entry.key())) {
                        let here = self.live.values_mut().chain(&mut self.staged);
                        let same = here.filter(|had| (had.key(), had.record()) == (entry.key(), entry.record()));
                        same.for_each(|had| *had = entry.clone());
                    }
                }
                (Step::Apply { checkpoint, whole }, _) => {
                    came.applied += 1;
                    self.apply(Mark::from(checkpoint), *whole);
                }
                (Step::Remember, _) => self.known = self.child.known().to_bytes().unwrap(),
                (Step::Alarm(alarm), _) => came.alarms.push(alarm.clone()),
                (step, frame) => panic!("{step:?} at {frame:?}"),
            }
        }
        assert_eq!(Known::read(&self.known).unwrap(), self.child.known(), "what changed is to be kept: {steps:?}");
    }

    fn apply(&mut self, mark: Mark, whole: bool) {
        let staged = std::mem::take(&mut self.staged);
        let before = self.floor.filter(|floor| floor.position.epoch == mark.position.epoch && !whole);
        match before {
            None => {
                self.log.clear();
                self.floor = Some(mark);
            }
            Some(floor) => {
                let last = self.log.last_key_value();
                let (mut at, mut link) = last.map_or((floor.position.sequence, floor.link), |(at, (_, l))| (*at, *l));
                for entry in &staged {
                    at += 1;
                    link = link.next(at, entry.op(), entry.audience(), entry.key(), entry.record());
                    self.log.insert(at, (merged(entry, &self.live), link));
                }
                if staged.is_empty() {
                    // All of it was held: what lies between is not known.
                    self.log.clear();
                    self.floor = Some(mark);
                } else {
                    assert_eq!((at, link), (mark.position.sequence, mark.link));
                }
            }
        }
        let held = self.live.clone();
        if whole {
            self.live.clear();
        }
        for entry in &staged {
            if entry.is_gone() {
                self.live.remove(&entry.key());
            } else {
                self.live.insert(entry.key(), merged(entry, &held));
            }
        }
    }

    /// What it applied is what the authority signed there, as far as it may see it.
    pub(crate) fn check(&self, history: &BTreeMap<Position, Plain>) {
        let Some(position) = self.position() else {
            assert!(self.live.is_empty(), "something is visible, and nothing was verified");
            return;
        };
        let plain = history.get(&position).unwrap_or_else(|| panic!("nothing was signed at {position}"));
        assert_eq!(self.live.len(), plain.len());
        let mine = [Audience::EVERYBODY, Audience::node(self.id)];
        for ((kind, key), (audience, body)) in plain {
            let entry = self.live.get(&KeyHash::of(*kind, key)).unwrap();
            assert_eq!(entry.audience(), *audience);
            match entry.shown() {
                Shown::Record(record) => {
                    assert_eq!((record.kind(), &record.key()[..], &record.body()[..]), (*kind, &key[..], &body[..]));
                }
                Shown::Bare => assert!(!mine.contains(audience), "what is for the node is not there"),
                Shown::Gone { .. } => panic!("a tombstone is live"),
            }
        }
    }
}

/// So much later.
pub(crate) fn later(now: Timestamp, minutes: u64) -> Timestamp {
    now.after(Duration::from_secs(60 * minutes))
}
