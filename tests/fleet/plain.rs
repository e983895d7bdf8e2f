//! A plain, slow model of a catalog and of what is delivered of it: sets and maps, each rule as the specification words it. It shares
//! nothing with the crate but the values that go in.

use std::collections::{BTreeMap, BTreeSet};

use waystation::model::deployment::Action;
use waystation::model::update::{Clause, Identity, Kind, UpdateId};
use waystation::store::catalog::Related;

/// splitmix64.
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides.max(1)
    }

    pub(crate) fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

pub(crate) fn id(at: u64) -> UpdateId {
    let mut bytes = [5; 16];
    bytes[..8].copy_from_slice(&at.to_be_bytes());
    UpdateId::new(bytes)
}

/// Revisions by number.
pub(crate) type Catalog = BTreeMap<u32, Related>;

/// What is ordered: update -> action.
pub(crate) type Orders = BTreeMap<UpdateId, Action>;

pub(crate) fn current(catalog: &Catalog, of: UpdateId) -> Option<&Related> {
    catalog.values().find(|one| one.identity.id == of && one.current)
}

pub(crate) fn is_leaf(catalog: &Catalog, of: UpdateId) -> bool {
    !catalog
        .values()
        .any(|one| one.identity.id != of && one.prerequisites.iter().any(|clause| clause.any_of.contains(&of)))
}

fn can_go(one: &Related) -> bool {
    !one.refused && one.kind != Kind::Driver
}

/// What is delivered: number -> action.
pub(crate) fn delivered(catalog: &Catalog, orders: &Orders) -> BTreeMap<u32, Action> {
    let mut all: BTreeMap<u32, &Related> = BTreeMap::new();
    loop {
        let mut more: Vec<&Related> =
            orders.keys().filter_map(|update| current(catalog, *update)).filter(|one| can_go(one)).collect();
        for one in all.values() {
            let named = one.prerequisites.iter().flat_map(|clause| &clause.any_of);
            more.extend(named.filter_map(|update| current(catalog, *update)).filter(|one| can_go(one)));
            let members =
                one.members.iter().filter_map(|member| catalog.values().find(|other| other.identity == *member));
            more.extend(members.filter(|one| can_go(one)));
        }
        let before = all.len();
        all.extend(more.into_iter().map(|one| (one.number, one)));
        if all.len() == before {
            break;
        }
    }
    let action = |one: &Related| {
        let ordered = orders.get(&one.identity.id).filter(|_| one.current);
        let is_member = all.values().any(|bundle| bundle.members.contains(&one.identity));
        match ordered {
            Some(Action::Block) => Action::PreDeploymentCheck,
            Some(action) => *action,
            None if is_member => Action::Bundle,
            None => Action::Evaluate,
        }
    };
    let is_best = |one: &&Related| {
        let others = all.values().filter(|other| other.identity.id == one.identity.id && other.number != one.number);
        !others
            .into_iter()
            .any(|other| other.current || !one.current && other.identity.revision > one.identity.revision)
    };
    all.values().copied().filter(is_best).map(|one| (one.number, action(one))).collect()
}

/// What of it an endpoint holds in the end, on which these updates are installed: found by taking in, over and over, whatever can be
/// evaluated. And how often that was.
pub(crate) fn settled(catalog: &Catalog, orders: &Orders, truth: &BTreeSet<UpdateId>) -> (BTreeSet<u32>, usize) {
    let delivered = delivered(catalog, orders);
    let (mut held, mut times) = (BTreeSet::new(), 0);
    loop {
        let here: BTreeSet<UpdateId> = held.iter().map(|number| catalog[number].identity.id).collect();
        let holds =
            |clause: &Clause| clause.any_of.iter().any(|update| here.contains(update) && truth.contains(update));
        let now: BTreeSet<u32> =
            delivered.keys().copied().filter(|number| catalog[number].prerequisites.iter().all(holds)).collect();
        if now == held {
            return (held, times);
        }
        held = now;
        times += 1;
    }
}

/// A random catalog. In one that is `tidy` nothing names what comes after it, so that nothing goes in circles.
pub(crate) fn catalog(dice: &mut Dice, tidy: bool) -> Catalog {
    let many = 5 + dice.roll(70);
    let mut catalog = Catalog::new();
    for at in 0..many {
        // Now and then a lower revision is kept beside the one that counts; now and then a higher one.
        let first = 1 + u32::try_from(dice.roll(3)).unwrap();
        if dice.one_in(5) {
            let other = if dice.one_in(4) { first + 1 } else { first - 1 };
            let one = revision(dice, at, other, many, tidy, &catalog);
            catalog.insert(one.number, waystation::store::catalog::Related { current: false, ..one });
        }
        let one = revision(dice, at, first, many, tidy, &catalog);
        catalog.insert(one.number, one);
    }
    catalog
}

/// A revision of update `at` with the next number, the one that counts.
pub(crate) fn revision(dice: &mut Dice, at: u64, revision: u32, many: u64, tidy: bool, catalog: &Catalog) -> Related {
    let number = catalog.keys().last().map_or(1, |last| last + 1 + u32::try_from(dice.roll(3)).unwrap());
    let kind = match dice.roll(12) {
        0 | 1 => Kind::Category(waystation::model::update::CategoryKind::Product),
        2 | 3 => Kind::Detectoid,
        4 => Kind::Driver,
        _ => Kind::Software,
    };
    // One beyond the last is named by some and there for none.
    let other = |dice: &mut Dice| id(if tidy { dice.roll(at) } else { dice.roll(many + 1) });
    let clauses = if tidy && at == 0 { 0 } else { [0, 0, 1, 1, 2, 3][usize::try_from(dice.roll(6)).unwrap()] };
    let prerequisites = (0..clauses)
        .map(|_| {
            let any_of = (0..=dice.roll(3)).map(|_| other(dice)).collect();
            Clause { any_of, is_category: dice.one_in(2) }
        })
        .collect();
    let members = if kind == Kind::Software && dice.one_in(3) && !catalog.is_empty() {
        let held: Vec<Identity> = catalog.values().map(|one| one.identity).collect();
        let some = (0..=dice.roll(2)).map(|_| held[usize::try_from(dice.roll(held.len() as u64)).unwrap()]);
        some.filter(|member| member.id != id(at)).collect()
    } else {
        vec![]
    };
    Related {
        deployable: dice.one_in(2),
        refused: dice.one_in(25),
        core: 100 + dice.roll(3000),
        prerequisites,
        members,
        ..Related::new(number, Identity { id: id(at), revision }, kind)
    }
}

/// Some orders for what can be approved, and for some of what cannot.
pub(crate) fn orders(dice: &mut Dice, catalog: &Catalog) -> Orders {
    let words =
        [Action::Install, Action::PreDeploymentCheck, Action::Uninstall, Action::OptionalInstall, Action::Block];
    let mut orders = Orders::new();
    for one in catalog.values() {
        if one.current && (one.deployable && dice.one_in(2) || dice.one_in(15)) {
            orders.insert(one.identity.id, words[usize::try_from(dice.roll(5)).unwrap()]);
        }
    }
    orders
}

/// Which updates are installed on a machine.
pub(crate) fn truth(dice: &mut Dice, catalog: &Catalog) -> BTreeSet<UpdateId> {
    let share = 1 + dice.roll(4);
    let mut truth = BTreeSet::new();
    for one in catalog.values() {
        if dice.roll(5) < share {
            truth.insert(one.identity.id);
        }
    }
    truth
}
