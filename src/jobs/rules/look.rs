//! What the rules would do now. Reads, and changes nothing.
//!
//! 1. What all rules go by is read once: the tree of categories, that of groups, licences.
//! 2. For each rule the catalog is searched for what it is about; what it began with and the search does not find (something newer came)
//!    is looked up. What all rings have is counted and no more.
//! 3. Of the others it is read what was said; how each ring stands follows from that and from what the rule remembers (`standing`).
//! 4. [`Rule::step`] says what comes next; where that hangs on what was reported, reports are counted, and it is asked again.
//! 5. What is to be written for it is put together ([`Row`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::base::time::Timestamp;
use crate::jobs::Shared;
use crate::jobs::error::Error;
use crate::jobs::rules::tried::{Asked, Counted, tried};
use crate::jobs::rules::value::{Looked, Of, Row, Waits};
use crate::jobs::rules::{Which, write};
use crate::model::deployment::inherit::Words;
use crate::model::deployment::rules::{Candidate, Known, Rule, Standing, Step, Tried};
use crate::model::deployment::{Action, Approval, Day, Said, Target};
use crate::model::filter::Tree;
use crate::model::group::{Groups, UNASSIGNED};
use crate::model::policy::Group;
use crate::model::relations::Target as Pointed;
use crate::model::update::{Publication, UpdateId};
use crate::store::approvals::Tree as GroupTree;
use crate::store::catalog::{Cursor, PAGE_MAX as SEARCH_MAX, Query, State, Summary};
use crate::store::rules::{Act, Got, Kept, PAGE_MAX, Progress};

/// Updates of which words are read at a time.
const STEP: usize = 1_000;
/// Levels of the tree of categories that are followed: a real one has company, family, product, and folders between them.
const LEVELS_MAX: usize = 8;
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// What all rules go by.
pub(super) struct Terms<'a> {
    pub(super) shared: &'a Shared,
    pub(super) categories: Arc<Tree>,
    pub(super) tree: Arc<GroupTree>,
    pub(super) accepted: BTreeMap<UpdateId, Timestamp>,
    pub(super) now: Timestamp,
}

/// An update on the way through a look.
struct Pending {
    short: Summary,
    before: Option<Progress>,
    categories: Vec<UpdateId>,
    is_superseded: bool,
    is_declined: bool,
    rings: Vec<Ring>,
    whole: Option<(Vec<UpdateId>, bool)>,
}

/// How a ring stands.
#[derive(Clone, Debug)]
struct Ring {
    standing: Standing,
    got: Option<Got>,
    waits: BTreeSet<Waits>,
    by: Option<String>,
}

/// A category with what stands above it.
fn above(tree: &Tree, known: &mut HashMap<UpdateId, Vec<UpdateId>>, id: UpdateId) -> Vec<UpdateId> {
    let up = |id: &UpdateId| tree.get(*id).and_then(|category| category.parent);
    known.entry(id).or_insert_with(|| std::iter::successors(Some(id), up).take(LEVELS_MAX).collect()).clone()
}

/// The word that counts for a group: its own, or the nearest one above it.
fn nearest<'a>(words: &'a Words, tree: &Groups, group: Group) -> Option<&'a Approval> {
    let said = |group| words.approvals.get(&Target::Group(group)).filter(|word| word.said != Said::Inherit);
    tree.up(group).find_map(said)
}

impl Pending {
    fn candidate(&self) -> Candidate<'_> {
        let short = &self.short;
        Candidate {
            kind: short.kind,
            categories: &self.categories,
            severity: short.severity,
            day: short.created.map(Day::from),
            is_offered: short.deployable
                && !short.refused
                && short.publication == Publication::Published
                && !self.is_declined,
            is_superseded: self.is_superseded,
            is_begun: self.before.as_ref().is_some_and(|before| !before.rings.is_empty()),
        }
    }

    /// Asks the rule.
    fn step(&self, rule: &Rule, counted: Counted, now: Timestamp) -> Step {
        let Counted { tried, pilot } = counted;
        let rings: Vec<Standing> = self.rings.iter().map(|ring| ring.standing).collect();
        let before = self.before.as_ref();
        rule.step(&Known {
            update: self.candidate(),
            rings: &rings,
            stopped: before.and_then(|before| before.stopped).map(|stopped| stopped.tried),
            overruled: before.and_then(|before| before.overruled),
            tried,
            pilot,
            now,
        })
    }

    /// The rings that have it, with since when they are offered it.
    fn groups(&self, rule: &Rule) -> BTreeMap<Group, Option<Timestamp>> {
        let has = self.rings.iter().zip(&rule.rings);
        has.filter_map(|(ring, of)| Some((of.target, ring.got?.since))).collect()
    }
}

impl Terms<'_> {
    /// Since when what was said at a time is offered to a group, and what keeps it from being.
    fn offered(
        &self,
        group: Group,
        said: Timestamp,
        words: &Words,
        eulas: &[UpdateId],
    ) -> (Option<Timestamp>, BTreeSet<Waits>) {
        let (mut since, mut waits) = (said, BTreeSet::new());
        for eula in eulas {
            match self.accepted.get(eula) {
                Some(at) => since = since.max((*at).min(self.now)),
                None => drop(waits.insert(Waits::Licence)),
            }
        }
        match words.let_since(&self.tree.groups, group) {
            Some(at) => since = since.max(at.min(self.now)),
            None => drop(waits.insert(Waits::Review)),
        }
        (waits.is_empty().then_some(since), waits)
    }

    /// Licences of an update with all that it bundles, and whether it may ask the user something; looked up once.
    async fn whole(&self, pending: &mut Pending) -> Result<Vec<UpdateId>, Error> {
        if pending.whole.is_none() {
            let whole = self.shared.store.catalog().whole(pending.short.identity).await?;
            pending.whole = Some((whole.eulas, whole.asks_user));
        }
        Ok(pending.whole.as_ref().map(|(eulas, _)| eulas.clone()).unwrap_or_default())
    }

    /// How a ring stands. What is offered once stays so: that a review goes on from the test to the release starts no days anew.
    async fn standing(&self, target: Group, words: &Words, pending: &mut Pending) -> Result<Ring, Error> {
        let before = pending.before.as_ref();
        let got = before.and_then(|before| before.rings.get(&target).copied());
        let is_passed = before.is_some_and(|before| before.passed.contains(&target));
        let own = words.approvals.get(&Target::Group(target));
        let word = nearest(words, &self.tree.groups, target);
        let is_install = |said| matches!(said, Said::Do { action: Action::Install | Action::OptionalInstall, .. });
        let none = BTreeSet::new();
        match word {
            Some(word) if is_install(word.said) => {
                let at = got.map_or(word.at.min(self.now), |got| got.at);
                let by = Some(word.by.clone());
                if let Some(since) = got.and_then(|got| got.since) {
                    let (standing, waits) = (Standing::Has { since: Some(since) }, none);
                    return Ok(Ring { standing, got, waits, by });
                }
                let eulas = self.whole(pending).await?;
                let (since, waits) = self.offered(target, at, words, &eulas);
                let got = Got { at, since, own: got.is_some_and(|got| got.own) };
                Ok(Ring { standing: Standing::Has { since }, got: Some(got), waits, by })
            }
            // What was taken back before the rule said anything is as if nobody had said it. What the ring had by the rule, or while it
            // looked, and has no more, a person took back: that is a word.
            None if got.is_none() => Ok(Ring { standing: Standing::Open, got: None, waits: none, by: None }),
            other => {
                let by = other.or(own).map(|word| word.by.clone()).filter(|by| !by.is_empty());
                let standing = if is_passed { Standing::Passed } else { Standing::Otherwise };
                Ok(Ring { standing, got: None, waits: none, by })
            }
        }
    }
}

impl Shared {
    pub(super) async fn look_at_rules(&self, which: Which) -> Result<Looked, Error> {
        let (catalog, approvals) = (self.store.catalog(), self.store.approvals());
        let now = self.clock.now();
        let mut rules = self.store.rules().all().await?;
        rules.retain(|kept| which.rule.is_none_or(|number| number == kept.number));
        let tree = Arc::new(approvals.tree().await?);
        let mut looked = Looked { at: now, tree: Arc::clone(&tree), rules: Vec::new(), next: None };
        if rules.iter().all(|kept| !kept.rule.enabled && !which.disabled) {
            looked.rules = rules.into_iter().map(Of::new).collect();
            return Ok(looked);
        }
        let accepted = approvals.licences().await?.into_iter().map(|one| (one.eula, one.at)).collect();
        let terms = Terms { shared: self, categories: catalog.tree().await?, tree, accepted, now };
        for kept in rules {
            let of = terms.one(kept, which).await?;
            for row in &of.rows {
                if let Step::Waits { until, .. } = row.step {
                    looked.next = Some(looked.next.map_or(until, |next| next.min(until)));
                }
            }
            looked.rules.push(of);
        }
        Ok(looked)
    }
}

impl Terms<'_> {
    async fn one(&self, kept: Kept, which: Which) -> Result<Of, Error> {
        let is_there = |group: Group| {
            group == Group::ALL_ENDPOINTS || group == UNASSIGNED || self.tree.groups.get(group).is_some()
        };
        let lost: Vec<Group> =
            kept.rule.rings.iter().map(|ring| ring.target).filter(|group| !is_there(*group)).collect();
        let mut of = Of { lost, ..Of::new(kept) };
        if !of.lost.is_empty() || !(of.kept.rule.enabled || which.disabled) {
            return Ok(of);
        }
        let rule = Rule { enabled: true, ..of.kept.rule.clone() };
        let mut known = self.remembered(of.kept.number).await?;
        let mut categories = HashMap::new();
        let mut pending = Vec::new();
        for (short, is_superseded) in self.found(&rule, &known).await? {
            let before = known.remove(&short.identity.id);
            let is_had = |before: &Progress| {
                rule.rings.iter().all(|ring| before.rings.get(&ring.target).is_some_and(|got| got.since.is_some()))
            };
            if before.as_ref().is_some_and(|before| before.over || is_had(before) && !is_superseded) {
                of.done += u64::from(before.is_some_and(|before| !before.over));
                continue;
            }
            let ids = short.categories.iter();
            let all: BTreeSet<UpdateId> = ids.flat_map(|id| above(&self.categories, &mut categories, *id)).collect();
            let categories = all.into_iter().collect();
            let (rings, whole, is_declined) = (vec![], None, false);
            let one = Pending { short, before, categories, is_superseded, is_declined, rings, whole };
            if rule.takes(&one.candidate(), self.now) || one.before.is_some() {
                pending.push(one);
            }
        }
        // What is left is not in the catalog any more.
        of.gone = known.into_iter().map(|(update, before)| write::forget(&of.kept, update, before)).collect();
        self.weigh(&mut of, &rule, pending, which).await?;
        of.rows.sort_by_key(|row| (std::cmp::Reverse(row.short.created), row.short.identity.id));
        Ok(of)
    }

    /// How far the rule has come, with what.
    async fn remembered(&self, rule: u32) -> Result<BTreeMap<UpdateId, Progress>, Error> {
        let (rules, mut found, mut after) = (self.shared.store.rules(), BTreeMap::new(), None);
        loop {
            let page = rules.progress(rule, after, PAGE_MAX).await?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(*last);
            found.extend(page);
        }
    }

    /// Step 2: what is offered and may be the rule's, and what it began with; each with whether something newer does the same.
    async fn found(&self, rule: &Rule, known: &BTreeMap<UpdateId, Progress>) -> Result<Vec<(Summary, bool)>, Error> {
        let catalog = self.shared.store.catalog();
        let (mut found, mut seen, mut after): (Vec<(Summary, bool)>, BTreeSet<UpdateId>, Option<Cursor>) =
            (vec![], BTreeSet::new(), None);
        let from = rule
            .takes
            .newest
            .map(|days| Timestamp::from_ms(self.now.ms().saturating_sub((u64::from(days) + 1).saturating_mul(DAY_MS))));
        loop {
            let query = Query {
                any_of: rule.takes.classifications.iter().copied().collect(),
                states: vec![State::Current],
                after,
                limit: SEARCH_MAX,
                ..Query::default()
            };
            let page = catalog.search(query).await?;
            // The newest come first; those that do not say how old they are come last, and are few.
            for hit in page.hits {
                let id = hit.summary.identity.id;
                let is_old = hit.summary.created.is_some_and(|created| from.is_some_and(|from| created < from));
                if seen.insert(id) && (!is_old || known.contains_key(&id)) {
                    found.push((hit.summary, false));
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let others: Vec<UpdateId> = known.keys().filter(|id| !seen.contains(id)).copied().collect();
        for step in others.chunks(STEP) {
            let targets = step.iter().map(|id| Pointed::Newest(*id)).collect();
            let shorts = catalog.shorts(targets).await?;
            let superseded = catalog.are_superseded(step.to_vec()).await?;
            found.extend(shorts.into_iter().zip(superseded).filter_map(|(short, is)| Some((short?, is))));
        }
        Ok(found)
    }

    /// Steps 3 to 5.
    async fn weigh(&self, of: &mut Of, rule: &Rule, pending: Vec<Pending>, which: Which) -> Result<(), Error> {
        let approvals = self.shared.store.approvals();
        let mut at: Vec<(Pending, Step)> = Vec::new();
        let mut left = pending.into_iter().peekable();
        while left.peek().is_some() {
            let step: Vec<Pending> = left.by_ref().take(STEP).collect();
            let ids: Vec<UpdateId> = step.iter().map(|one| one.short.identity.id).collect();
            let words = approvals.words(ids).await?;
            for (mut one, words) in step.into_iter().zip(words) {
                one.is_declined = words.declined.is_some();
                for ring in &rule.rings {
                    let ring = self.standing(ring.target, &words, &mut one).await?;
                    one.rings.push(ring);
                }
                let step = one.step(rule, Counted::default(), self.now);
                at.push((one, step));
            }
        }
        let mut asked: Vec<Asked> = Vec::new();
        let mut of_row = Vec::with_capacity(at.len());
        for (one, step) in &at {
            let groups = one.groups(rule);
            let counts = rule.stop.is_some() && matches!(step, Step::Releases { .. });
            let shown = which.detailed && !matches!(step, Step::Passes | Step::Done);
            let is_asked = !groups.is_empty() && (counts || shown);
            of_row.push(is_asked.then_some(asked.len()));
            if is_asked {
                asked.push((one.short.identity.id, groups));
            }
        }
        let counted = tried(self.shared, &self.tree.groups, asked, which.detailed, self.now).await?;
        for ((mut one, mut step), place) in at.into_iter().zip(of_row) {
            let counted = place.and_then(|place| counted.get(place).copied()).unwrap_or_default();
            if let Step::Releases { .. } = step {
                step = one.step(rule, counted, self.now);
            }
            if step == Step::Done {
                of.done += 1;
            }
            let row = self.row(&of.kept, rule, &mut one, step, counted.tried).await?;
            if row.act.is_some() || !matches!(step, Step::Done | Step::Passes) {
                of.rows.push(row);
            }
        }
        Ok(())
    }

    /// Step 5.
    async fn row(&self, kept: &Kept, rule: &Rule, one: &mut Pending, step: Step, tried: Tried) -> Result<Row, Error> {
        let mut has: Vec<Option<Timestamp>> = one.rings.iter().map(|ring| ring.got.map(|got| got.at)).collect();
        let last = one.rings.iter().rev().find(|ring| ring.got.is_some());
        let mut waits = last.map(|ring| ring.waits.clone()).unwrap_or_default();
        let held_by = match step {
            Step::Held { ring } => one.rings.get(ring).and_then(|ring| ring.by.clone()),
            _ => None,
        };
        // Rings that have it are remembered from the first step on.
        let mut after = one.before.clone().unwrap_or_default();
        for (ring, of) in one.rings.iter().zip(&rule.rings) {
            if let Some(got) = ring.got {
                after.rings.insert(of.target, got);
            }
        }
        let is_begun = one.before.as_ref().is_some_and(|before| !before.rings.is_empty());
        let (mut says, mut takes_back, mut why) = (Vec::new(), Vec::new(), String::new());
        let is_over = is_begun
            && one.is_superseded
            && matches!(step, Step::Done | Step::Passes)
            && self.is_replaced(kept.number, one, &after).await?;
        match step {
            Step::Releases { ring, deadline } => {
                // A step names a ring that there is.
                if let Some(of) = rule.rings.get(ring) {
                    let eulas = self.whole(one).await?;
                    let asks_user = one.whole.as_ref().is_some_and(|(_, asks)| *asks);
                    let words = self.words_of(one).await?;
                    let (since, in_the_way) = self.offered(of.target, self.now, &words, &eulas);
                    // What may ask somebody something cannot be installed by a time.
                    let deadline = deadline.filter(|_| !asks_user);
                    says.push((of.target, Said::Do { action: Action::Install, deadline }));
                    after.rings.insert(of.target, Got { at: self.now, since, own: true });
                    if let Some(slot) = has.get_mut(ring) {
                        *slot = Some(self.now);
                    }
                    waits = in_the_way;
                    why = format!("ring {} of {}", ring + 1, rule.rings.len());
                }
            }
            Step::Stopped { tried, .. } => {
                after.stopped.get_or_insert(crate::store::rules::Stopped { at: self.now, tried });
            }
            _ if is_over => {
                let by = write::by(rule);
                let is_own = |group: &Group| {
                    let ring = rule.rings.iter().position(|ring| ring.target == *group);
                    ring.and_then(|ring| one.rings.get(ring)).is_some_and(|ring| ring.by.as_deref() == Some(&by))
                };
                let own = after.rings.iter().filter(|(_, got)| got.own).map(|(group, _)| *group);
                takes_back = own.filter(is_own).collect();
                after.over = true;
                "something newer has its place".clone_into(&mut why);
            }
            _ => {}
        }
        // What others did is no step of the rule before it begins.
        let counts = is_begun || !says.is_empty() || one.before.is_some();
        let is_news = counts
            && one.before.as_ref() != Some(&after)
            && !(step == Step::Passes && takes_back.is_empty() && !after.over);
        let act = is_news.then(|| Act {
            rule: kept.number,
            revision: kept.revision,
            update: one.short.identity.id,
            before: one.before.clone(),
            after: Some(after),
            says,
            takes_back,
            by: write::by(rule),
            why,
        });
        let (short, before) = (one.short.clone(), one.before.clone());
        Ok(Row { short, step, before, has, waits, tried, held_by, act })
    }

    async fn words_of(&self, one: &Pending) -> Result<Words, Error> {
        let mut words = self.shared.store.approvals().words(vec![one.short.identity.id]).await?;
        Ok(words.pop().unwrap_or_default())
    }

    /// Whether something that supersedes an update was given by the same rule to all rings that have it.
    async fn is_replaced(&self, rule: u32, one: &Pending, after: &Progress) -> Result<bool, Error> {
        let (catalog, rules) = (self.shared.store.catalog(), self.shared.store.rules());
        let numbers = catalog.superseded_by(one.short.identity.id).await?;
        for short in catalog.summaries(numbers).await? {
            let id = short.identity.id;
            let newer = rules.of(rule, id).await?;
            if newer.is_some_and(|newer| after.rings.keys().all(|group| newer.rings.contains_key(group))) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
