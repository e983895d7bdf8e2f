//! Of what went the oldest is forgotten, however much of what is held lies before it.

use std::sync::Arc;

use super::*;
use crate::base::disk::RealDisk;
use crate::base::time::SystemClock;
use crate::store::catalog::tables::{HERE, clock_key};
use crate::store::{Config, Store};

#[test]
fn the_oldest_of_what_went_is_forgotten_and_a_count_that_is_wrong_is_put_right() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::small(&dir.path().join("data"));
    let (store, _) = Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock)).unwrap();
    let core = Arc::clone(&store.catalog().core);
    // Every third line is of something that went; the first thousand are of what is held.
    let is_gone = |at: u32| at > 1_000 && at.is_multiple_of(3);
    let put = move |t: &mut crate::store::catalog::tables::Tables<'_>, counted: u64| {
        for at in 1..=40_000_u32 {
            t.log.insert(&clock_key(at.into(), at), if is_gone(at) { GONE } else { HERE })?;
        }
        t.set_number(GONE_COUNT, counted)
    };
    let all: Vec<u32> = (1..=40_000).filter(|at| is_gone(*at)).collect();
    let there = all.len() as u64;
    core.catalog_write(Room::Adds, move |t, _| put(t, there)).unwrap();
    let look = || {
        core.index
            .read(|tx| {
                let (numbers, log) = (read(tx, NUMBERS)?.unwrap(), read(tx, LOG)?.unwrap());
                let (mut gone, mut held) = (Vec::new(), 0);
                for row in log.iter()? {
                    let (place, kind) = row?;
                    if kind.value() == GONE {
                        gone.push(of_clock_key(place.value()).1);
                    } else {
                        held += 1;
                    }
                }
                Ok((gone, held, number(&numbers, GONE_COUNT)?, number(&numbers, LOG_FLOOR)?))
            })
            .unwrap()
    };
    let held = 40_000 - all.len();
    assert!(!core.forget_gone(there).unwrap());
    assert_eq!(look(), (all.clone(), held, there, 0), "as many as may be");
    assert!(core.forget_gone(500).unwrap(), "more than are looked for at once");
    let (gone, ..) = look();
    assert_eq!(gone, all[SOUGHT_MAX..]);
    assert!(!core.forget_gone(500).unwrap());
    let newest = all[all.len() - 500..].to_vec();
    let floor = u64::from(all[all.len() - 501]);
    assert_eq!(look(), (newest.clone(), held, 500, floor), "the newest stay, and all that is held");

    // Counted too high: nothing goes that may stay, and what may not does.
    core.catalog_write(Room::Adds, move |t, _| t.set_number(GONE_COUNT, 1_000_000)).unwrap();
    assert!(!core.forget_gone(500).unwrap());
    assert_eq!(look(), (newest.clone(), held, 500, floor));
    core.catalog_write(Room::Adds, move |t, _| t.set_number(GONE_COUNT, 5_000)).unwrap();
    assert!(!core.forget_gone(100).unwrap());
    let (gone, _, counted, _) = look();
    assert_eq!((gone, counted), (newest[400..].to_vec(), 100));
}
