//! How a flight opens: the payload may be held meanwhile; a draft may be there from before; else a place is asked what the
//! object is, and a draft is begun.

use std::sync::Arc;

use crate::base::digest::Sha1;
use crate::base::span::Span;
use crate::fill::config::{LEARNING_LINGER, TOLD_LINGER};
use crate::fill::error::Error;
use crate::fill::flight::{End, Shared, Spare};
use crate::fill::fresh;
use crate::fill::gate::Class;
use crate::fill::inner::Inner;
use crate::fill::learn::{self, First, Learnt, Lesson};
use crate::fill::locate::{Keeping, Target};
use crate::fill::memory::Told;
use crate::fill::owner::Start;
use crate::fill::pump::host_of;
use crate::fill::view::ASKING;
use crate::model::payload::{Location, Standing};
use crate::store::{self, Draft, DraftSpec};
use crate::upstream::{self, Answer, Ask, Method, Pinned};

/// What a flight begins to fill.
pub(super) enum Opened {
    /// From before.
    Draft(Draft),
    /// Empty, with the answer that taught us the object, if that carries bytes.
    New(Draft, Option<Box<Lesson>>),
    End(End),
}

fn passed(why: impl Into<String>, answer: Option<Answer>) -> Opened {
    let answer = Arc::new(std::sync::Mutex::new(answer));
    Opened::End(End::Passed(Spare { why: why.into(), answer }))
}

/// Step 1: held meanwhile, a draft from before, or a new one.
pub(super) async fn open(inner: &Arc<Inner>, shared: &Shared, start: &mut Start) -> Opened {
    if let Some(draft) = start.draft.take() {
        return Opened::Draft(draft);
    }
    if start.answer.is_none() {
        match inner.store.find_for_work(&shared.key).await {
            Ok(Some(found)) if inner.is_fresh(&found) => return Opened::End(End::Published(found)),
            Ok(_) => {}
            Err(error) => return unkept(shared, error),
        }
    }
    match inner.draft_of(&shared.key, &start.target.name).await {
        Ok(Some(draft)) => {
            let version = match &start.answer {
                _ if !may_be_continued(shared, &draft) => Version::Another,
                // The origin has just said what it has.
                Some((answer, _)) if is_of(answer, &draft.spec()) => Version::Same,
                Some(_) => Version::Another,
                None => version_of(inner, shared, &draft, &start.target).await,
            };
            match version {
                Version::Same => return Opened::Draft(draft),
                // The draft stays for a time when somebody can say whether it is still right.
                Version::Unknown(error) => return Opened::End(End::Failed(error)),
                Version::Another => {}
            }
            if let Err(error) = draft.discard().await {
                return unkept(shared, error);
            }
        }
        Ok(None) => {}
        Err(error) => return unkept(shared, error),
    }
    if matches!(start.first, First::Head)
        && start.answer.is_none()
        && let Some(told) = inner.memory.told(&shared.key)
        && told.generation == start.generation
        && told.spec.freshness.as_ref().is_none_or(|freshness| inner.clock.now() < freshness.until)
    {
        return told_alone(inner, shared, told).await;
    }
    learn_object(inner, shared, start).await
}

/// Whether all bytes must come from one answer: no digest will judge them, and neither a strong tag nor a date tells two
/// versions of the same length apart.
pub(super) fn must_be_one_answer(pinned: &Pinned) -> bool {
    let validators = &pinned.validators;
    !pinned.digest_known && validators.strong_etag().is_none() && validators.last_modified.is_none()
}

/// Whether bytes of another answer may join those of the draft.
fn may_be_continued(shared: &Shared, draft: &Draft) -> bool {
    let spec = draft.spec();
    let digest_known = spec.expected.is_some() || shared.lock().expected.is_some();
    let pinned = Pinned { size: spec.size, validators: spec.validators, digest_known };
    !must_be_one_answer(&pinned) || draft.is_complete()
}

/// Whether an answer is of the draft's version, by what tells versions apart.
fn is_of(answer: &Answer, spec: &DraftSpec) -> bool {
    let told = spec.validators.strong_etag().is_some() || spec.validators.last_modified.is_some();
    told && answer.total == Some(spec.size) && answer.validators == spec.validators
}

/// The store is in trouble: passed through, if it is known where from; else nobody could tell that it exists.
fn unkept(shared: &Shared, error: store::Error) -> Opened {
    if shared.lock().sources.is_empty() {
        Opened::End(End::Failed(error.into()))
    } else {
        passed(error.to_string(), None)
    }
}

/// What the origin has now, beside a draft.
enum Version {
    Same,
    Another,
    /// Nobody could say.
    Unknown(Error),
}

/// Whether a draft that RFC 9111 calls stale is still the origin's version. The client's own address is asked first: the
/// draft's may have been signed for a time that is over. Where the origin cannot be asked the draft is taken for current,
/// unless the origin has forbidden that: every further byte is asked for with the draft's validators.
async fn version_of(inner: &Inner, shared: &Shared, draft: &Draft, target: &Target) -> Version {
    let spec = draft.spec();
    let Some(freshness) = &spec.freshness else {
        return Version::Same;
    };
    let now = inner.clock.now();
    if now < freshness.until {
        return Version::Same;
    }
    let pinned = Pinned { size: spec.size, validators: spec.validators.clone(), digest_known: false };
    let stored = spec.locations.iter().filter(|stored| target.locations.iter().all(|own| own.url != stored.url));
    let mut errors = Vec::new();
    for location in target.locations.iter().chain(stored) {
        let asking = is_version(inner, location, &pinned, target.via.as_deref());
        let Some(told) = shared.while_claimed(LEARNING_LINGER, asking).await else {
            return Version::Unknown(Error::unavailable("nobody waits for it any more"));
        };
        match told {
            Ok(true) => return Version::Same,
            Ok(false) => return Version::Another,
            Err(error) => errors.push(error),
        }
    }
    let away = |error: &upstream::Error| {
        matches!(error, upstream::Error::Unavailable { .. } | upstream::Error::Resting { .. })
    };
    if errors.is_empty() {
        // No place to ask is left: nothing can be added to it either.
        return Version::Another;
    }
    if errors.iter().any(away) && fresh::may_serve_stale(freshness) {
        return Version::Same;
    }
    Version::Unknown(worst(&errors))
}

/// Whether this place has the pinned version: by its head, or by one byte where it does not answer HEAD (signed addresses
/// are often good for GET alone).
async fn is_version(
    inner: &Inner,
    location: &Location,
    pinned: &Pinned,
    via: Option<&str>,
) -> Result<bool, upstream::Error> {
    let _permit = inner.gates.enter(host_of(&location.url), Class::Demand).await.ok();
    let told = pinned.validators.etag.is_some() || pinned.validators.last_modified.is_some();
    let byte = Some(Span::new(0, 1)).filter(|_| pinned.size > 0);
    let mut last = None;
    for (method, span) in [(Method::Head, None), (Method::Get, byte)] {
        let (location, via) = (location.clone(), via.map(str::to_owned));
        let ask = Ask { location, method, span, pinned: Some(pinned.clone()), revalidate: None, via };
        match inner.source.ask(ask).await {
            Ok(answer) if answer.total.is_some() || method == Method::Get => {
                return Ok(told && answer.total == Some(pinned.size) && answer.validators == pinned.validators);
            }
            Ok(_) => {}
            Err(upstream::Error::Changed { .. }) => return Ok(false),
            Err(error @ (upstream::Error::Status { .. } | upstream::Error::Lied { .. })) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| upstream::Error::Lied {
        host: host_of(&location.url).to_owned(),
        why: "it does not say which version it has".to_owned(),
    }))
}

/// What a draft is begun with, beside what was learnt.
#[derive(Clone, Copy)]
struct How {
    keeping: Keeping,
    generation: u32,
    first: First,
}

async fn learn_object(inner: &Arc<Inner>, shared: &Shared, start: &mut Start) -> Opened {
    shared.lock().step = ASKING;
    let how = How { keeping: start.target.keeping, generation: start.generation, first: start.first };
    if let Some((answer, location)) = start.answer.take() {
        let Some(size) = answer.total else {
            inner.memory.forbid(&shared.key);
            return passed("the origin sends no length", Some(answer));
        };
        let line = inner.gates.enter(host_of(&location.url), Class::Demand);
        let Some(permit) = shared.while_claimed(LEARNING_LINGER, line).await.map(Result::ok) else {
            return Opened::End(End::Idle);
        };
        return begin(inner, shared, how, Lesson { location, size, answer, permit }).await;
    }
    let mut blocked: Option<std::time::Duration> = None;
    loop {
        let current = shared.lock().current().map(|candidate| candidate.location.clone());
        let Some(location) = current else {
            break;
        };
        let host = host_of(&location.url).to_owned();
        let wait = inner.memory.blamed(&shared.key, &host).unwrap_or_default();
        if wait.is_zero() && shared.lock().expected.is_none() {
            let via = start.target.via.as_deref();
            let asking = inner.learn_securely(&location, start.first, via);
            let Some(secured) = shared.while_claimed(LEARNING_LINGER, asking).await else {
                return Opened::End(End::Idle);
            };
            if let Some(lesson) = secured {
                inner.note_answer(
                    &start.target.name,
                    &location.url,
                    format!("{}, {} bytes", lesson.answer.status, lesson.size),
                );
                {
                    let mut state = shared.lock();
                    state.forgive_resting();
                    state.put_first(&lesson.location);
                }
                return begin(inner, shared, how, *lesson).await;
            }
        }
        let learnt = if wait.is_zero() {
            let via = start.target.via.as_deref();
            let asking = learn::ask(inner.source.as_ref(), &inner.gates, &location, start.first, via);
            // Its place in line and its connection are for those who still want something.
            let Some(mut learnt) = shared.while_claimed(LEARNING_LINGER, asking).await else {
                return Opened::End(End::Idle);
            };
            if let Some(sha1) = not_there_yet(inner, shared, &location, &learnt) {
                shared.lock().step = "waiting for the upstream to fetch it";
                let asking = inner.until_there(sha1, &location, start.first, via, learnt);
                learnt = match shared.while_claimed(LEARNING_LINGER, asking).await {
                    Some(learnt) => learnt,
                    None => return Opened::End(End::Idle),
                };
                shared.lock().step = ASKING;
            }
            match learnt {
                Learnt::Object(lesson) => match another_length(shared, &lesson) {
                    Some(error) => Learnt::Failed(error),
                    None => Learnt::Object(lesson),
                },
                learnt => learnt,
            }
        } else {
            blocked = Some(blocked.map_or(wait, |other| other.min(wait)));
            let why = "it gave wrong bytes for this payload more than once and is left alone for a while".to_owned();
            Learnt::Failed(upstream::Error::Unavailable { host, why, retry_after: Some(wait) })
        };
        match learnt {
            Learnt::Object(lesson) => {
                inner.note_answer(
                    &start.target.name,
                    &location.url,
                    format!("{}, {} bytes", lesson.answer.status, lesson.size),
                );
                shared.lock().forgive_resting();
                return begin(inner, shared, how, *lesson).await;
            }
            Learnt::NoLength(answer) => {
                inner.note_answer(&start.target.name, &location.url, format!("{}, no length", answer.status));
                inner.memory.forbid(&shared.key);
                return passed("the origin sends no length", Some(*answer));
            }
            Learnt::Failed(error) => {
                inner.note_answer(&start.target.name, &location.url, error.to_string());
                shared.lock().refuse(&location.url, &error);
            }
        }
    }
    let errors: Vec<upstream::Error> =
        shared.lock().sources.iter().filter_map(|candidate| candidate.refused.clone()).collect();
    Opened::End(End::Failed(worst(&errors)))
}

/// Whether a place has another object than the one that was published: its length says so before a byte of it is passed on.
fn another_length(shared: &Shared, lesson: &Lesson) -> Option<upstream::Error> {
    let published = shared.lock().published_size.filter(|size| *size != lesson.size)?;
    let host = host_of(&lesson.location.url).to_owned();
    let why = format!("it has {} bytes there, and the catalog publishes {published}", lesson.size);
    Some(upstream::Error::Lied { host, why })
}

/// Whether the answer is that of a WSUS server that lists the file and has not fetched it: then it can be told to.
fn not_there_yet(inner: &Inner, shared: &Shared, location: &Location, learnt: &Learnt) -> Option<Sha1> {
    match learnt {
        Learnt::Failed(upstream::Error::Status { status: 404, .. })
            if inner.lazy.is_some() && location.standing == Standing::Upstream =>
        {
            shared.lock().listed
        }
        _ => None,
    }
}

/// What all waiters are told when no place is left: what may pass before what is final, so that one bad address among
/// several does not turn an outage into "not found".
pub(super) fn worst(errors: &[upstream::Error]) -> Error {
    let passing = errors.iter().find(|error| !matches!(error, upstream::Error::Status { .. }));
    match passing.or(errors.first()) {
        Some(error) => Error::of_origin(error),
        None => Error::Nowhere,
    }
}

async fn begin(inner: &Inner, shared: &Shared, how: How, lesson: Lesson) -> Opened {
    let How { keeping, generation, first } = how;
    let (expected, whole) = {
        let state = shared.lock();
        (state.expected, state.whole)
    };
    let spec = learn::spec(&lesson, keeping, &shared.key, generation, expected, whole, inner.clock.now());
    let mut spec = match spec {
        Ok(spec) => spec,
        Err(why) => {
            inner.memory.forbid(&shared.key);
            return passed(why, Some(lesson.answer));
        }
    };
    // Whoever was told a tag made up for this very version is not told another one.
    if let Some(told) = inner.memory.told(&shared.key)
        && told.is_of(&spec, generation)
    {
        spec.tag = told.spec.tag;
    }
    if matches!(first, First::Head) && spec.size > 0 {
        let most = inner.store.space().await.map_or(u64::MAX, |space| space.max_size);
        if spec.size > most {
            return passed(format!("{} bytes, and at most {most} are kept", spec.size), Some(lesson.answer));
        }
        let told = Told { spec, generation };
        inner.memory.tell(&shared.key, told.clone());
        return told_alone(inner, shared, told).await;
    }
    match start_draft(inner, shared, spec).await {
        Ok(draft) => Opened::New(draft, Some(Box::new(lesson))),
        Err(error) => passed(error.to_string(), Some(lesson.answer)),
    }
}

/// Begins the draft: one of the network that the flight was begun for.
async fn start_draft(inner: &Inner, shared: &Shared, spec: DraftSpec) -> Result<Draft, store::Error> {
    let draft = match shared.starter {
        Some(subnet) => inner.store.start_draft_for(subnet.address(), spec).await?,
        None => inner.store.start_draft(spec).await?,
    };
    inner.memory.begun(&shared.key);
    Ok(draft)
}

/// The object is known and nobody has asked for a byte of it: no file and no row are made for it before somebody does.
async fn told_alone(inner: &Inner, shared: &Shared, told: Told) -> Opened {
    let mut spec = told.spec;
    {
        let mut state = shared.lock();
        state.size = spec.size;
        state.tag.clone_from(&spec.tag);
        state.step = "known";
    }
    shared.announce(&spec, false);
    loop {
        {
            let state = shared.lock();
            if state.whole || !state.asked.is_empty() {
                (spec.expected, spec.whole) = (state.expected, state.whole);
                break;
            }
        }
        if shared.rings_or_ends(TOLD_LINGER).await {
            return Opened::End(End::Idle);
        }
    }
    let pinned = Pinned { size: spec.size, validators: spec.validators.clone(), digest_known: spec.expected.is_some() };
    let error = match start_draft(inner, shared, spec).await {
        Ok(draft) => return Opened::New(draft, None),
        Err(error) => error,
    };
    let current = shared.lock().current().map(|candidate| candidate.location.clone());
    Opened::End(match current.filter(|_| !must_be_one_answer(&pinned)) {
        Some(location) => End::Spilled(Arc::new(error), location, pinned),
        None => End::Failed(error.into()),
    })
}
