//! What becomes of a machine that says what it is: rules 1 to 3 of [`crate::fleet::registry`], but for the limit of new ones. Pure.

use crate::fleet::registry::{Admit, Registered};
use crate::store::fleet::{Admitted, Bios, Contest, Event, EventKind, Record, Registration, Ruling};

/// Characters of a name (RFC 1035, 2.3.4) and of what else a machine says of itself.
const TEXT_MAX: usize = 255;
/// Groups that a machine may name for itself.
const TARGETS_MAX: usize = 32;
/// Contests that are kept of one id; of more, those that were there first.
const CONTESTS_MAX: usize = 8;
/// How long a contest is not noted again, in ms: a clone that scans in a circle must not cost a commit each time.
const CONTEST_EVERY: u64 = 3_600_000;

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(end);
    }
}

/// What is longer than any machine says is cut, so that no row grows by what comes from outside.
pub(super) fn bounded(mut told: Registration) -> Registration {
    let Bios { name, version, date } = &mut told.bios;
    let texts = [&mut told.name, &mut told.maker, &mut told.model, &mut told.architecture, &mut told.client_version];
    for text in texts.into_iter().chain([name, version, date]) {
        cut(text);
    }
    told.targets.truncate(TARGETS_MAX);
    told.targets.iter_mut().for_each(cut);
    told.address = told.address.to_canonical();
    told
}

/// Whether they are one machine as far as it can be told. A maker or model that is not said agrees with one that was not said alone:
/// whoever leaves them out would else be every machine of that name.
fn is_same(known: &Registration, told: &Registration) -> bool {
    known.name.to_lowercase() == told.name.to_lowercase() && (&known.maker, &known.model) == (&told.maker, &told.model)
}

/// What changed of a machine, for people.
fn changes(known: &Registration, told: &Registration) -> Vec<Event> {
    let mut events = Vec::new();
    let mut changed = |kind, text| events.push(Event { at: told.at, kind, text });
    if known.address != told.address {
        changed(EventKind::Address, format!("{} instead of {}", told.address, known.address));
    }
    if known.os != told.os {
        let text = |told: &Registration| format!("{}.{}.{}", told.os.major, told.os.minor, told.os.build);
        changed(EventKind::Changed, format!("system {} instead of {}", text(told), text(known)));
    }
    for (what, old, new) in [
        ("agent", &known.client_version, &told.client_version),
        ("firmware", &known.bios.version, &told.bios.version),
        ("architecture", &known.architecture, &told.architecture),
    ] {
        if old != new {
            changed(EventKind::Changed, format!("{what} {new:?} instead of {old:?}"));
        }
    }
    if known.targets != told.targets {
        let (new, old) = (told.targets.join("; "), known.targets.join("; "));
        changed(EventKind::Changed, format!("groups by its own word {new:?} instead of {old:?}"));
    }
    events
}

fn answer(admitted: Admitted) -> Registered {
    match admitted {
        Admitted::Accepted => Registered::Accepted,
        Admitted::Held => Registered::Held,
    }
}

/// Another machine came under the id of this one.
fn contested(mut known: Record, told: &Registration) -> Ruling<Registered> {
    let answer = Registered::Contested;
    let is_this = |contest: &&mut Contest| {
        contest.name.to_lowercase() == told.name.to_lowercase()
            && (&contest.maker, &contest.model) == (&told.maker, &told.model)
    };
    if let Some(contest) = known.contests.iter_mut().find(is_this) {
        let in_turns = contest.between.is_some();
        if told.at.ms() < contest.last.ms().saturating_add(CONTEST_EVERY) && (contest.is_clone || !in_turns) {
            return Ruling { put: None, events: vec![], answer };
        }
        let is_new = in_turns && !contest.is_clone;
        contest.last = told.at;
        contest.times = contest.times.saturating_add(1);
        contest.is_clone |= in_turns;
        contest.address = told.address;
        let text = format!("{:?} and {:?} come in turns: clones of one image", known.registration.name, told.name);
        let events = is_new.then_some(Event { at: told.at, kind: EventKind::Contested, text });
        return Ruling { put: Some(known), events: events.into_iter().collect(), answer };
    }
    if known.contests.len() >= CONTESTS_MAX {
        return Ruling { put: None, events: vec![], answer };
    }
    known.contests.push(Contest {
        name: told.name.clone(),
        maker: told.maker.clone(),
        model: told.model.clone(),
        bios: told.bios.clone(),
        address: told.address,
        first: told.at,
        last: told.at,
        times: 1,
        between: None,
        is_clone: false,
    });
    let text = format!("{:?} ({} {}) from {}", told.name, told.maker, told.model, told.address);
    let event = Event { at: told.at, kind: EventKind::Contested, text };
    Ruling { put: Some(known), events: vec![event], answer }
}

/// Rules 1 to 3, but for the limit of new ones.
pub(super) fn judge(known: Option<Record>, told: &Registration, admit: Admit) -> Ruling<Registered> {
    let Some(mut known) = known else {
        let admitted = match admit {
            Admit::Accept => Admitted::Accepted,
            Admit::Hold => Admitted::Held,
            Admit::Refuse => return Ruling { put: None, events: vec![], answer: Registered::Refused },
        };
        let text = format!("{:?} from {}", told.name, told.address);
        let event = Event { at: told.at, kind: EventKind::First, text };
        let record = Record { registration: told.clone(), first: told.at, admitted, contests: vec![] };
        return Ruling { put: Some(record), events: vec![event], answer: answer(admitted) };
    };
    if !is_same(&known.registration, told) {
        return contested(known, told);
    }
    let answer = answer(known.admitted);
    let events = changes(&known.registration, told);
    // It is here after another one was: the next time that one comes, they are two.
    let mut is_between = false;
    for contest in known.contests.iter_mut().filter(|contest| contest.between.is_none()) {
        contest.between = Some(told.at);
        is_between = true;
    }
    let old = &known.registration;
    let new = Registration { name: old.name.clone(), ..told.clone() };
    // When it said so last is a contact, and no reason to write.
    if new == (Registration { at: new.at, ..old.clone() }) && !is_between {
        return Ruling { put: None, events: vec![], answer };
    }
    known.registration = new;
    Ruling { put: Some(known), events, answer }
}
