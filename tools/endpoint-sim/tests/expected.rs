//! What machines should need follows from the upstream simulator's documents alone.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use endpoint_sim::{Expected, Plan};
use serde_json::json;
use upstream_sim::{Options, Sim};

#[test]
fn machines_of_a_seed_need_the_same_and_others_need_others() {
    let sim = Sim::start(Options { updates: 600, file_scale: 0.01, ..Options::default() }).unwrap();
    let expected = Expected::read(&sim, &json!({})).unwrap();
    let plan = Plan { seed: 7, ..Plan::default() };
    let verdicts: Vec<_> = (0..10).map(|at| expected.of(&plan.machine(at))).collect();
    for (at, verdict) in verdicts.iter().enumerate() {
        assert_eq!(*verdict, expected.of(&plan.machine(at as u64)));
        assert!(!verdict.needed.is_empty() && !verdict.installed.is_empty(), "machine {at}");
        assert!(verdict.needed.is_disjoint(&verdict.installed), "machine {at}");
        assert!(verdict.needed.union(&verdict.installed).all(|id| expected.scope().contains(id)), "machine {at}");
    }
    assert_ne!(verdicts[0], verdicts[1]);
    let none = Expected::read(&sim, &json!({})).unwrap().scoped([]);
    assert!(none.of(&plan.machine(0)).needed.is_empty());
}
