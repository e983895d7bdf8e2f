//! The first answer of a flight: what the object is, under which tag it will be answered, and the draft for it.
//!
//! A GET asks for the bytes that its client wants first, so that they already count; a HEAD asks HEAD, and falls back to
//! one byte where that says nothing.

use crate::base::limits::OBJECT_BYTES_MAX;
use crate::base::span::Span;
use crate::fill::fresh;
use crate::fill::gate::{Class, Gates, Permit};
use crate::fill::locate::{Keeping, Target};
use crate::fill::pump::host_of;
use crate::fill::state::Candidate;
use crate::model::name::Name;
use crate::model::payload::{Authority, Location, Published};
use crate::store::DraftSpec;
use crate::upstream::{self, Answer, Ask, Method, Source};

/// What is asked for first.
#[derive(Clone, Copy, Debug)]
pub(super) enum First {
    /// No content: HEAD.
    Head,
    /// These bytes; the object may turn out to be shorter.
    Bytes(Span),
}

/// What the first answer said.
pub(super) struct Lesson {
    pub(super) location: Location,
    pub(super) size: u64,
    pub(super) answer: Answer,
    /// The answer carries content that counts, over this connection.
    pub(super) permit: Option<Permit>,
}

/// What came of asking one place.
pub(super) enum Learnt {
    Object(Box<Lesson>),
    /// No length: it cannot be kept.
    NoLength(Box<Answer>),
    Failed(upstream::Error),
}

/// Asks one place. `via` is the client's.
pub(super) async fn ask(
    source: &dyn Source,
    gates: &Gates,
    location: &Location,
    first: First,
    via: Option<&str>,
) -> Learnt {
    // Without a receiver's permit (the gates are never closed) there would be no limit, which is better than no answer.
    let permit = gates.enter(host_of(&location.url), Class::Demand).await.ok();
    ask_with(permit, source, location, first, via).await
}

/// Asks one place, over the connection that `permit` stands for.
pub(super) async fn ask_with(
    permit: Option<Permit>,
    source: &dyn Source,
    location: &Location,
    first: First,
    via: Option<&str>,
) -> Learnt {
    let question = |method, span| Ask {
        location: location.clone(),
        method,
        span,
        pinned: None,
        revalidate: None,
        via: via.map(str::to_owned),
    };
    let one_byte = Some(Span::new(0, 1));
    let attempts = match first {
        First::Head => [(Method::Head, None), (Method::Get, one_byte), (Method::Get, None)],
        First::Bytes(span) => [(Method::Get, Some(span)), (Method::Get, one_byte), (Method::Get, None)],
    };
    let mut last = None;
    for (method, span) in attempts {
        match source.ask(question(method, span)).await {
            Ok(answer) => match answer.total {
                Some(size) => {
                    let useful = method == Method::Get && matches!(first, First::Bytes(_)) && !answer.span.is_empty();
                    let permit = permit.filter(|_| useful);
                    return Learnt::Object(Box::new(Lesson { location: location.clone(), size, answer, permit }));
                }
                // A HEAD without a length says nothing; a byte's Content-Range may.
                None if method == Method::Head => {}
                None => return Learnt::NoLength(Box::new(answer)),
            },
            Err(error) => {
                if !may_be_the_range(&error, method) {
                    return Learnt::Failed(error);
                }
                last = Some(error);
            }
        }
    }
    Learnt::Failed(last.unwrap_or_else(|| upstream::Error::Lied {
        host: host_of(&location.url).to_owned(),
        why: "it answers without saying how long the object is".to_owned(),
    }))
}

/// Whether the same place may answer a smaller question: a range beyond the object's end, an empty object, or an origin
/// that does not know HEAD.
fn may_be_the_range(error: &upstream::Error, method: Method) -> bool {
    match error {
        upstream::Error::Lied { .. } => true,
        upstream::Error::Status { status, .. } => {
            !matches!(status, 401 | 403 | 404 | 410) || (method == Method::Head && *status == 403)
        }
        _ => false,
    }
}

/// The tag of a name: a function of how the object was asked for. `from_origin` is what stands where no digest does.
pub(super) fn tag_of(target: &Target, key: &Name, generation: u32, from_origin: &str) -> String {
    let by_name = match (&target.name, target.expected) {
        (Name::Digest(digest), _) => Some(*digest),
        (Name::Origin(_), Some(expected)) if expected.authority == Authority::FileName => expected.digests().next(),
        _ => match key {
            // The name was bound to a digest by the operator or a catalog: its bytes are that digest's.
            Name::Digest(digest) => Some(*digest),
            Name::Origin(_) => None,
        },
    };
    match by_name {
        Some(digest) => with_generation(&digest.to_string(), generation),
        None => from_origin.to_owned(),
    }
}

/// `-2`, `-3`, ... once bytes of an earlier flight were found wrong.
pub(super) fn with_generation(tag: &str, generation: u32) -> String {
    if generation > 1 { format!("{tag}-{generation}") } else { tag.to_owned() }
}

/// The tag of generation `new`, from that of generation `old`.
pub(super) fn next_generation(tag: &str, old: u32, new: u32) -> String {
    let suffix = format!("-{old}");
    let plain = tag.strip_suffix(&suffix).filter(|_| old > 1).unwrap_or(tag);
    with_generation(plain, new)
}

/// The draft for what was learnt; an error says why the object must be passed through.
pub(super) fn spec(
    lesson: &Lesson,
    keeping: Keeping,
    key: &Name,
    generation: u32,
    expected: Option<Published>,
    whole: bool,
    now: crate::base::time::Timestamp,
) -> Result<DraftSpec, String> {
    let answer = &lesson.answer;
    if lesson.size > OBJECT_BYTES_MAX {
        return Err(format!("{} bytes are more than the {OBJECT_BYTES_MAX} that are ever kept", lesson.size));
    }
    let freshness = if keeping == Keeping::Immutable || expected.is_some() {
        None
    } else {
        let judged = fresh::judge(&lesson.location.url, &answer.headers, &answer.validators, now);
        Some(judged.ok_or_else(|| "the origin forbids keeping it (RFC 9111)".to_owned())?)
    };
    let own = match answer.validators.strong_etag() {
        Some(tag) if tag.len() > 2 => tag[1..tag.len() - 1].to_owned(),
        _ => flight_id(),
    };
    Ok(DraftSpec {
        name: key.clone(),
        size: lesson.size,
        tag: match key {
            Name::Digest(digest) => with_generation(&digest.to_string(), generation),
            Name::Origin(_) => with_generation(&own, generation),
        },
        last_modified: answer
            .validators
            .last_modified
            .as_deref()
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .map(httpdate::fmt_http_date),
        validators: answer.validators.clone(),
        expected,
        locations: vec![lesson.location.clone()],
        freshness,
        whole,
    })
}

/// Random hex: the tag of an object for which the origin has no strong one.
fn flight_id() -> String {
    let mut bytes = [0_u8; 16];
    // Without random bytes the time still tells two flights apart.
    if getrandom::fill(&mut bytes).is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        bytes = now.as_nanos().to_be_bytes();
    }
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// The places in the order in which they are asked: those that are not blamed first.
pub(super) fn order(candidates: &mut [Candidate], blamed: impl Fn(&str) -> bool) {
    candidates.sort_by_key(|candidate| blamed(host_of(&candidate.location.url)));
}
