//! Noticing a bad piece by what its client does: Windows holds every piece against a hash of its own, and asks for a bad
//! one again. A piece that one client got whole and then asked for twice more is taken for bad.
//!
//! An address that asks for the same byte twice at a time, or has more responses open than one machine would, stands for
//! many machines (a proxy, a NAT), and so does loopback: what it asks for again says nothing about the bytes. Nor does an
//! ask long after the delivery: that is the next machine behind the same address, one after the other.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;

use tokio::time::Instant;

use crate::base::limits::PIECE;
use crate::base::span::Span;
use crate::fill::config::{AGAIN_WITHIN, DELIVERED_MAX};

/// What one flight has delivered to whom.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// When it was last delivered, and 1; each further ask soon after a delivery adds one.
    seen: HashMap<(IpAddr, u64), (Instant, u8)>,
    crowds: HashSet<IpAddr>,
    /// Each piece is dropped at most once in a flight: a client that is wrong itself must not keep it from ending.
    dropped: HashSet<u64>,
}

impl Repeats {
    /// This address stands for many machines.
    pub(super) fn is_crowd(&mut self, client: IpAddr) {
        if self.crowds.len() < DELIVERED_MAX {
            self.crowds.insert(client);
        }
    }

    /// `got` of an object of `size` bytes was handed out to the client.
    pub(super) fn delivered(&mut self, client: IpAddr, got: Span, size: u64) {
        if self.crowds.contains(&client) {
            return;
        }
        for piece in whole_pieces(got, size) {
            if let Some((at, _)) = self.seen.get_mut(&(client, piece)) {
                *at = Instant::now();
            } else if self.seen.len() < DELIVERED_MAX {
                self.seen.insert((client, piece), (Instant::now(), 1));
            }
        }
    }

    /// The client asks for `span`; the pieces that must be taken for bad now.
    pub(super) fn asked_again(&mut self, client: IpAddr, span: Span, size: u64) -> Vec<Span> {
        if self.crowds.contains(&client) {
            return Vec::new();
        }
        let mut bad = Vec::new();
        for piece in whole_pieces(span, size) {
            let Some((at, count)) = self.seen.get_mut(&(client, piece)) else {
                continue;
            };
            if at.elapsed() > AGAIN_WITHIN {
                *count = 1;
                continue;
            }
            *count = count.saturating_add(1);
            if *count > 2 && self.dropped.insert(piece) {
                bad.push(Span::at(piece * PIECE, PIECE).intersect(&Span::new(0, size)));
            }
        }
        bad
    }
}

/// The numbers of the pieces that lie wholly in `span` (the last piece ends with the object).
fn whole_pieces(span: Span, size: u64) -> Range<u64> {
    let first = span.start().div_ceil(PIECE);
    let last = if span.end() == size { size.div_ceil(PIECE) } else { span.end() / PIECE };
    first..last.max(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 3 * PIECE + 10;

    #[test]
    fn a_piece_is_bad_when_it_was_got_whole_and_asked_for_twice_more() {
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let last = Span::new(3 * PIECE, SIZE);
        let mut repeats = Repeats::default();
        assert!(repeats.asked_again(one, last, SIZE).is_empty());
        repeats.delivered(one, Span::new(3 * PIECE, SIZE - 1), SIZE);
        assert!(repeats.asked_again(one, last, SIZE).is_empty(), "it was cut short before");
        repeats.delivered(one, last, SIZE);
        assert!(repeats.asked_again(one, last, SIZE).is_empty());
        assert!(repeats.asked_again(other, last, SIZE).is_empty());
        assert_eq!(repeats.asked_again(one, last, SIZE), [last]);
        assert!(repeats.asked_again(one, last, SIZE).is_empty(), "once in a flight");
    }

    #[tokio::test(start_paused = true)]
    async fn machines_behind_one_address_one_after_the_other_prove_nothing() {
        let (address, piece) = (IpAddr::from([10, 0, 0, 1]), Span::new(0, PIECE));
        let mut repeats = Repeats::default();
        for _ in 0..5 {
            assert!(repeats.asked_again(address, piece, SIZE).is_empty());
            repeats.delivered(address, piece, SIZE);
            tokio::time::advance(AGAIN_WITHIN + std::time::Duration::from_secs(1)).await;
        }
        repeats.delivered(address, piece, SIZE);
        assert!(repeats.asked_again(address, piece, SIZE).is_empty());
        assert_eq!(repeats.asked_again(address, piece, SIZE), [piece]);
    }

    #[test]
    fn a_crowd_proves_nothing() {
        let crowd = IpAddr::from([10, 0, 0, 1]);
        let piece = Span::new(0, PIECE);
        let mut repeats = Repeats::default();
        repeats.is_crowd(crowd);
        for _ in 0..5 {
            repeats.delivered(crowd, piece, SIZE);
            assert!(repeats.asked_again(crowd, piece, SIZE).is_empty());
        }
    }
}
