//! What a flight knows, by itself: places, demands, extents and the last stretch.

use std::net::IpAddr;

use super::*;
use crate::base::limits::GROUP;
use crate::fill::config::{ASKED_MAX, SOURCES_MAX};
use crate::model::payload::{Authority, Standing};

#[test]
fn a_fresh_address_takes_the_place_of_the_one_refused_first() {
    let place = |number: usize| Location { url: format!("http://a/f?sig={number}"), standing: Standing::Allowed };
    let mut state = State::new();
    let gone = upstream::Error::Status { host: "a".to_owned(), status: 403, challenges: Vec::new() };
    for number in 0..SOURCES_MAX {
        state.add_source(&place(number));
        state.refuse(&place(number).url, &gone);
    }
    for number in SOURCES_MAX..2 * SOURCES_MAX + 3 {
        state.add_source(&place(number));
        assert_eq!(state.current().map(|current| current.location.clone()), Some(place(number)));
        assert_eq!(state.sources.len(), SOURCES_MAX);
        state.refuse(&place(number).url, &gone);
    }
    // What still works is never thrown out.
    let mut state = State::new();
    for number in 0..=SOURCES_MAX {
        state.add_source(&place(number));
    }
    assert_eq!(state.sources.last().map(|last| last.location.clone()), Some(place(SOURCES_MAX - 1)));
    assert_eq!(state.source, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_does_not_outrank_one_that_starves() {
    let mut state = State::new();
    state.size = 10 * PIECE;
    state.covered.insert(Span::new(0, PIECE));
    let client = |number| IpAddr::from([10, 0, 0, number]);
    state.demand(Span::new(0, 4 * PIECE), client(1), 1);
    tokio::time::advance(Duration::from_secs(30)).await;
    state.demand(Span::new(5 * PIECE, 6 * PIECE), client(2), 1);
    let waiting = state.waiting(Instant::now());
    assert_eq!(waiting.iter().map(|waiting| waiting.at).collect::<Vec<_>>(), [5 * PIECE, 0]);
    assert_eq!(waiting[1].silent, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_extent_is_given_back_only_where_others_get_bytes() {
    let mut state = State::new();
    state.size = 80 * PIECE;
    let seconds = Duration::from_secs;
    for id in 0..3 {
        state.extents.insert(id, Extent::new(Span::at(id * 16 * PIECE, 16 * PIECE)));
    }
    // Extents get a byte each, as a pump does it.
    let mut step = 0;
    let mut feed = |state: &mut State, ids: &[u64]| {
        step += 1;
        for id in ids {
            state.mark(Span::at(id * 16 * PIECE + step, 1));
            let extent = state.extents.get_mut(id).unwrap();
            (extent.at, extent.fed_at) = (id * 16 * PIECE + step + 1, Some(Instant::now()));
        }
    };
    assert!(!state.release_stalled(Instant::now() + seconds(60)), "no answer yet is no stall");
    for _ in 0..4 {
        feed(&mut state, &[0, 1, 2]);
        tokio::time::advance(seconds(1) / 2).await;
    }
    tokio::time::advance(seconds(60)).await;
    assert!(!state.release_stalled(Instant::now()), "the link is dead");
    feed(&mut state, &[0]);
    assert!(!state.release_stalled(Instant::now()), "the link is back, and one of them is the first");
    tokio::time::advance(seconds(1) / 2).await;
    feed(&mut state, &[0, 1, 2]);
    for _ in 0..9 {
        tokio::time::advance(seconds(1) / 2).await;
        feed(&mut state, &[0, 2]);
    }
    assert!(!state.release_stalled(Instant::now()), "too soon to tell");
    tokio::time::advance(seconds(1) / 2).await;
    feed(&mut state, &[0, 2]);
    assert!(state.release_stalled(Instant::now()));
    let over: Vec<bool> = state.extents.values().map(Extent::is_over).collect();
    assert_eq!(over, [false, true, false]);
}

#[tokio::test]
async fn single_bytes_asked_for_are_remembered_in_groups_and_then_in_pieces() {
    let mut state = State::new();
    state.size = 20_000 * PIECE;
    for at in 0..1000 {
        state.demand(Span::at(at * 100, 1), IpAddr::from([10, 0, 0, 1]), 1);
    }
    assert_eq!((state.asked.count(), state.asked.total()), (1, 2 * GROUP));
    for at in 1..20_000 {
        state.demand(Span::at(at * PIECE, 1), IpAddr::from([10, 0, 0, 1]), 1);
        assert!(state.asked.count() <= ASKED_MAX);
    }
    // All but what came since they were last made pieces of.
    assert!(state.asked.total() >= (20_000 - ASKED_MAX as u64) * PIECE);
    assert_eq!(state.pieces.total(), 20_000 * PIECE);
}

#[tokio::test]
async fn a_digest_that_the_operator_registered_wants_the_whole_once_a_byte_is_asked_for() {
    let digest = crate::base::digest::Digest::Sha256(crate::base::digest::Sha256::new([1; 32]));
    for (authority, whole) in [(Authority::Operator, true), (Authority::Catalog, false), (Authority::Address, false)] {
        let mut state = State::new();
        state.size = 200 * PIECE;
        state.expected = Some(Published::one(digest, authority));
        assert!(!state.whole);
        state.demand(Span::new(0, 1), IpAddr::from([10, 0, 0, 1]), 1);
        assert_eq!(state.whole, whole, "{authority:?}");
    }
}

#[tokio::test]
async fn the_last_stretch_is_never_shorter_than_a_piece() {
    let mut state = State::new();
    state.size = 8 * PIECE;
    state.extents.insert(0, Extent::new(Span::new(0, 8 * PIECE)));
    state.mark(Span::new(0, 6 * PIECE));
    assert!(state.last_stretch.is_none());
    // One write takes it from more than a piece missing to a hundred bytes.
    state.mark(Span::new(6 * PIECE, 8 * PIECE - 100));
    assert_eq!(state.last_stretch.as_ref().map(SpanSet::total), Some(2 * PIECE));
}

#[tokio::test]
async fn an_extent_cut_below_its_next_byte_does_not_count() {
    let mut state = State::new();
    state.extents.insert(0, Extent { at: 9, end: 5, fed_at: None });
    state.extents.insert(1, Extent::new(Span::new(10, 20)));
    assert_eq!(state.flying().len(), 1);
    state.cut(0, 3);
    assert_eq!((state.extents[&0].end, state.extents[&1].end), (5, 10));
}
