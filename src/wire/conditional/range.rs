//! The `Range` field (RFC 9110, section 14.2): its grammar, and what it selects of an object of known size.

use crate::base::span::{Span, SpanSet};
use crate::wire::conditional::Decision;

/// The longest value that is read: [`PARTS_MAX`] ranges of two 19-digit positions and some blanks fit; more is an attack on
/// the parser's time.
pub const VALUE_BYTES_MAX: usize = 4 << 10;

/// The most ranges that one answer carries: each part costs a head of some 150 bytes and a look-up, so that many tiny ranges
/// would cost more than the whole.
pub const PARTS_MAX: usize = 64;

/// One `range-spec` of unit bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    /// `first-last` or `first-`.
    From { first: u64, last: Option<u64> },
    /// `-length`.
    Suffix(u64),
}

/// What the value of a `Range` field selects of `size` bytes: whole, unsatisfiable, single or several.
pub(super) fn select(value: &[u8], size: u64) -> Decision {
    let Some(specs) = specs(value) else {
        return Decision::Whole;
    };
    let (mut count, mut total, mut suffix_of_nothing) = (0, 0u64, false);
    let mut spans = Vec::new();
    for spec in specs {
        let Some(spec) = spec else {
            return Decision::Whole;
        };
        count += 1;
        if count > PARTS_MAX {
            return Decision::Whole;
        }
        match spec.of(size) {
            Some(span) => {
                total = total.saturating_add(span.len());
                spans.push(span);
            }
            None => suffix_of_nothing |= matches!(spec, Spec::Suffix(length) if length > 0),
        }
    }
    if count == 0 || total > size.saturating_mul(2) {
        return Decision::Whole;
    }
    let spans = coalesce(spans);
    match spans.as_slice() {
        [] if suffix_of_nothing => Decision::Whole,
        [] => Decision::Unsatisfiable,
        [span] => Decision::Single(*span),
        _ => Decision::Multi(spans),
    }
}

/// First and last position of the first range asked, as far as they can be known without the size.
pub(super) fn first(value: &[u8]) -> Option<(u64, Option<u64>)> {
    match specs(value)?.next()?? {
        Spec::From { first, last } => Some((first, last)),
        Spec::Suffix(_) => Some((0, Some(0))),
    }
}

/// First and last position of a value that asks for one `first-last` or `first-` and for nothing else, so that its bytes can
/// be placed without the size.
pub(super) fn exact(value: &[u8]) -> Option<(u64, Option<u64>)> {
    let mut specs = specs(value)?;
    match (specs.next()??, specs.next()) {
        (Spec::From { first, last }, None) => Some((first, last)),
        _ => None,
    }
}

/// The specs of a value of unit bytes, `None` among them where one is malformed; `None` for another unit or too long a value.
fn specs(value: &[u8]) -> Option<impl Iterator<Item = Option<Spec>>> {
    if value.len() > VALUE_BYTES_MAX {
        return None;
    }
    let (unit, set) = value.split_at_checked(b"bytes=".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    // Empty list elements are allowed and mean nothing (5.6.1.2).
    Some(set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()).map(Spec::parse))
}

impl Spec {
    fn parse(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&text[..dash], &text[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (true, _) => number(last).map(Self::Suffix),
            (false, true) => Some(Self::From { first: number(first)?, last: None }),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From { first, last: Some(last) })
            }
        }
    }

    /// The bytes that it selects of `size`; `None` where there are none.
    fn of(self, size: u64) -> Option<Span> {
        let span = match self {
            Self::From { first, last } => {
                let end = last.map_or(size, |last| last.saturating_add(1).min(size));
                Span::new(first, end)
            }
            Self::Suffix(length) => Span::new(size.saturating_sub(length), size),
        };
        (!span.is_empty()).then_some(span)
    }
}

/// At least one digit and nothing else; beyond 64 bits it is the largest 64-bit number.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        Some(number.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

/// Joins what overlaps or touches; a joined span stands where the first of its members stood.
fn coalesce(asked: Vec<Span>) -> Vec<Span> {
    if asked.len() < 2 {
        return asked;
    }
    let joined: Vec<Span> = asked.iter().copied().collect::<SpanSet>().iter().collect();
    let mut taken = vec![false; joined.len()];
    let mut ordered = Vec::with_capacity(joined.len());
    for span in asked {
        // Every asked span lies in exactly one joined span: the first that ends beyond its start.
        let at = joined.partition_point(|candidate| candidate.end() <= span.start());
        if let (Some(span), Some(taken)) = (joined.get(at), taken.get_mut(at))
            && !std::mem::replace(taken, true)
        {
            ordered.push(*span);
        }
    }
    ordered
}
