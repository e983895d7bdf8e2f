//! The planner: which bytes to ask for next. Pure: a scene in, a span out.
//!
//! 1. The response that has been silent longest comes first, then the others in turn; a response counts as served while
//!    its bytes are in flight and will be there in time.
//! 2. Spare connections fetch further demanded bytes, in the same turn.
//! 3. If the whole is wanted, the rest follows in order, once a lone response has what it waits for; on a link that serves
//!    all who wait within a second, a quarter of the connections begins with that at once, so that the hashing, which goes
//!    from front to end, does not wait for the last of many scattered ranges.
//!
//! An extent grows over neighbouring missing bytes that are demanded too (or wanted, unless a crowd waits for others), and
//! over bounded read-ahead, up to a length that a connection carries within [`TURN`]: eight mebibytes on a fast link, 64 KiB
//! on a slow one, less where many wait. No byte that is in or in flight is ever asked for. Where a long extent keeps a
//! silent response waiting, [`relief`] says where to cut it short.

use std::time::Duration;

use crate::base::limits::{GROUP, PIECE};
use crate::base::span::{Span, SpanSet};
use crate::fill::config::{
    BUSY, Complete, EXTENT_FIRST, EXTENT_FLOOR, EXTENT_MIN, FRONT_SHARE, LONE_MAX, LONE_PATIENCE, LONE_SHARE,
    RELIEF_AFTER, ROUND, SERVED_WITHIN, SMALL_REST, THIN_LINK, TURN,
};

/// An open response that waits for bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// The next byte that it sends.
    pub(super) at: u64,
    /// Where it ends.
    pub(super) end: u64,
    /// For how long nothing came for it.
    pub(super) silent: Duration,
}

/// An extent in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flying {
    /// The next byte to come in.
    pub(super) at: u64,
    /// Where it ends.
    pub(super) end: u64,
}

/// Everything that the planner looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    /// The object's length.
    pub(super) size: u64,
    /// The bytes that are in.
    pub(super) covered: &'a SpanSet,
    /// The extents in flight.
    pub(super) flying: &'a [Flying],
    /// Open responses, the longest silent first.
    pub(super) waiting: &'a [Waiting],
    /// All bytes that any client ever asked for.
    pub(super) asked: &'a SpanSet,
    /// The same, rounded to pieces.
    pub(super) pieces: &'a SpanSet,
    /// The setting.
    pub(super) complete: Complete,
    /// A prefetch, an approval or a bad piece wants all of it.
    pub(super) whole: bool,
    /// The largest extent, bytes.
    pub(super) extent: u64,
    /// What the link has been shown to carry at once so far: extents double from one to the next.
    pub(super) proven: u64,
    /// Connections that may be used at once.
    pub(super) connections: usize,
    /// Bytes a second, all connections of the flight together; `None`: not measured yet.
    pub(super) rate: Option<u64>,
}

/// Whether all of the object is wanted, and not only what was asked for.
pub(super) fn wants_whole(scene: &Scene<'_>) -> bool {
    if scene.whole {
        return true;
    }
    // Nobody asked for a byte: a HEAD fetches no content whatever the policy says.
    if scene.asked.is_empty() {
        return false;
    }
    match scene.complete {
        Complete::Always => true,
        Complete::Never => false,
        Complete::Demand => {
            scene.pieces.total() >= scene.size.div_ceil(2) || scene.size - scene.covered.total() < SMALL_REST
        }
    }
}

/// How long the next extent may be.
pub(super) fn extent_len(scene: &Scene<'_>) -> u64 {
    let most = scene.extent.max(EXTENT_MIN);
    let least = extent_min(scene);
    let Some(rate) = scene.rate else {
        return most.min(scene.proven.max(EXTENT_FIRST));
    };
    let connections = scene.connections.max(1);
    // More waiting responses than connections: each turn must be as much shorter.
    let turns = scene.waiting.len().div_ceil(connections).max(1) as u64;
    let each = u128::from(rate) * TURN.as_millis() / 1000 / connections as u128 / u128::from(turns);
    u64::try_from(each).unwrap_or(u64::MAX).clamp(least, most).min(scene.proven.max(EXTENT_FIRST))
}

/// How short an extent may be: a round of such extents, one for each waiting response, is over in time.
fn extent_min(scene: &Scene<'_>) -> u64 {
    let Some(rate) = scene.rate else {
        return EXTENT_MIN;
    };
    let round = u128::from(rate) * ROUND.as_millis() / 1000;
    let each = round / scene.waiting.len().max(1) as u128;
    u64::try_from(each).unwrap_or(u64::MAX).clamp(EXTENT_FLOOR, EXTENT_MIN)
}

/// The next span to ask for, or `None` if nothing is wanted that is not in or in flight already.
pub(super) fn next(scene: &Scene<'_>) -> Option<Span> {
    let whole = wants_whole(scene);
    if whole
        && !leaves_the_link(scene)
        && let Some(at) = front(scene)
    {
        return Some(grow(scene, at, whole));
    }
    // Where more wait than there are connections, what somebody waits for comes before what lies behind it.
    let beyond = whole && scene.waiting.len() <= scene.connections;
    for response in scene.waiting {
        let at = response.at + scene.covered.run_at(response.at);
        if at < response.end && flying_at(scene, at).is_none() {
            return Some(grow(scene, at, beyond));
        }
    }
    // On a thin link a second extent for a response that is being served would take from it what it waits for.
    let thin = scene.rate.is_some_and(|rate| rate < THIN_LINK);
    if thin && !scene.flying.is_empty() && !scene.waiting.is_empty() {
        return None;
    }
    for response in scene.waiting {
        if let Some(at) = first_free(scene, Span::new(response.at, response.end)) {
            return Some(grow(scene, at, beyond));
        }
    }
    if whole && !leaves_the_link(scene) {
        return first_free(scene, Span::new(0, scene.size)).map(|at| grow(scene, at, whole));
    }
    None
}

/// Whether what nobody waits for is put off: all that the few who wait for little wait for is on its way, and what is
/// asked for beside it would only take from it.
fn leaves_the_link(scene: &Scene<'_>) -> bool {
    let missing = |response: &Waiting| scene.covered.gaps(Span::new(response.at, response.end)).map(|gap| gap.len());
    let left: u64 = scene.waiting.iter().flat_map(missing).sum();
    // One that gets nothing may wait on a dead connection, which is known by others that are not.
    let is_fed = scene.waiting.iter().all(|response| response.silent < LONE_PATIENCE);
    let are_few = !scene.waiting.is_empty() && scene.waiting.len() * LONE_SHARE <= scene.connections;
    are_few && is_fed && left <= LONE_MAX
}

/// Where to cut which extent in flight (its place in the scene, and its new end), so that a response that has been
/// silent too long gets its turn. `free`: connections that could be used at once.
pub(super) fn relief(scene: &Scene<'_>, free: usize) -> Option<(usize, u64)> {
    let rate = scene.rate?.max(1) / scene.flying.len().max(1) as u64;
    let takes = |bytes: u64| Duration::from_secs(bytes / rate.max(1));
    let least = extent_min(scene);
    for response in scene.waiting.iter().filter(|response| response.silent >= RELIEF_AFTER) {
        let at = response.at + scene.covered.run_at(response.at);
        if at >= response.end {
            continue;
        }
        match flying_at(scene, at) {
            // Next in line on its connection: asking anew would bring it no sooner.
            Some(place) if at - scene.flying[place].at < least => {}
            Some(place) if response.silent + takes(at - scene.flying[place].at) <= SERVED_WITHIN => {}
            // Deep inside a slow extent: the part from there on is given back.
            Some(place) => return Some((place, at)),
            None if free > 0 => {}
            None => {
                let soon = scene.flying.iter().map(|flying| flying.end.saturating_sub(flying.at)).min().unwrap_or(0);
                if response.silent + takes(soon) <= SERVED_WITHIN {
                    continue;
                }
                let longest =
                    scene.flying.iter().enumerate().max_by_key(|(_, flying)| flying.end.saturating_sub(flying.at));
                if let Some((place, flying)) = longest
                    && flying.end.saturating_sub(flying.at) > least
                {
                    return Some((place, flying.at + least));
                }
            }
        }
    }
    None
}

/// Where to cut which extent in flight, so that responses of other flights, the longest of them in line at the host's gate
/// for `waited`, get a connection in time.
pub(super) fn give_way(scene: &Scene<'_>, waited: Duration) -> Option<(usize, u64)> {
    if waited < RELIEF_AFTER {
        return None;
    }
    let rate = (scene.rate? / scene.flying.len().max(1) as u64).max(1);
    let left = |flying: &Flying| flying.end.saturating_sub(flying.at);
    let (place, longest) = scene.flying.iter().enumerate().max_by_key(|(_, flying)| left(flying))?;
    let soon = waited + Duration::from_secs(left(longest) / rate) <= SERVED_WITHIN;
    (!soon && left(longest) > EXTENT_FLOOR).then_some((place, longest.at + EXTENT_FLOOR))
}

/// The first byte that is missing, if it is its turn while responses wait for others.
fn front(scene: &Scene<'_>) -> Option<u64> {
    let all = scene.waiting.len() as u64 * PIECE;
    if scene.rate? < all || scene.waiting.is_empty() {
        return None;
    }
    let first = first_free(scene, Span::new(0, scene.size))?;
    let before = scene.flying.iter().filter(|flying| flying.at < first).count();
    (before < scene.connections.div_ceil(FRONT_SHARE)).then_some(first)
}

fn flying_at(scene: &Scene<'_>, at: u64) -> Option<usize> {
    scene.flying.iter().position(|flying| flying.at <= at && at < flying.end)
}

/// The first byte of `within` that is neither in nor in flight.
fn first_free(scene: &Scene<'_>, within: Span) -> Option<u64> {
    for gap in scene.covered.gaps(within) {
        let mut at = gap.start();
        while let Some(place) = flying_at(scene, at) {
            at = scene.flying[place].end;
        }
        if at < gap.end() {
            return Some(at);
        }
    }
    None
}

/// The extent that begins at the free byte `start`.
fn grow(scene: &Scene<'_>, start: u64, whole: bool) -> Span {
    let limit = start.saturating_add(extent_len(scene));
    // At the end of a group, where one is inside: what a parent proves it proves by groups, and half of one would come twice.
    let limit = Some(limit / GROUP * GROUP).filter(|whole| *whole > start).unwrap_or(limit).min(scene.size);
    let ahead = scene.flying.iter().map(|flying| flying.at).filter(|at| *at > start).min().unwrap_or(limit);
    let free = scene.covered.gaps(Span::new(start, limit.min(ahead))).next().map_or(start, |gap| gap.end());
    if whole {
        return Span::new(start, free);
    }
    let mut budget = if wants_whole(scene) { worth_asking(scene) } else { read_ahead_left(scene) };
    let mut end = start;
    for wanted in scene.asked.within(Span::new(start, free)) {
        let hole = wanted.start() - end;
        if hole > budget {
            return Span::new(start, end);
        }
        budget -= hole;
        end = wanted.end();
    }
    // Beyond the last demanded byte only whole pieces are read ahead: a part of one would have to be asked for twice.
    Span::new(start, (end + budget / PIECE * PIECE).min(free))
}

/// How far an extent may go beyond what a crowd waits for, so that asking for little does not cost a connection its time.
fn worth_asking(scene: &Scene<'_>) -> u64 {
    let each = scene.rate.unwrap_or(0) / scene.connections.max(1) as u64;
    u64::try_from(u128::from(each) * BUSY.as_millis() / 1000).unwrap_or(u64::MAX)
}

/// How many bytes that nobody asked for may be fetched: an eighth of what was asked for, less what was already.
fn read_ahead_left(scene: &Scene<'_>) -> u64 {
    if scene.complete == Complete::Never || scene.waiting.len() > scene.connections {
        return 0;
    }
    let unasked = |span: Span| scene.asked.gaps(span).map(|gap| gap.len()).sum::<u64>();
    let covered: u64 = scene.covered.iter().map(unasked).sum();
    let flying: u64 = scene.flying.iter().map(|flying| unasked(Span::new(flying.at, flying.end))).sum();
    (scene.asked.total() / 8).saturating_sub(covered + flying)
}

#[cfg(test)]
mod tests;
