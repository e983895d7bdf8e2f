//! Of what was taken back the oldest is forgotten, and nothing else.

use std::sync::Arc;

use super::*;
use crate::base::disk::RealDisk;
use crate::base::time::SystemClock;
use crate::store::{Config, Store};

#[test]
fn the_oldest_of_what_was_taken_back_is_forgotten_beyond_so_many() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::small(&dir.path().join("data"));
    let (store, _) = Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock)).unwrap();
    let core = Arc::clone(&store.catalog().core);
    let id = |at: u32| UpdateId::new(u128::from(at).to_be_bytes());
    let decide = |from: u32, to: u32, deciding: &Deciding| {
        core.decide((from..=to).map(id).collect(), deciding, "ada".into(), String::new()).unwrap()
    };
    decide(1, 1_600, &Deciding::Decline);
    // The first ones stay decided: they stand before all that goes.
    for at in [601, 1_101] {
        decide(at, at + 499, &Deciding::Reset);
    }
    // One that went is decided again: its line is no more one of those.
    decide(601, 601, &Deciding::Decline);
    let log = || {
        core.index
            .read(|tx| {
                let log = read(tx, DECISION_LOG)?.unwrap();
                let lines = read(tx, DECISION_LINES)?.unwrap().len()?;
                let mut gone = Vec::new();
                for row in log.range::<&ClockKey>(..)? {
                    let line = *row?.1.value();
                    if line[32] == GONE {
                        gone.push(decided(0, &line).id);
                    }
                }
                let numbers = read(tx, NUMBERS)?.unwrap();
                Ok((gone, log.len()?, lines, number(&numbers, LOG_FLOOR)?))
            })
            .unwrap()
    };
    assert!(!core.forget_taken_back(999).unwrap());
    let (gone, all, lines, floor) = log();
    assert_eq!((gone.len(), all, lines, floor), (999, 1_600, 1_600, 0), "as many as may be");
    assert!(!core.forget_taken_back(300).unwrap());
    let (gone, all, lines, floor) = log();
    assert_eq!(gone, (1_301..=1_600).map(id).collect::<Vec<_>>(), "the newest stay");
    assert_eq!((all, lines), (901, 901), "and so do decisions");
    assert!(floor > 0, "who has not read so far is told");
}
