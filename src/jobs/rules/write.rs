//! What the rules do is written, in small transactions, and told.

use std::collections::{BTreeMap, BTreeSet};

use crate::jobs::Shared;
use crate::jobs::board::{Line as JobLine, Record, Step as JobStep, Unit};
use crate::jobs::error::Error;
use crate::jobs::rules::Which;
use crate::jobs::rules::value::{Looked, Of, Row};
use crate::model::deployment::rules::{RINGS_MAX, Rule, Step, Tried};
use crate::model::group::UNASSIGNED;
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::approvals::Tree;
use crate::store::catalog::Summary;
use crate::store::rules::{ACTS_MAX, Act, Event, Kept, Line, Progress};
use crate::sync::StoppedRule;

/// Updates that are named in a line of the history, of the log, and for the webhook.
const NAMED_MAX: usize = 10;

/// Looks of one run: where rings have no days between them, one gets it right after the other.
const LOOKS_MAX: usize = RINGS_MAX + 1;

/// In whose name a rule approves.
pub(super) fn by(rule: &Rule) -> String {
    format!("rule {}", rule.name)
}

/// What a rule remembers of an update that the catalog does not have any more is forgotten.
pub(super) fn forget(kept: &Kept, update: UpdateId, before: Progress) -> Act {
    Act {
        rule: kept.number,
        revision: kept.revision,
        update,
        before: Some(before),
        after: None,
        says: vec![],
        takes_back: vec![],
        by: by(&kept.rule),
        why: String::new(),
    }
}

/// The path of a group as people see it.
fn path(tree: &Tree, group: Group) -> String {
    match group {
        Group::ALL_ENDPOINTS => "all".to_owned(),
        UNASSIGNED => "unassigned".to_owned(),
        group if tree.groups.get(group).is_none() => group.0.to_string(),
        group => tree.groups.path(group),
    }
}

/// An update, for people: its article, else its title.
fn called(short: &Summary) -> String {
    match short.kbs.first() {
        Some(kb) => format!("KB{kb}"),
        None if short.title.is_empty() => short.identity.id.to_string(),
        None => short.title.clone(),
    }
}

fn listed(names: &[String]) -> String {
    let first = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn updates(many: usize) -> String {
    if many == 1 { "1 update".to_owned() } else { format!("{many} updates") }
}

/// Failures, for people.
pub(super) fn failures(tried: Tried) -> String {
    let all = u64::from(tried.installed) + u64::from(tried.failed);
    format!("{} of {all} established machines failed", tried.failed)
}

/// What a step comes to, by what is told together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    /// A ring got it.
    Released(usize),
    /// It went no further.
    Stopped,
    /// Something newer has its place.
    Replaced,
}

/// What is told of a step, where anything is.
fn told(row: &Row, act: &Act) -> Option<Told> {
    match row.step {
        Step::Releases { ring, .. } => Some(Told::Released(ring)),
        Step::Stopped { .. } if act.before.as_ref().is_none_or(|before| before.stopped.is_none()) => {
            Some(Told::Stopped)
        }
        _ if !act.takes_back.is_empty() => Some(Told::Replaced),
        _ => None,
    }
}

/// Lines of the history for the steps of one transaction: one for each ring that got something, and so on.
fn lines(kept: &Kept, tree: &Tree, steps: &[(Option<Told>, String)], done: &[bool]) -> Vec<Line> {
    let mut groups: BTreeMap<&Told, Vec<String>> = BTreeMap::new();
    for ((told, name), is_done) in steps.iter().zip(done) {
        if let (Some(told), true) = (told, is_done) {
            groups.entry(told).or_default().push(name.clone());
        }
    }
    let line = |(told, names): (&Told, Vec<String>)| {
        let many = updates(names.len());
        let (event, text) = match told {
            Told::Released(ring) => {
                let of = kept.rule.rings.get(*ring).map(|ring| path(tree, ring.target)).unwrap_or_default();
                (Event::Released, format!("ring {} ({of}): {many}: {}", ring + 1, listed(&names)))
            }
            Told::Stopped => (Event::Stopped, format!("{many}: {}", listed(&names))),
            Told::Replaced => (Event::Replaced, format!("something newer has the place of {many}: {}", listed(&names))),
        };
        let by = by(&kept.rule);
        Line { at: kept.changed.1, rule: kept.number, name: kept.rule.name.clone(), event, by, text }
    };
    groups.into_iter().map(line).collect()
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    approved: u64,
    stopped: u64,
    replaced: u64,
    left: u64,
}

impl Done {
    fn summary(self) -> String {
        let Self { approved, stopped, replaced, left } = self;
        if self == Self::default() {
            return "nothing was due".to_owned();
        }
        let rare = [
            (stopped, "stopped by failures"),
            (replaced, "taken back, since something newer has their place"),
            (left, "left for the next run, since somebody changed something meanwhile"),
        ];
        let rare = rare.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let first = if approved == 1 { "1 approval".to_owned() } else { format!("{approved} approvals") };
        std::iter::once(first).chain(rare).collect::<Vec<_>>().join("; ")
    }
}

/// The job: looks and writes until nothing is due.
pub(super) async fn run(shared: &Shared, record: &Record, rule: Option<u32>) -> Result<String, Error> {
    record.progress(|progress| progress.unit = Unit::Items);
    let mut done = Done::default();
    shared.store.rules().sweep().await?;
    for _ in 0..LOOKS_MAX {
        let looked = shared.look_at_rules(Which { rule, ..Which::default() }).await?;
        if !looked.is_due() {
            break;
        }
        let before = done;
        for of in looked.rules.iter().filter(|of| of.kept.rule.enabled) {
            if record.cancel().is_cancelled() {
                return Err(Error::Stopped);
            }
            write(shared, record, &looked, of, &mut done).await?;
        }
        if (done.approved, done.stopped, done.replaced) == (before.approved, before.stopped, before.replaced) {
            break;
        }
    }
    if done.approved > 0 || done.replaced > 0 {
        // Their files may be wanted.
        shared.content_changed();
    }
    Ok(done.summary())
}

async fn write(shared: &Shared, record: &Record, looked: &Looked, of: &Of, done: &mut Done) -> Result<(), Error> {
    let rules = shared.store.rules();
    let rows: Vec<(&Row, &Act)> = of.rows.iter().filter_map(|row| Some((row, row.act.as_ref()?))).collect();
    let mut stopped: Vec<&Row> = Vec::new();
    for step in rows.chunks(ACTS_MAX) {
        let acts = step.iter().map(|(_, act)| (*act).clone()).collect();
        let steps: Vec<(Option<Told>, String)> =
            step.iter().map(|(row, act)| (told(row, act), called(&row.short))).collect();
        let (kept, tree, theirs) = (of.kept.clone(), std::sync::Arc::clone(&looked.tree), steps.clone());
        let written = rules.act(acts, move |done| lines(&kept, &tree, &theirs, done)).await?;
        for (((row, _), (told, name)), is_written) in step.iter().zip(&steps).zip(written) {
            if !is_written {
                done.left += 1;
                continue;
            }
            let text = match told {
                Some(Told::Released(ring)) => {
                    done.approved += 1;
                    let of = of.kept.rule.rings.get(*ring).map(|ring| path(&looked.tree, ring.target));
                    format!("approved for {} (ring {})", of.unwrap_or_default(), ring + 1)
                }
                Some(Told::Stopped) => {
                    done.stopped += 1;
                    stopped.push(row);
                    format!("stopped: {}", failures(row.tried))
                }
                Some(Told::Replaced) => {
                    done.replaced += 1;
                    "taken back: something newer has its place".to_owned()
                }
                None => continue,
            };
            let rule = &of.kept.rule.name;
            record.add(JobLine::ended(name.clone(), JobStep::Done, 0, format!("rule {rule}: {text}")));
            record.progress(|progress| progress.done += 1);
        }
        let released = steps.iter().filter(|(told, _)| matches!(told, Some(Told::Released(_)))).count();
        if released > 0 {
            tracing::info!(rule = of.kept.rule.name, approvals = released, "a rule approved updates");
        }
    }
    for step in of.gone.chunks(ACTS_MAX) {
        rules.act(step.to_vec(), |_| vec![]).await?;
    }
    tell_stopped(shared, looked, of, &stopped);
    Ok(())
}

/// Tells the log and the webhook that a rule goes no further with some updates.
fn tell_stopped(shared: &Shared, looked: &Looked, of: &Of, stopped: &[&Row]) {
    let Some(first) = stopped.first() else { return };
    let rule = &of.kept.rule;
    let names: Vec<String> = stopped.iter().map(|row| called(&row.short)).collect();
    for row in stopped.iter().take(NAMED_MAX) {
        tracing::warn!(
            rule = rule.name,
            update = called(&row.short),
            failed = row.tried.failed,
            installed = row.tried.installed,
            "a rule goes no further with an update: too many machines failed; `waystation rules resume` has it go on"
        );
    }
    let Ok(sync) = shared.sync() else { return };
    let ring = match first.step {
        Step::Stopped { ring, .. } => rule.rings.get(ring).map(|ring| path(&looked.tree, ring.target)),
        _ => None,
    };
    sync.tell_stopped_rule(&StoppedRule {
        rule: rule.name.clone(),
        ring: ring.unwrap_or_default(),
        updates: stopped.len() as u64,
        named: names.into_iter().take(NAMED_MAX).collect(),
        installed: first.tried.installed,
        failed: first.tried.failed,
        reason: failures(first.tried),
    });
}

/// What came of it that a person said that a rule goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Updates that had been stopped by failures.
    pub stopped: Vec<UpdateId>,
    /// Updates of which a ring is left out from now on, since somebody said something else for it.
    pub held: Vec<UpdateId>,
}

impl Shared {
    /// Lets a rule go on with these updates, or with all where none is named.
    pub(super) async fn resume_rule(
        &self,
        rule: &Kept,
        updates_: &BTreeSet<UpdateId>,
        by: &str,
    ) -> Result<Resumed, Error> {
        let which = Which { rule: Some(rule.number), disabled: true, detailed: true };
        let looked = self.look_at_rules(which).await?;
        let mut resumed = Resumed::default();
        let (mut acts, mut names) = (Vec::new(), Vec::new());
        for row in looked.rules.iter().flat_map(|of| &of.rows) {
            let id = row.short.identity.id;
            if !updates_.is_empty() && !updates_.contains(&id) {
                continue;
            }
            let mut after = row.before.clone().unwrap_or_default();
            match row.step {
                Step::Stopped { tried, .. } => {
                    after.stopped = None;
                    after.overruled = Some(tried.failed.max(row.tried.failed));
                    resumed.stopped.push(id);
                }
                Step::Held { ring } => {
                    after.passed.extend(rule.rule.rings.get(ring).map(|ring| ring.target));
                    resumed.held.push(id);
                }
                _ => continue,
            }
            names.push(called(&row.short));
            let before = row.before.clone();
            acts.push(Act { before, after: Some(after), ..forget(rule, id, Progress::default()) });
        }
        let (mut left, mut names) = (acts.as_slice(), names.as_slice());
        while !left.is_empty() {
            let (step, rest) = left.split_at(left.len().min(ACTS_MAX));
            let (named, others) = names.split_at(step.len());
            (left, names) = (rest, others);
            let line = Line {
                at: looked.at,
                rule: rule.number,
                name: rule.rule.name.clone(),
                event: Event::Resumed,
                by: by.to_owned(),
                text: format!("{}: {}", updates(named.len()), listed(named)),
            };
            let written = self.store.rules().act(step.to_vec(), move |_| vec![line]).await?;
            if written.contains(&false) {
                return Err(Error::Input(
                    "the rule, or what it remembers, was changed meanwhile: look at it again (`waystation rules show`), then say it once more"
                        .to_owned(),
                ));
            }
        }
        Ok(resumed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_told_in_words() {
        assert_eq!(Done::default().summary(), "nothing was due");
        assert_eq!(Done { approved: 1, ..Done::default() }.summary(), "1 approval");
        let told = Done { approved: 12, stopped: 2, ..Done::default() }.summary();
        assert_eq!(told, "12 approvals; 2 stopped by failures");
        let names: Vec<String> = (0..12).map(|at| format!("KB{at}")).collect();
        assert!(listed(&names).ends_with("KB9 and 2 more"), "{}", listed(&names));
        assert_eq!(failures(Tried { installed: 8, failed: 2 }), "2 of 10 established machines failed");
    }
}
