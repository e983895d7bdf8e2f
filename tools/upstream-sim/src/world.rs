//! The catalog: categories, detectoids, and groups of updates that were published together. A group is small, since all that
//! its documents say follows from the seed; what is kept is what happened to it.
//!
//! 1. [`World::new`] publishes five years month by month, then as many months as it was told.
//! 2. [`World::advance`] publishes one more: new groups, new revisions, expired ones, changed categories.
//! 3. [`World::list`] answers what a filter asks for since an anchor.

use std::collections::HashMap;

use crate::clock::{BASE, MONTH};
use crate::guid::{Guid, Identity};
use crate::names::{CLASSIFICATIONS, COMPANY, FAMILIES, PRODUCTS, Trade, class};
use crate::options::Options;
use crate::random::{Choices, join};

/// Months that the first catalog reaches back.
pub(crate) const HISTORY: i32 = 60;

/// What stands behind an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Category(u32),
    Detectoid(u32),
    /// Group and place in it; place 0 is what can be deployed.
    Member(u32, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CategoryKind {
    Company,
    Family,
    Product,
    Classification,
    /// A folder of the tree that says nothing of its kind.
    Folder,
}

pub(crate) struct Category {
    pub(crate) id: Guid,
    pub(crate) name: String,
    pub(crate) kind: CategoryKind,
    /// Place of its parent.
    pub(crate) parent: Option<u32>,
    pub(crate) trade: Option<Trade>,
    weight: u64,
    /// All revisions, the newest last, and when they came.
    pub(crate) revisions: Vec<(u32, i64)>,
}

pub(crate) struct Detectoid {
    pub(crate) id: Guid,
    pub(crate) revisions: Vec<(u32, i64)>,
}

/// How a group is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One update with files.
    Single,
    /// A bundle and its hidden members.
    Bundle,
    /// A bundle of one hidden bundle of hidden members.
    Nested,
    /// One driver.
    Driver,
    /// A bundle with one hidden member that has many files.
    Upgrade,
}

/// What a member of a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Alone,
    Bundle,
    InnerBundle,
    Leaf,
    Driver,
}

/// A new revision of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) at: i64,
    /// Its hidden members have new revisions too.
    pub(crate) members: bool,
    /// Their files are others (only where `members`, or where there is one update alone).
    pub(crate) payload: bool,
    /// Withdrawn.
    pub(crate) expired: bool,
}

pub(crate) struct Group {
    pub(crate) shape: Shape,
    pub(crate) class: u8,
    pub(crate) members: u8,
    /// 0 unspecified, 1 low, 2 moderate, 3 important, 4 critical.
    pub(crate) severity: u8,
    /// Place of its product.
    pub(crate) product: u32,
    /// The one before it, which it supersedes, and all before that one.
    pub(crate) before: Option<u32>,
    /// The one whose first update must be there.
    pub(crate) needs: Option<u32>,
    /// Place of its one language.
    pub(crate) language: Option<u8>,
    /// Whether its hidden members name product and classification as categories, and so are listed.
    pub(crate) listed: bool,
    pub(crate) born: i64,
    pub(crate) events: Vec<Event>,
}

/// What GetRevisionIdList asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) config: bool,
    /// Products (or families, or companies), and whether only changes are wanted.
    pub(crate) products: Option<Vec<(Guid, bool)>>,
    pub(crate) classifications: Option<Vec<(Guid, bool)>>,
    pub(crate) languages: Option<Vec<(u32, bool)>>,
    /// What changed later than this, in ms.
    pub(crate) since: Option<i64>,
    /// Whether product and classification must both be named with `Delta` false for an update to be found whatever the anchor says.
    pub(crate) strict: bool,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) month: i32,
    pub(crate) categories: Vec<Category>,
    pub(crate) detectoids: Vec<Detectoid>,
    pub(crate) groups: Vec<Group>,
    /// Sizes of the documents that are huge.
    pub(crate) huge: HashMap<(u32, u8), usize>,
    slots: HashMap<Guid, Slot>,
    series: HashMap<u64, u32>,
    monthly: usize,
}

const SALT_GROUP: u64 = 1;
const SALT_MEMBER: u64 = 2;
const SALT_MONTH: u64 = 3;
const SALT_CATEGORY: u64 = 4;
const SALT_DETECTOID: u64 = 5;

impl World {
    pub(crate) fn new(options: &Options) -> Self {
        let mut world = Self {
            seed: options.seed,
            month: 0,
            categories: Vec::new(),
            detectoids: Vec::new(),
            groups: Vec::new(),
            huge: HashMap::new(),
            slots: HashMap::new(),
            series: HashMap::new(),
            monthly: (options.updates / HISTORY as usize).max(6),
        };
        world.plant();
        world.sow(options.updates);
        let mut made = 0;
        while made < options.updates {
            let span = i64::from(HISTORY) * MONTH;
            let gone = (span - MONTH / 30) as f64 * made as f64 / options.updates as f64;
            let at = BASE - span + gone as i64;
            made += world.publish(at, options.updates - made, true);
        }
        world.swell(options.huge);
        for _ in 0..options.months {
            world.advance();
        }
        world
    }

    /// Companies, families, products, classifications, folders.
    fn plant(&mut self) {
        let start = BASE - i64::from(HISTORY) * MONTH - 40 * MONTH;
        let id = |seed: u64, text: &str, salt: u64| {
            Guid::read(text).unwrap_or_else(|| Guid::made(join(&[seed, SALT_CATEGORY, salt])))
        };
        let seed = self.seed;
        let mut add = |id, name: &str, kind, parent, trade, weight| {
            let place = self.categories.len() as u32;
            // As on a real server: most ids are listed twice, in their first revision and in the one that counts.
            let last = match kind {
                CategoryKind::Company => 101,
                CategoryKind::Product if place.is_multiple_of(5) => 202,
                _ => 100,
            };
            let first = (place % 7 != 6).then_some((1, start));
            let revisions = first.into_iter().chain([(last, start + i64::from(place) * 1000)]).collect();
            self.slots.insert(id, Slot::Category(place));
            self.categories.push(Category { id, name: name.to_owned(), kind, parent, trade, weight, revisions });
            place
        };
        let company = add(id(seed, COMPANY, 0), "Microsoft", CategoryKind::Company, None, None, 0);
        for (at, (text, name)) in CLASSIFICATIONS.iter().enumerate() {
            add(id(seed, text, 100 + at as u64), name, CategoryKind::Classification, None, None, 0);
        }
        let mut families = Vec::new();
        for (at, (text, name)) in FAMILIES.iter().enumerate() {
            families.push(add(id(seed, text, 200 + at as u64), name, CategoryKind::Family, Some(company), None, 0));
        }
        for (at, (text, name, family, trade, weight)) in PRODUCTS.iter().enumerate() {
            let parent = families.get(*family).copied();
            add(id(seed, text, 300 + at as u64), name, CategoryKind::Product, parent, Some(*trade), *weight);
        }
        for at in 0..8u64 {
            let name = format!("Legacy folder {at}");
            add(id(seed, "", 400 + at), &name, CategoryKind::Folder, families.first().copied(), None, 0);
        }
    }

    /// Detectoids.
    fn sow(&mut self, updates: usize) {
        let start = BASE - i64::from(HISTORY) * MONTH - 30 * MONTH;
        for at in 0..(updates / 6).clamp(24, 3_804) as u32 {
            let id = Guid::made(join(&[self.seed, SALT_DETECTOID, u64::from(at)]));
            self.slots.insert(id, Slot::Detectoid(at));
            self.detectoids.push(Detectoid { id, revisions: vec![(51 + at % 3 * 50, start + i64::from(at) * 1000)] });
        }
    }

    /// Gives the newest bundles' first members documents of 10 to 47 MB.
    fn swell(&mut self, count: u32) {
        let bundles = (0..self.groups.len() as u32)
            .rev()
            .filter(|at| self.groups.get(*at as usize).is_some_and(|group| group.shape == Shape::Bundle));
        let last = u64::from(count.saturating_sub(1)).max(1);
        let sizes = (0..u64::from(count)).map(|n| (47_000_000 - 37_000_000 * n / last) as usize);
        self.huge = bundles.zip(sizes).map(|(at, size)| ((at, 1), size)).collect();
    }

    /// One more group, of at most `room` updates; how many it has.
    fn publish(&mut self, at: i64, room: usize, past: bool) -> usize {
        let number = self.groups.len() as u32;
        let mut choice = Choices::of(&[self.seed, SALT_GROUP, u64::from(number)]);
        let products: Vec<u32> = (0..self.categories.len() as u32)
            .filter(|at| self.categories.get(*at as usize).is_some_and(|category| category.trade.is_some()))
            .collect();
        let trade_wanted = match choice.below(100) {
            0..46 => Trade::System,
            46..66 => Trade::Definitions,
            66..97 => Trade::Applications,
            _ => Trade::Drivers,
        };
        let of_trade: Vec<(u32, u64)> = products
            .iter()
            .filter_map(|at| self.categories.get(*at as usize).map(|category| (*at, category)))
            .filter(|(_, category)| category.trade == Some(trade_wanted))
            .map(|(at, category)| (at, category.weight))
            .collect();
        let mut left = choice.below(of_trade.iter().map(|(_, weight)| weight).sum());
        let mut product = of_trade.first().map_or(0, |(at, _)| *at);
        for (at, weight) in &of_trade {
            product = *at;
            if left < *weight {
                break;
            }
            left -= weight;
        }
        let (shape, wanted, class) = match trade_wanted {
            Trade::System => match choice.below(100) {
                0..2 => (Shape::Upgrade, 2, class::UPGRADES),
                2..20 => (Shape::Single, 1, *choice.one(&[class::CRITICAL, class::UPDATES, 9, 8, 7]).unwrap_or(&0)),
                _ => (
                    Shape::Bundle,
                    2 + choice.below(3),
                    match choice.below(10) {
                        0..6 => class::SECURITY,
                        6..8 => class::UPDATES,
                        8 => class::CRITICAL,
                        _ => class::ROLLUPS,
                    },
                ),
            },
            Trade::Definitions => (Shape::Nested, 4 + choice.below(5), class::DEFINITIONS),
            Trade::Applications => match choice.below(100) {
                0..45 => (Shape::Single, 1, *choice.one(&[0, 0, 1, 2, 2, 3, 7, 8, 9, 10, 12]).unwrap_or(&0)),
                _ => (
                    Shape::Bundle,
                    2 + choice.below(2),
                    match choice.below(10) {
                        0..5 => class::SECURITY,
                        5..8 => class::UPDATES,
                        8 => class::CRITICAL,
                        _ => class::SERVICE_PACKS,
                    },
                ),
            },
            Trade::Drivers => (Shape::Driver, 1, class::DRIVERS),
        };
        let (shape, members) = if wanted as usize > room { (Shape::Single, 1) } else { (shape, wanted as u8) };
        let severity = match (class, choice.below(100)) {
            (class::SECURITY, 0..20) | (class::CRITICAL, 0..10) => 4,
            (class::SECURITY, 20..70) => 3,
            (class::SECURITY, 70..85) => 2,
            (class::SECURITY, 85..90) | (class::UPDATES, 0..5) => 1,
            _ => 0,
        };
        let series = join(&[u64::from(product), u64::from(class), shape as u64, choice.below(4)]);
        let before = if choice.chance(850) { self.series.insert(series, number) } else { None };
        let needs = (number > 20 && choice.chance(60)).then(|| choice.below(u64::from(number)) as u32);
        let language = (trade_wanted == Trade::Applications && choice.chance(300))
            .then(|| choice.below(crate::names::LANGUAGES.len() as u64 - 1) as u8);
        let listed = choice.chance(500);
        let mut events = Vec::new();
        if past {
            let span = (BASE - at).max(2) as u64;
            let mut later = || at + 1 + choice.below(span - 1).cast_signed();
            let (one, two) = (later(), later());
            let (one, two) = (one.min(two), one.max(two).max(one.min(two) + 1));
            match choice.below(100) {
                0..8 => {
                    let members = choice.chance(500);
                    events.push(Event { at: one, members, payload: members && choice.chance(500), expired: false });
                }
                8..12 => events.push(Event { at: one, members: true, payload: false, expired: true }),
                12..14 => {
                    events.push(Event { at: one, members: true, payload: true, expired: false });
                    events.push(Event { at: two, members: true, payload: false, expired: true });
                }
                _ => {}
            }
        }
        for member in 0..members {
            let id = Guid::made(join(&[self.seed, SALT_MEMBER, u64::from(number), u64::from(member)]));
            self.slots.insert(id, Slot::Member(number, member));
        }
        self.groups.push(Group {
            shape,
            class,
            members,
            severity,
            product,
            before,
            needs,
            language,
            listed,
            born: at,
            events,
        });
        members as usize
    }

    /// Publishes a month: new groups, new revisions, expired ones; a changed category, a new product, changed detectoids.
    pub(crate) fn advance(&mut self) {
        self.month += 1;
        let end = BASE + i64::from(self.month) * MONTH;
        let mut choice = Choices::of(&[self.seed, SALT_MONTH, self.month as u64]);
        let mut when = move || end - choice.below(MONTH as u64 / 2).cast_signed();
        let mut choice = Choices::of(&[self.seed, SALT_MONTH, self.month as u64, 1]);
        let number = self.categories.len() as u32;
        let family = choice.below(FAMILIES.len() as u64) as u32 + 1 + CLASSIFICATIONS.len() as u32;
        let id = Guid::made(join(&[self.seed, SALT_CATEGORY, 1_000, self.month as u64]));
        self.slots.insert(id, Slot::Category(number));
        self.categories.push(Category {
            id,
            name: format!("Simulated Product {}", self.month),
            kind: CategoryKind::Product,
            parent: Some(family),
            trade: Some(Trade::Applications),
            weight: 2,
            revisions: vec![(100, when())],
        });
        if let Some(category) = self.categories.get_mut(choice.below(u64::from(number)) as usize) {
            let next = category.revisions.last().map_or(1, |(last, _)| last + 1);
            category.revisions.push((next, when()));
        }
        let changed = self.detectoids.len().div_ceil(200);
        for _ in 0..changed {
            let at = choice.below(self.detectoids.len() as u64) as usize;
            if let Some(detectoid) = self.detectoids.get_mut(at) {
                let next = detectoid.revisions.last().map_or(1, |(last, _)| last + 1);
                detectoid.revisions.push((next, when()));
            }
        }
        let held = self.groups.len();
        for number in 0..held {
            let mut choice = Choices::of(&[self.seed, SALT_MONTH, self.month as u64, 2, number as u64]);
            let Some(group) = self.groups.get_mut(number) else { break };
            let expired = group.events.last().is_some_and(|event| event.expired);
            let event = match choice.below(1000) {
                0..10 if !expired => {
                    let members = choice.chance(500);
                    Event { at: when(), members, payload: members && choice.chance(600), expired: false }
                }
                10..16 if !expired => Event { at: when(), members: true, payload: false, expired: true },
                _ => continue,
            };
            group.events.push(event);
        }
        let mut made = 0;
        while made < self.monthly {
            made += self.publish(when(), self.monthly - made, false);
        }
    }

    /// What has this id.
    pub(crate) fn slot(&self, id: &Guid) -> Option<Slot> {
        self.slots.get(id).copied()
    }

    pub(crate) fn member_id(&self, group: u32, member: u8) -> Guid {
        Guid::made(join(&[self.seed, SALT_MEMBER, u64::from(group), u64::from(member)]))
    }

    pub(crate) fn group(&self, at: u32) -> Option<&Group> {
        self.groups.get(at as usize)
    }

    /// Whether there is such a revision.
    pub(crate) fn has(&self, (id, revision): &Identity) -> bool {
        let known = |revisions: &[(u32, i64)]| revisions.iter().any(|(known, _)| known == revision);
        match self.slot(id) {
            Some(Slot::Category(at)) => self.categories.get(at as usize).is_some_and(|all| known(&all.revisions)),
            Some(Slot::Detectoid(at)) => self.detectoids.get(at as usize).is_some_and(|all| known(&all.revisions)),
            Some(Slot::Member(at, member)) => {
                self.group(at).is_some_and(|group| (FIRST..=group.revision(member)).contains(revision))
            }
            None => false,
        }
    }

    /// Whether no later revision of the update is known.
    pub(crate) fn is_newest(&self, (id, revision): &Identity) -> bool {
        let newest = |revisions: &[(u32, i64)]| revisions.iter().map(|(known, _)| *known).max();
        let known = match self.slot(id) {
            Some(Slot::Category(at)) => self.categories.get(at as usize).and_then(|all| newest(&all.revisions)),
            Some(Slot::Detectoid(at)) => self.detectoids.get(at as usize).and_then(|all| newest(&all.revisions)),
            Some(Slot::Member(at, member)) => self.group(at).map(|group| group.revision(member)),
            None => None,
        };
        known == Some(*revision)
    }

    /// Whether `category` is `wanted` or lies below it.
    fn below(&self, mut category: u32, wanted: &Guid) -> bool {
        while let Some(found) = self.categories.get(category as usize) {
            if found.id == *wanted {
                return true;
            }
            let Some(parent) = found.parent else { return false };
            category = parent;
        }
        false
    }

    /// The identities that a filter asks for (MS-WSUSSS 3.1.4.6; where it is silent, as real servers were seen to answer).
    ///
    /// Product and classification must both be named; one list alone finds nothing, none finds everything. An id that is
    /// named with `Delta` false finds its updates whatever the anchor says.
    pub(crate) fn list(&self, filter: &Filter) -> Vec<Identity> {
        let since = filter.since.unwrap_or(i64::MIN);
        if filter.config {
            let categories = self.categories.iter().map(|category| (category.id, &category.revisions));
            let detectoids = self.detectoids.iter().map(|detectoid| (detectoid.id, &detectoid.revisions));
            return categories
                .chain(detectoids)
                .flat_map(|(id, all)| all.iter().rev().map(move |(revision, at)| (id, *revision, *at)))
                .filter(|(.., at)| *at > since)
                .map(|(id, revision, _)| (id, revision))
                .collect();
        }
        let products = filter.products.as_deref();
        let classifications = filter.classifications.as_deref();
        if products.is_some() != classifications.is_some() {
            return Vec::new();
        }
        let mut found = Vec::new();
        // Which products are wanted, and whether wholly; few, so that they are looked up once each.
        let wanted: Vec<Option<bool>> = (0..self.categories.len() as u32)
            .map(|at| {
                let all = products?;
                let mut whole = all.iter().filter(|(id, _)| self.below(at, id)).map(|(_, delta)| !delta);
                whole.next().map(|first| first || whole.any(|whole| whole))
            })
            .collect();
        let classes: Vec<Option<bool>> = CLASSIFICATIONS
            .iter()
            .map(|(text, _)| {
                let id = Guid::read(text)?;
                let mut whole = classifications?.iter().filter(|(named, _)| *named == id).map(|(_, delta)| !delta);
                whole.next().map(|first| first || whole.any(|whole| whole))
            })
            .collect();
        for (number, group) in self.groups.iter().enumerate() {
            let mut whole = false;
            if products.is_some() {
                let product = wanted.get(group.product as usize).copied().flatten();
                let class = classes.get(usize::from(group.class)).copied().flatten();
                let (Some(product), Some(class)) = (product, class) else { continue };
                whole = if filter.strict { product && class } else { product || class };
            }
            if let (Some(languages), Some(own)) = (&filter.languages, group.language) {
                let own = crate::names::LANGUAGES.get(usize::from(own)).map_or(0, |language| language.0);
                let Some((_, delta)) = languages.iter().find(|(id, _)| *id == own || *id == 0) else { continue };
                whole |= !delta;
            }
            for member in 0..group.members {
                let visible = products.is_none() || member == 0 || group.listed;
                if visible && (whole || group.changed(member) > since) {
                    found.push((self.member_id(number as u32, member), group.revision(member)));
                }
            }
        }
        found
    }
}

/// The first revision of every update.
pub(crate) const FIRST: u32 = 200;

impl Group {
    pub(crate) fn role(&self, member: u8) -> Role {
        match (self.shape, member) {
            (Shape::Single, _) => Role::Alone,
            (Shape::Driver, _) => Role::Driver,
            (_, 0) => Role::Bundle,
            (Shape::Nested, 1) => Role::InnerBundle,
            _ => Role::Leaf,
        }
    }

    fn touches(&self, member: u8) -> impl Iterator<Item = &Event> + '_ {
        self.events.iter().filter(move |event| member == 0 || event.members)
    }

    /// The newest revision of a member.
    pub(crate) fn revision(&self, member: u8) -> u32 {
        FIRST + self.touches(member).count() as u32
    }

    /// When the newest revision of a member came.
    pub(crate) fn changed(&self, member: u8) -> i64 {
        self.touches(member).last().map_or(self.born, |event| event.at)
    }

    /// How many events of the group had happened when `revision` of `member` came.
    pub(crate) fn events_at(&self, member: u8, revision: u32) -> usize {
        let mut left = revision.saturating_sub(FIRST);
        for (at, event) in self.events.iter().enumerate() {
            if left == 0 {
                return at;
            }
            if member == 0 || event.members {
                left -= 1;
            }
        }
        self.events.len()
    }

    /// The revision that a member had after the first `events` of the group.
    pub(crate) fn revision_after(&self, member: u8, events: usize) -> u32 {
        FIRST + self.events.iter().take(events).filter(|event| member == 0 || event.members).count() as u32
    }

    /// Whether the `revision` of `member` is withdrawn.
    pub(crate) fn expired_at(&self, member: u8, revision: u32) -> bool {
        let steps = revision.saturating_sub(FIRST) as usize;
        steps > 0 && self.touches(member).nth(steps - 1).is_some_and(|event| event.expired)
    }

    /// Which edition of its files `revision` of `member` has.
    pub(crate) fn edition_at(&self, member: u8, revision: u32) -> u8 {
        let steps = revision.saturating_sub(FIRST) as usize;
        self.touches(member).take(steps).filter(|event| event.payload).count().min(255) as u8
    }

    /// Whether it is withdrawn.
    pub(crate) fn expired(&self) -> bool {
        self.expired_at(0, self.revision(0))
    }
}

impl World {
    /// The groups that `number` supersedes by name: the ones before it, as far back as it says.
    pub(crate) fn superseded(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        let mut choice = Choices::of(&[self.seed, SALT_GROUP, u64::from(number), 77]);
        let depth = if choice.chance(40) { 80 } else { 1 + choice.below(12) };
        let mut at = number;
        (0..depth).map_while(move |_| {
            at = self.group(at)?.before?;
            Some(at)
        })
    }
}
