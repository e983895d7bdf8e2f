//! How updates stand on one endpoint, as a value and as the bytes of a row.
//!
//! An update goes by a small number that the store keeps for it. In memory it takes 12 bytes on each endpoint, in a row mostly three:
//! numbers rise, so that the step to the next one is small, and most states changed at the same moment as the one before.

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::compliance::State;
use crate::store::error::Error;
use crate::store::tables::{decode, encode};

/// Updates that are told of one endpoint. A real one tells of some sixty; a catalog that is delivered whole has some 5,000, of which a
/// machine has use for some hundreds. What tells more is not believed.
pub const HELD_MAX: usize = 4_096;

/// The largest number of an update.
pub const NUMBER_MAX: u32 = (1 << 29) - 1;

const TABLE: &str = "fleet-states.1";

/// Bits of a state within a word.
const STATE_BITS: u32 = 3;
/// Within the byte of a state: it is missing since another time than that of its last change.
const APART: u8 = 0x10;

/// Whole seconds since 1970, which lasts until 2106.
pub fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.ms() / 1000).unwrap_or(u32::MAX)
}

/// The time of so many seconds.
pub fn time(seconds: u32) -> Timestamp {
    Timestamp::from_ms(u64::from(seconds) * 1000)
}

/// How one update stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Number of the update, and the state.
    word: u32,
    /// When it became so, in seconds.
    pub changed: u32,
    /// Since when the endpoint misses it, where it does, in seconds; else the same as `changed`.
    pub since: u32,
}

impl Held {
    /// The update with this number, in a state that endpoints tell, since `changed`. `None` where there is no such number or state.
    pub fn new(number: u32, state: State, changed: u32) -> Option<Self> {
        let word = (number << STATE_BITS) | u32::from(state.number());
        (number <= NUMBER_MAX && state.is_told()).then_some(Self { word, changed, since: changed })
    }

    /// The number of the update.
    pub const fn number(self) -> u32 {
        self.word >> STATE_BITS
    }

    /// The state.
    pub fn state(self) -> State {
        u8::try_from(self.word & ((1 << STATE_BITS) - 1)).ok().and_then(State::of_number).unwrap_or(State::Unknown)
    }
}

/// How all updates stand on one endpoint. Times are in seconds, 0 for never, by its own clock as far as that is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// When its last scan was of which it told that it went well.
    pub scanned: u32,
    /// When it last told all its states: what is older and comes late is not taken.
    pub told: u32,
    /// Whether it ever told all its states.
    pub is_told: bool,
    /// Whether it ever told so with a list of what failed: one that it leaves out is empty then.
    pub lists_failed: bool,
    /// The same of what waits for a restart.
    pub lists_restarts: bool,
    /// Since when a restart is pending.
    pub restart: u32,
    /// When it was last restarted, as far as it told.
    pub restarted: u32,
    /// When its last scan failed and with what, where it did.
    pub failed_scan: Option<(u32, i32)>,
    /// The updates, in the order of their numbers, each once.
    pub held: Box<[Held]>,
    /// With what installing them failed, where that is known; in the same order.
    pub codes: Vec<(u32, i32)>,
}

/// A row: version 1 of [`TABLE`].
#[derive(Serialize, Deserialize)]
struct StandingRow<'a> {
    scanned: u32,
    told: u32,
    /// [`TOLD`] and what else it ever told.
    lists: u8,
    restart: u32,
    failed_scan: Option<(u32, i32)>,
    many: u32,
    held: &'a [u8],
    codes: Vec<(u32, i32)>,
    restarted: u32,
}

/// Bits of what was ever told: all states, with a list of what failed, with one of what waits for a restart.
const TOLD: u8 = 1;
const LISTS_FAILED: u8 = 2;
const LISTS_RESTARTS: u8 = 4;

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A difference of two times, small ones of either sign in few bits.
fn apart(to: u32, from: u32) -> u64 {
    let difference = i64::from(to) - i64::from(from);
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
        shift += 7;
        if shift > 35 {
            return None;
        }
    }
}

fn moved(from: u32, by: u64) -> Option<u32> {
    let difference = (by >> 1).cast_signed() ^ -((by & 1).cast_signed());
    u32::try_from(i64::from(from).checked_add(difference)?).ok()
}

/// As bytes, in the order of their numbers.
pub(in crate::store) fn packed(held: &[Held]) -> Vec<u8> {
    let mut out = Vec::with_capacity(held.len() * 3);
    let (mut next, mut changed) = (0, 0);
    for one in held {
        put(&mut out, u64::from(one.number().saturating_sub(next)));
        let is_apart = one.since != one.changed;
        out.push(one.state().number() | if is_apart { APART } else { 0 });
        put(&mut out, apart(one.changed, changed));
        if is_apart {
            put(&mut out, apart(one.since, one.changed));
        }
        (next, changed) = (one.number().saturating_add(1), one.changed);
    }
    out
}

/// So many, from bytes; `None` where they are damaged.
pub(in crate::store) fn unpacked(mut bytes: &[u8], many: u32) -> Option<Box<[Held]>> {
    let many = usize::try_from(many).ok().filter(|many| *many <= HELD_MAX)?;
    let mut held = Vec::with_capacity(many);
    let (mut next, mut changed) = (0_u32, 0);
    for _ in 0..many {
        let number = next.checked_add(u32::try_from(take(&mut bytes)?).ok()?)?;
        let (byte, rest) = bytes.split_first()?;
        bytes = rest;
        changed = moved(changed, take(&mut bytes)?)?;
        let mut one = Held::new(number, State::of_number(byte & !APART)?, changed)?;
        if byte & APART != 0 {
            one.since = moved(changed, take(&mut bytes)?)?;
        }
        held.push(one);
        next = number.checked_add(1)?;
    }
    bytes.is_empty().then(|| held.into_boxed_slice())
}

impl Standing {
    /// The bytes of its row.
    pub(super) fn row(&self) -> Result<Vec<u8>, Error> {
        let held = packed(&self.held);
        let many = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        let Self { scanned, told, restart, restarted, failed_scan, .. } = *self;
        let bit = |is_so, bit| if is_so { bit } else { 0 };
        let lists =
            bit(self.is_told, TOLD) | bit(self.lists_failed, LISTS_FAILED) | bit(self.lists_restarts, LISTS_RESTARTS);
        let codes = self.codes.clone();
        encode(&StandingRow { scanned, told, lists, restart, failed_scan, many, held: &held, codes, restarted })
    }

    /// What a row says.
    pub(super) fn of_row(row: &[u8]) -> Result<Self, Error> {
        let row: StandingRow<'_> = decode(TABLE, row)?;
        let broken = || Error::Row { what: format!("a row of table {TABLE} says what no endpoint can have told") };
        let held = unpacked(row.held, row.many).ok_or_else(broken)?;
        if !row.codes.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(broken());
        }
        let StandingRow { scanned, told, lists, restart, restarted, failed_scan, codes, .. } = row;
        let has = |bit| lists & bit != 0;
        let (is_told, lists_failed, lists_restarts) = (has(TOLD), has(LISTS_FAILED), has(LISTS_RESTARTS));
        Ok(Self { scanned, told, is_told, lists_failed, lists_restarts, restart, restarted, failed_scan, held, codes })
    }

    /// How the update with this number stands; `None` where nothing was told of it.
    pub fn of(&self, number: u32) -> Option<Held> {
        let at = self.held.binary_search_by_key(&number, |held| held.number()).ok()?;
        self.held.get(at).copied()
    }

    /// With what installing it failed, where that is known.
    pub fn code(&self, number: u32) -> Option<i32> {
        let at = self.codes.binary_search_by_key(&number, |(of, _)| *of).ok()?;
        self.codes.get(at).map(|(_, code)| *code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held() -> impl Strategy<Value = Box<[Held]>> {
        let one = (0..3_u8, any::<u32>(), prop_oneof![Just(None), any::<u32>().prop_map(Some)], 2..7_u8);
        prop::collection::btree_map(prop_oneof![0..400_u32, 0..=NUMBER_MAX], one, 0..200).prop_map(|all| {
            let made = all.into_iter().map(|(number, (near, time, since, state))| {
                let changed = if near > 0 { 1_800_000_000 + u32::from(near) } else { time };
                let mut one = Held::new(number, State::of_number(state).unwrap(), changed).unwrap();
                one.since = since.unwrap_or(changed);
                one
            });
            made.collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_row_reads_back(
            held in held(), scanned: u32, restarts: [u32; 2], lists: [bool; 3], failed in any::<Option<(u32, i32)>>()
        ) {
            let codes = held.iter().filter(|one| one.state() == State::Failed).map(|one| (one.number(), -1)).collect();
            let ([restart, restarted], [is_told, lists_failed, lists_restarts]) = (restarts, lists);
            let told = Standing {
                scanned,
                told: scanned,
                is_told,
                lists_failed,
                lists_restarts,
                restart,
                restarted,
                failed_scan: failed,
                held,
                codes,
            };
            let row = told.row().unwrap();
            prop_assert_eq!(Standing::of_row(&row).unwrap(), told);
        }

        #[test]
        fn what_is_no_row_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Standing::of_row(&bytes);
            let mut row = vec![1];
            row.extend(&bytes);
            if let Ok(read) = Standing::of_row(&row) {
                prop_assert!(read.held.is_sorted_by(|a, b| a.number() < b.number()));
            }
        }
    }

    #[test]
    fn an_update_takes_three_bytes_and_twelve_in_memory() {
        let of = |number: u32| Held::new(number * 3, State::Installed, 1_800_000_000).unwrap();
        let told = Standing { held: (0..200).map(of).collect(), ..Standing::default() };
        assert!(told.row().unwrap().len() < 640, "{}", told.row().unwrap().len());
        assert_eq!(size_of::<Held>(), 12);
        assert_eq!((Held::new(NUMBER_MAX + 1, State::Failed, 0), Held::new(1, State::Unknown, 0)), (None, None));
        let one = Held::new(NUMBER_MAX, State::PendingRestart, 7).unwrap();
        assert_eq!((one.number(), one.state()), (NUMBER_MAX, State::PendingRestart));
    }
}
