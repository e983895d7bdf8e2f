//! What goes into the tables of rules and comes out of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::time::Timestamp;
use crate::model::deployment::Said;
use crate::model::deployment::rules::{Ring, Rule, Stop, Takes, Tried};
use crate::model::policy::Group;
use crate::model::update::UpdateId;
use crate::store::catalog::facts::{severity_code, severity_of};
use crate::store::error::Error;
use crate::store::rules::tables::{HISTORY_NAME, LineRow, ProgressRow, RuleRow};

/// A rule as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number, which no other rule ever has.
    pub number: u32,
    /// The rule.
    pub rule: Rule,
    /// Who made it, and when.
    pub made: (String, Timestamp),
    /// Who changed it last, and when.
    pub changed: (String, Timestamp),
    /// Rises with each change.
    pub revision: u64,
}

/// A ring that has an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Got {
    /// Since when it is to install it.
    pub at: Timestamp,
    /// Since when it is offered it; `None` while a licence or a review keeps it from that.
    pub since: Option<Timestamp>,
    /// The rule said so; else somebody else did, before it.
    pub own: bool,
}

/// That a rule goes no further with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Since when.
    pub at: Timestamp,
    /// What was reported then.
    pub tried: Tried,
}

/// How far a rule has come with an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The rings that have it.
    pub rings: BTreeMap<Group, Got>,
    /// It goes no further.
    pub stopped: Option<Stopped>,
    /// How many failures a person saw who said that it goes on.
    pub overruled: Option<u32>,
    /// Rings of which a person said that it goes on past them.
    pub passed: BTreeSet<Group>,
    /// Nothing more comes: something newer has its place in all rings.
    pub over: bool,
}

/// A step of a rule with an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The rule.
    pub rule: u32,
    /// Its revision by which this was made out.
    pub revision: u64,
    /// The update.
    pub update: UpdateId,
    /// How far it had come.
    pub before: Option<Progress>,
    /// How far it has; `None`: nothing of it is remembered.
    pub after: Option<Progress>,
    /// What is said, for groups of which nothing was.
    pub says: Vec<(Group, Said)>,
    /// Groups for which what was said in the name `by` is taken back.
    pub takes_back: Vec<Group>,
    /// Who is told to have said so.
    pub by: String,
    /// Why.
    pub why: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A person made the rule.
    Added,
    /// A person changed it.
    Changed,
    /// A person switched it on.
    Enabled,
    /// A person switched it off.
    Disabled,
    /// A person removed it.
    Removed,
    /// It gave updates to a ring.
    Released,
    /// It went no further with some.
    Stopped,
    /// A person said that it goes on.
    Resumed,
    /// It took back what something newer has the place of.
    Replaced,
}

impl Event {
    const CODES: [(Self, u8, &'static str); 9] = [
        (Self::Added, 1, "added"),
        (Self::Changed, 2, "changed"),
        (Self::Enabled, 3, "enabled"),
        (Self::Disabled, 4, "disabled"),
        (Self::Removed, 5, "removed"),
        (Self::Released, 6, "released"),
        (Self::Stopped, 7, "stopped"),
        (Self::Resumed, 8, "resumed"),
        (Self::Replaced, 9, "replaced"),
    ];

    /// The word for people and scripts.
    pub fn word(self) -> &'static str {
        Self::CODES.into_iter().find(|(event, ..)| *event == self).map_or("", |(_, _, word)| word)
    }

    fn code(self) -> u8 {
        Self::CODES.into_iter().find(|(event, ..)| *event == self).map_or(0, |(_, code, _)| code)
    }
}

/// A line of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When; set by the store where it writes the line.
    pub at: Timestamp,
    /// The rule's number.
    pub rule: u32,
    /// What it was called then.
    pub name: String,
    /// What happened.
    pub event: Event,
    /// Who did it.
    pub by: String,
    /// More, for people.
    pub text: String,
}

pub(super) fn rule_row(kept: &Kept) -> RuleRow {
    let Rule { name, enabled, takes, rings, stop, deadline } = &kept.rule;
    let ids = |set: &BTreeSet<UpdateId>| set.iter().map(|id| *id.bytes()).collect();
    RuleRow {
        name: name.clone(),
        enabled: *enabled,
        classifications: ids(&takes.classifications),
        products: ids(&takes.products),
        severity: severity_code(takes.severity),
        newest: takes.newest,
        rings: rings.iter().map(|ring| (*ring.target.0.bytes(), ring.after)).collect(),
        stop: stop.map(|Stop { percent, sample }| (percent, sample)),
        deadline: *deadline,
        made_by: kept.made.0.clone(),
        made_at: kept.made.1.ms(),
        by: kept.changed.0.clone(),
        at: kept.changed.1.ms(),
        revision: kept.revision,
    }
}

pub(super) fn rule_of(number: u32, row: RuleRow) -> Result<Kept, Error> {
    let ids = |ids: Vec<[u8; 16]>| ids.into_iter().map(UpdateId::new).collect();
    let takes = Takes {
        classifications: ids(row.classifications),
        products: ids(row.products),
        severity: severity_of(row.severity)?,
        newest: row.newest,
    };
    let ring = |(group, after)| Ring { target: Group(UpdateId::new(group)), after };
    let rule = Rule {
        name: row.name,
        enabled: row.enabled,
        takes,
        rings: row.rings.into_iter().map(ring).collect(),
        stop: row.stop.map(|(percent, sample)| Stop { percent, sample }),
        deadline: row.deadline,
    };
    Ok(Kept {
        number,
        rule,
        made: (row.made_by, Timestamp::from_ms(row.made_at)),
        changed: (row.by, Timestamp::from_ms(row.at)),
        revision: row.revision,
    })
}

pub(super) fn progress_row(progress: &Progress) -> ProgressRow {
    let ring = |(group, got): (&Group, &Got)| (*group.0.bytes(), got.at.ms(), got.since.map(Timestamp::ms), got.own);
    ProgressRow {
        rings: progress.rings.iter().map(ring).collect(),
        stopped: progress.stopped.map(|Stopped { at, tried }| (at.ms(), tried.installed, tried.failed)),
        overruled: progress.overruled,
        passed: progress.passed.iter().map(|group| *group.0.bytes()).collect(),
        over: progress.over,
    }
}

pub(super) fn progress_of(row: ProgressRow) -> Progress {
    let time = Timestamp::from_ms;
    let ring = |(group, at, since, own): ([u8; 16], u64, Option<u64>, bool)| {
        (Group(UpdateId::new(group)), Got { at: time(at), since: since.map(time), own })
    };
    Progress {
        rings: row.rings.into_iter().map(ring).collect(),
        stopped: row
            .stopped
            .map(|(at, installed, failed)| Stopped { at: time(at), tried: Tried { installed, failed } }),
        overruled: row.overruled,
        passed: row.passed.into_iter().map(|group| Group(UpdateId::new(group))).collect(),
        over: row.over,
    }
}

pub(super) fn line_row(line: Line, at: u64) -> LineRow {
    let Line { rule, name, event, by, text, .. } = line;
    LineRow { at, rule, name, event: event.code(), by, text }
}

pub(super) fn line_of(row: LineRow) -> Result<Line, Error> {
    let LineRow { at, rule, name, event, by, text } = row;
    let (event, ..) = Event::CODES.into_iter().find(|(_, code, _)| *code == event).ok_or_else(|| Error::Row {
        what: format!("a row of {HISTORY_NAME} says {event}, which this program does not know"),
    })?;
    Ok(Line { at: Timestamp::from_ms(at), rule, name, event, by, text })
}
