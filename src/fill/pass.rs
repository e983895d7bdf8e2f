//! Passing a response through: what must not, or cannot, be kept.

use std::fmt;

use bytes::Bytes;

use crate::base::span::Span;
use crate::fill::check::Check;
use crate::fill::error::Error;
use crate::fill::flight::Spare;
use crate::fill::gate::Passage;
use crate::fill::inner::Inner;
use crate::fill::learn::tag_of;
use crate::fill::locate::Target;
use crate::fill::opening::worst;
use crate::fill::pump::host_of;
use crate::fill::{Obtained, Want};
use crate::model::payload::{Location, Published};
use crate::store::{Store, Tally};
use crate::upstream::{self, Answer, Ask, Method};

/// A response that is passed on as it is.
#[derive(Debug)]
pub struct Passed {
    /// 200, or 206 where a range was asked for and the origin gave it.
    pub status: u16,
    /// The origin's fields that a client may see, `etag`, `last-modified` and `content-range` among them.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body (of the object, for HEAD), where the origin told.
    pub size: Option<u64>,
    /// `None` for HEAD.
    pub body: Option<Through>,
}

/// The body of a response that is passed through.
pub struct Through {
    body: upstream::Body,
    store: Store,
    /// The connection is counted as long as it is read from; none for an answer that a flight has left over.
    _passage: Option<Passage>,
    checking: Checking,
}

/// Whether what passes is held against published digests.
enum Checking {
    /// Nobody published one, or it is only a part.
    No,
    Yes(Box<Check>),
    /// It is over, or a reader went away in the middle of a step.
    Over,
}

impl fmt::Debug for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Through")
    }
}

impl Through {
    /// The same bytes; their end only if they match.
    pub(super) fn checked(self, expected: Published) -> Self {
        Self { checking: Checking::Yes(Box::new(Check::new(&self.store, expected))), ..self }
    }

    /// The next bytes; `None` at the end. An error means: cut the response.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if matches!(self.checking, Checking::No) {
            return self.come().await;
        }
        loop {
            let next = self.come().await?;
            let Checking::Yes(check) = std::mem::replace(&mut self.checking, Checking::Over) else {
                return match next {
                    None => Ok(None),
                    Some(_) => Err(Error::unavailable("bytes came after the end of what was checked")),
                };
            };
            let Some(bytes) = next else {
                let rest = check.finish()?;
                return Ok((!rest.is_empty()).then_some(rest));
            };
            let (check, bytes) = check.take(bytes).await?;
            self.checking = Checking::Yes(Box::new(check));
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    async fn come(&mut self) -> Result<Option<Bytes>, Error> {
        let next = self.body.next().await.map_err(|error| Error::of_origin(&error))?;
        if let Some(bytes) = &next {
            self.store.ledger().add(Tally { fetched: bytes.len() as u64, ..Tally::default() });
        }
        Ok(next)
    }
}

/// Asks the places in order and hands the first good answer on.
pub(super) async fn pass(
    inner: &Inner,
    target: &Target,
    locations: &[Location],
    want: Want,
    spare: Option<Spare>,
) -> Result<Obtained, Error> {
    inner.counters.passed.inc();
    let tag = own_tag(inner, target).await;
    if let Some(spare) = spare {
        let answer = spare.answer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        // One that carries the whole fits whatever was asked for, a part only who wants just that one.
        if let Some(answer) = answer
            && !want.head
            && (answer.status == 200 || is_wanted(want, &answer))
        {
            return Ok(Obtained::Passed(hand_on(inner, answer, want, tag, None)));
        }
    }
    let (method, span) = if want.head { (Method::Head, None) } else { (Method::Get, span_of(want)) };
    let mut errors = Vec::new();
    let ask = |location: &Location, span| {
        let via = target.via.clone();
        let ask = Ask { location: location.clone(), method, span, pinned: None, revalidate: None, via };
        tokio::time::timeout_at(want.until, inner.source.ask(ask))
    };
    for location in locations {
        let line = inner.gates.enter_through(host_of(&location.url), want.client);
        let Ok(passage) = tokio::time::timeout_at(want.until, line).await else {
            return Err(Error::unavailable("all connections to the origin for what is passed through are in use"));
        };
        let mut answer = ask(location, span).await;
        // A range beyond the end, by the origin's word. The head of the whole says where the end is, and which version it is.
        if span.is_some() && matches!(&answer, Ok(Err(upstream::Error::Status { status: 416, .. }))) {
            answer = ask(location, None).await;
        }
        match answer {
            Ok(Ok(answer)) => return Ok(Obtained::Passed(hand_on(inner, answer, want, tag, passage))),
            Ok(Err(error)) => errors.push(error),
            Err(_) => return Err(Error::unavailable("the origin has not answered in time")),
        }
    }
    Err(worst(&errors))
}

/// The range to ask for; the whole where the bytes wanted first are not all that is wanted. The end of time is an open end.
fn span_of(want: Want) -> Option<Span> {
    let end = want.last.map_or(u64::MAX, |last| last.saturating_add(1));
    Some(Span::new(want.first, end)).filter(|span| want.exact && !span.is_empty())
}

/// The tag that the object has under this name wherever its bytes come from, if that is a function of the name.
async fn own_tag(inner: &Inner, target: &Target) -> Option<String> {
    let tag = match inner.gather(target).await {
        Ok(gathered) => tag_of(target, &gathered.key, gathered.generation, ""),
        Err(_) => tag_of(target, &target.name, 1, ""),
    };
    Some(tag).filter(|tag| !tag.is_empty())
}

/// Whether a partial answer is just what is wanted, as far as the object goes.
fn is_wanted(want: Want, answer: &Answer) -> bool {
    let (Some(wanted), Some(total)) = (span_of(want), answer.total) else {
        return false;
    };
    answer.status == 206 && wanted.intersect(&Span::new(0, total)) == answer.span
}

fn hand_on(inner: &Inner, answer: Answer, want: Want, tag: Option<String>, passage: Option<Passage>) -> Passed {
    let mut headers: Vec<(String, String)> =
        answer.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value
            && !headers.iter().any(|(known, _)| known == name)
        {
            headers.push((name.to_owned(), value));
        }
    };
    add("etag", tag.map(|tag| format!("\"{tag}\"")).or(answer.validators.etag));
    add("last-modified", answer.validators.last_modified);
    let size = if answer.status == 206 {
        let total = answer.total.map_or_else(|| "*".to_owned(), |total| total.to_string());
        let last = answer.span.end().saturating_sub(1);
        add("content-range", Some(format!("bytes {}-{last}/{total}", answer.span.start())));
        Some(answer.span.len())
    } else {
        answer.total
    };
    let body = (!want.head).then(|| Through {
        body: answer.body,
        store: inner.store.clone(),
        _passage: passage,
        checking: Checking::No,
    });
    Passed { status: answer.status, headers, size, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_a_range_only_where_it_is_all_that_is_wanted() {
        let until = tokio::time::Instant::now();
        let want = |first, last, exact| Want { head: false, first, last, exact, client: [127, 0, 0, 1].into(), until };
        assert_eq!(span_of(want(0, None, false)), None);
        assert_eq!(span_of(want(0, Some(0), false)), None, "a suffix, a second range, an If-Range");
        assert_eq!(span_of(want(0, None, true)), Some(Span::new(0, u64::MAX)));
        assert_eq!(span_of(want(2, Some(3), true)), Some(Span::new(2, 4)));
        assert_eq!(span_of(want(2, Some(u64::MAX), true)), Some(Span::new(2, u64::MAX)));
        assert_eq!(span_of(want(u64::MAX, None, true)), None);
    }
}
