//! Passing a response through: what must not, or cannot, be kept.

use std::fmt;

use bytes::Bytes;

use crate::base::span::Span;
use crate::fill::check::Check;
use crate::fill::error::Error;
use crate::fill::flight::Spare;
use crate::fill::inner::Inner;
use crate::fill::owner::worst;
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
        Self { checking: Checking::Yes(Box::new(Check::new(expected))), ..self }
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
    locations: &[Location],
    via: Option<&str>,
    want: Want,
    spare: Option<Spare>,
) -> Result<Obtained, Error> {
    inner.counters.passed.inc();
    let mut size = None;
    if let Some(spare) = spare {
        size = spare.size;
        let answer = spare.answer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        // Only an answer that carries the whole fits whatever was asked for.
        if let Some(answer) = answer
            && answer.status == 200
            && !want.head
        {
            return Ok(Obtained::Passed(hand_on(inner, answer, want)));
        }
    }
    let (method, span) = if want.head { (Method::Head, None) } else { (Method::Get, span_of(want, size)) };
    let mut errors = Vec::new();
    for location in locations {
        let ask = Ask {
            location: location.clone(),
            method,
            span,
            pinned: None,
            revalidate: None,
            via: via.map(str::to_owned),
        };
        match tokio::time::timeout(inner.config.silence, inner.source.ask(ask)).await {
            Ok(Ok(answer)) => return Ok(Obtained::Passed(hand_on(inner, answer, want))),
            Ok(Err(error)) => errors.push(error),
            Err(_) => return Err(Error::unavailable("the origin has not answered in time")),
        }
    }
    Err(worst(&errors))
}

/// The range to ask for; an open one only where the object's length is known, else the whole.
fn span_of(want: Want, size: Option<u64>) -> Option<Span> {
    match (want.first, want.last, size) {
        (0, None, _) => None,
        (first, Some(last), _) => Some(Span::new(first, last.saturating_add(1))),
        (first, None, Some(size)) if first < size => Some(Span::new(first, size)),
        _ => None,
    }
}

fn hand_on(inner: &Inner, answer: Answer, want: Want) -> Passed {
    let mut headers: Vec<(String, String)> =
        answer.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value
            && !headers.iter().any(|(known, _)| known == name)
        {
            headers.push((name.to_owned(), value));
        }
    };
    add("etag", answer.validators.etag);
    add("last-modified", answer.validators.last_modified);
    let size = if answer.status == 206 {
        let total = answer.total.map_or_else(|| "*".to_owned(), |total| total.to_string());
        let last = answer.span.end().saturating_sub(1);
        add("content-range", Some(format!("bytes {}-{last}/{total}", answer.span.start())));
        Some(answer.span.len())
    } else {
        answer.total
    };
    let body = (!want.head).then(|| Through { body: answer.body, store: inner.store.clone(), checking: Checking::No });
    Passed { status: answer.status, headers, size, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_a_range_only_where_it_is_known() {
        let want = |first, last| Want { head: false, first, last, client: [127, 0, 0, 1].into() };
        assert_eq!(span_of(want(0, None), Some(9)), None);
        assert_eq!(span_of(want(2, Some(3)), None), Some(Span::new(2, 4)));
        assert_eq!(span_of(want(2, None), Some(9)), Some(Span::new(2, 9)));
        assert_eq!(span_of(want(2, None), None), None);
        assert_eq!(span_of(want(9, None), Some(9)), None);
    }
}
